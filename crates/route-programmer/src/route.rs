//! What a caller asks for: routes in terms of prefixes and next hops.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

/// One next hop of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NextHop {
    /// The router to send to, of either family (an IPv4 route may have an IPv6 gateway, RFC 8950);
    /// nothing when the destination is on the link itself.
    pub gateway: Option<IpAddr>,
    /// Index of the interface to send through.
    pub interface: u32,
    /// Share of the traffic relative to the other next hops; zero reads as one.
    pub weight: u8,
    /// The gateway is on the link, even though no address of ours says so.
    pub onlink: bool,
}

impl NextHop {
    /// A gateway of weight one, reached by the interface's own addresses.
    pub fn via(gateway: impl Into<IpAddr>, interface: u32) -> Self {
        Self { gateway: Some(gateway.into()), interface, weight: 1, onlink: false }
    }

    /// Directly on the interface.
    pub fn on(interface: u32) -> Self {
        Self { gateway: None, interface, weight: 1, onlink: false }
    }
}

/// What happens to packets of a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RouteKind {
    /// Forwarded to one of the next hops, chosen by flow. Their order means nothing. Without any next
    /// hop the route cannot be installed and counts as not desired.
    Unicast {
        /// The next hops.
        next_hops: SmallVec<[NextHop; 2]>,
    },
    /// Dropped in silence: for address blocks of our own whose addresses are not in use.
    Blackhole,
}

/// A route that the kernel shall have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredRoute {
    /// Where it leads.
    pub kind: RouteKind,
    /// Priority in the kernel, lower is preferred; nothing for the programmer's own.
    pub metric: Option<u32>,
    /// Source address of this host's own packets, if not the kernel's choice.
    pub source: Option<IpAddr>,
}

impl DesiredRoute {
    /// A route over the given next hops.
    pub fn over(next_hops: impl IntoIterator<Item = NextHop>) -> Self {
        let next_hops = next_hops.into_iter().collect();
        Self { kind: RouteKind::Unicast { next_hops }, metric: None, source: None }
    }

    /// A route that drops.
    pub fn blackhole() -> Self {
        Self { kind: RouteKind::Blackhole, metric: None, source: None }
    }
}

/// A change of what is desired for one prefix; the latest one counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteChange {
    /// The destination; bits beyond its length are ignored.
    pub prefix: IpNet,
    /// The route, or nothing when there shall be none of ours.
    pub route: Option<DesiredRoute>,
}

impl RouteChange {
    /// There shall be this route.
    pub fn install(prefix: IpNet, route: DesiredRoute) -> Self {
        Self { prefix, route: Some(route) }
    }

    /// There shall be no route of ours.
    pub fn withdraw(prefix: IpNet) -> Self {
        Self { prefix, route: None }
    }
}
