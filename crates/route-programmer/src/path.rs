//! Next hops and paths in the one form in which they can be compared.

use std::net::IpAddr;

use smallvec::SmallVec;

use crate::route::RouteKind;
use crate::wire::constants::{AF_INET, AF_INET6};

/// Address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    pub(crate) fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    pub(crate) fn number(self) -> u8 {
        match self {
            Self::V4 => AF_INET,
            Self::V6 => AF_INET6,
        }
    }

    pub(crate) fn from_number(number: u8) -> Option<Self> {
        match number {
            AF_INET => Some(Self::V4),
            AF_INET6 => Some(Self::V6),
            _ => None,
        }
    }
}

/// A next hop without its weight.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Hop {
    pub(crate) gateway: Option<IpAddr>,
    pub(crate) interface: u32,
    pub(crate) onlink: bool,
    /// The gateway's family; without gateway the route's own.
    pub(crate) family: Family,
}

impl Hop {
    pub(crate) fn new(gateway: Option<IpAddr>, interface: u32, onlink: bool, route: Family) -> Self {
        Self { gateway, interface, onlink, family: gateway.map_or(route, Family::of) }
    }
}

/// Where a route leads. Hops are sorted and unique, so that equal sets are equal values.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Path {
    Blackhole,
    Unicast { hops: SmallVec<[(Hop, u8); 2]>, source: Option<IpAddr> },
}

impl Path {
    /// A hop that is named twice gets the sum of its weights.
    pub(crate) fn unicast(hops: impl IntoIterator<Item = (Hop, u8)>, source: Option<IpAddr>) -> Self {
        let mut hops: SmallVec<[(Hop, u8); 2]> = hops.into_iter().collect();
        hops.sort_by(|a, b| a.0.cmp(&b.0));
        hops.dedup_by(|later, kept| {
            let same = later.0 == kept.0;
            if same {
                kept.1 = kept.1.saturating_add(later.1);
            }
            same
        });
        if let [(_, weight)] = hops.as_mut_slice() {
            // The weight of an only hop means nothing, and the kernel does not keep it.
            *weight = 1;
        }
        Self::Unicast { hops, source }
    }

    /// The path of a desired route; nothing for one without next hops.
    pub(crate) fn desired(kind: &RouteKind, source: Option<IpAddr>, family: Family) -> Option<Self> {
        match kind {
            RouteKind::Blackhole => Some(Self::Blackhole),
            RouteKind::Unicast { next_hops } if next_hops.is_empty() => None,
            RouteKind::Unicast { next_hops } => {
                let hops = next_hops
                    .iter()
                    .map(|hop| (Hop::new(hop.gateway, hop.interface, hop.onlink, family), hop.weight.max(1)));
                Some(Self::unicast(hops, source))
            }
        }
    }

    pub(crate) fn hops(&self) -> &[(Hop, u8)] {
        match self {
            Self::Blackhole => &[],
            Self::Unicast { hops, .. } => hops,
        }
    }

    pub(crate) fn source(&self) -> Option<IpAddr> {
        match self {
            Self::Blackhole => None,
            Self::Unicast { source, .. } => *source,
        }
    }
}
