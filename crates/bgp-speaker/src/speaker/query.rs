//! Questions about routes, as a client of the local API puts them.

use ipnet::IpNet;

use super::Speaker;
use crate::config::PeerKey;
use crate::rib::{Explanation, Page, RouteFilter};

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// Every route that may be used, and why the best one is.
    LocRib(RouteFilter),
    /// What a peer announced, refused routes with their reason.
    AdjRibIn {
        /// The peer.
        peer: PeerKey,
        /// Which routes.
        filter: RouteFilter,
    },
    /// What a peer was sent.
    AdjRibOut {
        /// The peer.
        peer: PeerKey,
        /// Which routes.
        filter: RouteFilter,
    },
    /// Why a route is here, where it goes and why not elsewhere.
    Explain(IpNet),
}

/// Its answer.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A page of routes.
    Routes(Page),
    /// All about a destination; `None` if nothing covers the prefix.
    Explanation(Option<Explanation>),
    /// There is no peer of that name.
    NoSuchPeer(PeerKey),
}

impl Speaker {
    /// Looks into the RIBs.
    pub fn query(&self, query: &Query) -> Answer {
        match query {
            Query::LocRib(filter) => Answer::Routes(self.rib.loc_rib(filter)),
            Query::AdjRibIn { peer, filter } => match self.peers.find_by_key(peer) {
                Some(index) => Answer::Routes(self.rib.adj_rib_in(index, filter)),
                None => Answer::NoSuchPeer(peer.clone()),
            },
            Query::AdjRibOut { peer, filter } => match self.peers.find_by_key(peer) {
                Some(index) => Answer::Routes(self.rib.adj_rib_out(index, filter)),
                None => Answer::NoSuchPeer(peer.clone()),
            },
            Query::Explain(prefix) => Answer::Explanation(self.rib.explain(*prefix)),
        }
    }

    /// Numbers about all routes.
    pub fn summary(&self) -> crate::rib::RibSummary {
        self.rib.summary()
    }
}
