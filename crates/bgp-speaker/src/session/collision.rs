//! Which of two connections with one peer stays (RFC 4271 §6.8, RFC 6286 §2.3, RFC 4724 §4.2).

use std::time::{Duration, Instant};

use muslin_bgp_packet::{Cease, Notification};
use smallvec::SmallVec;

use super::connection::{self, Connection};
use super::ending::Penalty;
use super::{ConnId, EndReason, Negotiated, Origin, Session, SessionOutput, State};

/// Connections opened this soon after one another belong to one start of both sides. A later one tells
/// that the peer lost the old one.
const SAME_START: Duration = Duration::from_secs(1);

/// How long a peer has to say which of two connections it keeps. Its choice follows its receipt of our OPEN,
/// so this has to outlast a slow way there and back.
const CHOICE: Duration = Duration::from_secs(5);

/// Outcome for the connection on which an OPEN just came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Collision {
    /// It goes on.
    Survives,
    /// It is for the peer to choose it or the established one.
    Undecided,
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
                if rival.began_with(opened, now)
                    && self.is_for_the_peer_to_choose(rival.origin(), origin, negotiated)
                {
                    return Collision::Undecided;
                }
                self.close_collided(now, id);
                return Collision::Closed;
            }
            if self.is_for_the_peer_to_choose(rival.origin(), origin, negotiated) {
                self.leave_to_peer(now, other);
                continue;
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

    /// The established connection leaves no room for others, but for one that the peer may prefer.
    pub(super) fn close_rivals(&mut self, now: Instant, established: ConnId, negotiated: &Negotiated) {
        let rivals: SmallVec<[ConnId; 2]> =
            self.connections.iter().map(Connection::id).filter(|id| *id != established).collect();
        for rival in rivals {
            let open = self.is_for_the_peer_to_choose(established.origin(), rival.origin(), negotiated);
            match self.connection_mut(rival) {
                Some(rival) if open => rival.leave_to_peer(now + CHOICE),
                _ => self.close_collided(now, rival),
            }
        }
        self.cancel_dial();
    }

    /// A connection that comes right after the established one may be what the peer has chosen, before a word
    /// came on it.
    pub(super) fn doubt_late_rival(&mut self, now: Instant, id: ConnId) {
        let established = self.connections.iter().find_map(|c| Some((c, c.established()?)));
        let open = established.is_some_and(|(established, negotiated)| {
            established.began_with(now, now)
                && self.is_for_the_peer_to_choose(established.origin(), id.origin(), negotiated)
        });
        if open {
            self.leave_to_peer(now, id);
        }
    }

    /// Both sides may settle for a different one of two connections at the same moment: each has heard of
    /// the peer on one of them only. If each then closed the other one, as RFC 4271 §6.8 has it, none would
    /// be left, and a helper would take it for the second loss that ends a graceful restart (RFC 4724 §4.2).
    /// The side with the higher identifier compares the two as soon as it has our OPEN on both, or has
    /// established the one that we opened; so the side with the lower identifier closes nothing before it has
    /// heard of that choice: a KEEPALIVE on one connection, or the end of the other one.
    fn is_for_the_peer_to_choose(&self, first: Origin, second: Origin, negotiated: &Negotiated) -> bool {
        #[cfg(feature = "planted-bugs")]
        if crate::planted::is_planted(crate::planted::Bug::CollisionClosesBoth) {
            return false;
        }
        (first, second) == (Origin::Dialed, Origin::Accepted) && !self.settings.outranks(negotiated)
    }

    /// Says nothing more on a connection until the peer has chosen.
    pub(super) fn leave_to_peer(&mut self, now: Instant, id: ConnId) {
        if let Some(connection) = self.connection_mut(id) {
            connection.leave_to_peer(now + CHOICE);
        }
    }

    /// Goes on with what the peer chose: the established connection is gone, or the other one was answered.
    pub(super) fn decide_for(&mut self, now: Instant, id: ConnId) {
        let negotiated = self.connection(id).and_then(Connection::negotiated);
        let interval = negotiated.and_then(|negotiated| self.settings.keepalive_interval(negotiated));
        if self.connection_mut(id).is_some_and(|connection| connection.decide(now, interval)) {
            self.counters.sent.keepalive += 1;
            self.outputs.push_back(SessionOutput::Send(id, connection::keepalive()));
        }
    }

    /// Closes connections that the peer did not choose in time.
    pub(super) fn close_passed_over(&mut self, now: Instant) {
        let passed_over = self.connections.iter().filter(|connection| connection.is_passed_over(now));
        let passed_over: SmallVec<[ConnId; 1]> = passed_over.map(Connection::id).collect();
        for id in passed_over {
            self.close_collided(now, id);
        }
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
        graceful && newer == Origin::Accepted && !self.began_with(opened, now)
    }

    /// Whether a connection opened at that time belongs to the same start as this established one.
    fn began_with(&self, opened: Instant, now: Instant) -> bool {
        let established_at = now.checked_sub(self.age_in_state(now)).unwrap_or(now);
        opened.saturating_duration_since(established_at) < SAME_START
    }
}
