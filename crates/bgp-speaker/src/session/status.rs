//! What can be told of a session.

use std::fmt;
use std::time::{Duration, Instant};

use muslin_bgp_packet::MessageType;
use muslin_bgp_packet::frame::{MAX_EXTENDED_LENGTH, peek};
use serde::{Deserialize, Serialize};

use super::connection::Connection;
use super::{Activity, ConnId, EndReason, Negotiated, Session};

/// The states of RFC 4271 §8.2.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// Nothing is done, and connections are refused: shut down, or damped after an error.
    Idle,
    /// Our connection attempt is under way.
    Connect,
    /// Between attempts; the peer may connect.
    Active,
    /// Connected; the peer's OPEN is awaited.
    OpenSent,
    /// Its first KEEPALIVE is awaited.
    OpenConfirm,
    /// Routes are exchanged.
    Established,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Messages of one direction by type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageCounts {
    /// OPEN.
    pub open: u64,
    /// UPDATE.
    pub update: u64,
    /// NOTIFICATION.
    pub notification: u64,
    /// KEEPALIVE.
    pub keepalive: u64,
    /// ROUTE-REFRESH.
    pub refresh: u64,
}

/// What a session counted since it was configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counters {
    /// Messages that came.
    pub received: MessageCounts,
    /// Messages that went.
    pub sent: MessageCounts,
    /// Times that the session became established.
    pub established: u64,
    /// Times that an established session was lost.
    pub lost: u64,
}

impl Session {
    /// The state of its furthest connection, or of the attempts to get one.
    pub fn state(&self) -> State {
        self.connections.iter().map(Connection::state).max().unwrap_or(match self.activity {
            Activity::Stopped | Activity::Held { .. } => State::Idle,
            Activity::Waiting { .. } => State::Active,
            Activity::Connecting { .. } => State::Connect,
        })
    }

    /// Since when it is in this state.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// What went wrong last, and when.
    pub fn last_error(&self) -> Option<(Instant, &EndReason)> {
        self.last_error.as_ref().map(|(at, reason)| (*at, reason))
    }

    /// Why the last session that exchanged routes ended, and when: attempts that fail later do not hide it.
    pub fn last_loss(&self) -> Option<(Instant, &EndReason)> {
        self.last_loss.as_ref().map(|(at, reason)| (*at, reason))
    }

    /// What it counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Counts messages that the RIB made for the peer.
    pub(crate) fn count_sent(&mut self, mut messages: &[u8]) {
        while let Ok(Some((kind, length))) = peek(messages, MAX_EXTENDED_LENGTH) {
            match kind {
                MessageType::Update => self.counters.sent.update += 1,
                MessageType::RouteRefresh => self.counters.sent.refresh += 1,
                MessageType::Open | MessageType::Notification | MessageType::Keepalive => {}
            }
            messages = messages.get(length..).unwrap_or_default();
        }
    }

    /// What was negotiated, if it is established.
    pub fn negotiated(&self) -> Option<&Negotiated> {
        self.established()?.established().map(AsRef::as_ref)
    }

    /// Every open connection with the peer.
    pub fn connections(&self) -> impl Iterator<Item = ConnId> {
        self.connections.iter().map(Connection::id)
    }

    /// Every open connection, as a record needs it; the speaker adds what it knows.
    pub(crate) fn lines(&self) -> impl Iterator<Item = crate::speaker::Line> {
        self.connections.iter().map(|connection| crate::speaker::Line {
            conn: connection.id(),
            peer: crate::config::PeerKey::new(""),
            remote: connection.remote(),
            local: connection.local(),
            peer_open: connection.negotiated().map(|negotiated| negotiated.peer_open.clone()),
            established: None,
            ended: muslin_bgp_packet::FamilySet::EMPTY,
            unread: bytes::Bytes::copy_from_slice(connection.unread()),
        })
    }

    /// The connection that carries routes.
    pub fn established_connection(&self) -> Option<ConnId> {
        self.established().map(Connection::id)
    }

    /// Whether nothing of a message was received on an established connection that still lacks its end.
    pub fn is_between_messages(&self, id: ConnId) -> bool {
        self.established().is_some_and(|connection| connection.id() == id && connection.unread().is_empty())
    }

    /// Both ends of the established connection: ours, the peer's.
    pub fn addresses(&self) -> Option<(std::net::SocketAddr, std::net::SocketAddr)> {
        self.established().map(|connection| (connection.local(), connection.remote()))
    }

    /// Time until the hold timer, the keepalive timer and the next attempt.
    pub fn timers(&self, now: Instant) -> Timers {
        let [hold, keepalive] = self.established().map(|c| c.timers(now)).unwrap_or_default();
        let next_attempt = match self.activity {
            Activity::Held { until } | Activity::Waiting { until } => until,
            Activity::Stopped | Activity::Connecting { .. } => None,
        };
        Timers {
            hold,
            keepalive,
            next_attempt: next_attempt.map(|until| until.saturating_duration_since(now)),
            retention: self.retained_until().map(|until| until.saturating_duration_since(now)),
        }
    }
}

/// Time left on a session's timers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timers {
    /// Until the peer is given up.
    pub hold: Option<Duration>,
    /// Until our next KEEPALIVE.
    pub keepalive: Option<Duration>,
    /// Until we try to connect again.
    pub next_attempt: Option<Duration>,
    /// Until routes of the lost peer are removed.
    pub retention: Option<Duration>,
}
