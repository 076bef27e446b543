//! Conformance by what a peer sees: octets in, octets out, virtual time. Names begin with the row of the
//! project's list of behaviours that they show.

mod bmp;
mod collision;
mod configure;
mod flow;
mod foresee;
mod garbage;
mod limit;
mod links;
mod live;
mod local_as;
mod lone;
mod long_lived;
mod names;
mod network;
mod open;
mod pair;
mod paths;
mod record;
mod reflection;
mod restart;
mod roles;
mod routes;
mod seeing;
mod send_hold;
mod stream;
mod timers;
