//! After a restart: the wait for the peers' routes before any of them is used or passed on (RFC 4724 §4.1).
//!
//! A route that is announced too early may be a worse one, and an End-of-RIB that is sent too early makes the
//! peers drop what has only not come yet. A peer that is gone must not hold this up, and neither must one that
//! restarts as well: it waits for us.

use std::time::{Duration, Instant};

use super::Speaker;
use super::peer::Peer;
use crate::session::PeerStart;

/// A peer without a session after this long counts as gone; so do those of listen ranges that we cannot know.
const ABSENT_AFTER: Duration = Duration::from_secs(5);

/// A peer that could not be reached, or refused us, for this long is gone.
const REFUSED_AFTER: Duration = Duration::from_secs(2);

/// RFC 4724 §5, `Selection_Deferral_Timer`: below the restart time that we offer, so that peers hear our
/// End-of-RIB before they lose patience.
const LONGEST: Duration = Duration::from_mins(1);

/// The wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deferral {
    since: Instant,
}

impl Deferral {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now }
    }
}

impl Speaker {
    /// Ends the wait when nobody is left to wait for.
    pub(super) fn watch_deferral(&mut self, now: Instant) {
        let Some(deferral) = self.deferral else { return };
        let waited = now.saturating_duration_since(deferral.since);
        let unknown_peers = !self.peers.ranges().is_empty() && waited < ABSENT_AFTER;
        let waits = unknown_peers || self.peers.iter().any(|(_, peer)| peer.is_deferred_for(waited));
        if waits && waited < LONGEST {
            return;
        }
        self.deferral = None;
        self.rib.defer_learned(false);
        for index in self.peers.indexes() {
            if let Some(peer) = self.peers.get_mut(index) {
                peer.session.set_own_restart(self.start.in_open(false));
            }
        }
    }
}

impl Peer {
    fn is_deferred_for(&self, waited: Duration) -> bool {
        match self.session.negotiated() {
            _ if self.is_shut_down() => false,
            Some(negotiated) => {
                negotiated.end_of_rib == Some(PeerStart::Running) && !self.awaiting.is_empty()
            }
            // A peer of a range comes back by itself, and as another one if it was forgotten.
            None if self.range.is_some() => false,
            None => waited < if self.reported.is_some() { REFUSED_AFTER } else { ABSENT_AFTER },
        }
    }
}
