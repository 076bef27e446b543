//! What the kernel knows about the node, as far as a plan depends on it.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;
use muslin_cluster::resources::AddressFamily;

use crate::peers::Discovery;

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
    /// Interfaces that may have a router at their other end; pods' and the loopback are left out.
    pub interfaces: Vec<Interface>,
    /// Routers that announced themselves at the other ends of interfaces.
    pub neighbours: Vec<Neighbour>,
}

/// An interface of the node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interface {
    /// Its name.
    pub name: Arc<str>,
    /// Its MTU, in bytes.
    pub mtu: u32,
    /// Whether it can send: it has carrier and a usable link-local address.
    pub ready: bool,
    /// Why no router can be looked for on it.
    pub fault: Option<String>,
}

/// The router at the other end of an interface.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Neighbour {
    /// The interface.
    pub interface: Arc<str>,
    /// The router's link-local address.
    pub address: Ipv6Addr,
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
    /// The route's metric; the lowest counts.
    pub metric: u32,
}

impl KernelFacts {
    /// Whether `address` is one of the node's.
    pub(crate) fn is_local(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|local| local.address == address)
    }

    /// The least MTU of the interfaces whose other ends are peers: the way out of a node without addresses on
    /// its links.
    pub(crate) fn least_mtu(&self, discovery: &Discovery) -> Option<u32> {
        let ways = discovery.interfaces.iter().map(|interface| &interface.value);
        ways.filter_map(|name| self.interfaces.iter().find(|known| known.name == *name))
            .map(|interface| interface.mtu)
            .min()
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

impl DefaultGateway {
    /// Whether its address is of the family.
    pub(crate) fn is_for(&self, family: AddressFamily) -> bool {
        self.address.is_ipv4() == (family == AddressFamily::IPv4)
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
