//! Prefix limits: what is refused beyond one, when a warning is due, and when the session must end.

use ipnet::IpNet;
use muslin_bgp_packet::Family;

use super::Rib;
use super::loc_rib::LocRib;
use super::peers::{Peer, PeerIndex, slot};
use super::refusal::Refusal;
use super::update::UpdateOutcome;
use crate::config::{OverLimit, PrefixLimit};

/// Where a peer stands with its limit in one family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LimitMark {
    /// There is room.
    #[default]
    Below,
    /// The share is reached at which a warning is given.
    Near,
    /// There were more prefixes than allowed.
    Over,
}

/// What is to be said of a limit; each mark once a session, so that a peer cannot fill the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitNotice {
    /// The family.
    pub family: Family,
    /// Prefixes that the peer has.
    pub received: u32,
    /// The limit.
    pub limit: PrefixLimit,
    /// What was reached.
    pub mark: LimitMark,
}

impl Rib {
    /// Compares a peer with its limit, which may have changed: the end of the session, if it asks for that.
    pub fn check_limit(&mut self, index: PeerIndex) -> Option<UpdateOutcome> {
        self.routes.over_limit(index)
    }
}

impl LocRib {
    /// Whether a new prefix of a peer is beyond a limit that discards; if so, it is counted.
    pub(super) fn discards(&mut self, index: PeerIndex, prefix: IpNet, path_id: u32) -> bool {
        let family = match prefix {
            IpNet::V4(_) => Family::Ipv4Unicast,
            IpNet::V6(_) => Family::Ipv6Unicast,
        };
        let is_full = self.peers.get(index).is_some_and(|peer| {
            let limit = peer.view.max_prefixes.filter(|limit| limit.over == OverLimit::Discard);
            limit.is_some_and(|limit| peer.counts[slot(family)].received >= limit.most)
        });
        let is_known = || {
            let id = self.destinations.find(prefix);
            id.is_some_and(|id| self.destinations.path_of(id, index, path_id).is_some())
        };
        if !is_full || is_known() {
            return false;
        }
        if let Some(peer) = self.peers.get_mut(index) {
            peer.refusals.add(Refusal::PrefixLimit);
            peer.discarded = peer.discarded.with(family);
        }
        true
    }

    /// The end of the session, if a limit that asks for it is exceeded.
    pub(super) fn over_limit(&self, index: PeerIndex) -> Option<UpdateOutcome> {
        let peer = self.peers.get(index).filter(|peer| peer.up)?;
        let limit = peer.view.max_prefixes?;
        match limit.over {
            OverLimit::Discard | OverLimit::Warn => return None,
            OverLimit::Restart(_) | OverLimit::Shutdown => {}
        }
        let family =
            Family::ALL.into_iter().find(|family| peer.counts[slot(*family)].received > limit.most)?;
        Some(UpdateOutcome::PrefixLimit { family, limit })
    }

    /// A mark that was reached for the first time in this session.
    pub(super) fn limit_notice(&mut self, index: PeerIndex) -> Option<LimitNotice> {
        let peer = self.peers.get_mut(index)?;
        let limit = peer.view.max_prefixes?;
        Family::ALL.into_iter().find_map(|family| {
            let mark = peer.limit_mark(family, limit);
            let said = &mut peer.limit_marks[slot(family)];
            let is_news = mark > *said;
            *said = mark.max(*said);
            let received = peer.counts[slot(family)].received;
            is_news.then_some(LimitNotice { family, received, limit, mark })
        })
    }
}

impl Peer {
    fn limit_mark(&self, family: Family, limit: PrefixLimit) -> LimitMark {
        let received = self.counts[slot(family)].received;
        if received > limit.most || self.discarded.contains(family) {
            LimitMark::Over
        } else if limit.warning < 100 && received >= limit.warns_at() {
            LimitMark::Near
        } else {
            LimitMark::Below
        }
    }
}
