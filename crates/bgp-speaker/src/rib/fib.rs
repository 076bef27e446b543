//! What the kernel should forward: the selected learned paths, pulled and coalesced by destination.

use std::net::IpAddr;

use ipnet::IpNet;

use super::changes::Cursor;
use super::destination::{DestinationId, PathState};
use super::loc_rib::LocRib;
use super::next_hops::Reach;
use super::peers::PeerIndex;

/// A change to be made in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FibChange {
    /// Destination.
    pub prefix: IpNet,
    /// The route to have; `None` if there is none any more.
    pub route: Option<FibRoute>,
}

/// A route to be had in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FibRoute {
    /// Where packets go, at least one; several are an ECMP set. Sorted, without duplicates.
    pub next_hops: Vec<FibNextHop>,
}

/// One way of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FibNextHop {
    /// The neighbour; it may be of another family than the destination (RFC 8950).
    pub gateway: IpAddr,
    /// The outgoing interface.
    pub interface: u32,
    /// Share of the traffic, relative to the other ways.
    pub weight: u8,
}

/// The kernel's place among the consumers of changes.
#[derive(Debug)]
pub(crate) struct Fib {
    cursor: Cursor,
}

impl Default for Fib {
    fn default() -> Self {
        Self { cursor: Cursor::At(0) }
    }
}

impl Fib {
    /// Whether changes wait.
    pub(crate) fn has_changes(&self, rib: &LocRib) -> bool {
        !rib.changes.drained(self.cursor)
    }

    /// Appends up to `max` changes.
    pub(crate) fn drain(&mut self, rib: &mut LocRib, max: usize, out: &mut Vec<FibChange>) {
        let end = out.len() + max;
        while out.len() < end {
            let Some(id) = rib.changes.next(&mut self.cursor, &rib.destinations) else { return };
            let route = rib.fib_route(id);
            let destination = &mut rib.destinations[id];
            if route.is_none() && !destination.in_fib {
                continue;
            }
            let was = std::mem::replace(&mut destination.in_fib, route.is_some());
            destination.holders = destination.holders + u16::from(route.is_some()) - u16::from(was);
            #[cfg(feature = "planted-bugs")]
            if route.is_none() && crate::planted::is_planted(crate::planted::Bug::KernelRemovalForgotten) {
                continue;
            }
            out.push(FibChange { prefix: rib.destinations.prefix(id), route });
            rib.destinations.free_if_unused(id);
        }
    }
}

impl LocRib {
    /// The kernel route of a destination. What we originate is not forwarded by a learned route.
    pub(crate) fn fib_route(&self, id: DestinationId) -> Option<FibRoute> {
        let (_, best) = self.destinations.best(id)?;
        if best.peer == PeerIndex::LOCAL {
            return None;
        }
        let mut next_hops: Vec<_> = self
            .destinations
            .paths(id)
            .filter(|(_, path)| path.state == PathState::Selected)
            .filter_map(|(_, path)| match self.reach(path) {
                Reach::Via(via) => {
                    Some(FibNextHop { gateway: via.gateway, interface: via.interface, weight: 1 })
                }
                Reach::Local | Reach::Own | Reach::Unreachable => None,
            })
            .collect();
        next_hops.sort_unstable();
        next_hops.dedup();
        (!next_hops.is_empty()).then_some(FibRoute { next_hops })
    }
}
