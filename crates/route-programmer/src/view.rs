//! The kernel's own state, as far as routing decisions need it: links, addresses, routers on the links,
//! and the routes that are not ours.
//!
//! What we put into the kernel ourselves is never in the view: a next hop that only our own routes reach
//! does not resolve, so a route cannot hold itself up.

mod routes;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;
use serde::Serialize;

pub(crate) use routes::RouteTable;
pub use routes::{ForeignHop, ForeignKind, ForeignRoute};

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Link {
    /// The kernel's index.
    pub index: u32,
    /// Name.
    pub name: String,
    /// Driver kind (`veth`, `bridge`, `vxlan`); nothing for hardware.
    pub kind: Option<Box<str>>,
    /// Largest packet, in bytes.
    pub mtu: u32,
    /// Ethernet address.
    pub hardware_address: Option<[u8; 6]>,
    /// Index of the bridge or VRF that it belongs to.
    pub master: Option<u32>,
    /// Set up by an administrator. The kernel has no routes over a link that is not.
    pub up: bool,
    /// The other end is there.
    pub carrier: bool,
    /// The loopback interface.
    pub loopback: bool,
}

impl Link {
    /// Whether packets can leave through it.
    pub fn is_usable(&self) -> bool {
        self.up && self.carrier
    }
}

/// An address of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Address {
    /// Index of its interface.
    pub interface: u32,
    /// The address, with the length of its subnet.
    pub address: IpNet,
    /// Duplicate address detection has not finished (RFC 4862 §5.4): not usable yet.
    pub tentative: bool,
}

/// A router that announced itself on a link (RFC 4861 §6.3.4): the peer of an unnumbered session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Router {
    /// Index of the interface.
    pub interface: u32,
    /// Its link-local address.
    pub address: Ipv6Addr,
}

/// How a destination is reached without our own routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resolved {
    /// The router to send to; nothing when the destination is on the link.
    pub gateway: Option<IpAddr>,
    /// Index of the interface.
    pub interface: u32,
    /// Metric of the route that says so.
    pub metric: u32,
    /// Source address that the route prefers.
    pub source: Option<IpAddr>,
    /// Largest packet on this way, in bytes.
    pub mtu: u32,
}

/// A default route of somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DefaultGateway {
    /// The router.
    pub gateway: IpAddr,
    /// Index of the interface.
    pub interface: u32,
    /// Metric of the route.
    pub metric: u32,
}

/// A snapshot of the kernel's state. Cheap to copy: its parts are shared until they change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelView {
    pub(crate) links: Arc<BTreeMap<u32, Link>>,
    pub(crate) addresses: Arc<BTreeMap<(u32, IpNet), Address>>,
    pub(crate) routers: Arc<BTreeSet<Router>>,
    pub(crate) routes: Arc<RouteTable>,
}

impl KernelView {
    /// All links, by index.
    pub fn links(&self) -> impl Iterator<Item = &Link> {
        self.links.values()
    }

    /// The link with this index.
    pub fn link(&self, index: u32) -> Option<&Link> {
        self.links.get(&index)
    }

    /// The link with this name.
    pub fn link_named(&self, name: &str) -> Option<&Link> {
        self.links.values().find(|link| link.name == name)
    }

    /// This host's addresses, by interface.
    pub fn local_addresses(&self) -> impl Iterator<Item = &Address> {
        self.addresses.values()
    }

    /// Whether the address is one of this host's.
    pub fn is_local(&self, address: IpAddr) -> bool {
        self.addresses.values().any(|local| local.address.addr() == address)
    }

    /// Routers that announced themselves on the links.
    pub fn routers(&self) -> impl Iterator<Item = &Router> {
        self.routers.iter()
    }

    /// Routes of the main table that are not ours, the kernel's connected ones included.
    pub fn foreign_routes(&self) -> impl Iterator<Item = (IpNet, &ForeignRoute)> {
        self.routes.iter()
    }

    /// Routes for exactly this prefix that are not ours, best metric first.
    pub fn foreign_routes_for(&self, prefix: IpNet) -> &[ForeignRoute] {
        self.routes.get(prefix)
    }

    /// How the destination is reached by routes that are not ours: the longest match, then the lowest
    /// metric, over links that are up. Nothing for addresses of this host, for destinations that a
    /// foreign route discards, and for link-local ones, which need [`route_on_link`](Self::route_on_link).
    pub fn route_to(&self, destination: IpAddr) -> Option<Resolved> {
        if self.is_local(destination) || is_link_local(destination) {
            return None;
        }
        let (route, hop) = self.routes.lookup(destination, |interface| self.is_usable(interface))?;
        Some(Resolved {
            gateway: hop.gateway,
            interface: hop.interface,
            metric: route.metric,
            source: route.source,
            mtu: route.mtu.unwrap_or_else(|| self.link(hop.interface).map_or(0, |link| link.mtu)),
        })
    }

    /// The destination as a neighbour on a given link, by its own word: for link-local next hops.
    pub fn route_on_link(&self, destination: IpAddr, interface: u32) -> Option<Resolved> {
        let link = self.link(interface).filter(|link| link.is_usable())?;
        // What is our own on another link may well be a neighbour's on this one.
        if self.addresses.values().any(|own| own.interface == interface && own.address.addr() == destination)
        {
            return None;
        }
        Some(Resolved { gateway: None, interface, metric: 0, source: None, mtu: link.mtu })
    }

    /// Gateways of the default routes that are not ours, best first, of both families.
    pub fn default_gateways(&self) -> Vec<DefaultGateway> {
        let mut gateways: Vec<_> = self
            .routes
            .defaults()
            .flat_map(|route| route.hops.iter().map(move |hop| (route, hop)))
            .filter(|(_, hop)| self.is_usable(hop.interface))
            .filter_map(|(route, hop)| {
                let gateway = hop.gateway?;
                Some(DefaultGateway { gateway, interface: hop.interface, metric: route.metric })
            })
            .collect();
        gateways.sort_by_key(|default| (default.metric, default.gateway));
        gateways
    }

    /// The largest packet that can leave this host: the least MTU of the links that lead to default
    /// gateways, or, without any, of the links that carry an address of a subnet.
    pub fn uplink_mtu(&self) -> Option<u32> {
        let defaults = self.default_gateways();
        let mtu = |interface| {
            self.link(interface).filter(|link| link.is_usable() && !link.loopback).map(|link| link.mtu)
        };
        if let Some(least) = defaults.iter().filter_map(|default| mtu(default.interface)).min() {
            return Some(least);
        }
        let subnets = self.addresses.values().filter(|address| {
            let net = address.address;
            net.prefix_len() < net.max_prefix_len() && !is_link_local(net.addr())
        });
        subnets.filter_map(|address| mtu(address.interface)).min()
    }

    fn is_usable(&self, interface: u32) -> bool {
        self.link(interface).is_some_and(Link::is_usable)
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}
