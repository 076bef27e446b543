//! Many sessions in one thread: an epoll instance, sockets that do not block, one buffer for all that is read.

mod session;

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

pub use self::session::{Peer, SessionId};
use self::session::{Session, State};
use super::sink::{Expected, Sink};
use crate::wire::{self, Open};

/// Octets that are read at once.
const SCRATCH: usize = 256 * 1024;
/// Events of one look at the sockets.
const EVENTS: usize = 1024;
/// Connections that are begun and not established: more than a listener's queue overflow it, and the kernel then takes
/// minutes to sort out who is connected.
const BEGUN: usize = 64;
/// Pause before a connection that was refused is tried again.
const RETRY: Duration = Duration::from_millis(20);

const NO_SINK: &str = "a session without a sink";

/// All sessions with one speaker.
#[derive(Debug)]
pub struct Swarm {
    speaker: SocketAddr,
    epoll: Epoll,
    sessions: Vec<Session>,
    scratch: Vec<u8>,
    keepalive: Arc<[u8]>,
    kept: Instant,
    /// Between two KEEPALIVEs.
    pace: Duration,
    established: usize,
    /// Sinks that are waited for: of sessions that listen, and not right yet.
    awaited: usize,
}

impl Swarm {
    /// One without sessions. It must be made in the namespace that its sockets are to be in.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn new(speaker: Ipv4Addr) -> Result<Self> {
        // A descriptor a session.
        let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
        Ok(Self {
            speaker: (speaker, 179).into(),
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            sessions: Vec::new(),
            scratch: vec![0; SCRATCH],
            keepalive: wire::keepalive().into(),
            kept: Instant::now(),
            pace: Duration::MAX,
            established: 0,
            awaited: 0,
        })
    }

    /// Begins a session; [`establish`](Self::establish) waits for it.
    ///
    /// # Errors
    /// When its address is not there.
    pub fn connect(&mut self, peer: Peer, sink: Option<Sink>) -> Result<SessionId> {
        if peer.hold_time > 0 {
            self.pace = self.pace.min(Duration::from_secs(peer.hold_time.into()) / 3);
        }
        self.sessions.push(Session::new(peer, sink));
        let id = self.sessions.len() - 1;
        if self.begun() < BEGUN {
            self.dial(id)?;
        } else {
            self.sessions[id].retry = Some(Instant::now());
        }
        Ok(SessionId(id))
    }

    /// Begins a session anew that was closed.
    ///
    /// # Errors
    /// As above.
    pub fn reconnect(&mut self, SessionId(id): SessionId) -> Result<()> {
        self.dial(id)
    }

    /// Connections that are neither down nor established.
    fn begun(&self) -> usize {
        let begun = |session: &&Session| !matches!(session.state, State::Down | State::Established);
        self.sessions.iter().filter(begun).count()
    }

    fn dial(&mut self, id: usize) -> Result<()> {
        let session = &mut self.sessions[id];
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        let source = SocketAddr::from((session.peer.address, 0));
        socket.bind(&source.into()).with_context(|| format!("bind to {source}"))?;
        match socket.connect(&self.speaker.into()) {
            Err(error) if error.raw_os_error() != Some(Errno::EINPROGRESS as i32) => {
                return Err(error).with_context(|| format!("connect to {}", self.speaker));
            }
            _ => {}
        }
        let stream = TcpStream::from(socket);
        self.epoll.add(&stream, interest(id, true, true))?;
        session.stream = Some(stream);
        session.state = State::Connecting;
        session.awaits_room = true;
        session.partial.clear();
        session.outgoing.clear();
        session.written = 0;
        session.retry = None;
        Ok(())
    }

    /// Waits until every session is established, and says when that was. A speaker that is not ready yet is tried again.
    ///
    /// # Errors
    /// When some are not by the deadline.
    pub fn establish(&mut self, deadline: Instant) -> Result<Instant> {
        loop {
            let wanted = self
                .sessions
                .iter()
                .filter(|session| session.state != State::Down || session.retry.is_some());
            let wanted = wanted.count();
            if self.established == wanted {
                return Ok(Instant::now());
            }
            ensure!(Instant::now() < deadline, "{} of {wanted} sessions are established", self.established);
            self.turn(Duration::from_millis(10))?;
            let now = Instant::now();
            let mut room = BEGUN.saturating_sub(self.begun());
            for id in 0..self.sessions.len() {
                if room > 0 && self.sessions[id].retry.is_some_and(|at| at <= now) {
                    self.dial(id)?;
                    room -= 1;
                }
            }
        }
    }

    /// Has a session send these messages after what it has to send already.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn send(&mut self, SessionId(id): SessionId, octets: Arc<[u8]>) -> Result<()> {
        self.sessions[id].outgoing.push_back(octets);
        if self.sessions[id].awaits_room { Ok(()) } else { self.write(id) }
    }

    /// Whether everything that a session had to send has left.
    pub fn has_sent(&self, SessionId(id): SessionId) -> bool {
        self.sessions[id].outgoing.is_empty()
    }

    /// Closes a session without a word, as a node that dies.
    pub fn kill(&mut self, SessionId(id): SessionId) {
        let session = &mut self.sessions[id];
        if session.state == State::Established {
            self.established -= 1;
        }
        session.state = State::Down;
        // The descriptor leaves the epoll instance as it is closed.
        session.stream = None;
        session.outgoing.clear();
        session.awaits_room = false;
        self.recount(id);
    }

    /// Has the sink of a closed session know nothing any more, as one that begins anew.
    ///
    /// # Errors
    /// When it has none.
    pub fn forget(&mut self, SessionId(id): SessionId) -> Result<()> {
        self.sink_mut(id)?.forget();
        self.recount(id);
        Ok(())
    }

    /// Has the sink of a session expect this from now on.
    ///
    /// # Errors
    /// When it has none.
    pub fn want(&mut self, SessionId(id): SessionId, expected: Expected) -> Result<()> {
        self.sink_mut(id)?.expect(expected);
        self.recount(id);
        Ok(())
    }

    /// Has a session read nothing from now on, or read again. Nobody waits for a sink that does not read.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn set_reading(&mut self, SessionId(id): SessionId, reads: bool) -> Result<()> {
        self.sessions[id].reads = reads;
        self.sessions[id].listen_anew();
        self.recount(id);
        self.watch(id)
    }

    /// Begins to look for the longest silence of a session.
    pub fn listen_anew(&mut self, SessionId(id): SessionId) {
        self.sessions[id].listen_anew();
    }

    /// The longest time in which nothing came on a session since [`listen_anew`](Self::listen_anew).
    pub fn silence(&self, SessionId(id): SessionId) -> Duration {
        self.sessions[id].silence()
    }

    /// The sink of a session.
    ///
    /// # Errors
    /// When it has none.
    pub fn sink(&self, SessionId(id): SessionId) -> Result<&Sink> {
        self.sessions[id].sink.as_ref().context(NO_SINK)
    }

    fn sink_mut(&mut self, id: usize) -> Result<&mut Sink> {
        self.sessions[id].sink.as_mut().context(NO_SINK)
    }

    /// Counts a session anew that may be waited for since, or no longer: thousands are not walked for each message.
    fn recount(&mut self, id: usize) {
        let session = &mut self.sessions[id];
        let is_awaited = session.is_awaited();
        let before = std::mem::replace(&mut session.counts_as_awaited, is_awaited);
        self.awaited = self.awaited + usize::from(is_awaited) - usize::from(before);
    }

    /// Works until every sink of an established session has what it should, and says when that was. It sleeps while
    /// nothing comes, so that whoever is measured has all processors.
    ///
    /// # Errors
    /// Which is not right, when some are not by the deadline.
    pub fn await_right(&mut self, deadline: Instant) -> Result<Instant> {
        self.await_right_by(deadline, Duration::from_millis(100))
    }

    /// The same without sleep, for a change that takes less than the waking of who waits for it. It keeps a processor
    /// busy meanwhile.
    ///
    /// # Errors
    /// As [`await_right`](Self::await_right).
    pub fn await_right_awake(&mut self, deadline: Instant) -> Result<Instant> {
        self.await_right_by(deadline, Duration::ZERO)
    }

    fn await_right_by(&mut self, deadline: Instant, sleep: Duration) -> Result<Instant> {
        loop {
            let now = Instant::now();
            if self.awaited == 0 {
                return Ok(now);
            }
            if now > deadline {
                let awaited = self.sessions.iter().filter(|session| session.is_awaited());
                let wrong: Vec<_> = awaited
                    .filter_map(|session| Some((session.peer.address, session.sink.as_ref()?)))
                    .map(|(address, sink)| (address, sink.wrong(), sink.example()))
                    .take(3)
                    .collect();
                bail!("not all sinks have what they should; wrong prefixes and one of them: {wrong:?}");
            }
            self.turn(sleep)?;
        }
    }

    /// Keeps the sessions up until then, and takes what comes.
    ///
    /// # Errors
    /// As [`turn`](Self::turn).
    pub fn work_until(&mut self, end: Instant) -> Result<()> {
        while let Some(rest) = end.checked_duration_since(Instant::now()) {
            // KEEPALIVEs are sent between two turns.
            self.turn(rest.min(Duration::from_millis(50)))?;
        }
        Ok(())
    }

    /// Waits for the sockets for at most this long, and reads and writes what can be.
    ///
    /// # Errors
    /// When a speaker closes an established session, is silent for its hold time or says something that cannot be read.
    pub fn turn(&mut self, most: Duration) -> Result<()> {
        let mut events = [EpollEvent::empty(); EVENTS];
        let most = u16::try_from(most.as_millis()).unwrap_or(u16::MAX);
        let count = match self.epoll.wait(&mut events, most) {
            Err(Errno::EINTR) => 0,
            result => result?,
        };
        for event in &events[..count] {
            let (id, flags) = (event.data() as usize, event.events());
            self.serve(id, flags)
                .with_context(|| format!("session of {}", self.sessions[id].peer.address))?;
        }
        self.keep_alive()
    }

    fn serve(&mut self, id: usize, flags: EpollFlags) -> Result<()> {
        if self.sessions[id].state == State::Connecting {
            return self.connected(id);
        }
        if flags.contains(EpollFlags::EPOLLOUT) {
            self.sessions[id].awaits_room = false;
            self.write(id)?;
            self.watch(id)?;
        }
        if flags.intersects(EpollFlags::EPOLLIN | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR) {
            self.read(id)?;
        }
        Ok(())
    }

    fn connected(&mut self, id: usize) -> Result<()> {
        let session = &mut self.sessions[id];
        let Some(stream) = &session.stream else { return Ok(()) };
        if stream.take_error()?.is_some() {
            self.lost(id);
            return Ok(());
        }
        session.state = State::OpenSent;
        session.awaits_room = false;
        let Peer { address, asn, hold_time } = session.peer;
        let capabilities = [wire::multiprotocol(1, 1), wire::capability(65, &asn.to_be_bytes())];
        let open = Open::new(asn, address, hold_time)
            .with_parameters(wire::parameters(&[wire::capabilities(&capabilities)]));
        session.outgoing.push_back(open.message().into());
        self.write(id)?;
        self.watch(id)
    }

    /// Before it is established a speaker may not be ready for it yet.
    fn lost(&mut self, id: usize) -> bool {
        let session = &mut self.sessions[id];
        let early = session.state != State::Established;
        self.established -= usize::from(!early);
        session.state = State::Down;
        session.stream = None;
        session.outgoing.clear();
        session.retry = early.then(|| Instant::now() + RETRY);
        self.recount(id);
        early
    }

    fn watch(&mut self, id: usize) -> Result<()> {
        let Session { stream, awaits_room, reads, .. } = &self.sessions[id];
        if let Some(stream) = stream {
            self.epoll.modify(stream, &mut interest(id, *reads, *awaits_room))?;
        }
        Ok(())
    }

    fn write(&mut self, id: usize) -> Result<()> {
        let session = &mut self.sessions[id];
        let Some(stream) = &mut session.stream else { return Ok(()) };
        while let Some(octets) = session.outgoing.front() {
            match stream.write(&octets[session.written..]) {
                Ok(length) => {
                    session.written += length;
                    if session.written == octets.len() {
                        session.written = 0;
                        session.outgoing.pop_front();
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    session.awaits_room = true;
                    return self.watch(id);
                }
                Err(error) => {
                    let early = self.lost(id);
                    return if early { Ok(()) } else { Err(error.into()) };
                }
            }
        }
        Ok(())
    }

    fn read(&mut self, id: usize) -> Result<()> {
        let Self { sessions, scratch, .. } = self;
        let session = &mut sessions[id];
        let Some(stream) = &mut session.stream else { return Ok(()) };
        let begun = session.partial.len();
        scratch[..begun].copy_from_slice(&session.partial);
        let read = match stream.read(&mut scratch[begun..]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            result => result,
        };
        let length = match read {
            Ok(0) | Err(_) => {
                let early = self.lost(id);
                ensure!(early, "the speaker closed the session");
                return Ok(());
            }
            Ok(length) => begun + length,
        };
        session.hear();
        let mut at = 0;
        while length - at >= 19 {
            let message = usize::from(u16::from_be_bytes([self.scratch[at + 16], self.scratch[at + 17]]));
            ensure!(message >= 19, "a message of {message} octets");
            if length - at < message {
                break;
            }
            if !self.take(id, at, message)? {
                return Ok(());
            }
            at += message;
        }
        let Self { sessions, scratch, .. } = self;
        sessions[id].partial.clear();
        sessions[id].partial.extend(&scratch[at..length]);
        self.recount(id);
        Ok(())
    }

    /// Takes a message in the buffer; whether the session goes on.
    fn take(&mut self, id: usize, at: usize, length: usize) -> Result<bool> {
        let session = &mut self.sessions[id];
        let body = &self.scratch[at + 19..at + length];
        match (self.scratch[at + 18], session.state) {
            (wire::UPDATE, State::Established) => {
                if let Some(sink) = &mut session.sink {
                    sink.take(body)?;
                }
            }
            (wire::OPEN, State::OpenSent) => {
                session.state = State::OpenConfirm;
                session.outgoing.push_back(self.keepalive.clone());
                self.write(id)?;
            }
            (wire::KEEPALIVE, State::OpenConfirm) => {
                session.state = State::Established;
                self.established += 1;
            }
            (wire::KEEPALIVE | wire::ROUTE_REFRESH, _) => {}
            (wire::NOTIFICATION, _) => {
                let body = body.to_vec();
                let early = self.lost(id);
                ensure!(early, "NOTIFICATION {body:?}");
                return Ok(false);
            }
            (kind, state) => bail!("a message of type {kind} in {state:?}"),
        }
        Ok(true)
    }

    /// KEEPALIVEs of all sessions that have nothing else to send, at the pace of the fastest.
    fn keep_alive(&mut self) -> Result<()> {
        if self.kept.elapsed() < self.pace {
            return Ok(());
        }
        self.kept = Instant::now();
        for id in 0..self.sessions.len() {
            let session = &self.sessions[id];
            let address = session.peer.address;
            ensure!(!session.is_overdue(), "nothing came on the session of {address} for its hold time");
            if session.state == State::Established && session.outgoing.is_empty() {
                self.send(SessionId(id), self.keepalive.clone())?;
            }
        }
        Ok(())
    }
}

fn interest(id: usize, reads: bool, writes: bool) -> EpollEvent {
    let mut flags = EpollFlags::empty();
    flags.set(EpollFlags::EPOLLIN, reads);
    flags.set(EpollFlags::EPOLLOUT, writes);
    EpollEvent::new(flags, id as u64)
}
