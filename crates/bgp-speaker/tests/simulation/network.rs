//! Speakers over a simulated network in virtual time: ordered octets per direction of a connection, no order
//! between connections, any chunks, any latency, and everything that can go wrong with a link.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use ipnet::IpNet;
use muslin_bgp_speaker::Speaker;
use muslin_bgp_speaker::rib::{FibChange, FibRoute};
use muslin_bgp_speaker::session::ConnId;
use muslin_bgp_speaker::speaker::{Input, Output};

use crate::happening::{Event, Happening};
use crate::random::Random;

/// Calls of `handle_timeout` of one speaker within a second of virtual time beyond which its timers storm.
const MOST_TIMEOUTS_A_SECOND: u32 = 500;

/// How many of a hundred packets are under way for long, usually.
pub(crate) const USUALLY_SLOW: usize = 3;

/// A host: a speaker that may be down, its kernel's routes, and its sockets.
pub(crate) struct Host {
    pub(crate) address: IpAddr,
    pub(crate) speaker: Option<Speaker>,
    /// What the changes add up to.
    pub(crate) fib: BTreeMap<IpNet, FibRoute>,
    sockets: BTreeMap<ConnId, (usize, usize)>,
    dialing: BTreeSet<ConnId>,
    accepted: u64,
    /// Until when it does nothing, and takes nothing in.
    frozen: Option<Instant>,
    /// Counts starts, so that nothing meant for an earlier life arrives in a later one.
    life: u32,
    timeouts: (u64, u32),
}

/// A connection. End 0 dialed, end 1 accepted; each end is open as long as its host has it.
struct Connection {
    hosts: [usize; 2],
    open: [Option<ConnId>; 2],
    /// What is under way to each end, in order.
    queues: [VecDeque<Carried>; 2],
    /// When the last of it arrives.
    last_arrival: [Instant; 2],
    /// How many arrivals wait for the link to come back.
    stuck: [usize; 2],
}

enum Carried {
    Octets(Vec<u8>),
    End,
}

pub(crate) struct Network {
    pub(crate) now: Instant,
    pub(crate) hosts: Vec<Host>,
    pub(crate) random: Random,
    /// What happened, if somebody wants to read it.
    pub(crate) trace: bool,
    /// A hash of all that happened: equal runs have equal ones.
    pub(crate) digest: u64,
    /// Routes that kernels were told to remove.
    pub(crate) forgotten: Vec<(usize, IpNet)>,
    began: Instant,
    connections: Vec<Connection>,
    down: BTreeSet<(usize, usize)>,
    /// How many of a hundred packets are under way for long.
    pub(crate) slow: usize,
    events: BinaryHeap<Reverse<Event>>,
    sequence: u64,
}

impl Host {
    /// When its speaker wants to do something, and can.
    fn next_timer(&self) -> Option<Instant> {
        let due = self.speaker.as_ref()?.poll_timeout()?;
        Some(self.frozen.map_or(due, |until| due.max(until)))
    }
}

impl Network {
    /// Hosts at these addresses, all of them off.
    pub(crate) fn new(random: Random, addresses: impl Iterator<Item = IpAddr>) -> Self {
        let now = Instant::now();
        let host = |address| Host {
            address,
            speaker: None,
            fib: BTreeMap::new(),
            sockets: BTreeMap::new(),
            dialing: BTreeSet::new(),
            accepted: 0,
            frozen: None,
            life: 0,
            timeouts: (0, 0),
        };
        Self {
            now,
            hosts: addresses.map(host).collect(),
            random,
            trace: false,
            digest: 0,
            forgotten: Vec::new(),
            began: now,
            connections: Vec::new(),
            down: BTreeSet::new(),
            slow: USUALLY_SLOW,
            events: BinaryHeap::new(),
            sequence: 0,
        }
    }

    /// Starts a host's speaker.
    pub(crate) fn start(&mut self, host: usize, speaker: Speaker) {
        self.hosts[host].speaker = Some(speaker);
        self.perform(host);
    }

    /// Ends a host's speaker; its kernel goes on. Whoever sends to its connections is told that they are gone.
    pub(crate) fn crash(&mut self, host: usize) {
        let node = &mut self.hosts[host];
        node.speaker = None;
        node.life += 1;
        node.fib.clear();
        node.dialing.clear();
        for (_, (connection, end)) in std::mem::take(&mut node.sockets) {
            self.connections[connection].open[end] = None;
        }
    }

    /// Runs something on a host's speaker, if it is on, and does what follows.
    pub(crate) fn on(&mut self, host: usize, act: impl FnOnce(&mut Speaker, Instant)) {
        let now = self.now;
        if let Some(speaker) = &mut self.hosts[host].speaker {
            act(speaker, now);
            self.perform(host);
        }
    }

    /// Stops a host in its tracks: what arrives waits, and afterwards its clock has skipped that time.
    pub(crate) fn freeze(&mut self, host: usize, pause: Duration) {
        self.hosts[host].frozen = Some(self.now + pause);
    }

    /// Lets everybody go on.
    pub(crate) fn thaw(&mut self) {
        for host in &mut self.hosts {
            host.frozen = None;
        }
    }

    /// Takes a link down: nothing passes, nobody is told, and what is under way waits.
    pub(crate) fn cut(&mut self, link: (usize, usize)) {
        self.down.insert(link);
    }

    /// Brings a link back, with all that waited.
    pub(crate) fn mend(&mut self, link: (usize, usize)) {
        self.down.remove(&link);
        for connection in 0..self.connections.len() {
            for end in 0..2 {
                if self.link_of(connection) == link {
                    for _ in 0..std::mem::take(&mut self.connections[connection].stuck[end]) {
                        self.schedule_arrival(connection, end);
                    }
                }
            }
        }
    }

    /// Resets the connections of a link, at both ends or at one, which the other then learns by sending.
    pub(crate) fn reset(&mut self, link: (usize, usize), ends: &[usize]) {
        for connection in 0..self.connections.len() {
            if self.link_of(connection) == link {
                for end in ends {
                    self.close_with(connection, *end, Some(ErrorKind::ConnectionReset));
                }
            }
        }
    }

    /// Connections between two hosts of which both ends are open.
    pub(crate) fn whole_connections(&self, link: (usize, usize)) -> usize {
        let whole = |connection: &usize| self.connections[*connection].open.iter().all(Option::is_some);
        (0..self.connections.len()).filter(|index| self.link_of(*index) == link).filter(whole).count()
    }

    /// Runs for that long.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let timer = self.hosts.iter().filter_map(Host::next_timer).min();
            let event = self.events.peek().map(|Reverse(event)| event.at);
            let Some(next) = [timer, event].into_iter().flatten().min().filter(|at| *at <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            while self.events.peek().is_some_and(|Reverse(event)| event.at <= self.now) {
                if let Some(Reverse(event)) = self.events.pop() {
                    self.happen(event.what);
                }
            }
            for host in 0..self.hosts.len() {
                if self.hosts[host].next_timer().is_some_and(|at| at <= self.now) {
                    self.count_timeout(host);
                    self.on(host, Speaker::handle_timeout);
                }
            }
        }
    }

    fn count_timeout(&mut self, host: usize) {
        let second = self.now.duration_since(self.began).as_secs();
        let (counted, calls) = &mut self.hosts[host].timeouts;
        if *counted != second {
            (*counted, *calls) = (second, 0);
        }
        *calls += 1;
        assert!(*calls <= MOST_TIMEOUTS_A_SECOND, "the timers of host {host} storm in second {second}");
    }

    /// The host that something happens to.
    fn concerned(&self, what: &Happening) -> usize {
        match *what {
            Happening::Attempt { to, from, .. } => {
                self.hosts.iter().position(|host| host.address == to).unwrap_or(from)
            }
            Happening::Opened { connection, .. } => self.connections[connection].hosts[0],
            Happening::Failed { host, .. } => host,
            Happening::Arrives { connection, end }
            | Happening::Written { connection, end, .. }
            | Happening::Reset { connection, end } => self.connections[connection].hosts[end],
        }
    }

    fn happen(&mut self, what: Happening) {
        if let Some(until) = self.hosts[self.concerned(&what)].frozen.filter(|until| *until > self.now) {
            // In the order in which it came.
            self.schedule(until, what);
            return;
        }
        match what {
            Happening::Attempt { from, life, conn, to } => self.attempt(from, life, conn, to),
            Happening::Opened { connection, life, conn } => self.opened(connection, life, conn),
            Happening::Failed { host, life, conn, error } => {
                if self.hosts[host].life == life && self.hosts[host].dialing.remove(&conn) {
                    self.input(host, Input::ConnectFailed { conn, error });
                }
            }
            Happening::Arrives { connection, end } => self.arrives(connection, end),
            Happening::Written { connection, end, octets } => {
                if let Some(conn) = self.connections[connection].open[end] {
                    self.input(self.connections[connection].hosts[end], Input::Written { conn, octets });
                }
            }
            Happening::Reset { connection, end } => {
                self.close_with(connection, end, Some(ErrorKind::ConnectionReset));
            }
        }
    }

    fn attempt(&mut self, from: usize, life: u32, conn: ConnId, to: IpAddr) {
        let caller = &self.hosts[from];
        if caller.life != life || !caller.dialing.contains(&conn) {
            return;
        }
        let Some(target) = self.hosts.iter().position(|host| host.address == to) else { return };
        let remote = SocketAddr::new(caller.address, 40_000);
        let local = SocketAddr::new(to, 179);
        let fail = |error| Happening::Failed { host: from, life, conn, error };
        let delay = self.delay();
        if self.down.contains(&link(from, target)) {
            self.schedule(self.now + Duration::from_secs(3), fail(ErrorKind::TimedOut));
            return;
        }
        let Some(speaker) = &self.hosts[target].speaker else {
            self.schedule(self.now + delay, fail(ErrorKind::ConnectionRefused));
            return;
        };
        let admits = speaker.admits(remote);
        let connection = self.connections.len();
        let back = self.now + delay;
        self.connections.push(Connection {
            hosts: [from, target],
            open: [None; 2],
            queues: [VecDeque::new(), VecDeque::new()],
            last_arrival: [back; 2],
            stuck: [0; 2],
        });
        self.schedule(back, Happening::Opened { connection, life, conn });
        if admits {
            self.hosts[target].accepted += 1;
            let accepted = ConnId::accepted(self.hosts[target].accepted);
            self.connections[connection].open[1] = Some(accepted);
            self.hosts[target].sockets.insert(accepted, (connection, 1));
            self.input(target, Input::ConnectionOpened { conn: accepted, remote, local });
        } else {
            // The listener accepts, and the shell closes at once.
            self.carry(connection, 0, Carried::End);
        }
    }

    fn opened(&mut self, connection: usize, life: u32, conn: ConnId) {
        let [host, target] = self.connections[connection].hosts;
        if self.hosts[host].life != life || !self.hosts[host].dialing.remove(&conn) {
            self.carry(connection, 1, Carried::End);
            return;
        }
        self.connections[connection].open[0] = Some(conn);
        self.hosts[host].sockets.insert(conn, (connection, 0));
        let remote = SocketAddr::new(self.hosts[target].address, 179);
        let local = SocketAddr::new(self.hosts[host].address, 40_000);
        self.input(host, Input::ConnectionOpened { conn, remote, local });
    }

    fn arrives(&mut self, connection: usize, end: usize) {
        if self.down.contains(&self.link_of(connection)) {
            self.connections[connection].stuck[end] += 1;
            return;
        }
        let Some(carried) = self.connections[connection].queues[end].pop_front() else { return };
        let host = self.connections[connection].hosts[end];
        match (carried, self.connections[connection].open[end]) {
            (Carried::Octets(octets), Some(conn)) => {
                let back = self.now + self.delay();
                self.schedule(back, Happening::Written { connection, end: 1 - end, octets: octets.len() });
                self.input(host, Input::Received { conn, octets: BytesMut::from(&octets[..]) });
            }
            (Carried::Octets(_), None) => {
                let back = self.now + self.delay();
                self.schedule(back, Happening::Reset { connection, end: 1 - end });
            }
            (Carried::End, Some(_)) => self.close_with(connection, end, None),
            (Carried::End, None) => {}
        }
    }

    /// An end learns that its connection is over.
    fn close_with(&mut self, connection: usize, end: usize, error: Option<ErrorKind>) {
        let Some(conn) = self.connections[connection].open[end].take() else { return };
        let host = self.connections[connection].hosts[end];
        self.hosts[host].sockets.remove(&conn);
        self.input(host, Input::Closed { conn, error });
    }

    fn input(&mut self, host: usize, input: Input) {
        if self.trace {
            println!("{:>12.6} host {host} <- {input:?}", self.elapsed());
        }
        let octets = if let Input::Received { octets, .. } = &input { octets.len() } else { 0 };
        self.note(host, octets);
        self.on(host, |speaker, now| speaker.handle_input(now, input));
    }

    /// Does all that a speaker asks for.
    fn perform(&mut self, host: usize) {
        let now = self.now;
        loop {
            let Some(speaker) = &mut self.hosts[host].speaker else { return };
            let more = speaker.advance(now);
            let mut changes = Vec::new();
            speaker.fib_changes(1024, &mut changes);
            let mut idle = changes.is_empty() && !more;
            for FibChange { prefix, route } in changes {
                if let Some(route) = route {
                    self.hosts[host].fib.insert(prefix, route);
                } else {
                    self.hosts[host].fib.remove(&prefix);
                    self.forgotten.push((host, prefix));
                }
            }
            while let Some(output) = self.hosts[host].speaker.as_mut().and_then(Speaker::poll_output) {
                idle = false;
                self.output(host, output);
            }
            if idle {
                return;
            }
        }
    }

    fn output(&mut self, host: usize, output: Output) {
        if self.trace && !matches!(output, Output::Send { .. } | Output::Tune { .. } | Output::Listen(_)) {
            println!("{:>12.6} host {host} -> {output:?}", self.elapsed());
        }
        match output {
            Output::Connect { conn, remote, .. } => {
                self.hosts[host].dialing.insert(conn);
                let (at, life) = (self.now + self.delay(), self.hosts[host].life);
                self.schedule(at, Happening::Attempt { from: host, life, conn, to: remote.ip() });
            }
            Output::Send { conn, octets } => {
                let Some((connection, end)) = self.hosts[host].sockets.get(&conn).copied() else { return };
                let mut rest = &octets[..];
                while !rest.is_empty() {
                    let whole = self.random.chance(70);
                    let length = if whole { rest.len() } else { 1 + self.random.below(rest.len()) };
                    let (chunk, after) = rest.split_at(length);
                    self.carry(connection, 1 - end, Carried::Octets(chunk.to_vec()));
                    rest = after;
                }
            }
            Output::Close { conn } => {
                self.hosts[host].dialing.remove(&conn);
                if let Some((connection, end)) = self.hosts[host].sockets.remove(&conn) {
                    self.connections[connection].open[end] = None;
                    self.carry(connection, 1 - end, Carried::End);
                }
            }
            Output::Listen(_) | Output::Tune { .. } | Output::Event(_) => {}
        }
    }

    fn carry(&mut self, connection: usize, end: usize, carried: Carried) {
        self.connections[connection].queues[end].push_back(carried);
        self.schedule_arrival(connection, end);
    }

    fn schedule_arrival(&mut self, connection: usize, end: usize) {
        let at = self.now + self.delay();
        let last = &mut self.connections[connection].last_arrival[end];
        *last = at.max(*last);
        let at = *last;
        self.schedule(at, Happening::Arrives { connection, end });
    }

    fn schedule(&mut self, at: Instant, what: Happening) {
        self.sequence += 1;
        self.events.push(Reverse(Event { at, sequence: self.sequence, what }));
    }

    /// Mostly a fraction of a millisecond, at times long enough that timers pass it.
    fn delay(&mut self) -> Duration {
        let most = if self.random.chance(self.slow) { 300_000 } else { 1_000 };
        self.random.time(Duration::from_micros(50), Duration::from_micros(most))
    }

    fn link_of(&self, connection: usize) -> (usize, usize) {
        let [a, b] = self.connections[connection].hosts;
        link(a, b)
    }

    fn note(&mut self, host: usize, octets: usize) {
        let word = self.now.duration_since(self.began).as_nanos() as u64
            ^ (host as u64) << 56
            ^ (octets as u64) << 40;
        self.digest = (self.digest ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
    }

    pub(crate) fn elapsed(&self) -> f64 {
        self.now.duration_since(self.began).as_secs_f64()
    }
}

/// The name of the link between two hosts.
pub(crate) fn link(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}
