//! What the codec makes of octets, told by identifier of the project's list of behaviours and by section of
//! the RFC.

#[cfg(test)]
mod as_path;
#[cfg(test)]
mod extensions;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod malformed;
#[cfg(test)]
mod octets;
#[cfg(test)]
mod open;
#[cfg(test)]
mod packing;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod rfc7606;
