//! One transport connection of a session: its phase, its timers and the octets not yet framed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use muslin_bgp_packet::frame::{KEEPALIVE, MAX_LENGTH};
use muslin_bgp_packet::{Frame, Notification, Open, RouteRefresh};

use super::backoff::jitter;
use super::negotiation::Negotiated;
use super::{OPEN_WAIT, Settings, State};

/// RFC 4271 §4.4: KEEPALIVEs must not come more often than one a second.
const SHORTEST_KEEPALIVE: Duration = Duration::from_secs(1);

/// How much longer a hold timer runs over octets that wait for us.
const SPARED: Duration = Duration::from_secs(1);

/// A transport connection's name. Whoever opens it names it: the speaker those that it dials, the
/// surroundings those that they accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(u64);

impl ConnId {
    /// The `serial`th connection that was accepted.
    pub fn accepted(serial: u64) -> Self {
        Self(serial << 1)
    }

    /// The `serial`th connection that was dialed.
    pub fn dialed(serial: u64) -> Self {
        Self(serial << 1 | 1)
    }

    /// The name as a number, which says who opened it as well.
    pub(crate) fn number(self) -> u64 {
        self.0
    }

    /// The name that a number is.
    pub(crate) fn of_number(number: u64) -> Self {
        Self(number)
    }

    /// Who opened it.
    pub fn origin(self) -> Origin {
        if self.0 & 1 == 0 { Origin::Accepted } else { Origin::Dialed }
    }
}

/// Who opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// We did.
    Dialed,
    /// The peer did.
    Accepted,
}

/// Phases of a connection, each with what it knows.
#[derive(Debug)]
enum Phase {
    OpenSent,
    OpenConfirm(Arc<Negotiated>),
    Established(Arc<Negotiated>),
}

#[derive(Debug)]
pub(super) struct Connection {
    id: ConnId,
    local: SocketAddr,
    remote: SocketAddr,
    opened: Instant,
    phase: Phase,
    entered: Instant,
    buffer: BytesMut,
    /// Whether messages were cut from the chunk in `buffer`.
    chunk_used: bool,
    hold_time: Duration,
    hold: Option<Instant>,
    keepalive: Option<Instant>,
    /// When the peer is given up because it takes nothing (RFC 9687).
    send_hold: Option<Instant>,
    /// Until when the peer may say that it keeps this connection rather than the established one.
    undecided: Option<Instant>,
}

impl Connection {
    pub(super) fn new(
        now: Instant,
        id: ConnId,
        local: SocketAddr,
        remote: SocketAddr,
        open_wait: Duration,
    ) -> Self {
        Self {
            id,
            local,
            remote,
            opened: now,
            phase: Phase::OpenSent,
            entered: now,
            buffer: BytesMut::new(),
            chunk_used: false,
            hold_time: open_wait,
            hold: Some(now + open_wait),
            keepalive: None,
            send_hold: None,
            undecided: None,
        }
    }

    pub(super) fn id(&self) -> ConnId {
        self.id
    }

    pub(super) fn origin(&self) -> Origin {
        self.id.origin()
    }

    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }

    pub(super) fn remote(&self) -> SocketAddr {
        self.remote
    }

    pub(super) fn opened(&self) -> Instant {
        self.opened
    }

    pub(super) fn state(&self) -> State {
        match self.phase {
            Phase::OpenSent => State::OpenSent,
            Phase::OpenConfirm(_) => State::OpenConfirm,
            Phase::Established(_) => State::Established,
        }
    }

    /// What both OPENs agreed on, once the peer's has come.
    pub(super) fn negotiated(&self) -> Option<&Arc<Negotiated>> {
        match &self.phase {
            Phase::OpenSent => None,
            Phase::OpenConfirm(negotiated) | Phase::Established(negotiated) => Some(negotiated),
        }
    }

    /// What both OPENs agreed on, if this connection carries routes.
    pub(super) fn established(&self) -> Option<&Arc<Negotiated>> {
        match &self.phase {
            Phase::Established(negotiated) => Some(negotiated),
            Phase::OpenSent | Phase::OpenConfirm(_) => None,
        }
    }

    pub(super) fn age_in_state(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.entered)
    }

    /// The peer's OPEN was accepted; KEEPALIVEs go at this interval.
    pub(super) fn confirm(&mut self, now: Instant, negotiated: Arc<Negotiated>, interval: Option<Duration>) {
        self.hold_time = negotiated.hold_time;
        self.keepalive = interval.map(|interval| now + interval);
        self.phase = Phase::OpenConfirm(negotiated);
        self.entered = now;
        self.feed_hold_timer(now);
    }

    /// The peer's first KEEPALIVE came.
    pub(super) fn establish(&mut self, now: Instant) -> Option<Arc<Negotiated>> {
        let negotiated = self.negotiated()?.clone();
        self.phase = Phase::Established(negotiated.clone());
        self.entered = now;
        self.feed_hold_timer(now);
        Some(negotiated)
    }

    /// Octets that are not a whole message yet.
    pub(super) fn unread(&self) -> &[u8] {
        &self.buffer
    }

    pub(super) fn append(&mut self, octets: BytesMut) {
        if self.buffer.is_empty() {
            self.buffer = octets;
        } else {
            self.buffer.extend_from_slice(&octets);
        }
    }

    /// The next whole message. What is left of a chunk is moved out of it, so that half a message does
    /// not keep 64 KiB alive.
    pub(super) fn next_frame(&mut self) -> Result<Option<Frame>, Notification> {
        let largest = self.negotiated().map_or(MAX_LENGTH, |n| n.max_message);
        let frame = muslin_bgp_packet::next_frame(&mut self.buffer, largest)?;
        if frame.is_some() {
            self.chunk_used = true;
        } else if std::mem::take(&mut self.chunk_used) {
            self.buffer = BytesMut::from(&self.buffer[..]);
        }
        Ok(frame)
    }

    /// A whole message came (RFC 4271 §8.2.2). Half a message does not count: a peer that sends only
    /// headers is as good as silent. A hold time of zero begins with the session: until then a peer that is gone
    /// would keep its place for ever, and with it every connection that comes after.
    pub(super) fn feed_hold_timer(&mut self, now: Instant) {
        let unlimited = self.hold_time.is_zero();
        let time = if unlimited { OPEN_WAIT } else { self.hold_time };
        self.hold = (!unlimited || self.established().is_none()).then(|| now + time);
    }

    /// Octets wait for us, perhaps a whole message: it gets a moment longer.
    pub(super) fn spare_hold_timer(&mut self, now: Instant) {
        self.hold = self.hold.map(|until| until.max(now + SPARED));
    }

    /// Nothing has come for so long, and nothing waits: a message that was taken in later than it came has fed the hold
    /// timer for longer than it may.
    pub(super) fn backdate_hold_timer(&mut self, now: Instant, silent: Duration) {
        let left = self.hold_time.saturating_sub(silent);
        self.hold = self.hold.map(|until| until.min(now + left));
    }

    pub(super) fn hold_expired(&self, now: Instant) -> bool {
        self.hold.is_some_and(|until| until <= now)
    }

    pub(super) fn hold_time(&self) -> Duration {
        self.hold_time
    }

    /// Whether a KEEPALIVE is due; if so the next one is scheduled, jittered by RFC 4271 §10.
    pub(super) fn take_due_keepalive(&mut self, now: Instant, settings: &Settings) -> bool {
        let interval = self.negotiated().and_then(|negotiated| settings.keepalive_interval(negotiated));
        let (Some(due), Some(interval)) = (self.keepalive, interval) else { return false };
        if due > now {
            return false;
        }
        let seed = settings.salt ^ now.saturating_duration_since(self.opened).as_secs();
        self.keepalive = Some(now + jitter(interval, seed).max(SHORTEST_KEEPALIVE));
        true
    }

    /// Another keepalive time is in force: the next KEEPALIVE does not come later than that.
    pub(super) fn hasten_keepalive(&mut self, now: Instant, settings: &Settings) {
        let interval = self.negotiated().and_then(|negotiated| settings.keepalive_interval(negotiated));
        let latest = interval.map(|interval| now + interval);
        self.keepalive = self.keepalive.min(latest).or(latest);
    }

    /// Octets were given to the connection and wait to leave.
    pub(super) fn start_send_hold(&mut self, now: Instant, settings: &Settings) {
        if self.send_hold.is_none() {
            self.restart_send_hold(now, settings);
        }
    }

    /// Octets have left, others still wait (RFC 9687 §3.2).
    pub(super) fn restart_send_hold(&mut self, now: Instant, settings: &Settings) {
        let time = self.established().map(|negotiated| settings.send_hold_time(negotiated.hold_time));
        self.send_hold = time.map(|time| now + time);
    }

    /// Nothing waits to leave.
    pub(super) fn stop_send_hold(&mut self) {
        self.send_hold = None;
    }

    pub(super) fn send_hold_expired(&self, now: Instant) -> bool {
        self.send_hold.is_some_and(|until| until <= now)
    }

    /// Time left until the hold timer and the keepalive timer fire.
    pub(super) fn timers(&self, now: Instant) -> [Option<Duration>; 2] {
        [self.hold, self.keepalive].map(|timer| timer.map(|at| at.saturating_duration_since(now)))
    }

    pub(super) fn next_timer(&self) -> Option<Instant> {
        [self.hold, self.keepalive, self.send_hold, self.undecided].into_iter().flatten().min()
    }

    /// It is for the peer to choose between this connection and the established one.
    pub(super) fn leave_to_peer(&mut self, until: Instant) {
        self.undecided = self.undecided.or(Some(until));
        self.keepalive = None;
    }

    /// The peer chose this connection; says whether that had been open, and our KEEPALIVE is due.
    pub(super) fn decide(&mut self, now: Instant, interval: Option<Duration>) -> bool {
        let was_open = self.undecided.take().is_some();
        let due = was_open && matches!(self.phase, Phase::OpenConfirm(_));
        if due {
            self.keepalive = interval.map(|interval| now + interval);
        }
        due
    }

    /// Whether the peer may still choose this connection rather than the established one.
    pub(super) fn is_undecided(&self) -> bool {
        self.undecided.is_some()
    }

    /// Whether the peer has had long enough to choose this connection.
    pub(super) fn is_passed_over(&self, now: Instant) -> bool {
        self.undecided.is_some_and(|until| until <= now)
    }
}

/// A KEEPALIVE message.
pub(super) fn keepalive() -> Bytes {
    Bytes::from_static(&KEEPALIVE)
}

/// An OPEN message.
pub(super) fn open(open: &Open) -> Bytes {
    encoded(|out| open.encode(out))
}

/// A NOTIFICATION message.
pub(super) fn notification(notification: &Notification) -> Bytes {
    encoded(|out| notification.encode(out))
}

/// A ROUTE-REFRESH message.
pub(super) fn refresh(refresh: RouteRefresh) -> Bytes {
    encoded(|out| refresh.encode(out))
}

fn encoded(encode: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::new();
    encode(&mut out);
    out.freeze()
}
