//! What other policies and another guard would make of what peers have announced, and what would be passed on then.

use std::collections::HashSet;
use std::sync::Arc;

use ipnet::IpNet;
use muslin_bgp_packet::Family;

use super::destination::{DestinationId, PathHandle};
use super::guard::Guard;
use super::import::{Import, Ruling};
use super::loc_rib::LocRib;
use super::{PeerIndex, Rib};
use crate::config::{ImportGuard, Policy, Verdict};
use crate::export::GroupKey;
use crate::foresight::{Retold, Told, in_words};

/// A route that would be judged otherwise than it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rejudged {
    pub(crate) prefix: IpNet,
    pub(crate) path: PathHandle,
    /// Whether it would be accepted.
    pub(crate) accepted: bool,
    /// What would decide.
    pub(crate) cause: String,
}

/// Guard and policy in the place of those in force.
pub(crate) struct Judges(Arc<Guard>);

impl Judges {
    pub(crate) fn new(guard: &ImportGuard) -> Self {
        Self(Arc::new(Guard::new(guard.clone())))
    }
}

impl Rib {
    /// The routes of a peer whose acceptance would change.
    pub(crate) fn rejudged(&self, index: PeerIndex, judges: &Judges, import: &Arc<Policy>) -> Vec<Rejudged> {
        let rib = &self.routes;
        let Some(peer) = rib.peers.get(index) else { return Vec::new() };
        let mut view = (*peer.view).clone();
        view.import = import.clone();
        let view = Arc::new(view);
        let paths = rib.in_order().flat_map(|id| {
            let of_peer = rib.destinations.paths(id).filter(|(_, path)| path.peer == index);
            of_peer.map(move |(handle, path)| (id, handle, path)).collect::<Vec<_>>()
        });
        let rejudge = |(id, handle, path): (_, _, &super::Path)| {
            let prefix = rib.destinations.prefix(id);
            let judge = Import::new(view.clone(), judges.0.clone(), &rib.attributes, path.received);
            let ruling = judge.rule(prefix, &rib.attributes);
            let accepted = matches!(ruling, Ruling::Policy(Verdict::Accept, _));
            (accepted != path.state.is_accepted()).then(|| Rejudged {
                prefix,
                path: handle,
                accepted,
                cause: LocRib::ruling_in_words(&ruling, import),
            })
        };
        paths.filter_map(rejudge).collect()
    }

    /// Everything that a peer has announced.
    pub(crate) fn paths_of(&self, index: PeerIndex) -> impl Iterator<Item = PathHandle> {
        let rib = &self.routes;
        let all = rib.in_order().flat_map(|id| rib.destinations.paths(id));
        all.filter(move |(_, path)| path.peer == index).map(|(handle, _)| handle)
    }

    /// What an established peer would be passed on of others' routes by another export policy, if these paths were
    /// gone: gained, lost and told otherwise. Which of the paths that stay is the best one is taken as it is now.
    pub(crate) fn passed_on(
        &self,
        index: PeerIndex,
        export: &Arc<Policy>,
        gone: &HashSet<PathHandle>,
    ) -> PassedOn {
        let mut found = PassedOn::default();
        let rib = &self.routes;
        let Some(group) = self.exports.iter().find(|group| group.members.contains_key(&index)) else {
            return found;
        };
        let before = &group.key;
        let after = GroupKey { shape: before.shape, policy: export.clone() };
        if gone.is_empty() && *before == after {
            return found;
        }
        for id in rib.in_order() {
            let best = rib.destinations.best(id).map(|(handle, _)| handle);
            let next = match best {
                Some(best) if gone.contains(&best) => {
                    rib.ranked(id).into_iter().find(|path| !gone.contains(path))
                }
                best => best,
            };
            let told = |key: &GroupKey, path: Option<PathHandle>| rib.told_of_others(key, index, id, path?);
            match (told(before, best), told(&after, next)) {
                (None, Some(after)) => found.gains.push(after),
                (Some(before), None) => found.loses.push(before),
                (Some(before), Some(after)) if before.attributes != after.attributes => {
                    let Told { prefix, attributes, cause } = after;
                    found.changes.push(Retold {
                        prefix,
                        before: before.attributes,
                        after: attributes,
                        cause,
                    });
                }
                _ => {}
            }
        }
        found
    }
}

/// What a peer would be told otherwise of others' routes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PassedOn {
    pub(crate) gains: Vec<Told>,
    pub(crate) loses: Vec<Told>,
    pub(crate) changes: Vec<Retold>,
}

impl LocRib {
    fn in_order(&self) -> impl Iterator<Item = DestinationId> {
        Family::ALL.into_iter().flat_map(|family| self.destinations.ordered(family, None))
    }

    /// A path as a member of a group is told it; `None` for its own, for ours, and for what it is not sent.
    fn told_of_others(
        &self,
        key: &GroupKey,
        member: PeerIndex,
        id: DestinationId,
        path: PathHandle,
    ) -> Option<Told> {
        let path = self.destinations.path(path);
        if path.peer == member || path.peer == PeerIndex::LOCAL {
            return None;
        }
        let offer = key.offer(self, id, path).ok()?;
        let outgoing = key.rewrite(self, offer, self.destinations.family(id)).ok()?;
        let prefix = self.destinations.prefix(id);
        let mut attributes = in_words(&outgoing.attributes, !key.is_external());
        attributes.push(format!("next hop {}", outgoing.next_hop.global));
        let from = self.peers.get(path.peer).map_or_else(String::new, |peer| peer.view.key.to_string());
        let cause = format!("learned from {from}; {}", offer.trail.cause(&key.policy));
        key.fits(&outgoing, prefix).then_some(Told { prefix, attributes, cause })
    }
}
