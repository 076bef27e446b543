//! One speaker whose peer is the test: it sends any octets and sees what comes back.

use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use muslin_bgp_packet::frame::{HEADER_LENGTH, MAX_EXTENDED_LENGTH, encode_keepalive};
use muslin_bgp_packet::{
    Asn, Capability, Family, Frame, MessageType, Notification, Open, RouteRefresh, next_frame,
};

use crate::config::{PeerConfig, Policy, RemoteAs, SessionConfig, SpeakerConfig};
use crate::rib::{NextHopResolver, Resolution};
use crate::session::{ConnId, State};
use crate::speaker::{
    Command, Input, ListenPlan, Output, PeerStatus, SocketOptions, Speaker, SpeakerEvent, Start,
};

pub(super) const OUR_AS: Asn = Asn(65001);
pub(super) const PEER_AS: Asn = Asn(65002);
pub(super) const OUR_ID: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);
pub(super) const OUR_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 5));
pub(super) const PEER_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9));
pub(super) const HIGHER_ID: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);
pub(super) const LOWER_ID: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

/// Everything is on the one link.
pub(super) struct OneLink;

impl NextHopResolver for OneLink {
    fn resolve(&self, next_hop: IpAddr, _interface: Option<u32>) -> Option<Resolution> {
        Some(Resolution { gateway: next_hop, interface: 1, metric: 0, direct: true })
    }

    fn is_local(&self, _address: IpAddr) -> bool {
        false
    }
}

/// A session that exchanges everything with [`PEER_AS`].
pub(super) fn open_session() -> SessionConfig {
    SessionConfig::external(RemoteAs::Is(PEER_AS))
        .with_policies(Policy::accept_all("in"), Policy::accept_all("out"))
}

pub(super) fn config_with(session: SessionConfig) -> SpeakerConfig {
    let peer = PeerConfig::new(PEER_ADDRESS, session);
    SpeakerConfig { peers: vec![peer], ..SpeakerConfig::new(OUR_AS, OUR_ID) }
}

pub(super) struct Lone {
    pub(super) now: Instant,
    pub(super) speaker: Speaker,
    pub(super) dials: Vec<ConnId>,
    pub(super) events: Vec<SpeakerEvent>,
    pub(super) listening: Vec<ListenPlan>,
    pub(super) tuned: HashMap<ConnId, SocketOptions>,
    closed: HashSet<ConnId>,
    sent: HashMap<ConnId, BytesMut>,
    accepted: u64,
    /// Octets that the peer has not read, if it does not read.
    stalled: Option<usize>,
}

impl Lone {
    pub(super) fn new(session: SessionConfig) -> Self {
        Self::configured(config_with(session))
    }

    pub(super) fn configured(config: SpeakerConfig) -> Self {
        Self::started(config, Start::Fresh)
    }

    pub(super) fn started(config: SpeakerConfig, start: Start) -> Self {
        Self::placed(config, start, Box::new(OneLink))
    }

    /// On these links.
    pub(super) fn placed(
        config: SpeakerConfig,
        start: Start,
        resolver: Box<dyn NextHopResolver + Send>,
    ) -> Self {
        let now = Instant::now();
        let speaker = Speaker::started(now, config, resolver, start).unwrap();
        let mut lone = Self {
            now,
            speaker,
            dials: Vec::new(),
            events: Vec::new(),
            listening: Vec::new(),
            tuned: HashMap::new(),
            closed: HashSet::new(),
            sent: HashMap::new(),
            accepted: 0,
            stalled: None,
        };
        lone.settle();
        lone
    }

    /// Does what the speaker asks for until it asks for nothing more.
    fn settle(&mut self) {
        loop {
            let more = self.speaker.advance(self.now);
            while let Some(output) = self.speaker.poll_output() {
                match output {
                    Output::Connect { conn, options, .. } => {
                        self.dials.push(conn);
                        self.tuned.insert(conn, options);
                    }
                    Output::Send { conn, octets } => {
                        assert!(!self.closed.contains(&conn), "octets after the close");
                        self.sent.entry(conn).or_default().extend_from_slice(&octets);
                        if let Some(unread) = &mut self.stalled {
                            *unread += octets.len();
                        } else {
                            let written = Input::Written { conn, octets: octets.len() };
                            self.speaker.handle_input(self.now, written);
                        }
                    }
                    Output::Close { conn } => {
                        self.closed.insert(conn);
                    }
                    Output::Tune { conn, options } => {
                        self.tuned.insert(conn, options);
                    }
                    Output::Listen(plan) => self.listening.push(plan),
                    Output::Event(event) => self.events.push(event),
                }
            }
            if !more {
                return;
            }
        }
    }

    /// From now on the peer reads nothing.
    pub(super) fn stall(&mut self) {
        self.stalled = Some(0);
    }

    /// The peer reads everything that waits, and what comes.
    pub(super) fn resume(&mut self) {
        let octets = self.stalled.take().unwrap_or(0);
        let conn = ConnId::accepted(self.accepted);
        self.input(Input::Written { conn, octets });
    }

    pub(super) fn input(&mut self, input: Input) {
        self.speaker.handle_input(self.now, input);
        self.settle();
    }

    /// The peer connects.
    pub(super) fn accept(&mut self) -> ConnId {
        self.accept_from(PEER_ADDRESS)
    }

    pub(super) fn accept_from(&mut self, address: IpAddr) -> ConnId {
        self.accepted += 1;
        let conn = ConnId::accepted(self.accepted);
        let remote = SocketAddr::new(address, 40000);
        self.input(Input::ConnectionOpened { conn, remote, local: SocketAddr::new(OUR_ADDRESS, 179) });
        conn
    }

    /// The peer takes our latest attempt to connect.
    pub(super) fn answer_dial(&mut self) -> ConnId {
        let conn = *self.dials.last().unwrap();
        let (remote, local) = (SocketAddr::new(PEER_ADDRESS, 179), SocketAddr::new(OUR_ADDRESS, 40001));
        self.input(Input::ConnectionOpened { conn, remote, local });
        conn
    }

    /// The peer refuses our latest attempt to connect.
    pub(super) fn refuse_dial(&mut self) {
        let conn = *self.dials.last().unwrap();
        self.input(Input::ConnectFailed { conn, error: ErrorKind::ConnectionRefused });
    }

    pub(super) fn hang_up(&mut self, conn: ConnId) {
        self.input(Input::Closed { conn, error: None });
    }

    pub(super) fn send(&mut self, conn: ConnId, octets: &[u8]) {
        self.input(Input::Received { conn, octets: BytesMut::from(octets) });
    }

    /// Everything that came on a connection since the last look.
    pub(super) fn frames(&mut self, conn: ConnId) -> Vec<Frame> {
        let octets = self.sent.entry(conn).or_default();
        std::iter::from_fn(|| next_frame(octets, MAX_EXTENDED_LENGTH).unwrap()).collect()
    }

    pub(super) fn kinds(&mut self, conn: ConnId) -> Vec<MessageType> {
        self.frames(conn).into_iter().map(|frame| frame.kind).collect()
    }

    /// The NOTIFICATION with which a connection was closed; no connection may be closed without one.
    pub(super) fn refusal(&mut self, conn: ConnId) -> Notification {
        assert!(self.closed.contains(&conn), "the connection is open still");
        let last = self.frames(conn).pop().expect("a NOTIFICATION before the close");
        assert_eq!(last.kind, MessageType::Notification);
        Notification::decode(&last.body).unwrap()
    }

    pub(super) fn refused_with(&mut self, conn: ConnId) -> (u8, u8, Bytes) {
        let notification = self.refusal(conn);
        (notification.code, notification.subcode, notification.data)
    }

    pub(super) fn is_closed(&self, conn: ConnId) -> bool {
        self.closed.contains(&conn)
    }

    /// Lets time pass, firing every timer at its time.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.speaker.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.speaker.handle_timeout(self.now);
            self.settle();
        }
        self.now = end;
    }

    /// Brings a session up over a connection that the peer opens.
    pub(super) fn establish(&mut self) -> ConnId {
        let conn = self.accept();
        self.greet(conn, &peer_open());
        conn
    }

    /// OPEN and KEEPALIVE of the peer's.
    pub(super) fn greet(&mut self, conn: ConnId, open: &Open) {
        self.send(conn, &encoded(|out| open.encode(out)));
        self.send(conn, &keepalive());
    }

    pub(super) fn command(&mut self, command: Command) {
        self.input(Input::Command(command));
    }

    pub(super) fn configure(&mut self, config: SpeakerConfig) {
        self.speaker.configure(self.now, config).unwrap();
        self.settle();
    }

    pub(super) fn status(&self) -> PeerStatus {
        self.speaker.peers(self.now).remove(0)
    }

    pub(super) fn state(&self) -> State {
        self.status().state
    }
}

/// The OPEN of a peer that has everything.
pub(super) fn peer_open() -> Open {
    peer_open_with(PEER_AS, HIGHER_ID)
}

pub(super) fn peer_open_with(asn: Asn, id: Ipv4Addr) -> Open {
    let families = Family::ALL.into_iter().map(|family| Capability::Multiprotocol(family.into()));
    Open::new(asn, 90, id, families.chain([Capability::RouteRefresh]))
}

pub(super) fn encoded(encode: impl FnOnce(&mut BytesMut)) -> Vec<u8> {
    let mut out = BytesMut::new();
    encode(&mut out);
    out.to_vec()
}

pub(super) fn open_octets(open: &Open) -> Vec<u8> {
    encoded(|out| open.encode(out))
}

pub(super) fn keepalive() -> Vec<u8> {
    encoded(encode_keepalive)
}

pub(super) fn refresh(refresh: RouteRefresh) -> Vec<u8> {
    encoded(|out| refresh.encode(out))
}

/// A message of any type with any body.
pub(super) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut octets = vec![0xff; 16];
    octets.extend_from_slice(&((HEADER_LENGTH + body.len()) as u16).to_be_bytes());
    octets.push(kind);
    octets.extend_from_slice(body);
    octets
}

/// An UPDATE without routes: the End-of-RIB of IPv4 unicast.
pub(super) fn empty_update() -> Vec<u8> {
    message(2, &[0, 0, 0, 0])
}
