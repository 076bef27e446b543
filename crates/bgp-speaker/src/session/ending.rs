//! How a connection ends, what becomes of its routes, and when the peer gets its next chance.

use std::time::{Duration, Instant};

use muslin_bgp_packet::{Cease, Notification};
use smallvec::SmallVec;

use super::backoff::Backoff;
use super::connection::Connection;
use super::{
    Activity, ConnId, EndReason, Negotiated, PeerRestart, Retained, Retention, Session, SessionOutput, State,
    Stop,
};

/// After this long in Established a failure counts as the first again.
const STABLE_AFTER: Duration = Duration::from_secs(30);

/// Ends that are meant: the routes of neither side are to stay in use (RFC 8538 §5).
const MEANT: [Cease; 5] = [
    Cease::MaximumPrefixes,
    Cease::AdministrativeShutdown,
    Cease::PeerDeconfigured,
    Cease::AdministrativeReset,
    Cease::OutOfResources,
];

/// How soon a peer gets its next chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Penalty {
    /// After the back-off, but connections of the peer are accepted meanwhile.
    Retry,
    /// After the back-off, and nothing is accepted meanwhile.
    Hold,
    /// After this time, longer for each time in a row; nothing is accepted meanwhile.
    OverLimit(Duration),
    /// When an operator says so.
    Stay,
}

impl Session {
    pub(super) fn attempt_failed(&mut self, now: Instant, reason: EndReason) {
        self.last_error = Some((now, reason.clone()));
        self.outputs.push_back(SessionOutput::Failed(reason));
        self.rest(now, Penalty::Retry);
    }

    /// Forgets a connection and decides what comes next.
    pub(super) fn lose(&mut self, now: Instant, id: ConnId, reason: EndReason, penalty: Penalty) {
        let Some(position) = self.connections.iter().position(|connection| connection.id() == id) else {
            return;
        };
        let connection = self.connections.remove(position);
        let collided = reason.is_collision() || connection.is_undecided();
        if !collided || connection.state() == State::Established {
            self.last_error = Some((now, reason.clone()));
        }
        if let Some(negotiated) = connection.established() {
            if connection.age_in_state(now) >= STABLE_AFTER {
                self.backoff = Backoff::default();
            }
            let retention = self.retain(now, negotiated, &reason);
            self.counters.lost += 1;
            self.last_loss = Some((now, reason.clone()));
            self.outputs.push_back(SessionOutput::Down(reason, retention));
            let others: SmallVec<[ConnId; 1]> = self.connections.iter().map(Connection::id).collect();
            for other in others {
                self.decide_for(now, other);
            }
        } else if !collided {
            self.outputs.push_back(SessionOutput::Failed(reason));
        }
        if self.connections.is_empty() && !matches!(self.activity, Activity::Connecting { .. }) {
            self.rest(now, penalty);
        } else if penalty != Penalty::Retry {
            self.backoff.count();
        }
    }

    pub(super) fn retain(&mut self, now: Instant, negotiated: &Negotiated, reason: &EndReason) -> Retention {
        let Some(restart) = negotiated.graceful_restart else { return Retention::Flush };
        // The peer is there, and has chosen another connection. A reset may overtake the words for it.
        let collided = match reason {
            EndReason::ClosedByPeer | EndReason::ConnectionFailed { .. } => {
                self.connections.iter().any(Connection::is_undecided)
            }
            _ => reason.is_collision(),
        };
        if restart.families.is_empty() || !(collided || reason.is_graceful(&restart)) {
            return Retention::Flush;
        }
        let long_lived = negotiated.long_lived.unwrap_or_default();
        self.retained = Some(Retained::new(now, restart.families, restart.time, long_lived));
        match reason {
            _ if collided => Retention::RetainAll(restart.families),
            EndReason::Sent { notification, .. } if *notification == Notification::hold_timer_expired() => {
                Retention::RetainSilent(restart.families)
            }
            _ => Retention::Retain(restart.families),
        }
    }

    /// Waits as long as the penalty asks; nothing is connected.
    fn rest(&mut self, now: Instant, penalty: Penalty) {
        let pause = self.backoff.next(self.settings.connect_retry, self.settings.salt);
        self.activity = match penalty {
            Penalty::Hold => Activity::Held { until: Some(now + pause) },
            Penalty::OverLimit(first) => {
                Activity::Held { until: Some(now + self.backoff.after_limit(first).max(pause)) }
            }
            Penalty::Stay => Activity::Held { until: None },
            Penalty::Retry => Activity::Waiting { until: self.settings.dials().then_some(now + pause) },
        };
    }
}

impl Connection {
    /// A NOTIFICATION as it goes to the peer: where any other one would leave our routes in use there, an end
    /// that is meant is said by a Hard Reset (RFC 8538 §3.1).
    pub(super) fn as_reset(&self, notification: Notification) -> Notification {
        let restart = self.established().and_then(|negotiated| negotiated.graceful_restart);
        if MEANT.iter().any(|reason| notification.is_cease(*reason))
            && restart.is_some_and(|restart| restart.over_notification)
        {
            Notification::hard_reset(&notification)
        } else {
            notification
        }
    }
}

impl EndReason {
    /// Whether the peer's routes stay in use for its restart time: the session broke (RFC 4724 §4.2), or
    /// ended by a NOTIFICATION that both sides take for a restart (RFC 8538 §4).
    fn is_graceful(&self, restart: &PeerRestart) -> bool {
        match self {
            Self::ClosedByPeer | Self::ConnectionFailed { .. } | Self::ReplacedByPeer => true,
            Self::Sent { notification, .. } | Self::Received { notification } => {
                restart.over_notification && !notification.is_cease(Cease::HardReset)
            }
            Self::Stopped(Stop::ConfigurationChanged | Stop::LinkChanged) => restart.over_notification,
            Self::ConnectFailed { .. } | Self::ConnectTimedOut { .. } | Self::Stopped(_) => false,
        }
    }
}

impl Penalty {
    /// After an error that we reported.
    pub(super) fn of_sent(notification: &Notification) -> Self {
        if *notification == Notification::hold_timer_expired()
            || *notification == Notification::send_hold_timer_expired()
            || notification.is_cease(Cease::ConnectionCollision)
        {
            Self::Retry
        } else {
            Self::Hold
        }
    }
}
