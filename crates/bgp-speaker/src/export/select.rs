//! Which path of a destination a group is offered, or why none.

use std::fmt;

use muslin_bgp_packet::Family;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::key::{GroupKey, Relation};
use crate::config::{RouteSource, Verdict};
use crate::policy::{Learned, Memo, Subject, Trail, decide};
use crate::rib::{AttributeId, DestinationId, LocRib, Marks, Path, PeerIndex, would_leak};

/// A path to be sent, as what it is made from: its octets are a function of this and the group's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Offer {
    /// Attributes after import.
    pub(crate) attributes: AttributeId,
    /// Who it came from; its source is never sent its own route.
    pub(crate) source: PeerIndex,
    /// The rules of the export policy that apply to it.
    pub(crate) trail: Trail,
}

/// Why a route is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Withheld {
    /// No path of the destination is eligible.
    NoBestPath,
    /// The family was not negotiated.
    Family,
    /// Community `NO_ADVERTISE` (RFC 1997).
    NoAdvertise,
    /// Community `NO_EXPORT` or `NO_EXPORT_SUBCONFED` (RFC 1997).
    NoExport,
    /// ONLY_TO_CUSTOMER, and the peer is none (RFC 9234 §5).
    RouteLeak,
    /// Community `LLGR_STALE`, and the peer does not know what that means (RFC 9494 §4.3).
    LongLivedStale,
    /// Learned from an internal peer, and neither side is a reflector client (RFC 4271 §9.2, RFC 4456 §6).
    NotReflected,
    /// The export policy rejects it.
    Policy,
    /// There is no address that could be sent as next hop.
    NextHop,
    /// Its attributes do not fit into a message (RFC 4271 §9.2).
    TooLong,
    /// It came from the peer itself.
    OwnRoute,
    /// We restarted, and the routes of the peers are not all known yet (RFC 4724 §4.1).
    Deferred,
}

impl fmt::Display for Withheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoBestPath => "no path is eligible",
            Self::Family => "the address family was not negotiated",
            Self::NoAdvertise => "community no-advertise",
            Self::NoExport => "community no-export",
            Self::RouteLeak => "it is only for customers (ONLY_TO_CUSTOMER), and the peer is none",
            Self::LongLivedStale => "community llgr-stale, and the peer has no long-lived graceful restart",
            Self::NotReflected => "learned from an internal peer, and neither side is a reflector client",
            Self::Policy => "rejected by the export policy",
            Self::NextHop => "there is no address that could be sent as next hop",
            Self::TooLong => "the attributes do not fit into a message",
            Self::OwnRoute => "the route came from this peer",
            Self::Deferred => "after our restart the routes of all peers are waited for",
        })
    }
}

/// Offers of one destination with the path identifiers that they are sent under.
pub(crate) type Offers = SmallVec<[(u32, Offer); 1]>;

impl GroupKey {
    /// Whether a path may be sent to the group, and by which rules.
    pub(crate) fn offer(
        &self,
        rib: &LocRib,
        id: DestinationId,
        path: &Path,
    ) -> Result<Offer, (Withheld, Option<Trail>)> {
        let refuse = |why| Err((why, None));
        if !self.shape.families.contains(rib.destinations.family(id)) {
            return refuse(Withheld::Family);
        }
        if rib.defers_learned && path.peer != PeerIndex::LOCAL {
            return refuse(Withheld::Deferred);
        }
        let marks = rib.attributes.row(path.attributes).marks;
        if marks.contains(Marks::NO_ADVERTISE) {
            return refuse(Withheld::NoAdvertise);
        }
        if self.is_external() && marks.intersects(Marks::NO_EXPORT | Marks::NO_EXPORT_SUBCONFED) {
            return refuse(Withheld::NoExport);
        }
        if let Relation::External { role, .. } = self.shape.relation
            && would_leak(role, marks)
        {
            return refuse(Withheld::RouteLeak);
        }
        // RFC 9494 §4.3. Its §4.6 allows more within an AS; who cannot tell such a route from a good one is
        // better off without it.
        let takes_stale = self.shape.takes_long_lived_stale;
        #[cfg(feature = "planted-bugs")]
        let takes_stale =
            takes_stale || crate::planted::is_planted(crate::planted::Bug::LongLivedStaleLeaked);
        if marks.contains(Marks::LLGR_STALE) && !takes_stale {
            return refuse(Withheld::LongLivedStale);
        }
        if matches!(self.shape.relation, Relation::Internal { .. })
            && rib.peer_of(path).is_some_and(|peer| peer.view.is_internal() && !peer.view.is_client())
        {
            return refuse(Withheld::NotReflected);
        }
        let prefix = rib.destinations.prefix(id);
        let (source, label) = match path.peer {
            PeerIndex::LOCAL => rib
                .originated
                .get(&prefix)
                .map_or((RouteSource::Static, None), |route| (route.source, route.label.as_deref())),
            _ => (RouteSource::Learned, None),
        };
        let learned = rib.peer_of(path).map(|peer| Learned {
            peer: &peer.view.key,
            address: peer.view.address,
            next_hop: rib.attributes.next_hop(path.attributes).global,
        });
        let read = || rib.attributes.decode(path.attributes);
        let subject = Subject { prefix, source, label, learned, memo: &Memo::default(), read: &read };
        match decide(&self.policy, &subject) {
            (Verdict::Accept, trail) => Ok(Offer { attributes: path.attributes, source: path.peer, trail }),
            (Verdict::Reject, trail) => Err((Withheld::Policy, Some(trail))),
        }
    }

    /// Everything that the group should be sent of a destination, by identifier.
    pub(crate) fn offers(&self, rib: &LocRib, id: DestinationId) -> Offers {
        if self.sends_several_of(rib.destinations.family(id)) {
            let ranked = rib.ranked(id);
            let paths = ranked.into_iter().map(|handle| rib.destinations.path(handle));
            let offered = paths.filter_map(|path| Some((path, self.offer(rib, id, path).ok()?)));
            return identify(rib, offered.take(usize::from(self.shape.add_path.paths)));
        }
        let mut offers = Offers::new();
        if let Some((_, path)) = rib.destinations.best(id)
            && let Ok(offer) = self.offer(rib, id, path)
        {
            offers.push((0, offer));
        }
        offers
    }

    /// Whether several paths are sent in a family (RFC 7911).
    pub(crate) fn sends_several_of(&self, family: Family) -> bool {
        self.sends_several() && self.shape.add_path.families.contains(family)
    }
}

/// Gives each path the identifier that it is sent under: a function of who it came from and of the identifier
/// that it came with, so that it stays the same whatever is elected, also in the next run (RFC 7911 §5). Where
/// two peers' fall together, which one destination sees once in two billion pairs, the later name moves on.
fn identify<'a>(rib: &LocRib, offered: impl Iterator<Item = (&'a Path, Offer)>) -> Offers {
    let mut offers: SmallVec<[(u32, &Path, Offer); 1]> =
        offered.map(|(path, offer)| (path_id(rib, path), path, offer)).collect();
    offers.sort_unstable_by_key(|(path_id, path, _)| {
        (*path_id, rib.peer_of(path).map(|peer| &peer.view.key), path.id)
    });
    let mut last = None;
    for (path_id, ..) in &mut offers {
        *path_id = last.map_or(*path_id, |last: u32| (last + 1).max(*path_id));
        last = Some(*path_id);
    }
    offers.into_iter().map(|(path_id, _, offer)| (path_id, offer)).collect()
}

/// Below 2^31, so that there is room to move on.
fn path_id(rib: &LocRib, path: &Path) -> u32 {
    const ODD: u32 = 0x9e37_79b1;
    (rib.peer_of(path).map_or(0, |peer| peer.path_seed) ^ path.id.wrapping_mul(ODD)) >> 1
}
