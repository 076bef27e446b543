//! Which of two connections with one peer stays (RFC 4271 §6.8, RFC 6286 §2.3, RFC 4724 §4.2).

use std::time::{Duration, Instant};

use muslin_bgp_packet::{Cease, Notification};
use smallvec::SmallVec;

use super::connection::Connection;
use super::ending::Penalty;
use super::{ConnId, EndReason, Negotiated, Origin, Session, SessionOutput, State};

/// Connections opened this soon after one another belong to one start of both sides. A later one tells
/// that the peer lost the old one.
const SAME_START: Duration = Duration::from_secs(1);

/// Outcome for the connection on which an OPEN just came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Collision {
    /// It goes on.
    Survives,
    /// It was closed.
    Closed,
}

impl Session {
    /// Compares the connection whose OPEN was accepted with those whose OPEN came before.
    pub(super) fn resolve_collision(
        &mut self,
        now: Instant,
        id: ConnId,
        negotiated: &Negotiated,
    ) -> Collision {
        let Some((origin, opened)) = self.connection(id).map(|c| (c.origin(), c.opened())) else {
            return Collision::Closed;
        };
        let others: SmallVec<[ConnId; 2]> = self
            .connections
            .iter()
            .filter(|other| other.id() != id && other.negotiated().is_some())
            .map(Connection::id)
            .collect();
        for other in others {
            let Some(rival) = self.connection(other) else { continue };
            if rival.state() == State::Established {
                if rival.peer_restarted(origin, opened, now) {
                    // RFC 4724 §4.2: the old connection is closed without a NOTIFICATION.
                    self.outputs.push_back(SessionOutput::Close(other));
                    self.lose(now, other, EndReason::ReplacedByPeer, Penalty::Retry);
                    continue;
                }
                self.close_collided(now, id);
                return Collision::Closed;
            }
            let newer_wins = match (rival.origin(), origin) {
                (Origin::Dialed, Origin::Accepted) => !self.settings.outranks(negotiated),
                (Origin::Accepted, Origin::Dialed) => self.settings.outranks(negotiated),
                // Twice the same direction: the RFC's procedure to the letter, which has the newer one
                // opened by the peer.
                (Origin::Dialed, Origin::Dialed) | (Origin::Accepted, Origin::Accepted) => {
                    !self.settings.outranks(negotiated)
                }
            };
            if !newer_wins {
                self.close_collided(now, id);
                return Collision::Closed;
            }
            self.close_collided(now, other);
        }
        Collision::Survives
    }

    /// The established connection leaves no room for others.
    pub(super) fn close_rivals(&mut self, now: Instant, established: ConnId) {
        let rivals: SmallVec<[ConnId; 2]> =
            self.connections.iter().map(Connection::id).filter(|id| *id != established).collect();
        for rival in rivals {
            self.close_collided(now, rival);
        }
        self.cancel_dial();
    }

    fn close_collided(&mut self, now: Instant, id: ConnId) {
        let notification = Notification::cease(Cease::ConnectionCollision);
        self.send_notification(id, &notification);
        self.outputs.push_back(SessionOutput::Close(id));
        let detail = "another connection with this peer was kept".to_owned();
        self.lose(now, id, EndReason::Sent { notification, detail }, Penalty::Retry);
    }
}

impl Connection {
    /// Whether a new connection tells that the peer of this established one restarted (RFC 4724 §4.2).
    fn peer_restarted(&self, newer: Origin, opened: Instant, now: Instant) -> bool {
        let graceful = self.established().is_some_and(|negotiated| negotiated.graceful_restart.is_some());
        let established_at = now.checked_sub(self.age_in_state(now)).unwrap_or(now);
        graceful
            && newer == Origin::Accepted
            && opened.saturating_duration_since(established_at) >= SAME_START
    }
}
