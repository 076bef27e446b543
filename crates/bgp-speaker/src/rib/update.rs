//! One UPDATE into the table.

use ipnet::IpNet;
use muslin_bgp_packet::{
    Absent, AfiSafi, AttributeFault, DecodeContext, Family, FamilyNlri, NextHop, Nlri, Notification,
    Treatment, UpdateView, parse_attributes,
};
use smallvec::SmallVec;

use super::attributes::{AttributeId, RawBlock};
use super::destination::PathState;
use super::import::Import;
use super::limit::LimitNotice;
use super::loc_rib::LocRib;
use super::next_hops::NextHopKey;
use super::peers::PeerIndex;
use super::refusal::Refusal;
use crate::config::PrefixLimit;

/// Withdrawn routes of a message that are looked up together.
const TOGETHER: usize = 32;

/// What an UPDATE led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpdateOutcome {
    /// It was applied.
    Accepted(UpdateSummary),
    /// It was applied, and now the peer has more prefixes than it may (Cease, subcode 1).
    PrefixLimit {
        /// The family.
        family: Family,
        /// The limit.
        limit: PrefixLimit,
    },
    /// The session must end with this message.
    Reset(Notification),
}

/// What was in an UPDATE.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpdateSummary {
    /// The family whose End-of-RIB it is (RFC 4724 §2).
    pub end_of_rib: Option<Family>,
    /// Announced prefixes, those treated as withdrawn included.
    pub announced: usize,
    /// Withdrawn prefixes.
    pub withdrawn: usize,
    /// What was wrong with its attributes, to be logged.
    pub faults: Vec<AttributeFault>,
    /// What the prefix limit has to be said about it.
    pub limit: Option<LimitNotice>,
    /// A family that cannot be used for the rest of the session (RFC 7606 §2).
    pub disabled: Option<Family>,
    /// The first route of the session that names us as its originator and is not ours.
    pub own_identifier: Option<IpNet>,
}

/// A set of attributes as an UPDATE brought it.
struct Brought {
    id: Option<AttributeId>,
    absent: Absent,
    faults: Vec<AttributeFault>,
}

impl LocRib {
    /// Applies an UPDATE.
    pub(crate) fn update(&mut self, index: PeerIndex, body: &[u8]) -> UpdateOutcome {
        let Some(peer) = self.peers.get(index) else {
            return UpdateOutcome::Accepted(UpdateSummary::default());
        };
        // A family that was disabled is as if it had not been negotiated.
        let mut context = peer.view.decode;
        context.families =
            context.families.iter().filter(|family| !peer.disabled.contains(*family)).collect();
        match UpdateView::parse(context, body) {
            Ok(view) => self.apply(index, context, &view),
            Err(notification) => UpdateOutcome::Reset(notification),
        }
    }

    fn apply(&mut self, index: PeerIndex, context: DecodeContext, view: &UpdateView<'_>) -> UpdateOutcome {
        let mut summary = UpdateSummary {
            end_of_rib: view.end_of_rib().and_then(AfiSafi::family),
            announced: view.announced().len() + view.mp_reach().map_or(0, |reach| reach.nlri.len()),
            withdrawn: view.withdrawn().len() + view.mp_unreach().map_or(0, |unreach| unreach.nlri.len()),
            ..UpdateSummary::default()
        };
        // One block stands for two sets if the message has routes with two next hops; its faults are the same.
        let reach = view.mp_reach();
        let own = if reach.is_none() || !view.announced().is_empty() {
            Some(self.bring(index, context, view, None))
        } else {
            None
        };
        let multiprotocol = reach.map(|reach| self.bring(index, context, view, Some(reach.next_hop)));
        let (absent, faults) = match own.as_ref().or(multiprotocol.as_ref()) {
            Some(brought) => (brought.absent, brought.faults.clone()),
            None => (Absent::empty(), Vec::new()),
        };
        let own = own.and_then(|brought| brought.id);
        let multiprotocol = multiprotocol.and_then(|brought| brought.id);

        let verdict = view.verdict(absent, &faults);
        let as_withdraw = view.withdraws_announcements(absent, &faults);
        self.count(index, &summary, &verdict);
        summary.faults = faults;
        let reset = match verdict {
            Treatment::SessionReset(notification) => Some(notification),
            Treatment::DisableFamily(afi_safi) => {
                summary.disabled = afi_safi.family();
                None
            }
            Treatment::None | Treatment::AttributeDiscard | Treatment::TreatAsWithdraw => None,
        };
        if reset.is_none() {
            self.withdraw_all(index, &FamilyNlri::Ipv4(view.withdrawn()));
            if let Some(unreach) = view.mp_unreach() {
                self.withdraw_all(index, &unreach.nlri);
            }
            let usable = |id: Option<AttributeId>| id.filter(|_| !as_withdraw);
            let before = self.own_identifier_seen(index);
            self.announce_all(index, usable(own), &FamilyNlri::Ipv4(view.announced()));
            if let Some(reach) = reach {
                self.announce_all(index, usable(multiprotocol), &reach.nlri);
            }
            summary.own_identifier = self.own_identifier_seen(index).filter(|_| before.is_none());
        }
        for id in own.into_iter().chain(multiprotocol) {
            self.attributes.release(id);
        }
        match reset {
            Some(notification) => UpdateOutcome::Reset(notification),
            None => self.over_limit(index).unwrap_or_else(|| {
                summary.limit = self.limit_notice(index);
                UpdateOutcome::Accepted(summary)
            }),
        }
    }

    /// The interned set of the message's block, for the routes with this next hop of MP_REACH_NLRI or, without
    /// one, for those of the message's own fields.
    fn bring(
        &mut self,
        index: PeerIndex,
        context: DecodeContext,
        view: &UpdateView<'_>,
        next_hop: Option<NextHop>,
    ) -> Brought {
        let from = self.peers.get(index).map(|peer| peer.view.vicinity()).unwrap_or_default();
        let pieces = view.attribute_block().runs();
        let block = RawBlock { context: context.attributes, next_hop, from, pieces };
        if let Some((id, absent)) = self.attributes.acquire_raw(&block) {
            return Brought { id: Some(id), absent, faults: Vec::new() };
        }
        let mut scratch = Vec::new();
        let parsed = parse_attributes(context.attributes, view.attribute_block().contiguous(&mut scratch));
        let next_hop =
            next_hop.or_else(|| parsed.attributes.next_hop.map(|address| NextHop::new(address.into())));
        let id = next_hop.map(|next_hop| {
            self.attributes.acquire(&parsed.attributes, NextHopKey::received(next_hop, from))
        });
        if let Some(id) = id
            && parsed.faults.is_empty()
        {
            self.attributes.remember_raw(&block, id, parsed.absent);
        }
        Brought { id, absent: parsed.absent, faults: parsed.faults }
    }

    /// Announces prefixes with one set of attributes; without one they are withdrawn (RFC 7606 §2).
    fn announce_all(&mut self, index: PeerIndex, id: Option<AttributeId>, nlri: &FamilyNlri<'_>) {
        let Some(id) = id else { return self.withdraw_all(index, nlri) };
        let Some(view) = self.peers.get(index).map(|peer| peer.view.clone()) else { return };
        let mut import = Import::new(view, self.guard.clone(), &self.attributes, id);
        for route in nlri.iter() {
            if self.discards(index, route.prefix, route.path_id.unwrap_or(0)) {
                continue;
            }
            let judged = import.judge(route.prefix, &mut self.attributes);
            if let PathState::Refused(refusal) = judged.state
                && let Some(peer) = self.peers.get_mut(index)
            {
                peer.refusals.add(refusal);
                if refusal == Refusal::OwnOriginator && self.originated.get(&route.prefix).is_none() {
                    peer.own_identifier.get_or_insert(route.prefix);
                }
            }
            self.put(index, route.prefix, route.path_id.unwrap_or(0), judged);
        }
        import.finish(&mut self.attributes);
    }

    /// A route that a peer sent in this session with us as originator though it is not ours.
    pub(crate) fn own_identifier_seen(&self, index: PeerIndex) -> Option<IpNet> {
        self.peers.get(index)?.own_identifier
    }

    fn withdraw_all(&mut self, index: PeerIndex, nlri: &FamilyNlri<'_>) {
        let mut routes = nlri.iter();
        loop {
            // Looked up one after the other and used afterwards: a table that no cache holds answers several look-ups
            // in the time of one.
            let known =
                |route: Nlri<IpNet>| (self.destinations.find(route.prefix), route.path_id.unwrap_or(0));
            let found: SmallVec<[_; TOGETHER]> = routes.by_ref().take(TOGETHER).map(known).collect();
            if found.is_empty() {
                return;
            }
            for (known, path_id) in found {
                // A prefix that the message names twice may have lost its destination meanwhile, and then has no path.
                if let Some(id) = known
                    && let Some(handle) = self.destinations.path_of(id, index, path_id)
                {
                    self.remove(id, handle);
                }
            }
        }
    }

    fn count(&mut self, index: PeerIndex, summary: &UpdateSummary, verdict: &Treatment) {
        let Some(peer) = self.peers.get_mut(index) else { return };
        peer.received.updates += 1;
        peer.received.announced += summary.announced as u64;
        peer.received.withdrawn += summary.withdrawn as u64;
        peer.received.treated_as_withdraw += u64::from(*verdict == Treatment::TreatAsWithdraw);
        peer.received.attributes_discarded += u64::from(*verdict == Treatment::AttributeDiscard);
    }
}
