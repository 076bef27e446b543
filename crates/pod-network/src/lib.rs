//! The CNI plugin, address management, pod interfaces and masquerade of a Muslin node.
//!
//! Two programs use this crate. The container runtime runs `muslin-cni` ([`plugin`]) for every pod; it must
//! work while the agent restarts and while the API server is away, so it reads only what the agent left on
//! disk ([`network_file`]) and its own ledger of addresses ([`ipam`]). The agent writes that file, installs
//! the CNI configuration ([`conflist`]), keeps the nftables table ([`firewall`]) and asserts what a
//! forwarding host needs ([`host`]).
//!
//! It must never know BGP, talk to an API server, or start an external program: the image has none.

pub mod atomic_file;
pub mod cni;
pub mod conflist;
mod conntrack;
mod fail_point;
pub mod firewall;
pub mod host;
mod interface;
pub mod ipam;
mod netlink;
pub mod network_file;
pub mod plugin;
mod teardown;

pub use conflist::Conflist;
pub use firewall::{FirewallPlan, Masquerade, NodeGuard};
pub use interface::{HOST_INTERFACE_PREFIX, POD_ROUTE_PROTOCOL};
pub use network_file::NetworkFile;
pub use teardown::{TeardownError, remove_pod_interfaces};

/// Where the plugin and the agent keep the node's pod network state unless the configuration says otherwise.
pub const DEFAULT_DATA_DIR: &str = "/var/lib/muslin/cni";
