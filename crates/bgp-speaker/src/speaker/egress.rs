//! Routes leave by pull: who has room takes what the RIB has for it, in shared octets.

use std::time::Instant;

use super::peer::{Peer, Standing};
use super::{Output, Speaker, SpeakerEvent};
use crate::config::PeerKey;
use crate::rib::{PeerIndex, Pull};
use crate::session::{ConnId, SessionOutput, State};
use bytes::Bytes;

/// Octets that a connection may have under way between the RIB and the kernel. What a slow peer has not
/// taken yet stays in the RIB, where it is still up to date when the peer comes for it.
pub(super) const WINDOW: usize = 256 * 1024;

/// Less room than this is not worth a pull; it is also the longest message.
const LEAST_ROOM: usize = 64 * 1024;

/// Pulls of one slice, and octets after which it is enough; timers and inputs go between slices.
const PULLS_A_SLICE: usize = 128;
const OCTETS_A_SLICE: usize = 16 * LEAST_ROOM;

impl Speaker {
    /// Octets left; a peer that waited for room is served in the next slice.
    pub(super) fn written(&mut self, now: Instant, conn: ConnId, octets: usize) {
        let Some((index, peer)) = self.peer_of(conn) else { return };
        if peer.session.established_connection() == Some(conn) {
            let waited_for_room = room(peer) < LEAST_ROOM;
            peer.in_flight = peer.in_flight.saturating_sub(octets);
            peer.session.sent(now, conn, peer.in_flight);
            // The RIB says by itself who else has something to get: a thousand KEEPALIVEs are no reason to ask.
            if waited_for_room {
                self.queue_for_feeding(index);
            }
        }
    }

    /// Fills connections that have room. Returns whether more could be done at once.
    pub(super) fn feed_connections(&mut self, now: Instant) -> bool {
        let mut ready = std::mem::take(&mut self.ready);
        self.rib.poll_ready(&mut ready);
        for index in ready.drain(..) {
            self.queue_for_feeding(index);
        }
        self.ready = ready;
        if !self.rounds.begin(now, self.hungry.len()) {
            return false;
        }
        let mut given = 0;
        for _ in 0..PULLS_A_SLICE {
            let Some(index) = self.hungry.pop_front() else { break };
            let octets = self.feed(now, index);
            given += octets;
            if !self.rounds.served(now, octets) || given >= OCTETS_A_SLICE {
                break;
            }
        }
        // Whoever was fed may have been given a part: the RIB is asked again.
        true
    }

    /// Until when nobody is fed although somebody waits.
    pub(super) fn rest(&self) -> Option<Instant> {
        self.rounds.rest().filter(|_| !self.hungry.is_empty())
    }

    fn queue_for_feeding(&mut self, index: PeerIndex) {
        if let Some(peer) = self.peers.get_mut(index)
            && !peer.queued
        {
            peer.queued = true;
            self.hungry.push_back(index);
        }
    }

    /// Gives a peer what it has room for; returns how many octets.
    fn feed(&mut self, now: Instant, index: PeerIndex) -> usize {
        let Some(peer) = self.peers.get_mut(index) else { return 0 };
        peer.queued = false;
        let room = room(peer);
        let Some(conn) = peer.session.established_connection().filter(|_| room >= LEAST_ROOM) else {
            return 0;
        };
        let mut messages: Vec<Bytes> = Vec::new();
        let pull = self.rib.pull(index, room, &mut messages);
        if !messages.is_empty() {
            peer.session.sending(now, conn);
            self.timers.schedule(now, index, peer.session.poll_timeout(), &mut peer.scheduled);
        }
        let given = messages.iter().map(Bytes::len).sum();
        peer.in_flight += given;
        peer.octets_sent += given as u64;
        for octets in messages {
            peer.session.count_sent(&octets);
            self.outputs.push_back(Output::Send { conn, octets });
        }
        match pull {
            Pull::Drained => {}
            Pull::More => self.queue_for_feeding(index),
            Pull::Overrun => self.close_overrun(now, index, conn),
        }
        given
    }

    /// Passes on what a session wants, and sees to its timer.
    pub(super) fn settle(&mut self, now: Instant, index: PeerIndex) {
        self.drain_session(now, index);
        let Some(peer) = self.peers.get_mut(index) else { return };
        let wanted = [peer.session.poll_timeout(), peer.quiet].into_iter().flatten().min();
        self.timers.schedule(now, index, wanted, &mut peer.scheduled);
        let forgettable =
            peer.standing == Standing::Removed || (peer.range.is_some() && peer.session.is_forgettable());
        if forgettable {
            self.forget(index);
        }
    }

    pub(super) fn drain_session(&mut self, now: Instant, index: PeerIndex) {
        while let Some((peer, output)) = self.peers.get_mut(index).and_then(|peer| {
            let output = peer.session.poll_output()?;
            Some((peer, output))
        }) {
            match output {
                SessionOutput::Connect => self.connect(index),
                SessionOutput::CancelConnect => {
                    if let Some(conn) = peer.dialing.take() {
                        self.close(conn);
                    }
                }
                SessionOutput::Send(conn, octets) => {
                    // What waits on another connection, until it is closed, is no load of this one.
                    if peer.session.established_connection() == Some(conn) {
                        peer.in_flight += octets.len();
                        peer.session.sending(now, conn);
                    }
                    peer.octets_sent += octets.len() as u64;
                    self.outputs.push_back(Output::Send { conn, octets });
                }
                SessionOutput::Close(conn) => self.close(conn),
                SessionOutput::Up(_, negotiated) => self.peer_up(now, index, &negotiated),
                SessionOutput::Down(reason, retention) => {
                    let event = SpeakerEvent::SessionDown {
                        peer: peer.key.clone(),
                        reason: reason.to_string(),
                        remedy: reason.remedy().map(Into::into),
                    };
                    self.outputs.push_back(Output::Event(event));
                    self.rib.note_end(index, &reason);
                    self.peer_down(now, index, retention);
                }
                SessionOutput::Failed(reason) if peer.reported.as_ref() == Some(&reason) => {}
                SessionOutput::Failed(reason) => {
                    let event = SpeakerEvent::AttemptFailed {
                        peer: peer.key.clone(),
                        reason: reason.to_string(),
                        remedy: reason.remedy().map(Into::into),
                    };
                    peer.reported = Some(reason);
                    self.outputs.push_back(Output::Event(event));
                }
                SessionOutput::LongLived(families) => self.outlive_restart(index, families),
                SessionOutput::RetentionExpired(families) => {
                    let peer: PeerKey = peer.key.clone();
                    self.outputs.push_back(Output::Event(SpeakerEvent::RetentionExpired { peer }));
                    self.flush_stale(index, families);
                }
            }
        }
    }

    fn connect(&mut self, index: PeerIndex) {
        let Some(peer) = self.peers.get_mut(index) else { return };
        self.dialed += 1;
        let conn = ConnId::dialed(self.dialed);
        peer.dialing = Some(conn);
        self.outputs.push_back(Output::Connect {
            conn,
            peer: peer.key.clone(),
            remote: peer.remote(),
            options: peer.socket_options(),
        });
        self.peers.attach(conn, index);
    }

    fn close(&mut self, conn: ConnId) {
        self.peers.detach(conn);
        self.outputs.push_back(Output::Close { conn });
    }

    /// Forgets a peer that is no longer configured, or one of a range that has left.
    fn forget(&mut self, index: PeerIndex) {
        let established =
            self.peers.get(index).is_some_and(|peer| peer.session.state() == State::Established);
        debug_assert!(!established, "a peer is forgotten after its session");
        self.forget_routes(index);
        self.peers.remove(index);
    }
}

/// Octets that a peer's connection may be given.
fn room(peer: &Peer) -> usize {
    WINDOW.saturating_sub(peer.in_flight)
}
