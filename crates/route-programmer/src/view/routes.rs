//! Foreign routes, with longest match.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::PrefixMap;
use serde::Serialize;
use smallvec::SmallVec;

use crate::path::Family;
use crate::wire::constants::{RTN_BLACKHOLE, RTN_PROHIBIT, RTN_THROW, RTN_UNICAST, RTN_UNREACHABLE};
use crate::wire::route::RouteMessage;

/// A route that is not ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ForeignRoute {
    /// What happens to its packets.
    pub kind: ForeignKind,
    /// Routing protocol number: 2 is the kernel, 3 boot, 4 an administrator, 9 router advertisements.
    pub protocol: u8,
    /// Metric; lower is preferred.
    pub metric: u32,
    /// Type of service, a part of the route's identity in IPv4.
    pub tos: u8,
    /// Source address that it prefers.
    pub source: Option<IpAddr>,
    /// Largest packet that it allows, in bytes.
    pub mtu: Option<u32>,
    /// Next hops.
    pub hops: SmallVec<[ForeignHop; 1]>,
}

/// What a foreign route does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ForeignKind {
    /// Forwards.
    Unicast,
    /// Discards, with or without an answer.
    Discard,
    /// Ends the look-up in this table.
    Throw,
}

/// A next hop of a foreign route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ForeignHop {
    /// The router; nothing when the destination is on the link.
    pub gateway: Option<IpAddr>,
    /// Index of the interface.
    pub interface: u32,
}

impl ForeignRoute {
    /// Nothing for kinds that are no way for a packet (multicast, broadcast, local).
    pub(crate) fn from_message(message: &RouteMessage) -> Option<Self> {
        let kind = match message.kind {
            RTN_UNICAST => ForeignKind::Unicast,
            RTN_BLACKHOLE | RTN_UNREACHABLE | RTN_PROHIBIT => ForeignKind::Discard,
            RTN_THROW => ForeignKind::Throw,
            _ => return None,
        };
        // Dead hops too: the kernel revives them without a word, and look-ups ask the link anyway.
        let hops = message.hops.iter();
        Some(Self {
            kind,
            protocol: message.protocol,
            metric: message.metric,
            tos: message.tos,
            source: message.source,
            mtu: message.mtu,
            hops: hops.map(|hop| ForeignHop { gateway: hop.gateway, interface: hop.interface }).collect(),
        })
    }

    /// Whether the other route is this one with the same next hops, or with more.
    fn is_within(&self, other: &Self) -> bool {
        let same = |route: &Self| (route.metric, route.tos, route.protocol, route.kind);
        same(self) == same(other) && self.hops.iter().all(|hop| other.hops.contains(hop))
    }

    fn same_key(&self, other: &Self) -> bool {
        (self.metric, self.tos) == (other.metric, other.tos)
    }
}

/// Routes of one prefix, best metric first.
type Routes = SmallVec<[ForeignRoute; 1]>;

#[derive(Clone, Default)]
pub(crate) struct RouteTable {
    v4: PrefixMap<Ipv4Net, Routes>,
    v6: PrefixMap<Ipv6Net, Routes>,
}

impl RouteTable {
    /// Adds a route; with `replace`, in the place of those with its key.
    pub(crate) fn insert(&mut self, prefix: IpNet, route: ForeignRoute, replace: bool) {
        let routes = match prefix {
            IpNet::V4(prefix) => self.v4.entry(prefix).or_default(),
            IpNet::V6(prefix) => self.v6.entry(prefix).or_default(),
        };
        // An IPv6 route that gains a next hop is told anew, whole, and not as a replacement.
        routes.retain(|known| !(known.same_key(&route) && (replace || known.is_within(&route))));
        let position = routes.partition_point(|known| known.metric <= route.metric);
        routes.insert(position, route);
    }

    /// Removes one route: the same in every word if there is such, else one with its key and protocol.
    pub(crate) fn remove(&mut self, prefix: IpNet, route: &ForeignRoute) {
        match prefix {
            IpNet::V4(prefix) => remove_from(&mut self.v4, &prefix, route),
            IpNet::V6(prefix) => remove_from(&mut self.v6, &prefix, route),
        }
    }

    /// Removes the routes of a family that have no way but this link: the kernel flushes IPv4 routes
    /// without a word when a link is set down or loses its last address.
    pub(crate) fn flush_link(&mut self, interface: u32, family: Family) {
        match family {
            Family::V4 => flush(&mut self.v4, interface),
            Family::V6 => flush(&mut self.v6, interface),
        }
    }

    /// The best route for the destination and its first next hop that is usable.
    pub(crate) fn lookup(
        &self,
        destination: IpAddr,
        usable: impl Fn(u32) -> bool,
    ) -> Option<(&ForeignRoute, ForeignHop)> {
        match destination {
            IpAddr::V4(address) => {
                let mut covering: SmallVec<[&Routes; 8]> = self.v4.cover_values(&address.into()).collect();
                choose(&mut covering, usable)
            }
            IpAddr::V6(address) => {
                let mut covering: SmallVec<[&Routes; 8]> = self.v6.cover_values(&address.into()).collect();
                choose(&mut covering, usable)
            }
        }
    }

    /// The routes of exactly this prefix, best metric first.
    pub(crate) fn get(&self, prefix: IpNet) -> &[ForeignRoute] {
        let routes = match prefix {
            IpNet::V4(prefix) => self.v4.get(&prefix),
            IpNet::V6(prefix) => self.v6.get(&prefix),
        };
        routes.map_or(&[], Routes::as_slice)
    }

    pub(crate) fn defaults(&self) -> impl Iterator<Item = &ForeignRoute> {
        let v4 = self.v4.get(&Ipv4Net::default()).into_iter().flatten();
        v4.chain(self.v6.get(&Ipv6Net::default()).into_iter().flatten())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (IpNet, &ForeignRoute)> {
        let v4 = self
            .v4
            .iter()
            .flat_map(|(prefix, routes)| routes.iter().map(move |route| (IpNet::V4(prefix), route)));
        let v6 = self
            .v6
            .iter()
            .flat_map(|(prefix, routes)| routes.iter().map(move |route| (IpNet::V6(prefix), route)));
        v4.chain(v6)
    }
}

/// Shortest match first in, so that the last one is the longest.
fn choose<'a>(
    covering: &mut SmallVec<[&'a Routes; 8]>,
    usable: impl Fn(u32) -> bool,
) -> Option<(&'a ForeignRoute, ForeignHop)> {
    while let Some(routes) = covering.pop() {
        for route in routes {
            match route.kind {
                ForeignKind::Discard | ForeignKind::Throw => return None,
                ForeignKind::Unicast => {
                    if let Some(hop) = route.hops.iter().find(|hop| usable(hop.interface)) {
                        return Some((route, *hop));
                    }
                }
            }
        }
    }
    None
}

fn remove_from<P: prefix_trie::Prefix>(map: &mut PrefixMap<P, Routes>, prefix: &P, route: &ForeignRoute) {
    let Some(routes) = map.get_mut(prefix) else { return };
    if let Some(position) = routes.iter().position(|known| known == route) {
        routes.remove(position);
    } else if let Some(position) = routes.iter().position(|known| route.is_within(known)) {
        // An IPv6 route that loses one of its next hops.
        routes[position].hops.retain(|hop| !route.hops.contains(hop));
    } else if let Some(position) =
        routes.iter().position(|known| known.same_key(route) && known.protocol == route.protocol)
    {
        routes.remove(position);
    }
    if routes.is_empty() {
        map.remove(prefix);
    }
}

fn flush<P: prefix_trie::Prefix>(map: &mut PrefixMap<P, Routes>, interface: u32) {
    for (_, routes) in map.iter_mut() {
        routes
            .retain(|route| route.hops.is_empty() || route.hops.iter().any(|hop| hop.interface != interface));
    }
    map.retain(|_, routes| !routes.is_empty());
}

impl PartialEq for RouteTable {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for RouteTable {}

impl std::fmt::Debug for RouteTable {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_map().entries(self.iter()).finish()
    }
}
