//! What the kernel knows about the node, as far as a plan depends on it.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

/// Facts of the node's kernel. Nothing that we put there ourselves belongs here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelFacts {
    /// Addresses of the node's interfaces; loopback and link-local ones may be left out.
    pub addresses: Vec<LocalAddress>,
    /// Prefixes on the node's links.
    pub connected: Vec<ConnectedPrefix>,
    /// Gateways of the default routes that others made.
    pub default_gateways: Vec<DefaultGateway>,
    /// The host's name.
    pub host: Option<Arc<str>>,
    /// Whether the kernel can sign TCP segments by TCP-AO (RFC 5925); `None` if nobody asked it.
    pub tcp_ao: Option<bool>,
    /// MTU of the interface that leads out of the node, in bytes.
    pub uplink_mtu: Option<u32>,
}

/// An address of the node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LocalAddress {
    /// The address.
    pub address: IpAddr,
    /// Its interface.
    pub interface: Arc<str>,
}

/// A prefix whose addresses are on a link of the node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectedPrefix {
    /// The prefix.
    pub prefix: IpNet,
    /// The link's interface.
    pub interface: Arc<str>,
}

/// A router that the node's default route names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DefaultGateway {
    /// The router's address.
    pub address: IpAddr,
    /// The interface that leads to it.
    pub interface: Arc<str>,
}

impl KernelFacts {
    /// Whether `address` is one of the node's.
    pub(crate) fn is_local(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|local| local.address == address)
    }

    /// The longest prefix of a link that `address` is on. Host prefixes are no links.
    pub(crate) fn link_of(&self, address: IpAddr) -> Option<&ConnectedPrefix> {
        self.connected
            .iter()
            .filter(|link| link.prefix.prefix_len() < link.prefix.max_prefix_len())
            .filter(|link| link.prefix.contains(&address))
            .max_by_key(|link| link.prefix.prefix_len())
    }
}

/// Whether an address has a meaning beyond its host or link.
pub(crate) fn is_routable(address: IpAddr) -> bool {
    !address.is_loopback()
        && match address {
            IpAddr::V4(address) => !address.is_link_local(),
            IpAddr::V6(address) => !address.is_unicast_link_local(),
        }
}
