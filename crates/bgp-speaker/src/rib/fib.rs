//! What the kernel should forward: the selected learned paths, pulled and coalesced by destination.

use std::cmp::Ordering;
use std::net::IpAddr;
use std::num::NonZeroU32;

use ipnet::IpNet;
use smallvec::SmallVec;

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
    pub next_hops: SmallVec<[FibNextHop; 2]>,
    /// Its metric, if policy gives it one.
    pub priority: Option<NonZeroU32>,
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
        let mut ways: SmallVec<[(FibNextHop, Option<f32>); 2]> = self
            .destinations
            .paths(id)
            .filter(|(_, path)| path.state == PathState::Selected)
            .filter_map(|(_, path)| match self.reach(path) {
                Reach::Via(via) => {
                    let hop = FibNextHop { gateway: via.gateway, interface: via.interface, weight: 1 };
                    Some((hop, self.attributes.row(path.attributes).bandwidth))
                }
                Reach::Local | Reach::Own | Reach::OffLink | Reach::Unreachable => None,
            })
            .collect();
        // Two paths over one way are one; the faster tells its bandwidth.
        ways.sort_by(|(one, fast), (other, slow)| {
            one.cmp(other).then(slow.partial_cmp(fast).unwrap_or(Ordering::Equal))
        });
        ways.dedup_by_key(|(hop, _)| *hop);
        weigh(&mut ways);
        let next_hops: SmallVec<_> = ways.into_iter().map(|(hop, _)| hop).collect();
        let priority = self.attributes.row(best.attributes).priority;
        (!next_hops.is_empty()).then_some(FibRoute { next_hops, priority })
    }
}

/// The heaviest weight of a way whose bandwidth is told: fine enough, and small enough for a resilient group's buckets.
const HEAVIEST: f32 = 100.0;

/// Shares of traffic in proportion to bandwidth; alike if one way does not tell its own
/// (draft-ietf-idr-link-bandwidth §3).
#[allow(clippy::cast_sign_loss, reason = "a share is at least one")]
fn weigh(ways: &mut [(FibNextHop, Option<f32>)]) {
    let fastest = ways.iter().try_fold(0.0_f32, |fastest, (_, bandwidth)| Some(fastest.max((*bandwidth)?)));
    let Some(fastest) = fastest.filter(|fastest| *fastest > 0.0) else { return };
    for (hop, bandwidth) in &mut *ways {
        hop.weight = (bandwidth.unwrap_or_default() / fastest * HEAVIEST).round().max(1.0) as u8;
    }
    let divisor = ways.iter().map(|(hop, _)| hop.weight).fold(0, greatest_common_divisor);
    for (hop, _) in ways {
        hop.weight /= divisor;
    }
}

fn greatest_common_divisor(a: u8, b: u8) -> u8 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::{FibNextHop, weigh};

    fn weights(bandwidths: &[Option<f32>]) -> Vec<u8> {
        let way = |bandwidth: &Option<f32>| {
            (FibNextHop { gateway: [10, 0, 0, 1].into(), interface: 1, weight: 1 }, *bandwidth)
        };
        let mut ways: Vec<_> = bandwidths.iter().map(way).collect();
        weigh(&mut ways);
        ways.iter().map(|(hop, _)| hop.weight).collect()
    }

    #[test]
    fn ways_share_by_bandwidth_in_the_smallest_numbers_that_say_so() {
        let of = |bandwidths: &[f32]| weights(&bandwidths.iter().copied().map(Some).collect::<Vec<_>>());
        assert_eq!(of(&[1.25e9, 1.25e9]), [1, 1]);
        assert_eq!(of(&[12.5e9, 2.5e9, 1.25e9]), [10, 2, 1]);
        assert_eq!(of(&[1e9, 3.3e8]), [100, 33]);
        assert_eq!(of(&[1e12, 1.0]), [100, 1], "nobody is left without a share");
        assert_eq!(of(&[0.0, 0.0]), [1, 1]);
    }

    #[test]
    fn ways_share_alike_when_one_does_not_tell_its_bandwidth() {
        assert_eq!(weights(&[Some(1e9), None, Some(5e9)]), [1, 1, 1]);
        assert_eq!(weights(&[]), [0_u8; 0]);
    }
}
