//! A null relay, the floor of `cargo xtask bench`: it keeps sessions up and copies UPDATEs to all others as they come,
//! without a table, a choice or a policy. When a peer is gone, what it announced in IPv4 is withdrawn, in messages that
//! were written beforehand. No speaker can do its work in less.
//!
//! ```sh
//! relay --listen 172.31.0.1 --asn 65000
//! ```

#![allow(clippy::print_stderr, reason = "a program whose errors are read in a log")]

use std::collections::VecDeque;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use muslin_proto_tests::wire::{self, Open};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Octets that are read at once.
const SCRATCH: usize = 256 * 1024;
/// Buffers of one write.
const SLICES: usize = 256;
/// Events of one look at the sockets.
const EVENTS: usize = 1024;
/// The listener among the events.
const LISTENER: u64 = u64::MAX;
/// What a slot of the wheel lasts.
const SLOT: Duration = Duration::from_millis(100);
/// Slots of the wheel: longer than a third of any hold time that is offered here.
const SLOTS: usize = 512;

/// Copies UPDATEs between the peers that connect to it.
#[derive(Parser)]
struct Options {
    /// Address to listen on, and identifier
    #[arg(long)]
    listen: Ipv4Addr,
    /// Its AS
    #[arg(long)]
    asn: u32,
    /// Copy only what this peer sends, and read what others do
    #[arg(long)]
    only_of: Option<IpAddr>,
}

struct Session {
    stream: TcpStream,
    /// Its OPEN has been answered.
    opened: bool,
    is_copied: bool,
    /// Between two KEEPALIVEs, in slots.
    interval: usize,
    partial: Vec<u8>,
    /// Withdraws all that was copied.
    farewell: Vec<u8>,
    outgoing: VecDeque<Arc<[u8]>>,
    /// Octets of the first that are written.
    written: usize,
    awaits_room: bool,
}

struct Relay {
    options: Options,
    epoll: Epoll,
    listener: TcpListener,
    sessions: Vec<Option<Session>>,
    scratch: Vec<u8>,
    keepalive: Arc<[u8]>,
    /// Sessions by the slot in which they send a KEEPALIVE.
    wheel: Vec<Vec<usize>>,
    begun: Instant,
    /// Slots that have passed.
    slot: usize,
}

fn main() -> Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    Relay::new(Options::parse())?.run()
}

impl Relay {
    fn new(options: Options) -> Result<Self> {
        let listener = TcpListener::bind((options.listen, 179)).context("listen")?;
        listener.set_nonblocking(true)?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
        Ok(Self {
            options,
            epoll,
            listener,
            sessions: Vec::new(),
            scratch: vec![0; SCRATCH],
            keepalive: wire::keepalive().into(),
            wheel: vec![Vec::new(); SLOTS],
            begun: Instant::now(),
            slot: 0,
        })
    }

    fn run(&mut self) -> Result<()> {
        let mut events = vec![EpollEvent::empty(); EVENTS];
        loop {
            let due = self.begun + SLOT * (self.slot as u32 + 1);
            let rest = due.saturating_duration_since(Instant::now()).as_millis() as u16 + 1;
            let count = self.epoll.wait(&mut events, EpollTimeout::from(rest))?;
            for event in &events[..count] {
                match event.data() {
                    LISTENER => self.accept()?,
                    id => self.read(id as usize),
                }
            }
            while self.begun + SLOT * (self.slot as u32 + 1) <= Instant::now() {
                self.turn_wheel();
            }
            for id in 0..self.sessions.len() {
                self.write(id)?;
            }
        }
    }

    fn accept(&mut self) -> Result<()> {
        loop {
            let (stream, from) = match self.listener.accept() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                accepted => accepted?,
            };
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let id = self.sessions.len();
            self.epoll.add(&stream, interest(id, false))?;
            self.sessions.push(Some(Session {
                stream,
                opened: false,
                is_copied: self.options.only_of.is_none_or(|only| only == from.ip()),
                interval: SLOTS,
                partial: Vec::new(),
                farewell: Vec::new(),
                outgoing: VecDeque::new(),
                written: 0,
                awaits_room: false,
            }));
        }
    }

    fn read(&mut self, id: usize) {
        let Some(Some(session)) = self.sessions.get_mut(id) else { return };
        let begun = session.partial.len();
        self.scratch[..begun].copy_from_slice(&session.partial);
        let length = match session.stream.read(&mut self.scratch[begun..]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Ok(0) | Err(_) => {
                if let Some(gone) = self.sessions[id].take() {
                    self.give_others(id, &gone.farewell.into());
                }
                return;
            }
            Ok(length) => begun + length,
        };
        let mut at = 0;
        let mut copied = 0..0;
        while length - at >= 19 {
            let size = length_at(&self.scratch, at + 16);
            if length - at < size {
                break;
            }
            if self.scratch[at + 18] == wire::UPDATE {
                copied = (if copied.is_empty() { at } else { copied.start })..at + size;
            } else {
                self.copy(id, std::mem::take(&mut copied));
                self.answer(id, at);
            }
            at += size;
        }
        self.copy(id, copied);
        if let Some(session) = &mut self.sessions[id] {
            session.partial.clear();
            session.partial.extend(&self.scratch[at..length]);
        }
    }

    /// Queues UPDATEs in the buffer for everybody else.
    fn copy(&mut self, from: usize, range: std::ops::Range<usize>) {
        let Some(session) = self.sessions[from].as_mut().filter(|session| session.is_copied) else { return };
        if range.is_empty() {
            return;
        }
        let octets: Arc<[u8]> = self.scratch[range].into();
        let mut rest = &octets[..];
        while !rest.is_empty() {
            let (update, more) = rest.split_at(length_at(rest, 16));
            let attributes = 21 + length_at(update, 19);
            let withdrawn = &update[attributes + 2 + length_at(update, attributes)..];
            let length = withdrawn.len() as u16;
            session.farewell.extend([0xff; 16]);
            session.farewell.extend((23 + length).to_be_bytes());
            session.farewell.push(wire::UPDATE);
            session.farewell.extend(length.to_be_bytes());
            session.farewell.extend(withdrawn);
            session.farewell.extend([0, 0]);
            rest = more;
        }
        self.give_others(from, &octets);
    }

    /// Also those whose KEEPALIVE is still on its way: their peer has the one of here in front of what is given now, and
    /// takes the session for established. What is not kept here would never come.
    fn give_others(&mut self, from: usize, octets: &Arc<[u8]>) {
        for (id, session) in self.sessions.iter_mut().enumerate() {
            if let Some(session) = session.as_mut().filter(|session| id != from && session.opened) {
                session.outgoing.push_back(octets.clone());
            }
        }
    }

    /// Answers the message in the buffer if it is the OPEN.
    fn answer(&mut self, id: usize, at: usize) {
        let Some(session) = &mut self.sessions[id] else { return };
        if self.scratch[at + 18] != wire::OPEN || session.opened {
            return;
        }
        let hold_time = u16::from_be_bytes([self.scratch[at + 22], self.scratch[at + 23]]);
        let slots = Duration::from_secs(hold_time.into()).as_millis() / 3 / SLOT.as_millis();
        session.interval = (slots as usize).clamp(1, SLOTS - 1);
        let open = Open::new(self.options.asn, self.options.listen, hold_time);
        session.outgoing.extend([open.message().into(), self.keepalive.clone()]);
        session.opened = true;
        self.wheel[(self.slot + session.interval) % SLOTS].push(id);
    }

    fn turn_wheel(&mut self) {
        self.slot += 1;
        for id in std::mem::take(&mut self.wheel[self.slot % SLOTS]) {
            if let Some(session) = &mut self.sessions[id] {
                session.outgoing.push_back(self.keepalive.clone());
                self.wheel[(self.slot + session.interval) % SLOTS].push(id);
            }
        }
    }

    fn write(&mut self, id: usize) -> Result<()> {
        let Some(session) = &mut self.sessions[id] else { return Ok(()) };
        let before = session.awaits_room;
        let mut is_gone = false;
        session.awaits_room = false;
        while !session.outgoing.is_empty() {
            let mut slices: Vec<_> =
                session.outgoing.iter().take(SLICES).map(|octets| IoSlice::new(octets)).collect();
            let mut rest = &mut slices[..];
            IoSlice::advance_slices(&mut rest, session.written);
            match session.stream.write_vectored(rest) {
                Ok(length) => {
                    session.written += length;
                    while session.outgoing.front().is_some_and(|first| first.len() <= session.written) {
                        session.written -= session.outgoing.pop_front().map_or(0, |first| first.len());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    session.awaits_room = true;
                    break;
                }
                Err(_) => {
                    is_gone = true;
                    break;
                }
            }
        }
        if before != session.awaits_room && !is_gone {
            self.epoll.modify(session.stream.as_fd(), &mut interest(id, session.awaits_room))?;
        }
        if is_gone {
            self.sessions[id] = None;
        }
        Ok(())
    }
}

/// Two octets of a message as a number.
fn length_at(message: &[u8], at: usize) -> usize {
    message.get(at..at + 2).map_or(0, |octets| u16::from_be_bytes([octets[0], octets[1]]).into())
}

fn interest(id: usize, writes: bool) -> EpollEvent {
    let mut flags = EpollFlags::EPOLLIN;
    flags.set(EpollFlags::EPOLLOUT, writes);
    EpollEvent::new(flags, id as u64)
}
