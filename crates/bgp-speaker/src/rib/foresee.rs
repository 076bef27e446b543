//! What another import policy and another guard would make of what a peer has announced.

use std::sync::Arc;

use ipnet::IpNet;

use super::guard::Guard;
use super::import::{Import, Ruling};
use super::loc_rib::LocRib;
use super::{PeerIndex, Rib};
use crate::config::{ImportGuard, Policy, Verdict};

/// A route that would be judged otherwise than it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rejudged {
    pub(crate) prefix: IpNet,
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
        let families = muslin_bgp_packet::Family::ALL.into_iter();
        let destinations = families.flat_map(|family| rib.destinations.ordered(family, None));
        let paths = destinations.flat_map(|id| {
            let of_peer = rib.destinations.paths(id).filter(|(_, path)| path.peer == index);
            of_peer.map(move |(_, path)| (id, path)).collect::<Vec<_>>()
        });
        let rejudge = |(id, path): (_, &super::Path)| {
            let prefix = rib.destinations.prefix(id);
            let judge = Import::new(view.clone(), judges.0.clone(), &rib.attributes, path.received);
            let ruling = judge.rule(prefix, &rib.attributes);
            let accepted = matches!(ruling, Ruling::Policy(Verdict::Accept, _));
            (accepted != path.state.is_accepted()).then(|| Rejudged {
                prefix,
                accepted,
                cause: LocRib::ruling_in_words(&ruling, import),
            })
        };
        paths.filter_map(rejudge).collect()
    }
}
