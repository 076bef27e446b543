//! A look into the RIBs, by the names of peers.

use ipnet::IpNet;

use super::Speaker;
use crate::config::PeerKey;
use crate::rib::{Explanation, Page, RibSummary, RouteFilter};

impl Speaker {
    /// What a peer announced, refused routes with their reason; `None` if there is no such peer.
    pub fn received(&self, peer: &PeerKey, filter: &RouteFilter) -> Option<Page> {
        Some(self.rib.adj_rib_in(self.peers.find_by_key(peer)?, filter))
    }

    /// Every route that may be used, and why the best one is.
    pub fn best(&self, filter: &RouteFilter) -> Page {
        self.rib.loc_rib(filter)
    }

    /// What a peer was sent; `None` if there is no such peer.
    pub fn advertised(&self, peer: &PeerKey, filter: &RouteFilter) -> Option<Page> {
        Some(self.rib.adj_rib_out(self.peers.find_by_key(peer)?, filter))
    }

    /// Why a route is here, where it goes and why not elsewhere; `None` if nothing covers the prefix.
    pub fn explain(&self, prefix: IpNet) -> Option<Explanation> {
        self.rib.explain(prefix)
    }

    /// Numbers about all routes.
    pub fn summary(&self) -> RibSummary {
        self.rib.summary()
    }
}
