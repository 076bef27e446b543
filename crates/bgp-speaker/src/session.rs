//! The state machine of one peer (RFC 4271 §8), without I/O.
//!
//! A [`Session`] stands for one configured peer and for every transport connection with it: usually one,
//! two while a collision is resolved. Time comes in as an argument; what is to be done comes out of
//! [`poll_output`](Session::poll_output) and [`poll_timeout`](Session::poll_timeout). UPDATE and
//! ROUTE-REFRESH messages of the established connection are handed out one by one by
//! [`next_message`](Session::next_message); every other message is dealt with inside.
//!
//! ```text
//!            start                 connected               OPEN                KEEPALIVE
//!   Idle ─────────▶ Connect/Active ─────────▶ OpenSent ─────────▶ OpenConfirm ─────────▶ Established
//!    ▲  hold-down     dial, listen            per connection       collision resolved      UPDATEs flow
//!    └──────────────── every error: NOTIFICATION, close, back-off ◀───────────────────────────┘
//! ```
//!
//! The back-off outlives a short Established, so a peer that flaps costs less and less.

mod backoff;
mod capability_words;
mod collision;
mod connection;
mod ending;
mod negotiation;
mod reason;
mod receive;
mod retention;
mod settings;
mod status;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use muslin_bgp_packet::{Cease, FamilySet, Notification, RouteRefresh};
use smallvec::SmallVec;

use self::backoff::Backoff;
pub(crate) use self::capability_words::{agreed_in_words, capability_in_words};
use self::connection::Connection;
pub use self::connection::{ConnId, Origin};
use self::ending::Penalty;
pub use self::negotiation::{Negotiated, PeerRestart, PeerStart};
pub use self::reason::{EndReason, Stop};
pub use self::receive::Message;
pub use self::retention::LongLived;
use self::retention::Retained;
pub use self::settings::{OwnRestart, Settings};
pub use self::status::{Counters, MessageCounts, State, Timers};

/// RFC 4271 §8.2.2 suggests four minutes for a peer that has not sent its OPEN.
const OPEN_WAIT: Duration = Duration::from_mins(4);

/// A busy peer gets this long for its OPEN, however soon its silence is noticed later.
const SHORTEST_OPEN_WAIT: Duration = Duration::from_secs(15);

/// A connection attempt gets at least the time of two repeated SYNs.
const SHORTEST_CONNECT_WAIT: Duration = Duration::from_secs(4);

/// Connections with one peer at a time; the oldest that never spoke makes room for a new one.
const MAX_CONNECTIONS: usize = 4;

/// What a session asks of its surroundings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionOutput {
    /// Open a transport connection; answer with [`Session::connected`] or [`Session::connect_failed`].
    Connect,
    /// The attempt is no longer wanted.
    CancelConnect,
    /// Write this to the connection.
    Send(ConnId, Bytes),
    /// Close the connection once everything sent before has left.
    Close(ConnId),
    /// The session is established over this connection.
    Up(ConnId, Arc<Negotiated>),
    /// The established session ended.
    Down(EndReason, Retention),
    /// An attempt failed before the session was established.
    Failed(EndReason),
    /// The peer did not come back in its restart time: routes of these families stay for their stale time,
    /// and are used only where there is nothing else (RFC 9494 §4.2).
    LongLived(FamilySet),
    /// The peer did not come back in time: retained routes of these families go.
    RetentionExpired(FamilySet),
}

/// What becomes of a lost peer's routes (RFC 4724 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// They go at once.
    Flush,
    /// Those of these families stay as stale until the peer is back, or [`SessionOutput::RetentionExpired`].
    Retain(FamilySet),
    /// The same, but the peer fell silent and may well be dead: where there are equal paths, others are used.
    RetainSilent(FamilySet),
    /// The same, and what was stale before stays so, too: only one of two connections was lost.
    RetainAll(FamilySet),
}

/// What is being done to get a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Activity {
    /// Idle: administratively down; connections are refused.
    Stopped,
    /// Idle: damped after an error of the peer's; connections are refused until then.
    /// If `None`, until an operator says otherwise.
    Held { until: Option<Instant> },
    /// Active: connections are accepted; ours is tried at that time, never if `None`.
    Waiting { until: Option<Instant> },
    /// Connect: an attempt is under way until that time.
    Connecting { until: Instant },
}

/// One peer's session.
#[derive(Debug)]
pub struct Session {
    settings: Settings,
    activity: Activity,
    connections: SmallVec<[Connection; 1]>,
    backoff: Backoff,
    retained: Option<Retained>,
    own_restart: OwnRestart,
    last_error: Option<(Instant, EndReason)>,
    last_loss: Option<(Instant, EndReason)>,
    counters: Counters,
    shown: State,
    since: Instant,
    outputs: VecDeque<SessionOutput>,
}

impl Session {
    /// A session that does nothing until [`start`](Self::start).
    pub fn new(now: Instant, settings: Settings) -> Self {
        Self {
            settings,
            activity: Activity::Stopped,
            connections: SmallVec::new(),
            backoff: Backoff::default(),
            retained: None,
            own_restart: OwnRestart::default(),
            last_error: None,
            last_loss: None,
            counters: Counters::default(),
            shown: State::Idle,
            since: now,
            outputs: VecDeque::new(),
        }
    }

    /// Starts, or starts again after a stop; the first attempt is made at once.
    pub fn start(&mut self, now: Instant) {
        if self.activity == Activity::Stopped {
            self.backoff = Backoff::default();
            self.dial(now);
        }
        self.note_state(now);
    }

    /// Ends every connection with the NOTIFICATION that `stop` asks for.
    pub fn stop(&mut self, now: Instant, stop: &Stop) {
        let notification = stop.notification();
        let reason = EndReason::Stopped(stop.clone());
        self.cancel_dial();
        if !self.connections.is_empty() {
            self.last_error = Some((now, reason.clone()));
        }
        self.forget_retention();
        for connection in std::mem::take(&mut self.connections) {
            if let Some(notification) = &notification {
                let notification = connection.as_reset(notification.clone());
                self.send_notification(connection.id(), &notification);
            }
            self.outputs.push_back(SessionOutput::Close(connection.id()));
            if let Some(negotiated) = connection.established() {
                let retention = self.retain(now, negotiated, &reason);
                self.last_loss = Some((now, reason.clone()));
                self.outputs.push_back(SessionOutput::Down(reason.clone(), retention));
            }
        }
        self.activity = Activity::Stopped;
        if stop.restarts() {
            self.backoff = Backoff::default();
            self.dial(now);
        }
        self.note_state(now);
    }

    /// Applies new settings; the session is reset only if what was negotiated no longer fits.
    pub fn reconfigure(&mut self, now: Instant, settings: Settings) {
        let renegotiate = !settings.same_negotiation(&self.settings);
        let passive_now = !settings.dials() && self.settings.dials();
        let active_now = settings.dials() && !self.settings.dials();
        self.settings = settings;
        if self.activity == Activity::Stopped {
            return;
        }
        if renegotiate {
            self.stop(now, &Stop::ConfigurationChanged);
        } else if passive_now && self.connections.is_empty() {
            self.cancel_dial();
            self.activity = Activity::Waiting { until: None };
        } else if active_now && self.connections.is_empty() {
            self.dial(now);
        }
        for connection in &mut self.connections {
            connection.hasten_keepalive(now, &self.settings);
        }
        self.note_state(now);
    }

    /// A transport connection is open: ours or the peer's.
    pub fn connected(&mut self, now: Instant, id: ConnId, local: SocketAddr, remote: SocketAddr) {
        let wanted = match (self.activity, id.origin()) {
            (Activity::Stopped | Activity::Held { .. }, _) => false,
            (Activity::Connecting { .. }, Origin::Dialed) => {
                self.activity = Activity::Waiting { until: None };
                true
            }
            (Activity::Waiting { .. } | Activity::Connecting { .. }, _) => true,
        };
        if !wanted {
            // RFC 4271 §8.2.2: in Idle connections are refused; RFC 4486 has the words for it.
            self.refuse(id, &Notification::cease(Cease::ConnectionRejected));
            return;
        }
        if self.connections.len() >= MAX_CONNECTIONS {
            self.make_room();
        }
        let connection = Connection::new(now, id, local, remote, self.settings.open_wait());
        self.connections.push(connection);
        self.doubt_late_rival(now, id);
        let open = connection::open(&self.own_open());
        self.counters.sent.open += 1;
        self.outputs.push_back(SessionOutput::Send(id, open));
        self.note_state(now);
    }

    /// Our attempt to connect failed.
    pub fn connect_failed(&mut self, now: Instant, error: std::io::ErrorKind) {
        if matches!(self.activity, Activity::Connecting { .. }) {
            self.activity = Activity::Waiting { until: None };
            self.attempt_failed(now, EndReason::ConnectFailed { error });
        }
        self.note_state(now);
    }

    /// Octets were given to the connection.
    pub fn sending(&mut self, now: Instant, id: ConnId) {
        if let Some(connection) = self.connections.iter_mut().find(|connection| connection.id() == id) {
            connection.start_send_hold(now, &self.settings);
        }
    }

    /// Octets have left the connection; `waiting` others have not.
    pub fn sent(&mut self, now: Instant, id: ConnId, waiting: usize) {
        if let Some(connection) = self.connections.iter_mut().find(|connection| connection.id() == id) {
            match waiting {
                0 => connection.stop_send_hold(),
                _ => connection.restart_send_hold(now, &self.settings),
            }
        }
    }

    /// The connection is gone; `error` is `None` when the peer closed it in order.
    pub fn closed(&mut self, now: Instant, id: ConnId, error: Option<std::io::ErrorKind>) {
        let reason = match error {
            None => EndReason::ClosedByPeer,
            Some(error) => EndReason::ConnectionFailed { error },
        };
        self.lose(now, id, reason, Penalty::Retry);
        self.note_state(now);
    }

    /// Ends one connection with a NOTIFICATION because of what the peer sent on it.
    pub fn fail(&mut self, now: Instant, id: ConnId, notification: Notification, detail: String) {
        let penalty = Penalty::of_sent(&notification);
        self.punish(now, id, notification, detail, penalty);
    }

    /// Ends the session of a peer that has more prefixes than it may; without a pause it stays down until
    /// [`forgive_limit`](Self::forgive_limit) or a [`Stop::Reset`].
    pub fn fail_over_limit(&mut self, now: Instant, id: ConnId, pause: Option<Duration>, detail: String) {
        let penalty = pause.map_or(Penalty::Stay, Penalty::OverLimit);
        self.punish(now, id, Notification::cease(Cease::MaximumPrefixes), detail, penalty);
    }

    /// The prefix limit has changed: whoever is kept out for it gets a new chance at once.
    pub fn forgive_limit(&mut self, now: Instant) {
        let kept_out = matches!(self.activity, Activity::Held { .. })
            && self.last_error.as_ref().is_some_and(|(_, reason)| reason.is_over_limit());
        if kept_out {
            self.backoff = Backoff::default();
            self.dial(now);
            self.note_state(now);
        }
    }

    fn punish(
        &mut self,
        now: Instant,
        id: ConnId,
        notification: Notification,
        detail: String,
        penalty: Penalty,
    ) {
        let Some(connection) = self.connection(id) else { return };
        let notification = connection.as_reset(notification);
        self.send_notification(id, &notification);
        self.outputs.push_back(SessionOutput::Close(id));
        self.lose(now, id, EndReason::Sent { notification, detail }, penalty);
        self.note_state(now);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.expire_hold_timers(now);
        self.expire_send_hold(now);
        self.close_passed_over(now);
        self.send_due_keepalives(now);
        match self.activity {
            Activity::Connecting { until } if until <= now => {
                self.cancel_dial();
                self.attempt_failed(now, EndReason::ConnectTimedOut { waited: self.settings.connect_wait() });
            }
            Activity::Held { until: Some(until) } | Activity::Waiting { until: Some(until) }
                if until <= now =>
            {
                self.dial(now);
            }
            Activity::Stopped
            | Activity::Held { .. }
            | Activity::Waiting { .. }
            | Activity::Connecting { .. } => {}
        }
        self.age_retained(now);
        self.note_state(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let activity = match self.activity {
            Activity::Stopped => None,
            Activity::Connecting { until } => Some(until),
            Activity::Held { until } | Activity::Waiting { until } => until,
        };
        let timers = self.connections.iter().filter_map(Connection::next_timer).min();
        [activity, timers, self.next_retention()].into_iter().flatten().min()
    }

    /// The next thing to be done for this session.
    pub fn poll_output(&mut self) -> Option<SessionOutput> {
        self.outputs.pop_front()
    }

    /// What it runs by.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What the OPENs to come say of our own restart; those sent stay as they are.
    pub fn set_own_restart(&mut self, restart: OwnRestart) {
        self.own_restart = restart;
    }

    /// The OPEN that a new connection is opened with.
    pub(crate) fn own_open(&self) -> muslin_bgp_packet::Open {
        self.settings.open(self.own_restart())
    }

    /// A session that was established before and is lost finds our forwarding as it was: this process never
    /// stopped (RFC 8538 §4).
    fn own_restart(&self) -> OwnRestart {
        match self.counters.established {
            0 => self.own_restart,
            _ => OwnRestart { forwarding_kept: FamilySet::ALL, ..self.own_restart },
        }
    }

    /// Sends a ROUTE-REFRESH on the established connection.
    pub fn send_refresh(&mut self, refresh: RouteRefresh) {
        if let Some(id) = self.established_connection() {
            self.counters.sent.refresh += 1;
            self.outputs.push_back(SessionOutput::Send(id, connection::refresh(refresh)));
        }
    }

    /// Whether nothing holds this session in memory: no connection, no pause to keep, no routes retained.
    pub fn is_forgettable(&self) -> bool {
        self.connections.is_empty()
            && self.retained.is_none()
            && !matches!(self.activity, Activity::Held { .. } | Activity::Connecting { .. })
    }

    fn connection(&self, id: ConnId) -> Option<&Connection> {
        self.connections.iter().find(|connection| connection.id() == id)
    }

    fn connection_mut(&mut self, id: ConnId) -> Option<&mut Connection> {
        self.connections.iter_mut().find(|connection| connection.id() == id)
    }

    fn established(&self) -> Option<&Connection> {
        self.connections.iter().find(|connection| connection.state() == State::Established)
    }

    /// Tries to connect, unless this side only listens.
    fn dial(&mut self, now: Instant) {
        if !self.settings.dials() {
            self.activity = Activity::Waiting { until: None };
            return;
        }
        // A connection whose peer has spoken will decide by itself; a silent one may be half dead.
        if self.connections.iter().any(|connection| connection.negotiated().is_some()) {
            self.activity = Activity::Waiting { until: None };
            return;
        }
        self.activity = Activity::Connecting { until: now + self.settings.connect_wait() };
        self.outputs.push_back(SessionOutput::Connect);
    }

    fn cancel_dial(&mut self) {
        if matches!(self.activity, Activity::Connecting { .. }) {
            self.activity = Activity::Waiting { until: None };
            self.outputs.push_back(SessionOutput::CancelConnect);
        }
    }

    fn send_notification(&mut self, id: ConnId, notification: &Notification) {
        self.counters.sent.notification += 1;
        self.outputs.push_back(SessionOutput::Send(id, connection::notification(notification)));
    }

    /// Closes a connection that the session does not count as its own.
    fn refuse(&mut self, id: ConnId, notification: &Notification) {
        self.send_notification(id, notification);
        self.outputs.push_back(SessionOutput::Close(id));
    }

    /// Drops the oldest connection on which the peer never spoke, else the newest.
    fn make_room(&mut self) {
        let silent = self.connections.iter().position(|connection| connection.negotiated().is_none());
        let victim = self.connections.remove(silent.unwrap_or(self.connections.len() - 1));
        self.refuse(victim.id(), &Notification::cease(Cease::OutOfResources));
    }

    fn expire_hold_timers(&mut self, now: Instant) {
        let expired: SmallVec<[ConnId; 1]> =
            self.connections.iter().filter(|c| c.hold_expired(now)).map(Connection::id).collect();
        for id in expired {
            let waited = self.connection(id).map(Connection::hold_time).unwrap_or_default();
            let detail = format!("nothing came for {} s", waited.as_secs());
            self.fail(now, id, Notification::hold_timer_expired(), detail);
        }
    }

    /// RFC 9687 §3.2: a peer that takes nothing for so long is given up; it may or may not read why.
    fn expire_send_hold(&mut self, now: Instant) {
        let stuck = self.established().filter(|connection| connection.send_hold_expired(now));
        let Some((id, negotiated)) = stuck.and_then(|c| Some((c.id(), c.established()?.clone()))) else {
            return;
        };
        let waited = self.settings.send_hold_time(negotiated.hold_time);
        let detail = format!("the peer took nothing of what we sent for {} s", waited.as_secs());
        self.fail(now, id, Notification::send_hold_timer_expired(), detail);
    }

    fn send_due_keepalives(&mut self, now: Instant) {
        for connection in &mut self.connections {
            if connection.take_due_keepalive(now, &self.settings) {
                self.counters.sent.keepalive += 1;
                self.outputs.push_back(SessionOutput::Send(connection.id(), connection::keepalive()));
            }
        }
    }

    fn note_state(&mut self, now: Instant) {
        let state = self.state();
        if state != self.shown {
            self.shown = state;
            self.since = now;
        }
    }
}
