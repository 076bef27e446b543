//! Import: whether a received path may be used, and what policy makes of its attributes.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use muslin_bgp_packet::{Asn, Community, NextHop};
use smallvec::SmallVec;

use super::attributes::{AttributeId, Attributes, Marks};
use super::destination::PathState;
use super::guard::{Bearer, Guard, Refused};
use super::leaks;
use super::loc_rib::Judged;
use super::next_hops::{NextHopKey, Vicinity};
use super::peers::PeerView;
use super::refusal::Refusal;
use crate::config::{Action, NextHopChange, RouteSource, Verdict};
use crate::policy::{Learned, Memo, Subject, Trail, apply, decide, next_hop, priority};

/// The judge of one set of attributes from one peer: what does not depend on the prefix is found out once.
pub(crate) struct Import {
    view: Arc<PeerView>,
    guard: Arc<Guard>,
    received: AttributeId,
    refusal: Option<Refusal>,
    bearer: Bearer,
    /// Whether the guard lets routes over this next hop in.
    permitted: bool,
    long_lived_stale: bool,
    /// What rules read of the attributes.
    memo: Memo,
    /// What each trail of rules made of the attributes; this judge holds a reference to each.
    made: SmallVec<[(Trail, AttributeId); 2]>,
}

/// The verdict about one prefix, with what decided.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ruling<'a> {
    /// Refused because of the attributes.
    Attributes(Refusal),
    /// Refused by the guard.
    Guard(Refused<'a>),
    /// Decided by the policy.
    Policy(Verdict, Trail),
}

impl Import {
    pub(crate) fn new(
        view: Arc<PeerView>,
        guard: Arc<Guard>,
        attributes: &Attributes,
        received: AttributeId,
    ) -> Self {
        let row = attributes.row(received);
        let next_hop = attributes.next_hop(received).global;
        let external = !view.is_internal();
        let origin = (row.origin_as != 0).then_some(Asn(row.origin_as));
        let bearer = Bearer { external, origin, next_hop };
        let refusal = refuse(&view, attributes, received, next_hop);
        let permitted = guard.check_next_hop(next_hop).is_ok();
        Self {
            view,
            guard,
            received,
            refusal,
            bearer,
            permitted,
            long_lived_stale: false,
            memo: Memo::default(),
            made: SmallVec::new(),
        }
    }

    /// The same for a route that outlived its peer's restart time: it is marked, whatever policy says
    /// (RFC 9494 §4.2).
    pub(crate) fn of_long_lived_stale(self) -> Self {
        Self { long_lived_stale: true, ..self }
    }

    /// What is decided about a prefix, and by what.
    pub(crate) fn rule(&self, prefix: IpNet, attributes: &Attributes) -> Ruling<'_> {
        if let Some(refusal) = self.refusal {
            return Ruling::Attributes(refusal);
        }
        let guard = &self.guard;
        let permitted = if self.permitted { Ok(()) } else { guard.check_next_hop(self.bearer.next_hop) };
        if let Err(refused) = permitted.and_then(|()| guard.check(prefix, self.bearer)) {
            return Ruling::Guard(refused);
        }
        let PeerView { key, address, import, .. } = &*self.view;
        let learned = Learned { peer: key, address: *address, next_hop: self.bearer.next_hop };
        let read = || attributes.decode(self.received);
        let subject = Subject {
            prefix,
            source: RouteSource::Learned,
            label: None,
            learned: Some(learned),
            memo: &self.memo,
            read: &read,
        };
        let (verdict, trail) = decide(import, &subject);
        Ruling::Policy(verdict, trail)
    }

    /// Judges a prefix.
    pub(crate) fn judge(&mut self, prefix: IpNet, attributes: &mut Attributes) -> Judged {
        let received = self.received;
        let refused = |refusal| Judged { received, attributes: received, state: PathState::Refused(refusal) };
        match self.rule(prefix, attributes) {
            Ruling::Attributes(refusal) | Ruling::Guard(Refused { refusal, .. }) => refused(refusal),
            Ruling::Policy(Verdict::Reject, _) => refused(Refusal::Policy),
            Ruling::Policy(Verdict::Accept, trail) => {
                let made = self.make(trail, attributes);
                Judged { received, attributes: made, state: PathState::Accepted }
            }
        }
    }

    /// What the rules of a trail make of the attributes.
    fn make(&mut self, trail: Trail, attributes: &mut Attributes) -> AttributeId {
        let actions = || trail.actions(&self.view.import);
        // RFC 8326 §4: the session or the router is about to go, every other path is better. Within the AS the
        // community means the same, whoever added it: nodes of one AS are drained like any other.
        let shuts_down = attributes.row(self.received).marks.contains(Marks::GRACEFUL_SHUTDOWN);
        let otc = leaks::added_on_ingress(&self.view, attributes, self.received);
        let local_as = self.view.prepends_received.then_some(self.view.local_as);
        let unchanged = actions().next().is_none() && !shuts_down && otc.is_none() && local_as.is_none();
        if unchanged && !self.long_lived_stale {
            return self.received;
        }
        if let Some((_, id)) = self.made.iter().find(|(made_by, _)| *made_by == trail) {
            return *id;
        }
        let mut changed = attributes.decode(self.received);
        if shuts_down {
            apply(&[Action::LocalPref(0)], &mut changed);
        }
        if let Some(asn) = local_as {
            changed.as_path = changed.as_path.prepended(asn, 1);
        }
        changed.otc = changed.otc.or(otc);
        apply(actions(), &mut changed);
        if self.long_lived_stale {
            apply(&[Action::AddCommunity(Community::LLGR_STALE.into())], &mut changed);
        }
        let way = match next_hop(actions()) {
            Some(NextHopChange::Address(address)) => {
                // An operator's word, wherever it leads.
                let from = Vicinity { interface: self.view.interface, one_hop: false };
                NextHopKey::received(NextHop::new(address), from)
            }
            Some(NextHopChange::Itself | NextHopChange::Unchanged) | None => {
                attributes.next_hop(self.received)
            }
        };
        let id = attributes.acquire_with(&changed, way, priority(actions()));
        self.made.push((trail, id));
        id
    }

    /// Gives the references back that were taken while judging.
    pub(crate) fn finish(self, attributes: &mut Attributes) {
        for (_, id) in self.made {
            attributes.release(id);
        }
    }
}

/// Refusals that need no prefix.
fn refuse(
    view: &PeerView,
    attributes: &Attributes,
    received: AttributeId,
    next_hop: IpAddr,
) -> Option<Refusal> {
    let row = attributes.row(received);
    let identity = attributes.identity;
    let own_as = if view.local_as == identity.asn {
        usize::from(row.own_as)
    } else {
        let path = attributes.decode(received).as_path;
        path.count(identity.asn) + path.count(view.local_as)
    };
    #[cfg(feature = "planted-bugs")]
    let own_as = if crate::planted::is_planted(crate::planted::Bug::OwnAsAccepted) { 0 } else { own_as };
    if own_as > usize::from(view.allowed_own_as) {
        return Some(Refusal::OwnAs);
    }
    if row.originator == u32::from(identity.router_id) && row.originator != 0 {
        return Some(Refusal::OwnOriginator);
    }
    if row.marks.contains(Marks::OWN_CLUSTER) {
        return Some(Refusal::OwnCluster);
    }
    if leaks::is_leaked(view, attributes, received) {
        return Some(Refusal::RouteLeak);
    }
    // A link-local next hop without the link that it is of leads nowhere either.
    NextHop::new(next_hop).is_martian().then_some(Refusal::NextHop)
}
