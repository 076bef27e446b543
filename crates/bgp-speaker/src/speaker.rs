//! The whole speaker without I/O: sessions, RIB and configuration behind four verbs.
//!
//! ```text
//!   Input ──▶ handle_input ─┐
//!                           ├─▶ sessions ──▶ RIB ──▶ fib_changes (pulled by the route programmer)
//!   clock ──▶ handle_timeout┘       │         │
//!                                   ▼         ▼ advance: bounded slices, routes pulled by peers with room
//!                              poll_output ◀──┘        poll_timeout: when to come back
//! ```
//!
//! The same object runs under tokio ([`net`](crate::net)), in a simulator with virtual time, and in tests.
//! It owns no clock, socket or thread; equal inputs give equal outputs.

mod command;
mod configure;
mod deferral;
mod egress;
mod event;
mod foresee;
mod identifiers;
mod initial_sync;
mod input;
mod lines;
mod peer;
mod peers;
mod query;
mod rib_seam;
mod rounds;
mod start;
mod status;
#[cfg(test)]
mod tests;
mod timers;
mod watch;

use std::collections::VecDeque;
use std::time::Instant;

pub use self::command::Command;
use self::deferral::Deferral;
pub use self::event::SpeakerEvent;
pub(crate) use self::foresee::needs_reset;
use self::initial_sync::InitialSync;
pub use self::input::{Input, ListenPlan, Output, SocketOptions};
pub(crate) use self::lines::Line;
use self::peer::Peer;
use self::peers::Peers;
pub use self::query::{Answer, Query};
use self::rounds::Rounds;
pub use self::start::Start;
pub use self::status::{
    CapabilityStatus, ExportStatus, FamilyStatus, LastError, NegotiatedStatus, PeerRestartStatus, PeerStatus,
    RangeStatus, RestartStatus, SpeakerStatus,
};
use self::timers::TimerQueue;
pub use self::watch::{TableEvent, TableWatch};
use crate::config::{ConfigError, SpeakerConfig};
use crate::rib::{FibChange, NextHopResolver, PeerIndex, Rib};
use crate::session::{ConnId, Stop};

/// Destinations that one slice of background work looks at: about a millisecond.
const DESTINATIONS_A_SLICE: usize = 4096;

/// A BGP speaker without I/O.
pub struct Speaker {
    config: SpeakerConfig,
    peers: Peers,
    rib: Rib,
    timers: TimerQueue,
    sync: InitialSync,
    start: Start,
    deferral: Option<Deferral>,
    outputs: VecDeque<Output>,
    /// Peers for which the RIB may have something to send and whose connection has room.
    hungry: VecDeque<PeerIndex>,
    rounds: Rounds,
    /// Ready peers as the RIB reports them; kept to spare an allocation a slice.
    ready: Vec<PeerIndex>,
    dialed: u64,
    /// Events that were told.
    told: u64,
    started: Instant,
    stopping: bool,
}

impl Speaker {
    /// A speaker with this configuration that no earlier one precedes; its first outputs open listeners and
    /// connections.
    pub fn new(
        now: Instant,
        config: SpeakerConfig,
        resolver: Box<dyn NextHopResolver + Send>,
    ) -> Result<Self, ConfigError> {
        Self::started(now, config, resolver, Start::Fresh)
    }

    /// A speaker that comes to life by `start`.
    pub fn started(
        now: Instant,
        config: SpeakerConfig,
        resolver: Box<dyn NextHopResolver + Send>,
        start: Start,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        let empty = SpeakerConfig::new(config.asn, config.router_id);
        let mut speaker = Self {
            rib: Rib::new(now, rib_seam::rib_config(&empty), resolver),
            config: empty,
            peers: Peers::default(),
            timers: TimerQueue::new(now),
            sync: InitialSync::new(now),
            start,
            deferral: start.is_restart().then(|| Deferral::new(now)),
            outputs: VecDeque::new(),
            hungry: VecDeque::new(),
            rounds: Rounds::default(),
            ready: Vec::new(),
            dialed: 0,
            told: 0,
            started: now,
            stopping: false,
        };
        speaker.rib.defer_learned(start.is_restart());
        speaker.configure(now, config)?;
        Ok(speaker)
    }

    /// Fires every timer that is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((index, at)) = self.timers.pop_due(now) {
            let Some(peer) = self.peers.get_mut(index) else { continue };
            if peer.scheduled != Some(at) {
                continue;
            }
            peer.scheduled = None;
            peer.session.handle_timeout(now);
            self.end_quiet_wait(now, index);
            self.settle(now, index);
        }
        self.watch_initial_sync(now);
    }

    /// Connections of the peers whose timers [`handle_timeout`](Self::handle_timeout) would look at now.
    pub fn due(&self, now: Instant) -> impl Iterator<Item = ConnId> {
        self.timers
            .due(now)
            .filter_map(|(index, at)| self.peers.get(index).filter(|peer| peer.scheduled == Some(at)))
            .flat_map(|peer| peer.session.connections())
    }

    /// Whether a connection is established and nothing of a message has come on it that still lacks its end.
    pub fn is_between_messages(&self, conn: ConnId) -> bool {
        let peer = self.peers.index_of_connection(conn).and_then(|index| self.peers.get(index));
        peer.is_some_and(|peer| peer.session.is_between_messages(conn))
    }

    /// When [`handle_timeout`](Self::handle_timeout), and [`advance`](Self::advance) after it, want to be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.timers.next(), self.sync.deadline(), self.rest()].into_iter().flatten().min()
    }

    /// Whether routes wait to be sent together with others.
    pub fn rests(&self) -> bool {
        self.rest().is_some()
    }

    /// The next thing to be done outside.
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front();
        self.told += u64::from(matches!(output, Some(Output::Event(_))));
        output
    }

    /// Does one slice of the work that can wait: elections, removing what lost peers left, filling
    /// connections that have room. Returns whether more can be done at once; timers and inputs go between slices.
    pub fn advance(&mut self, now: Instant) -> bool {
        let more = self.rib.advance(now, DESTINATIONS_A_SLICE);
        let hungry = self.feed_connections(now);
        self.peers.recycle(&self.rib);
        more || hungry
    }

    /// Moves up to `max` changes of the kernel's routes to `out`, newest state of each destination only.
    /// After a restart there are none until the peers' routes are known: what was kept stays as it is.
    pub fn fib_changes(&mut self, max: usize, out: &mut Vec<FibChange>) {
        if self.deferral.is_none() {
            self.rib.drain_fib(max, out);
        }
    }

    /// Whether [`fib_changes`](Self::fib_changes) has something.
    pub fn has_fib_changes(&self) -> bool {
        self.deferral.is_none() && self.rib.has_fib_changes()
    }

    /// Whether every peer that can be waited for has sent its routes, so that what a previous run left in
    /// the kernel can be compared with what was learned.
    pub fn is_synced(&self) -> bool {
        self.sync.is_done()
    }

    /// Ends every session in the way `stop` says; afterwards only the outputs remain to be performed.
    pub fn stop(&mut self, now: Instant, stop: &Stop) {
        self.stopping = true;
        for index in self.peers.indexes() {
            if let Some(peer) = self.peers.get_mut(index) {
                peer.session.stop(now, stop);
                self.settle(now, index);
            }
        }
        self.outputs.push_back(Output::Listen(ListenPlan::default()));
    }

    /// The configuration in force.
    pub fn config(&self) -> &SpeakerConfig {
        &self.config
    }

    fn peer_of(&mut self, conn: ConnId) -> Option<(PeerIndex, &mut Peer)> {
        let index = self.peers.index_of_connection(conn)?;
        Some((index, self.peers.get_mut(index)?))
    }
}
