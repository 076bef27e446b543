//! The open connections, as a record needs them to put a speaker together again.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use muslin_bgp_packet::{FamilySet, Open};

use super::Speaker;
use crate::config::PeerKey;
use crate::rib::PeerIndex;
use crate::session::{ConnId, Negotiated, Session};

/// A connection as it is.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) conn: ConnId,
    pub(crate) peer: PeerKey,
    pub(crate) remote: SocketAddr,
    pub(crate) local: SocketAddr,
    /// The peer's OPEN, once it came.
    pub(crate) peer_open: Option<Open>,
    /// The peer's number, if routes are exchanged.
    pub(crate) established: Option<PeerIndex>,
    /// Families whose End-of-RIB came.
    pub(crate) ended: FamilySet,
    /// Octets of a message that has not come whole.
    pub(crate) unread: Bytes,
}

impl Speaker {
    /// Every open connection, by the name of its peer.
    pub(crate) fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        for (index, peer) in self.peers.iter() {
            let established = peer.session.established_connection();
            for line in peer.session.lines() {
                let negotiated = peer.session.negotiated();
                let families = negotiated.map_or(FamilySet::EMPTY, Negotiated::families);
                lines.push(Line {
                    peer: peer.key.clone(),
                    established: (established == Some(line.conn)).then_some(index),
                    ended: families.iter().filter(|family| !peer.awaiting.contains(*family)).collect(),
                    ..line
                });
            }
        }
        lines
    }

    /// How often it has dialed.
    pub(crate) fn dialed(&self) -> u64 {
        self.dialed
    }

    /// Takes a connection for a peer's that another speaker had; see [`lines`](Self::lines).
    pub(crate) fn adopt(
        &mut self,
        now: Instant,
        conn: ConnId,
        peer: &PeerKey,
        remote: SocketAddr,
        local: SocketAddr,
    ) {
        let index = self.peers.find_by_key(peer).or_else(|| self.add_range_peer(now, remote));
        let Some((index, peer)) = index.and_then(|index| Some((index, self.peers.get_mut(index)?))) else {
            return;
        };
        let dialing = peer.dialing.take();
        peer.session.connected(now, conn, local, remote);
        if let Some(dialing) = dialing {
            self.peers.detach(dialing);
        }
        self.peers.attach(conn, index);
        self.settle(now, index);
    }

    /// Counts on from there, so that connections to come have the names that they had.
    pub(crate) fn set_dialed(&mut self, dialed: u64) {
        self.dialed = dialed;
    }

    /// A peer's session.
    pub(crate) fn session(&self, index: PeerIndex) -> Option<&Session> {
        Some(&self.peers.get(index)?.session)
    }

    /// The numbers of all peers, by name.
    pub(crate) fn peer_indexes(&self) -> Vec<PeerIndex> {
        self.peers.indexes()
    }

    /// All routes.
    pub(crate) fn rib(&self) -> &crate::rib::Rib {
        &self.rib
    }
}
