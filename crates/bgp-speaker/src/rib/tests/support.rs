//! A RIB with simulated peers that decode every octet that they are sent.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use ipnet::IpNet;
use muslin_bgp_packet::{
    AsPath, AsWidth, Asn, DecodeContext, Family, FamilyNlri, FamilySet, MessageType, NextHop, Nlri,
    PathAttributes, PeerKind, RefreshSubtype, RouteRefresh, UpdateEncoder, UpdateView, next_frame,
    parse_attributes,
};

use crate::config::{ImportGuard, NextHopMode, PeerKey, Policy, ReflectorRole};
use crate::rib::{
    AddPathSend, FibChange, FibRoute, LocalAddresses, NextHopResolver, PeerIndex, PeerLoss, PeerView, Pull,
    Resolution, Rib, RibConfig, UpdateOutcome, UpdateSummary, is_link_local,
};

pub(super) const OWN_AS: Asn = Asn(65000);
pub(super) const OWN_ID: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// The link that external peers share with us, 10.0.0.0/24 and `fd00::/64`.
pub(super) const LINK: u32 = 7;

pub(super) fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Where addresses lead, to be changed by the test.
#[derive(Clone, Default)]
pub(super) struct Ways(Arc<Mutex<BTreeMap<IpAddr, Option<Resolution>>>>);

impl Ways {
    pub(super) fn set(&self, address: IpAddr, way: Option<Resolution>) {
        self.0.lock().unwrap().insert(address, way);
    }
}

/// A way over a gateway that is not on the shared link.
pub(super) fn via(metric: u32) -> Resolution {
    let gateway = Ipv4Addr::new(10, 9, 0, metric as u8).into();
    Resolution { gateway, interface: 9, metric, direct: false }
}

impl NextHopResolver for Ways {
    /// The shared link is on the link; everything else is two away, unless the test says otherwise.
    fn resolve(&self, next_hop: IpAddr, interface: Option<u32>) -> Option<Resolution> {
        if let Some(way) = self.0.lock().unwrap().get(&next_hop) {
            return *way;
        }
        if let Some(interface) = interface.filter(|_| is_link_local(next_hop)) {
            return Some(Resolution { gateway: next_hop, interface, metric: 0, direct: true });
        }
        let on_link = net("10.0.0.0/24").contains(&next_hop) || net("fd00::/64").contains(&next_hop);
        Some(if on_link {
            Resolution { gateway: next_hop, interface: LINK, metric: 0, direct: true }
        } else {
            via(2)
        })
    }

    fn is_local(&self, address: IpAddr) -> bool {
        address == IpAddr::V4(OWN_ID)
    }
}

/// A route as it stood in a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) attributes: PathAttributes,
    pub(super) next_hop: NextHop,
}

/// What a simulated peer has been told since its session came up.
#[derive(Clone, Debug, Default)]
pub(super) struct Receiver {
    pub(super) routes: BTreeMap<(IpNet, u32), Heard>,
    pub(super) end_of_rib: Vec<Family>,
    pub(super) refreshes: Vec<RefreshSubtype>,
    pub(super) messages: usize,
    pub(super) announced: usize,
    pub(super) longest: usize,
    /// What was not repeated since `BoRR`.
    unrepeated: BTreeSet<(IpNet, u32)>,
}

/// How a peer is, in few words.
pub(super) fn view(index: u16, asn: u32) -> PeerView {
    let internal = Asn(asn) == OWN_AS;
    let kind = if internal { PeerKind::Internal } else { PeerKind::External };
    let address = Ipv4Addr::new(10, 0, 0, 100 + index as u8);
    PeerView {
        key: PeerKey(format!("peer{index}").into()),
        asn: Asn(asn),
        local_as: OWN_AS,
        as_behind: None,
        prepends_received: false,
        role: None,
        id: address,
        address: address.into(),
        local: LocalAddresses {
            ipv4: Some(OWN_ID),
            ipv6: Some("fd00::1".parse().unwrap()),
            link_local: None,
        },
        interface: Some(LINK),
        one_hop: false,
        decode: DecodeContext::new(kind, FamilySet::ALL),
        families: FamilySet::ALL,
        add_path_send: AddPathSend::default(),
        extended_next_hop: FamilySet::EMPTY,
        max_message: 4096,
        enhanced_refresh: false,
        graceful_shutdown: false,
        takes_long_lived_stale: false,
        reflector: ReflectorRole::NonClient,
        next_hop: NextHopMode::Auto,
        import: Arc::new(Policy::accept_all("in")),
        export: Arc::new(Policy::accept_all("out")),
        allowed_own_as: 0,
        max_prefixes: None,
    }
}

/// The address that a peer names as next hop for its own routes.
pub(super) fn own_next_hop(peer: PeerIndex, prefix: IpNet) -> NextHop {
    NextHop::new(match prefix {
        IpNet::V4(_) => Ipv4Addr::new(10, 0, 0, 100 + peer.0 as u8).into(),
        IpNet::V6(_) => ip(&format!("fd00::{:x}", 100 + peer.0)),
    })
}

/// Attributes of a route that passed these ASes.
pub(super) fn path(asns: &[u32]) -> PathAttributes {
    let asns: Vec<_> = asns.iter().copied().map(Asn).collect();
    PathAttributes { as_path: AsPath::from_sequence(&asns), ..PathAttributes::default() }
}

/// The bodies of UPDATEs that announce prefixes to us, as a peer with this view encodes them.
pub(super) fn announcement(
    view: &PeerView,
    attributes: &PathAttributes,
    next_hop: NextHop,
    routes: &[(IpNet, u32)],
) -> Vec<Bytes> {
    let mut attributes = attributes.clone();
    if view.is_internal() {
        // RFC 4271 §5.1.5: mandatory between internal peers.
        attributes.local_pref.get_or_insert(100);
    }
    let mut block = BytesMut::new();
    attributes.encode_canonical(view.decode.attributes.as_width, &mut block);
    let mut out = BytesMut::new();
    let encoder = UpdateEncoder::new(4096);
    let (v4, v6) = nlri(view, routes);
    encoder.announce(&mut out, &block, &next_hop, v4).unwrap();
    encoder.announce(&mut out, &block, &next_hop, v6).unwrap();
    bodies(out)
}

/// The bodies of UPDATEs that withdraw prefixes.
pub(super) fn withdrawal(view: &PeerView, routes: &[(IpNet, u32)]) -> Vec<Bytes> {
    let mut out = BytesMut::new();
    let encoder = UpdateEncoder::new(4096);
    let (v4, v6) = nlri(view, routes);
    encoder.withdraw(&mut out, v4);
    encoder.withdraw(&mut out, v6);
    bodies(out)
}

type Routes<P> = Vec<Nlri<P>>;

fn nlri(view: &PeerView, routes: &[(IpNet, u32)]) -> (Routes<ipnet::Ipv4Net>, Routes<ipnet::Ipv6Net>) {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    let id = |family, id| view.decode.add_path.contains(family).then_some(id);
    for (prefix, path_id) in routes {
        match *prefix {
            IpNet::V4(prefix) => v4.push(Nlri { prefix, path_id: id(Family::Ipv4Unicast, *path_id) }),
            IpNet::V6(prefix) => v6.push(Nlri { prefix, path_id: id(Family::Ipv6Unicast, *path_id) }),
        }
    }
    (v4, v6)
}

fn bodies(mut messages: BytesMut) -> Vec<Bytes> {
    let mut bodies = Vec::new();
    while let Some(frame) = next_frame(&mut messages, 65535).unwrap() {
        bodies.push(frame.body);
    }
    bodies
}

/// A RIB and everybody around it.
pub(super) struct World {
    pub(super) rib: Rib,
    pub(super) ways: Ways,
    pub(super) now: Instant,
    pub(super) views: BTreeMap<PeerIndex, PeerView>,
    pub(super) receivers: BTreeMap<PeerIndex, Receiver>,
    pub(super) fib: BTreeMap<IpNet, FibRoute>,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with_guard(ImportGuard { allow_default: true, ..ImportGuard::open() })
    }

    pub(super) fn with_guard(guard: ImportGuard) -> Self {
        let ways = Ways::default();
        let now = Instant::now();
        let config = RibConfig { asn: OWN_AS, router_id: OWN_ID, cluster_id: None, max_paths: 4, guard };
        Self {
            rib: Rib::new(now, config, Box::new(ways.clone())),
            ways,
            now,
            views: BTreeMap::new(),
            receivers: BTreeMap::new(),
            fib: BTreeMap::new(),
        }
    }

    pub(super) fn up(&mut self, index: u16, view: PeerView) -> PeerIndex {
        let index = PeerIndex(index);
        self.rib.peer_up(self.now, index, view.clone());
        self.views.insert(index, view);
        self.receivers.insert(index, Receiver::default());
        index
    }

    pub(super) fn down(&mut self, index: PeerIndex, loss: PeerLoss) {
        self.rib.peer_down(self.now, index, loss);
        self.receivers.remove(&index);
    }

    pub(super) fn announce(&mut self, from: PeerIndex, prefixes: &[&str], attributes: &PathAttributes) {
        for prefix in prefixes {
            self.announce_via(from, &[prefix], attributes, own_next_hop(from, net(prefix)));
        }
    }

    pub(super) fn announce_via(
        &mut self,
        from: PeerIndex,
        prefixes: &[&str],
        attributes: &PathAttributes,
        next_hop: NextHop,
    ) {
        let routes: Vec<_> = prefixes.iter().map(|prefix| (net(prefix), 0)).collect();
        for body in announcement(&self.views[&from], attributes, next_hop, &routes) {
            self.feed(from, &body);
        }
    }

    pub(super) fn withdraw(&mut self, from: PeerIndex, prefixes: &[&str]) {
        let routes: Vec<_> = prefixes.iter().map(|prefix| (net(prefix), 0)).collect();
        for body in withdrawal(&self.views[&from], &routes) {
            self.feed(from, &body);
        }
    }

    pub(super) fn feed(&mut self, from: PeerIndex, body: &[u8]) -> UpdateSummary {
        match self.rib.update(self.now, from, body) {
            UpdateOutcome::Accepted(summary) => summary,
            other => panic!("{other:?}"),
        }
    }

    /// Does all background work, lets every peer read everything, and brings the kernel up to date.
    pub(super) fn settle(&mut self) {
        while self.rib.advance(self.now, 1000) {}
        let indexes: Vec<_> = self.receivers.keys().copied().collect();
        for index in indexes {
            self.read(index);
        }
        // Nobody has anything to be told, and what all have been told is let go of.
        let mut ready = Vec::new();
        self.rib.poll_ready(&mut ready);
        for index in ready {
            self.read(index);
        }
        self.drain_fib(usize::MAX >> 1);
        assert!(!self.rib.has_fib_changes());
    }

    pub(super) fn drain_fib(&mut self, max: usize) {
        let mut changes = Vec::new();
        self.rib.drain_fib(max, &mut changes);
        for FibChange { prefix, route } in changes {
            match route {
                Some(route) => self.fib.insert(prefix, route),
                None => self.fib.remove(&prefix),
            };
        }
    }

    /// Lets a peer read until it has everything.
    pub(super) fn read(&mut self, index: PeerIndex) {
        while self.read_some(index, 1 << 16) == Pull::More {}
    }

    /// Lets a peer read about so many octets.
    pub(super) fn read_some(&mut self, index: PeerIndex, room: usize) -> Pull {
        let mut out = Vec::new();
        let pull = self.rib.pull(index, room, &mut out);
        let view = &self.views[&index];
        self.receivers.get_mut(&index).unwrap().hear(view, &out);
        pull
    }

    pub(super) fn heard(&self, index: PeerIndex, prefix: &str) -> Option<&Heard> {
        self.receivers[&index].routes.get(&(net(prefix), 0))
    }

    pub(super) fn prefixes(&self, index: PeerIndex) -> Vec<String> {
        self.receivers[&index].routes.keys().map(|(prefix, _)| prefix.to_string()).collect()
    }
}

impl Receiver {
    fn hear(&mut self, view: &PeerView, messages: &[Bytes]) {
        // Seen from the peer we are internal exactly if it is to us; it reads path identifiers if we send them.
        let mut context = view.decode;
        context.add_path = view.add_path_send.families;
        context.extended_next_hop = view.extended_next_hop;
        let mut stream = BytesMut::new();
        for octets in messages {
            stream.extend_from_slice(octets);
        }
        loop {
            let before = stream.len();
            let Some(frame) = next_frame(&mut stream, usize::from(view.max_message)).unwrap() else { break };
            self.messages += 1;
            self.longest = self.longest.max(before - stream.len());
            match frame.kind {
                MessageType::Update => self.update(context, &frame.body),
                MessageType::RouteRefresh => self.refresh(&frame.body),
                other => panic!("{other:?} from the RIB"),
            }
        }
        assert!(stream.is_empty(), "a message was not complete");
    }

    fn update(&mut self, context: DecodeContext, body: &[u8]) {
        let update = UpdateView::parse(context, body).unwrap();
        if let Some(afi_safi) = update.end_of_rib() {
            return self.end_of_rib.push(afi_safi.family().unwrap());
        }
        let mut scratch = Vec::new();
        let block = update.attribute_block().contiguous(&mut scratch);
        let mut parsed = parse_attributes(context.attributes, block);
        assert!(parsed.faults.is_empty(), "{:?}", parsed.faults);
        let own = parsed.attributes.next_hop.take().map(|address| NextHop::new(address.into()));
        let withdrawn = update.withdrawn().iter().map(|route| (IpNet::from(route.prefix), route.path_id));
        let unreachable = update.mp_unreach().map(|unreach| unreach.nlri);
        let unreachable =
            unreachable.iter().flat_map(FamilyNlri::iter).map(|route| (route.prefix, route.path_id));
        for (prefix, path_id) in withdrawn.chain(unreachable) {
            self.routes.remove(&(prefix, path_id.unwrap_or(0)));
        }
        let announced = update.announced().iter().map(|route| (IpNet::from(route.prefix), route.path_id));
        let reachable = update.mp_reach().into_iter().flat_map(|reach| reach.nlri.iter());
        let announced = announced.map(|route| (route, own.unwrap())).chain(
            reachable.map(|route| ((route.prefix, route.path_id), update.mp_reach().unwrap().next_hop)),
        );
        for ((prefix, path_id), next_hop) in announced {
            self.announced += 1;
            let heard = Heard { attributes: parsed.attributes.clone(), next_hop };
            let key = (prefix, path_id.unwrap_or(0));
            self.unrepeated.remove(&key);
            self.routes.insert(key, heard);
        }
    }

    fn refresh(&mut self, body: &[u8]) {
        let refresh = RouteRefresh::decode(body).unwrap();
        let family = refresh.afi_safi.family().unwrap();
        let of_family = |prefix: &IpNet| matches!(prefix, IpNet::V4(_)) == (family == Family::Ipv4Unicast);
        match refresh.subtype {
            RefreshSubtype::Begin => {
                let keys = self.routes.keys().filter(|(prefix, _)| of_family(prefix)).copied();
                self.unrepeated.extend(keys);
            }
            RefreshSubtype::End => {
                let (gone, kept) = self.unrepeated.iter().partition(|(prefix, _)| of_family(prefix));
                self.unrepeated = kept;
                let gone: BTreeSet<(IpNet, u32)> = gone;
                self.routes.retain(|key, _| !gone.contains(key));
            }
            RefreshSubtype::Request | RefreshSubtype::Unknown(_) => {}
        }
        self.refreshes.push(refresh.subtype);
    }
}

/// A session of which the peer does not know AS numbers of four octets.
pub(super) fn two_octets(mut view: PeerView) -> PeerView {
    view.decode.attributes.as_width = AsWidth::Two;
    view
}
