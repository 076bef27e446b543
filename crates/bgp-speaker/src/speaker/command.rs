//! What an operator may ask of a running speaker.

use std::sync::Arc;
use std::time::Instant;

use muslin_bgp_packet::{RefreshSubtype, RouteRefresh};

use super::Speaker;
use super::peer::Standing;
use crate::config::PeerKey;
use crate::session::Stop;

/// A request about one peer. One for a peer that does not exist does nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// End the session with Cease/4 and this text, and start again.
    Reset {
        /// The peer.
        peer: PeerKey,
        /// For the peer's operator (RFC 9003); may be empty.
        text: Arc<str>,
    },
    /// Ask the peer to send its routes again (RFC 2918).
    Refresh {
        /// The peer.
        peer: PeerKey,
    },
    /// Send our routes to the peer again.
    Resend {
        /// The peer.
        peer: PeerKey,
    },
    /// End the session with Cease/2 and this text; it stays down until [`Command::Start`].
    Shutdown {
        /// The peer.
        peer: PeerKey,
        /// For the peer's operator (RFC 9003); may be empty.
        text: Arc<str>,
    },
    /// Take back a [`Command::Shutdown`].
    Start {
        /// The peer.
        peer: PeerKey,
    },
}

impl Command {
    /// The peer that it is about.
    pub fn peer(&self) -> &PeerKey {
        match self {
            Self::Reset { peer, .. }
            | Self::Refresh { peer }
            | Self::Resend { peer }
            | Self::Shutdown { peer, .. }
            | Self::Start { peer } => peer,
        }
    }
}

impl Speaker {
    pub(super) fn command(&mut self, now: Instant, command: Command) {
        let Some(index) = self.peers.find_by_key(command.peer()) else { return };
        let Some(peer) = self.peers.get_mut(index) else { return };
        match command {
            Command::Reset { text, .. } => {
                if !peer.is_shut_down() {
                    peer.session.stop(now, &Stop::Reset(text));
                }
            }
            Command::Refresh { .. } => self.request_routes(index),
            Command::Resend { .. } => self.resend_routes(index),
            Command::Shutdown { text, .. } => {
                peer.standing = Standing::CommandedDown;
                peer.session.stop(now, &Stop::Shutdown(text));
            }
            Command::Start { .. } => {
                peer.standing = Standing::Wanted;
                if !peer.is_shut_down() {
                    peer.session.start(now);
                }
            }
        }
        self.settle(now, index);
    }

    /// Asks for every family again, where the peer can be asked.
    pub(super) fn request_routes(&mut self, index: crate::rib::PeerIndex) {
        let Some(peer) = self.peers.get_mut(index) else { return };
        let Some(negotiated) = peer.session.negotiated().filter(|negotiated| negotiated.refresh) else {
            return;
        };
        for family in negotiated.families().iter() {
            let request = RouteRefresh { afi_safi: family.into(), subtype: RefreshSubtype::Request };
            peer.session.send_refresh(request);
        }
    }
}

impl super::Peer {
    /// Whether the configuration or an operator keeps it down.
    pub(super) fn is_shut_down(&self) -> bool {
        self.standing != Standing::Wanted || self.config.shutdown.is_some()
    }
}
