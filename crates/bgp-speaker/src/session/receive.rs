//! What comes on a connection, or does not, and what each message does in each state (RFC 4271 §8.2.2).

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use muslin_bgp_packet::{Frame, MessageType, Notification, Open, RouteRefresh, UnexpectedIn};

use super::collision::Collision;
use super::connection;
use super::ending::Penalty;
use super::{ConnId, EndReason, Session, SessionOutput, State};

/// A message of the established connection that is not the session's own affair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// The body of an UPDATE.
    Update(Bytes),
    /// A ROUTE-REFRESH, well-formed; its family may be one that was not negotiated.
    Refresh(RouteRefresh),
}

impl Session {
    /// Octets of a connection arrived; call [`next_message`](Self::next_message) until it is empty.
    pub fn received(&mut self, id: ConnId, octets: BytesMut) {
        if let Some(connection) = self.connection_mut(id) {
            connection.append(octets);
        }
    }

    /// Octets of a connection have arrived but were not handed in yet: its hold timer does not expire over them.
    pub fn octets_wait(&mut self, now: Instant, id: ConnId) {
        if let Some(connection) = self.connection_mut(id) {
            connection.spare_hold_timer(now);
        }
    }

    /// Nothing has come on a connection for so long: its hold timer runs since then.
    pub fn silent(&mut self, now: Instant, id: ConnId, time: Duration) {
        if let Some(connection) = self.connection_mut(id) {
            connection.backdate_hold_timer(now, time);
        }
    }

    /// Deals with the octets received on a connection up to its next UPDATE or ROUTE-REFRESH; `None` when
    /// no whole message is left or the connection is gone.
    pub fn next_message(&mut self, now: Instant, id: ConnId) -> Option<Message> {
        loop {
            let connection = self.connection_mut(id)?;
            let frame = match connection.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => return None,
                Err(notification) => {
                    self.fail(now, id, notification, "the message header is not acceptable".to_owned());
                    return None;
                }
            };
            connection.feed_hold_timer(now);
            let message = match connection.state() {
                State::Established => self.handle_established(now, id, frame),
                State::OpenConfirm => {
                    self.handle_open_confirm(now, id, &frame);
                    None
                }
                State::OpenSent | State::Idle | State::Connect | State::Active => {
                    self.handle_open_sent(now, id, &frame);
                    None
                }
            };
            self.note_state(now);
            if message.is_some() {
                return message;
            }
        }
    }

    fn handle_open_sent(&mut self, now: Instant, id: ConnId, frame: &Frame) {
        match frame.kind {
            MessageType::Open => {
                self.counters.received.open += 1;
                self.handle_open(now, id, &frame.body);
            }
            MessageType::Notification => self.handle_notification(now, id, &frame.body),
            MessageType::Update | MessageType::Keepalive | MessageType::RouteRefresh => {
                self.fail_unexpected(now, id, frame.kind, UnexpectedIn::OpenSent);
            }
        }
    }

    fn handle_open_confirm(&mut self, now: Instant, id: ConnId, frame: &Frame) {
        match frame.kind {
            MessageType::Keepalive => {
                self.counters.received.keepalive += 1;
                self.establish(now, id);
            }
            MessageType::Notification => self.handle_notification(now, id, &frame.body),
            MessageType::Open | MessageType::Update | MessageType::RouteRefresh => {
                self.fail_unexpected(now, id, frame.kind, UnexpectedIn::OpenConfirm);
            }
        }
    }

    fn handle_established(&mut self, now: Instant, id: ConnId, frame: Frame) -> Option<Message> {
        match frame.kind {
            MessageType::Update => {
                self.counters.received.update += 1;
                return Some(Message::Update(frame.body));
            }
            MessageType::Keepalive => self.counters.received.keepalive += 1,
            MessageType::RouteRefresh => {
                self.counters.received.refresh += 1;
                return self.handle_refresh(now, id, &frame.body);
            }
            MessageType::Notification => self.handle_notification(now, id, &frame.body),
            MessageType::Open => {
                self.fail_unexpected(now, id, frame.kind, UnexpectedIn::Established);
            }
        }
        None
    }

    fn handle_open(&mut self, now: Instant, id: ConnId, body: &[u8]) {
        let negotiated = Open::decode(body)
            .map_err(|notification| {
                let detail = notification.to_string();
                (notification, detail)
            })
            .and_then(|open| {
                self.settings
                    .negotiate(&open)
                    .map_err(|refusal| (refusal.notification(), refusal.to_string()))
            });
        let negotiated = match negotiated {
            Ok(negotiated) => Arc::new(negotiated),
            Err((notification, detail)) => return self.fail(now, id, notification, detail),
        };
        let collision = self.resolve_collision(now, id, &negotiated);
        if collision == Collision::Closed {
            return;
        }
        let interval = self.settings.keepalive_interval(&negotiated);
        if collision == Collision::Undecided {
            if let Some(connection) = self.connection_mut(id) {
                connection.confirm(now, negotiated, interval);
            }
            self.leave_to_peer(now, id);
        } else if let Some(connection) = self.connection_mut(id) {
            connection.confirm(now, negotiated, interval);
            self.counters.sent.keepalive += 1;
            self.outputs.push_back(SessionOutput::Send(id, connection::keepalive()));
        }
    }

    fn establish(&mut self, now: Instant, id: ConnId) {
        // Whoever answers on a connection has chosen it.
        self.decide_for(now, id);
        let Some(negotiated) = self.connection_mut(id).and_then(|connection| connection.establish(now))
        else {
            return;
        };
        self.counters.established += 1;
        self.limit_retention(now);
        self.close_rivals(now, id, &negotiated);
        self.outputs.push_back(SessionOutput::Up(id, negotiated));
    }

    fn handle_notification(&mut self, now: Instant, id: ConnId, body: &[u8]) {
        self.counters.received.notification += 1;
        // RFC 4271 §6.4: an error in a NOTIFICATION cannot be answered; the session ends all the same.
        let notification = Notification::decode(body).unwrap_or_else(|_| Notification::new(0, 0));
        let reason = EndReason::Received { notification };
        self.outputs.push_back(SessionOutput::Close(id));
        self.lose(now, id, reason, Penalty::Retry);
    }

    fn handle_refresh(&mut self, now: Instant, id: ConnId, body: &[u8]) -> Option<Message> {
        match RouteRefresh::decode(body) {
            Ok(refresh) => Some(Message::Refresh(refresh)),
            Err(notification) => {
                let negotiated = self.connection(id).and_then(|connection| connection.established());
                // RFC 7313 §5: the length error exists only between peers that both know it.
                if negotiated.is_some_and(|negotiated| negotiated.enhanced_refresh) {
                    let detail =
                        format!("a ROUTE-REFRESH has {} octets after its header instead of 4", body.len());
                    self.fail(now, id, notification, detail);
                }
                None
            }
        }
    }

    fn fail_unexpected(&mut self, now: Instant, id: ConnId, kind: MessageType, state: UnexpectedIn) {
        // RFC 6608 §3: the data is the type of the message.
        let notification = Notification::unexpected_message(state).with_data(&[kind as u8]);
        self.fail(now, id, notification, format!("{kind:?} came in state {state:?}"));
    }
}
