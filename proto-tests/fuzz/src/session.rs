//! A whole speaker: one peer sends anything, three others watch what that does to them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use muslin_bgp_packet::frame::{HEADER_LENGTH, MAX_LENGTH, encode_keepalive, next_frame};
use muslin_bgp_packet::{
    AddPathFamily, AddPathMode, AsWidth, Asn, AttributeContext, Capability, DecodeContext, Family, FamilySet,
    GracefulFamily, GracefulRestart, MessageType, Open, PeerKind, Treatment, UpdateView, parse_attributes,
};
use muslin_bgp_speaker::Speaker;
use muslin_bgp_speaker::config::{
    AddPathConfig, ConnectMode, PeerConfig, Policy, RemoteAs, SentPaths, SessionConfig, SpeakerConfig,
};
use muslin_bgp_speaker::rib::{NextHopResolver, Resolution};
use muslin_bgp_speaker::session::{ConnId, State};
use muslin_bgp_speaker::speaker::{Input, Output};

const OUR_AS: Asn = Asn(65000);
const OUR_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
/// What the peer announces when it has come to its senses.
const MARKER: &str = "203.0.113.0/24";

/// A peer sends what it likes, framed or not, on a session or before there is one. Those who watch keep their
/// sessions and get nothing but well-formed messages, and the peer may come back and is heard. The first octet is
/// the [`Mode`].
pub fn session(octets: &[u8]) {
    let Some((&mode, octets)) = octets.split_first() else { return };
    let mode = Mode(mode);
    let mut stage = Stage::new(mode);
    let conn = stage.accept(Actor::Garbage);
    if mode.is_established() {
        stage.greet(conn, Actor::Garbage);
    }
    if mode.is_raw() {
        stage.send(conn, octets);
    } else {
        framed(octets, |message| stage.send(conn, message));
    }
    if mode.reconfigures() {
        stage.change_policies();
    }
    if mode.hangs_up() {
        stage.input(Input::Closed { conn, error: None });
    }
    stage.watchers_are_well();

    // A session that the peer left open ends by its hold timer, what it left behind by a restart timer.
    stage.pass(Duration::from_mins(15));
    let conn = stage.accept(Actor::Garbage);
    stage.greet(conn, Actor::Garbage);
    assert_eq!(stage.state(Actor::Garbage), State::Established, "the peer cannot come back");
    let marker = stage.marker();
    stage.send(conn, &marker);
    stage.watchers_are_well();
    stage.marker_was_seen();
}

/// Reads type, length and body of one message after the other, so that changes need not keep a header right:
/// framing has a target of its own.
fn framed(mut octets: &[u8], mut send: impl FnMut(&[u8])) {
    while let [kind, high, low, rest @ ..] = octets {
        let length = usize::from(u16::from_be_bytes([*high, *low])) % (MAX_LENGTH - HEADER_LENGTH + 1);
        let (body, rest) = rest.split_at(length.min(rest.len()));
        send(&message(*kind, body));
        octets = rest;
    }
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(HEADER_LENGTH + body.len()).expect("bodies are short");
    [&[0xff; 16], &length.to_be_bytes()[..], &[kind], body].concat()
}

/// What kind of session is tried, from one octet.
#[derive(Clone, Copy)]
struct Mode(u8);

impl Mode {
    const fn bit(self, at: u8) -> bool {
        self.0 >> at & 1 == 1
    }

    const fn is_established(self) -> bool {
        self.bit(0)
    }

    const fn is_internal(self) -> bool {
        self.bit(1)
    }

    const fn has_path_ids(self) -> bool {
        self.bit(2)
    }

    const fn as_width(self) -> AsWidth {
        if self.bit(3) { AsWidth::Two } else { AsWidth::Four }
    }

    const fn is_raw(self) -> bool {
        self.bit(4)
    }

    const fn restarts(self) -> bool {
        self.bit(5)
    }

    const fn reconfigures(self) -> bool {
        self.bit(6)
    }

    const fn hangs_up(self) -> bool {
        self.bit(7)
    }
}

/// Everybody around the speaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Actor {
    /// Sends anything.
    Garbage,
    /// External.
    External,
    /// External, with AS numbers of two octets.
    Old,
    /// Internal, with path identifiers.
    Internal,
}

impl Actor {
    const WATCHERS: [Self; 3] = [Self::External, Self::Old, Self::Internal];

    fn address(self) -> Ipv4Addr {
        Ipv4Addr::new(192, 0, 2, 1 + self as u8)
    }

    fn asn(self, mode: Mode) -> Asn {
        match self {
            Self::Garbage if mode.is_internal() => OUR_AS,
            Self::Garbage => Asn(65001),
            Self::External => Asn(65002),
            Self::Old => Asn(65003),
            Self::Internal => OUR_AS,
        }
    }

    fn context(self) -> DecodeContext {
        let peer = if self == Self::Internal { PeerKind::Internal } else { PeerKind::External };
        DecodeContext {
            attributes: AttributeContext {
                as_width: if self == Self::Old { AsWidth::Two } else { AsWidth::Four },
                peer,
            },
            add_path: if self == Self::Internal { FamilySet::ALL } else { FamilySet::EMPTY },
            ..DecodeContext::new(peer, FamilySet::ALL)
        }
    }

    fn open(self, mode: Mode) -> Open {
        let (as_width, path_ids, hold_time) = match self {
            Self::Garbage => (mode.as_width(), mode.has_path_ids().then_some(AddPathMode::Both), 90),
            Self::External => (AsWidth::Four, None, 0),
            Self::Old => (AsWidth::Two, None, 0),
            Self::Internal => (AsWidth::Four, Some(AddPathMode::Receive), 0),
        };
        let mut capabilities = vec![Capability::RouteRefresh, Capability::EnhancedRouteRefresh];
        capabilities.extend(Family::ALL.map(|family| Capability::Multiprotocol(family.into())));
        if let Some(mode) = path_ids {
            let families = Family::ALL.map(|family| AddPathFamily { family: family.into(), mode });
            capabilities.push(Capability::AddPath(families.into()));
        }
        if self == Self::Garbage && mode.restarts() {
            let families =
                Family::ALL.map(|family| GracefulFamily { family: family.into(), forwarding_kept: true });
            capabilities.push(Capability::GracefulRestart(GracefulRestart {
                notification: true,
                restart_time: 60,
                families: families.into(),
                ..GracefulRestart::default()
            }));
        }
        let mut open = Open::new(self.asn(mode), hold_time, self.address(), capabilities);
        if as_width == AsWidth::Two {
            open.capabilities.retain(|capability| !matches!(capability, Capability::FourOctetAs(_)));
        }
        open
    }
}

struct OneLink;

impl NextHopResolver for OneLink {
    fn resolve(&self, next_hop: IpAddr, _interface: Option<u32>) -> Option<Resolution> {
        Some(Resolution { gateway: next_hop, interface: 1, metric: 0, direct: true })
    }

    fn is_local(&self, address: IpAddr) -> bool {
        address == IpAddr::V4(OUR_ADDRESS)
    }
}

fn config(mode: Mode, policy: &Policy) -> SpeakerConfig {
    let peer = |actor: Actor| {
        let kind = match actor.asn(mode) {
            OUR_AS => SessionConfig::internal(),
            asn => SessionConfig::external(RemoteAs::Is(asn)),
        };
        let session = SessionConfig {
            connect: ConnectMode::Passive,
            add_path: AddPathConfig {
                receive: true,
                send: if actor == Actor::Internal { SentPaths::Best(4) } else { SentPaths::One },
                ..AddPathConfig::default()
            },
            extended_next_hop: false,
            ..kind.with_policies(policy.clone(), policy.clone())
        };
        PeerConfig::new(actor.address().into(), session)
    };
    let peers = [Actor::Garbage].into_iter().chain(Actor::WATCHERS).map(peer).collect();
    SpeakerConfig { peers, ..SpeakerConfig::new(OUR_AS, OUR_ADDRESS) }
}

/// A watcher's end of its session.
struct Watcher {
    actor: Actor,
    conn: ConnId,
    unread: BytesMut,
    has_marker: bool,
}

struct Stage {
    mode: Mode,
    now: Instant,
    speaker: Speaker,
    accepted: u64,
    watchers: Vec<Watcher>,
}

impl Stage {
    fn new(mode: Mode) -> Self {
        let now = Instant::now();
        let config = config(mode, &Policy::accept_all("everything"));
        let speaker = Speaker::new(now, config, Box::new(OneLink)).expect("the configuration is right");
        let mut stage = Self { mode, now, speaker, accepted: 0, watchers: Vec::new() };
        for actor in Actor::WATCHERS {
            let conn = stage.accept(actor);
            stage.watchers.push(Watcher { actor, conn, unread: BytesMut::new(), has_marker: false });
            stage.greet(conn, actor);
        }
        stage
    }

    fn accept(&mut self, actor: Actor) -> ConnId {
        self.accepted += 1;
        let conn = ConnId::accepted(self.accepted);
        let remote = SocketAddr::new(actor.address().into(), 40000);
        let local = SocketAddr::new(OUR_ADDRESS.into(), 179);
        self.input(Input::ConnectionOpened { conn, remote, local });
        conn
    }

    fn greet(&mut self, conn: ConnId, actor: Actor) {
        let mut octets = BytesMut::new();
        actor.open(self.mode).encode(&mut octets);
        encode_keepalive(&mut octets);
        self.send(conn, &octets);
    }

    fn send(&mut self, conn: ConnId, octets: &[u8]) {
        self.input(Input::Received { conn, octets: octets.into() });
    }

    fn input(&mut self, input: Input) {
        self.speaker.handle_input(self.now, input);
        self.settle();
    }

    /// Does what the speaker asks for until it asks for nothing more.
    fn settle(&mut self) {
        loop {
            let more = self.speaker.advance(self.now);
            while let Some(output) = self.speaker.poll_output() {
                match output {
                    Output::Send { conn, octets } => {
                        if let Some(watcher) = self.watchers.iter_mut().find(|watcher| watcher.conn == conn) {
                            watcher.unread.extend_from_slice(&octets);
                        }
                        let written = Input::Written { conn, octets: octets.len() };
                        self.speaker.handle_input(self.now, written);
                    }
                    Output::Close { conn } => {
                        let watcher = self.watchers.iter().find(|watcher| watcher.conn == conn);
                        assert!(watcher.is_none(), "somebody else's session was closed");
                    }
                    _ => {}
                }
            }
            if !more {
                return;
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.speaker.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.speaker.handle_timeout(self.now);
            self.settle();
        }
        self.now = end;
    }

    /// Refuses everything for a moment, so that all that the peer left is looked at again, twice.
    fn change_policies(&mut self) {
        for policy in [Policy::reject_all("nothing"), Policy::accept_all("everything")] {
            self.speaker.configure(self.now, config(self.mode, &policy)).expect("the configuration is right");
            self.settle();
        }
    }

    fn state(&self, actor: Actor) -> State {
        let address = IpAddr::V4(actor.address());
        let peers = self.speaker.peers(self.now);
        peers.iter().find(|peer| peer.address == address).expect("a configured peer").state
    }

    fn watchers_are_well(&mut self) {
        for actor in Actor::WATCHERS {
            assert_eq!(self.state(actor), State::Established, "{actor:?} lost its session");
        }
        for watcher in &mut self.watchers {
            watcher.read();
        }
    }

    fn marker_was_seen(&self) {
        for watcher in &self.watchers {
            // An internal peer is not told what another internal one said.
            let is_told = !(watcher.actor == Actor::Internal && self.mode.is_internal());
            assert_eq!(watcher.has_marker, is_told, "{:?} and the peer that came back", watcher.actor);
        }
    }

    /// An announcement without fault.
    fn marker(&self) -> Vec<u8> {
        let path_id = |octets: &mut Vec<u8>| {
            if self.mode.has_path_ids() {
                octets.extend([0, 0, 0, 1]);
            }
        };
        let mut attributes = vec![0x40, 1, 1, 0];
        match (self.mode.is_internal(), self.mode.as_width()) {
            (true, _) => attributes.extend([0x40, 2, 0]),
            (false, AsWidth::Four) => attributes.extend([0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xe9]),
            (false, AsWidth::Two) => attributes.extend([0x40, 2, 4, 2, 1, 0xfd, 0xe9]),
        }
        attributes.extend([0x40, 3, 4]);
        attributes.extend(Actor::Garbage.address().octets());
        if self.mode.is_internal() {
            attributes.extend([0x40, 5, 4, 0, 0, 0, 100]);
        }
        let length = u16::try_from(attributes.len()).expect("a few attributes");
        let mut body = vec![0, 0];
        body.extend(length.to_be_bytes());
        body.extend(attributes);
        path_id(&mut body);
        body.extend([24, 203, 0, 113]);
        message(2, &body)
    }
}

impl Watcher {
    /// Reads what came: only what a peer has no fault to find with.
    fn read(&mut self) {
        let context = self.actor.context();
        while let Some(frame) = next_frame(&mut self.unread, MAX_LENGTH).expect("messages are framed") {
            match frame.kind {
                MessageType::Notification => panic!("{:?} was sent a NOTIFICATION", self.actor),
                MessageType::Update => {
                    let view = UpdateView::parse(context, &frame.body).expect("an UPDATE that can be read");
                    let mut scratch = Vec::new();
                    let parsed =
                        parse_attributes(context.attributes, view.attribute_block().contiguous(&mut scratch));
                    assert_eq!(parsed.faults, [], "{:?} finds faults", self.actor);
                    assert_eq!(view.verdict(parsed.absent, &parsed.faults), Treatment::None);
                    let is_marker = |prefix: &ipnet::Ipv4Net| prefix.to_string() == MARKER;
                    self.has_marker |= view.announced().iter().any(|nlri| is_marker(&nlri.prefix));
                }
                _ => {}
            }
        }
    }
}
