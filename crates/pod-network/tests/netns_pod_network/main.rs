//! The plugin and the firewall in real network namespaces, with real packets; needs root (of a user namespace at
//! least) and `nft`, which reads back what the firewall wrote.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod cni;
mod faults;
mod firewall;
mod hostile;
mod kills;
mod node;
mod packets;
mod path_mtu;
mod usable;
