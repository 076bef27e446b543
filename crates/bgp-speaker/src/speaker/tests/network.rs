//! Speakers over a simulated network: virtual time, latency, and no order between connections.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::lone::OneLink;
use crate::config::SpeakerConfig;
use crate::record::Recorded;
use crate::rib::FibChange;
use crate::session::{ConnId, State};
use crate::speaker::{Input, Output, SpeakerEvent, Start};

pub(super) struct Node {
    pub(super) speaker: Recorded,
    pub(super) address: IpAddr,
    pub(super) events: Vec<SpeakerEvent>,
    pub(super) fib: Vec<FibChange>,
    links: HashMap<ConnId, Link>,
    accepted: u64,
}

/// One end of a connection: where the other is, and when the last octets sent arrive there.
struct Link {
    node: usize,
    conn: ConnId,
    last_arrival: Instant,
}

pub(super) struct Network {
    pub(super) now: Instant,
    pub(super) nodes: Vec<Node>,
    arrivals: BinaryHeap<Reverse<Arrival>>,
    latency: Duration,
    seed: u64,
    sequence: u64,
}

struct Arrival {
    at: Instant,
    sequence: u64,
    node: usize,
    input: Input,
}

impl PartialEq for Arrival {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Arrival {}

impl PartialOrd for Arrival {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Arrival {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

fn recorded(now: Instant, config: SpeakerConfig, start: Start) -> Recorded {
    Recorded::on(now, Duration::ZERO, config, Box::new(OneLink), start).unwrap()
}

impl Network {
    /// Speakers at these addresses. The seed decides how long each packet is under way.
    pub(super) fn new(seed: u64, nodes: Vec<(IpAddr, SpeakerConfig)>) -> Self {
        let now = Instant::now();
        let node = |(address, config)| Node {
            speaker: recorded(now, config, Start::Fresh),
            address,
            events: Vec::new(),
            fib: Vec::new(),
            links: HashMap::new(),
            accepted: 0,
        };
        Self {
            now,
            nodes: nodes.into_iter().map(node).collect(),
            arrivals: BinaryHeap::new(),
            latency: Duration::from_micros(200),
            seed,
            sequence: 0,
        }
    }

    /// Runs for that long.
    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            for node in 0..self.nodes.len() {
                self.perform(node);
            }
            let timer = self.nodes.iter().filter_map(|node| node.speaker.poll_timeout()).min();
            let arrival = self.arrivals.peek().map(|Reverse(arrival)| arrival.at);
            let Some(next) = [timer, arrival].into_iter().flatten().min().filter(|at| *at <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            while let Some(Reverse(arrival)) = self.arrivals.peek()
                && arrival.at <= self.now
            {
                if let Some(Reverse(arrival)) = self.arrivals.pop() {
                    if let Input::Closed { conn, .. } = arrival.input {
                        self.nodes[arrival.node].links.remove(&conn);
                    }
                    self.nodes[arrival.node].speaker.handle_input(self.now, arrival.input);
                    self.perform(arrival.node);
                }
            }
            for node in &mut self.nodes {
                if node.speaker.poll_timeout().is_some_and(|at| at <= self.now) {
                    node.speaker.handle_timeout(self.now);
                }
            }
        }
    }

    /// Cuts every connection of a node without a word to it, as a power failure would for its peers.
    pub(super) fn cut(&mut self, node: usize) {
        let links: Vec<_> = self.nodes[node].links.drain().collect();
        for (conn, link) in links {
            self.nodes[link.node].links.remove(&link.conn);
            let error = Some(ErrorKind::ConnectionReset);
            self.nodes[node].speaker.handle_input(self.now, Input::Closed { conn, error });
            self.nodes[link.node].speaker.handle_input(self.now, Input::Closed { conn: link.conn, error });
        }
    }

    /// Kills a node's process: its connections break, and nothing answers until it is [started](Self::start).
    pub(super) fn kill(&mut self, node: usize) {
        self.cut(node);
        let config = self.nodes[node].speaker.config();
        let empty = SpeakerConfig::new(config.asn, config.router_id);
        self.start(node, empty, Start::Fresh);
    }

    /// Starts a node's process.
    pub(super) fn start(&mut self, node: usize, config: SpeakerConfig, start: Start) {
        let arrivals = std::mem::take(&mut self.arrivals).into_iter();
        self.arrivals = arrivals.filter(|Reverse(arrival)| arrival.node != node).collect();
        self.nodes[node].speaker = recorded(self.now, config, start);
    }

    pub(super) fn states(&self) -> Vec<State> {
        self.nodes.iter().flat_map(|node| node.speaker.peers(self.now)).map(|peer| peer.state).collect()
    }

    pub(super) fn connections(&self) -> usize {
        self.nodes.iter().map(|node| node.links.len()).sum()
    }

    fn perform(&mut self, node: usize) {
        loop {
            let more = self.nodes[node].speaker.advance(self.now);
            let mut fib = std::mem::take(&mut self.nodes[node].fib);
            self.nodes[node].speaker.fib_changes(usize::MAX >> 1, &mut fib);
            self.nodes[node].fib = fib;
            while let Some(output) = self.nodes[node].speaker.poll_output() {
                self.output(node, output);
            }
            if !more {
                return;
            }
        }
    }

    fn output(&mut self, node: usize, output: Output) {
        match output {
            Output::Connect { conn, remote, .. } => self.connect(node, conn, remote),
            Output::Send { conn, octets } => {
                let length = octets.len();
                self.carry(node, conn, |conn| Input::Received { conn, octets: BytesMut::from(&octets[..]) });
                self.nodes[node].speaker.handle_input(self.now, Input::Written { conn, octets: length });
            }
            Output::Close { conn } => {
                self.carry(node, conn, |conn| Input::Closed { conn, error: None });
                self.nodes[node].links.remove(&conn);
            }
            Output::Event(event) => self.nodes[node].events.push(event),
            Output::Listen(_) | Output::Tune { .. } => {}
        }
    }

    fn connect(&mut self, node: usize, conn: ConnId, remote: SocketAddr) {
        let from = SocketAddr::new(self.nodes[node].address, 40000);
        let arrival = self.now + self.delay();
        let target = self.nodes.iter().position(|other| {
            other.address == remote.ip()
                && !other.speaker.config().listen.is_empty()
                && other.speaker.admits(from)
        });
        let Some(target) = target else {
            self.arrive(arrival, node, Input::ConnectFailed { conn, error: ErrorKind::ConnectionRefused });
            return;
        };
        self.nodes[target].accepted += 1;
        let accepted = ConnId::accepted(self.nodes[target].accepted);
        let answered = arrival + self.delay();
        let far = Link { node: target, conn: accepted, last_arrival: arrival };
        let near = Link { node, conn, last_arrival: answered };
        self.nodes[node].links.insert(conn, far);
        self.nodes[target].links.insert(accepted, near);
        self.arrive(arrival, target, Input::ConnectionOpened { conn: accepted, remote: from, local: remote });
        self.arrive(answered, node, Input::ConnectionOpened { conn, remote, local: from });
    }

    /// Octets of one connection keep their order; those of different connections need not.
    fn carry(&mut self, node: usize, conn: ConnId, input: impl FnOnce(ConnId) -> Input) {
        let at = self.now + self.delay();
        let Some(link) = self.nodes[node].links.get_mut(&conn) else { return };
        link.last_arrival = link.last_arrival.max(at);
        let (at, target, far) = (link.last_arrival, link.node, link.conn);
        self.arrive(at, target, input(far));
    }

    fn arrive(&mut self, at: Instant, node: usize, input: Input) {
        self.sequence += 1;
        self.arrivals.push(Reverse(Arrival { at, sequence: self.sequence, node, input }));
    }

    /// The latency, up to four times of it.
    fn delay(&mut self) -> Duration {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.latency + self.latency * ((self.seed >> 33) % 300) as u32 / 100
    }
}
