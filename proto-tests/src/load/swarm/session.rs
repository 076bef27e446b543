//! What is known of one session.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::sink::Sink;

/// Who a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The address that it connects from.
    pub address: Ipv4Addr,
    /// Its AS.
    pub asn: u32,
    /// The hold time that it offers, in seconds; a third of it passes between its KEEPALIVEs.
    pub hold_time: u16,
}

/// A session of a swarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionId(pub(super) usize);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Connecting,
    OpenSent,
    OpenConfirm,
    Established,
    /// Its own end closed it.
    Down,
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) peer: Peer,
    pub(super) state: State,
    pub(super) stream: Option<TcpStream>,
    /// What is to be written, and how much of the first is.
    pub(super) outgoing: VecDeque<Arc<[u8]>>,
    pub(super) written: usize,
    pub(super) awaits_room: bool,
    pub(super) partial: Vec<u8>,
    pub(super) sink: Option<Sink>,
    pub(super) retry: Option<Instant>,
    pub(super) reads: bool,
    /// Whether the swarm has counted it among those that are waited for.
    pub(super) counts_as_awaited: bool,
    /// When something came last, and the longest time until it did.
    heard: Instant,
    silence: Duration,
}

impl Session {
    pub(super) fn new(peer: Peer, sink: Option<Sink>) -> Self {
        Self {
            peer,
            state: State::Down,
            stream: None,
            outgoing: VecDeque::new(),
            written: 0,
            awaits_room: false,
            partial: Vec::new(),
            sink,
            retry: None,
            reads: true,
            counts_as_awaited: false,
            heard: Instant::now(),
            silence: Duration::ZERO,
        }
    }

    fn is_listening(&self) -> bool {
        self.state == State::Established && self.reads
    }

    /// Whether its sink has not what it should, and may get it.
    pub(super) fn is_awaited(&self) -> bool {
        self.is_listening() && self.sink.as_ref().is_some_and(|sink| sink.wrong() > 0)
    }

    /// Notes that something came.
    pub(super) fn hear(&mut self) {
        let now = Instant::now();
        self.silence = self.silence.max(now - self.heard);
        self.heard = now;
    }

    pub(super) fn listen_anew(&mut self) {
        self.heard = Instant::now();
        self.silence = Duration::ZERO;
    }

    pub(super) fn silence(&self) -> Duration {
        self.silence.max(self.heard.elapsed())
    }

    /// Whether nothing came for the hold time (RFC 4271 §6.5).
    pub(super) fn is_overdue(&self) -> bool {
        let hold_time = Duration::from_secs(self.peer.hold_time.into());
        self.is_listening() && !hold_time.is_zero() && self.heard.elapsed() > hold_time
    }
}
