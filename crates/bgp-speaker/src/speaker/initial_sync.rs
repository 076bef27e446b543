//! When the first picture is complete: every peer that can be waited for has sent its routes.
//!
//! What a previous run left in the kernel may be swept only then. A peer that is gone must not hold it up.

use std::time::{Duration, Instant};

use muslin_bgp_packet::FamilySet;

use super::peer::Peer;
use super::{Output, Speaker, SpeakerEvent};
use crate::session::{Negotiated, State};

/// A peer without a session after this long counts as gone.
const GONE_AFTER: Duration = Duration::from_secs(30);

/// Nobody is waited for longer than this.
const LONGEST: Duration = Duration::from_mins(2);

/// A peer without graceful restart need not send an End-of-RIB (RFC 4724 §2). After this long without an
/// UPDATE it has nothing more to say.
const QUIET: Duration = Duration::from_secs(1);

/// How often it is looked whether waiting makes sense still.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The wait for the first picture.
#[derive(Debug)]
pub(super) struct InitialSync {
    started: Instant,
    next_look: Option<Instant>,
}

impl InitialSync {
    pub(super) fn new(now: Instant) -> Self {
        Self { started: now, next_look: Some(now + LOOK_EVERY) }
    }

    pub(super) fn is_done(&self) -> bool {
        self.next_look.is_none()
    }

    /// Something changed: it is looked again with the next timers.
    pub(super) fn look_soon(&mut self, now: Instant) {
        self.next_look = self.next_look.map(|_| now);
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.next_look
    }
}

impl Speaker {
    /// Ends the wait when nobody is left to wait for.
    pub(super) fn watch_initial_sync(&mut self, now: Instant) {
        if self.sync.is_done() {
            return;
        }
        self.watch_deferral(now);
        let waited = now.saturating_duration_since(self.sync.started);
        let waiting = self.peers.iter().any(|(_, peer)| peer.is_waited_for(waited));
        if self.deferral.is_some() || (waiting && waited < LONGEST) {
            self.sync.next_look = Some(now + LOOK_EVERY);
            return;
        }
        self.sync.next_look = None;
        self.outputs.push_back(Output::Event(SpeakerEvent::Synced));
    }
}

impl Peer {
    fn is_waited_for(&self, waited: Duration) -> bool {
        if self.range.is_some() || self.is_shut_down() {
            return false;
        }
        if self.session.state() != State::Established {
            return waited < GONE_AFTER;
        }
        !self.awaiting.is_empty()
    }

    /// Begins the wait for the peer's routes.
    pub(super) fn await_routes(&mut self, now: Instant, negotiated: &Negotiated) {
        self.awaiting = negotiated.families();
        self.quiet = negotiated.end_of_rib.is_none().then(|| now + QUIET);
    }

    /// An UPDATE came: the peer is not quiet.
    pub(super) fn heard_routes(&mut self, now: Instant) {
        self.quiet = self.quiet.map(|_| now + QUIET);
    }

    /// The families that are complete because a peer that need not say so has been quiet.
    pub(super) fn take_quiet_families(&mut self, now: Instant) -> FamilySet {
        if self.quiet.is_none_or(|at| at > now) {
            return FamilySet::EMPTY;
        }
        self.quiet = None;
        std::mem::take(&mut self.awaiting)
    }
}
