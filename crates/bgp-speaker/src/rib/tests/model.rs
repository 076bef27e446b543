//! Random histories: at the end the RIB, the kernel and every peer must hold what the naive RIB computes.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;
use muslin_bgp_packet::{Asn, Community, Family, FamilySet, LargeCommunity, NextHop, Origin, PathAttributes};
use proptest::prelude::*;

use super::reference::{FAR_AS, Learned, Reference, prefix};
use super::support::{
    OWN_AS, OWN_ID, World, announcement, ip, net, own_next_hop, path, two_octets, via, view, withdrawal,
};
use crate::config::{
    Action, GuardRange, ImportGuard, OriginatedRoute, OwnedBlock, Policy, PrefixMatch, ReflectorRole,
    RouteSource, Rule, Verdict,
};
use crate::rib::{
    AddPathSend, Matching, PeerIndex, PeerLoss, PeerPolicies, PeerView, RouteFilter, RouteState,
};

const PEERS: u16 = 8;

/// Whether a peer is sent several paths: then all changes are followed, which must not be what makes the rest work.
#[derive(Clone, Copy, Debug)]
enum Paths {
    Best,
    Several,
}

fn peer_view(index: u16, paths: Paths) -> PeerView {
    let client = |mut view: PeerView| {
        view.reflector = ReflectorRole::Client;
        view
    };
    match index {
        0 => view(0, 65001),
        // The same neighbouring AS, so that MED matters; and our own AS once in the path is allowed.
        1 => PeerView { allowed_own_as: 1, ..view(1, 65001) },
        2 => two_octets(view(2, 65002)),
        3 => view(3, OWN_AS.0),
        4 => client(view(4, OWN_AS.0)),
        5 => PeerView { enhanced_refresh: true, ..client(view(5, OWN_AS.0)) },
        6 => {
            let mut view = client(view(6, OWN_AS.0));
            view.decode.add_path = FamilySet::ALL;
            if let Paths::Several = paths {
                view.add_path_send = AddPathSend { families: FamilySet::ALL, paths: 3 };
            }
            view
        }
        _ => PeerView { enhanced_refresh: true, ..view(7, 65003) },
    }
}

fn rule(verdict: Verdict) -> Rule {
    Rule {
        cause: "test".into(),
        prefixes: Vec::new(),
        sources: Vec::new(),
        communities: Vec::new(),
        verdict,
        actions: Vec::new(),
    }
}

fn within(range: &str, min_length: u8, max_length: u8) -> PrefixMatch {
    PrefixMatch { within: net(range), min_length, max_length }
}

fn policy(index: u8) -> Policy {
    let marked = Community::new(65000, 7);
    let rules = match index % 6 {
        0 => vec![],
        1 => return Policy { name: "none".into(), rules: vec![], otherwise: Verdict::Reject },
        2 => vec![
            Rule { prefixes: vec![within("10.10.0.0/16", 17, 32)], ..rule(Verdict::Reject) },
            Rule {
                prefixes: vec![within("10.0.0.0/8", 8, 16), within("2001:db8::/32", 48, 48)],
                actions: vec![Action::LocalPref(150), Action::AddCommunity(marked)],
                ..rule(Verdict::Accept)
            },
        ],
        3 => vec![
            Rule { communities: vec![marked, Community::new(1, 1)], ..rule(Verdict::Reject) },
            Rule {
                sources: vec![RouteSource::Pod, RouteSource::Learned],
                actions: vec![
                    Action::Med(77),
                    Action::Prepend(Asn(65000), 2),
                    Action::RemoveCommunity(Community::NO_EXPORT),
                    Action::AddLargeCommunity(LargeCommunity { global: Asn(65000), local1: 1, local2: 2 }),
                ],
                ..rule(Verdict::Accept)
            },
        ],
        4 => vec![Rule { sources: vec![RouteSource::Service], ..rule(Verdict::Reject) }],
        // Like 0 for every route, though written differently.
        _ => vec![rule(Verdict::Accept)],
    };
    Policy { name: format!("policy {index}").into(), rules, otherwise: Verdict::Accept }
}

/// Our own AS may not be prepended on import, or the route would become a loop of ours.
fn import_policy(index: u8) -> Policy {
    let mut policy = policy(index);
    for rule in &mut policy.rules {
        rule.actions.retain(|action| !matches!(action, Action::Prepend(..)));
    }
    policy
}

fn guard(index: u8) -> ImportGuard {
    let range = |text: &str| GuardRange { range: net(text), cause: "test".into() };
    match index % 4 {
        0 => ImportGuard { allow_default: true, ..ImportGuard::default() },
        1 => ImportGuard {
            allowed: vec![range("10.0.0.0/8"), range("2001:db8::/32")],
            protected: vec![range("192.0.2.1/32")],
            ..ImportGuard::default()
        },
        2 => ImportGuard {
            protected: vec![range("10.20.7.7/32")],
            own_blocks: vec![range("10.10.1.0/24")],
            allow_default: true,
            ..ImportGuard::default()
        },
        _ => ImportGuard {
            owned_blocks: vec![OwnedBlock {
                block: net("10.10.0.0/16"),
                owner: "n2".into(),
                origin_as: Some(FAR_AS),
                addresses: vec![ip("10.1.0.1")],
                cause: "test".into(),
            }],
            ..ImportGuard::default()
        },
    }
}

fn originated(mask: u8) -> Vec<OriginatedRoute> {
    (0..7)
        .filter(|bit| mask & (1 << bit) != 0)
        .map(|bit| OriginatedRoute {
            prefix: prefix(bit),
            source: [RouteSource::Pod, RouteSource::Service, RouteSource::Static][bit % 3],
            local_pref: (bit == 1).then_some(300),
            med: (mask & 0x80 != 0).then_some(5),
            communities: if bit == 2 { vec![Community::NO_EXPORT] } else { vec![] },
            large_communities: vec![],
            cause: "test".into(),
        })
        .collect()
}

#[derive(Clone, Debug)]
struct Flavour {
    asns: u8,
    origin: u8,
    med: u8,
    local_pref: u8,
    community: u8,
    next_hop: u8,
    reflected: u8,
}

fn flavour() -> impl Strategy<Value = Flavour> {
    // Mostly plain routes, so that the later steps of the decision are reached.
    let rare = |common: u8, many: u8| prop_oneof![4 => Just(common), 1 => 0..many];
    (rare(0, 6), rare(0, 3), 0..3_u8, rare(0, 3), rare(0, 6), 0..4_u8, rare(0, 4)).prop_map(
        |(asns, origin, med, local_pref, community, next_hop, reflected)| Flavour {
            asns,
            origin,
            med,
            local_pref,
            community,
            next_hop,
            reflected,
        },
    )
}

fn attributes_of(flavour: &Flavour, peer: &PeerView) -> PathAttributes {
    let neighbour = peer.asn.0;
    let internal = peer.is_internal();
    let far = FAR_AS.0;
    let mut asns = match flavour.asns {
        0 => vec![far],
        1 => vec![],
        2 => vec![65020, far],
        3 => vec![65000, far],
        4 => vec![65000, 65000],
        _ => vec![4_200_000_001],
    };
    if !internal {
        asns.insert(0, neighbour);
    }
    let mut attributes = path(&asns);
    attributes.origin = [Origin::Igp, Origin::Egp, Origin::Incomplete][usize::from(flavour.origin % 3)];
    attributes.med = [None, Some(10), Some(20)][usize::from(flavour.med % 3)];
    attributes.communities = match flavour.community {
        1 => vec![Community::NO_EXPORT],
        2 => vec![Community::NO_ADVERTISE],
        3 => vec![Community::new(1, 1)],
        4 => vec![Community::GRACEFUL_SHUTDOWN],
        5 => vec![Community::new(2, 2), Community::NO_EXPORT_SUBCONFED],
        _ => vec![],
    };
    if internal {
        attributes.local_pref = Some([100, 50, 200][usize::from(flavour.local_pref % 3)]);
        match flavour.reflected {
            1 => {
                attributes.originator_id = Some([10, 0, 0, 90].into());
                attributes.cluster_list = vec![[9, 9, 9, 9].into()];
            }
            2 => attributes.originator_id = Some(OWN_ID),
            3 => attributes.cluster_list = vec![[9, 9, 9, 9].into(), OWN_ID],
            _ => {}
        }
    }
    attributes
}

fn next_hop_of(flavour: &Flavour, peer: PeerIndex, prefix: IpNet) -> NextHop {
    let (v4, v6) = match flavour.next_hop % 4 {
        0 => return own_next_hop(peer, prefix),
        1 => ("10.1.0.1", "fd01::1"),
        2 => ("10.1.0.2", "fd01::2"),
        _ => ("10.0.0.77", "fd00::77"),
    };
    NextHop::new(ip(if matches!(prefix, IpNet::V4(_)) { v4 } else { v6 }))
}

#[derive(Clone, Debug)]
enum Step {
    Announce { peer: u16, prefixes: Vec<usize>, path_id: u32, flavour: Flavour },
    Withdraw { peer: u16, prefix: usize, path_id: u32 },
    Up(u16),
    Down(u16, bool),
    FlushStale(u16, bool),
    BeginRefresh(u16, bool),
    EndRefresh(u16, bool),
    Policies { peers: Vec<u16>, import: u8, export: u8 },
    Guard(u8),
    NextHop { which: u8, metric: u8 },
    Originate(u8),
    MaxPaths(u8),
    Refresh(u16, bool),
    Advance(usize),
    Read(u16, usize),
    PollReady,
    Fib(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let peer = || 0..PEERS;
    prop_oneof![
        12 => (peer(), prop::collection::vec(0..7_usize, 1..4), 0..2_u32, flavour())
            .prop_map(|(peer, prefixes, path_id, flavour)| Step::Announce { peer, prefixes, path_id, flavour }),
        5 => (peer(), 0..7_usize, 0..2_u32)
            .prop_map(|(peer, prefix, path_id)| Step::Withdraw { peer, prefix, path_id }),
        4 => peer().prop_map(Step::Up),
        2 => (peer(), any::<bool>()).prop_map(|(peer, retain)| Step::Down(peer, retain)),
        1 => (peer(), any::<bool>()).prop_map(|(peer, v6)| Step::FlushStale(peer, v6)),
        1 => (peer(), any::<bool>()).prop_map(|(peer, v6)| Step::BeginRefresh(peer, v6)),
        1 => (peer(), any::<bool>()).prop_map(|(peer, v6)| Step::EndRefresh(peer, v6)),
        3 => (prop::collection::vec(peer(), 1..4), 0..6_u8, 0..6_u8)
            .prop_map(|(peers, import, export)| Step::Policies { peers, import, export }),
        1 => (0..4_u8).prop_map(Step::Guard),
        3 => (0..3_u8, 0..4_u8).prop_map(|(which, metric)| Step::NextHop { which, metric }),
        2 => any::<u8>().prop_map(Step::Originate),
        1 => (1..4_u8).prop_map(Step::MaxPaths),
        1 => (peer(), any::<bool>()).prop_map(|(peer, v6)| Step::Refresh(peer, v6)),
        2 => (0..600_usize).prop_map(Step::Advance),
        4 => (peer(), 0..400_usize).prop_map(|(peer, room)| Step::Read(peer, room)),
        3 => Just(Step::PollReady),
        2 => (0..4_usize).prop_map(Step::Fib),
    ]
}

struct Play {
    paths: Paths,
    world: World,
    reference: Reference,
    refreshing: BTreeMap<PeerIndex, FamilySet>,
}

fn family(v6: bool) -> Family {
    if v6 { Family::Ipv6Unicast } else { Family::Ipv4Unicast }
}

fn is_of(prefix: &IpNet, family: Family) -> bool {
    matches!(prefix, IpNet::V6(_)) == (family == Family::Ipv6Unicast)
}

impl Play {
    fn new(paths: Paths) -> Self {
        let world = World::new();
        let reference =
            Reference { guard: guard(0), ways: world.ways.clone(), max_paths: 4, ..Reference::default() };
        Self { paths, world, reference, refreshing: BTreeMap::new() }
    }

    fn is_up(&self, peer: PeerIndex) -> bool {
        self.reference.up.contains(&peer)
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Announce { peer, prefixes, path_id, flavour } => {
                let peer = PeerIndex(peer);
                if self.is_up(peer) {
                    self.announce(peer, &prefixes, path_id, &flavour);
                }
            }
            Step::Withdraw { peer, prefix: index, path_id } => {
                let peer = PeerIndex(peer);
                if self.is_up(peer) {
                    let view = self.reference.views[&peer].clone();
                    let path_id = if view.decode.add_path.is_empty() { 0 } else { path_id };
                    for body in withdrawal(&view, &[(prefix(index), path_id)]) {
                        self.world.feed(peer, &body);
                    }
                    self.reference.learned.remove(&(prefix(index), peer, path_id));
                }
            }
            Step::Up(peer) => self.up(PeerIndex(peer)),
            Step::Down(peer, retain) => self.down(PeerIndex(peer), retain),
            Step::FlushStale(peer, v6) => self.flush_stale(PeerIndex(peer), family(v6)),
            Step::BeginRefresh(peer, v6) => {
                let (peer, family) = (PeerIndex(peer), family(v6));
                if self.is_up(peer) {
                    self.world.rib.refresh_begins(peer, family);
                    let refreshing = self.refreshing.entry(peer).or_default();
                    *refreshing = refreshing.with(family);
                    self.mark_stale(peer, family);
                }
            }
            Step::EndRefresh(peer, v6) => {
                let (peer, family) = (PeerIndex(peer), family(v6));
                if self.is_up(peer) {
                    self.world.rib.refresh_ends(peer, family);
                    let refreshing = self.refreshing.entry(peer).or_default();
                    if refreshing.contains(family) {
                        *refreshing = refreshing.without(family);
                        self.remove_stale(peer, family);
                    }
                }
            }
            Step::Policies { peers, import, export } => self.set_policies(&peers, import, export),
            Step::Guard(index) => {
                self.world.rib.set_guard(guard(index));
                self.reference.guard = guard(index);
            }
            Step::NextHop { which, metric } => {
                let address = ["10.1.0.1", "10.1.0.2", "fd01::1"][usize::from(which)];
                self.world.ways.set(ip(address), (metric > 0).then(|| via(u32::from(metric))));
                self.world.rib.next_hops_changed();
            }
            Step::Originate(mask) => {
                let routes = originated(mask);
                self.world.rib.originate(self.world.now, &routes);
                self.reference.originated = routes.into_iter().map(|route| (route.prefix, route)).collect();
            }
            Step::MaxPaths(paths) => {
                self.world.rib.set_max_paths(paths);
                self.reference.max_paths = usize::from(paths);
            }
            Step::Refresh(peer, v6) => self.world.rib.refresh(PeerIndex(peer), family(v6)),
            Step::Advance(budget) => {
                self.world.rib.advance(self.world.now, budget);
            }
            Step::Read(peer, room) => {
                if self.is_up(PeerIndex(peer)) {
                    self.world.read_some(PeerIndex(peer), room);
                }
            }
            Step::PollReady => self.world.rib.poll_ready(&mut Vec::new()),
            Step::Fib(max) => self.world.drain_fib(max),
        }
    }

    fn announce(&mut self, peer: PeerIndex, prefixes: &[usize], path_id: u32, flavour: &Flavour) {
        let view = self.reference.views[&peer].clone();
        let path_id = if view.decode.add_path.is_empty() { 0 } else { path_id };
        let attributes = attributes_of(flavour, &view);
        for prefix in prefixes.iter().copied().map(prefix) {
            let next_hop = next_hop_of(flavour, peer, prefix);
            for body in announcement(&view, &attributes, next_hop, &[(prefix, path_id)]) {
                self.world.feed(peer, &body);
            }
            let learned = Learned { attributes: attributes.clone(), next_hop, stale: false };
            self.reference.learned.insert((prefix, peer, path_id), learned);
        }
    }

    fn up(&mut self, peer: PeerIndex) {
        if self.reference.up.insert(peer) {
            let paths = self.paths;
            let view = self.reference.views.entry(peer).or_insert_with(|| peer_view(peer.0, paths)).clone();
            self.refreshing.remove(&peer);
            self.world.up(peer.0, view);
        }
    }

    fn down(&mut self, peer: PeerIndex, retain: bool) {
        if self.reference.up.remove(&peer) {
            self.world.down(peer, if retain { PeerLoss::RetainStale } else { PeerLoss::Flush });
            for family in Family::ALL {
                self.remove_stale(peer, family);
                self.mark_stale(peer, family);
                if !retain {
                    self.remove_stale(peer, family);
                }
            }
        }
    }

    fn flush_stale(&mut self, peer: PeerIndex, family: Family) {
        self.world.rib.flush_stale(peer, family.into());
        self.remove_stale(peer, family);
    }

    fn mark_stale(&mut self, peer: PeerIndex, family: Family) {
        for ((prefix, from, _), learned) in &mut self.reference.learned {
            learned.stale |= *from == peer && is_of(prefix, family);
        }
    }

    fn remove_stale(&mut self, peer: PeerIndex, family: Family) {
        self.reference
            .learned
            .retain(|(prefix, from, _), learned| !(learned.stale && *from == peer && is_of(prefix, family)));
    }

    fn set_policies(&mut self, peers: &[u16], import: u8, export: u8) {
        let (import, export) = (Arc::new(import_policy(import)), Arc::new(policy(export)));
        let mut changes = Vec::new();
        for peer in peers.iter().copied().map(PeerIndex) {
            if let Some(view) = self.reference.views.get_mut(&peer) {
                view.import = import.clone();
                view.export = export.clone();
                changes.push(PeerPolicies { peer, import: import.clone(), export: export.clone() });
            }
        }
        self.world.rib.set_policies(&changes);
    }

    fn check(&mut self) {
        self.world.settle();
        for prefix in self.reference.prefixes() {
            self.check_selection(prefix);
        }
        for (prefix, route) in &self.world.fib {
            let ways: std::collections::BTreeSet<_> =
                route.next_hops.iter().map(|way| (way.gateway, way.interface)).collect();
            assert_eq!(ways, self.reference.kernel(*prefix), "kernel route of {prefix}");
        }
        for peer in &self.reference.up {
            let receiver = &self.world.receivers[peer];
            assert_eq!(receiver.routes, self.reference.sent(*peer), "what {peer:?} holds");
            let mut ended = receiver.end_of_rib.clone();
            ended.sort_unstable();
            assert_eq!(ended, Family::ALL, "End-of-RIB to {peer:?}");
        }
    }

    fn check_selection(&self, prefix: IpNet) {
        let filter =
            RouteFilter { prefix: Some(prefix), matching: Matching::Exact, ..RouteFilter::default() };
        let selected: Vec<_> = self
            .world
            .rib
            .loc_rib(&filter)
            .routes
            .into_iter()
            .filter(|route| matches!(route.state, RouteState::Best | RouteState::Multipath))
            .map(|route| route.peer)
            .collect();
        let wanted = self.reference.selected(prefix);
        let name = |peer: PeerIndex| self.reference.views.get(&peer).map(|view| view.key.0.to_string());
        assert_eq!(
            selected.first(),
            wanted.first().map(|path| name(path.peer)).as_ref(),
            "best path of {prefix}"
        );
        let sorted = |mut peers: Vec<Option<String>>| {
            peers.sort();
            peers
        };
        let wanted_peers = wanted.iter().map(|path| name(path.peer)).collect();
        assert_eq!(sorted(selected), sorted(wanted_peers), "ECMP set of {prefix}");
        let kernel = self.reference.kernel(prefix);
        assert_eq!(self.world.fib.contains_key(&prefix), !kernel.is_empty(), "kernel route of {prefix}");
    }

    fn end(mut self) {
        for peer in 0..PEERS {
            self.world.down(PeerIndex(peer), PeerLoss::Flush);
            self.world.rib.flush_stale(PeerIndex(peer), FamilySet::ALL);
        }
        self.world.rib.originate(self.world.now, &[]);
        self.world.settle();
        let summary = self.world.rib.summary();
        assert_eq!(summary, crate::rib::RibSummary::default(), "everything is given back");
        assert!((0..PEERS).all(|peer| self.world.rib.is_flushed(PeerIndex(peer))));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 3000, ..ProptestConfig::default() })]

    #[test]
    fn any_history_ends_in_what_the_naive_rib_computes(
        paths in prop_oneof![Just(Paths::Best), Just(Paths::Several)],
        histories in prop::collection::vec(prop::collection::vec(step(), 1..40), 1..4),
    ) {
        let mut play = Play::new(paths);
        for peer in 0..PEERS {
            play.up(PeerIndex(peer));
        }
        for history in histories {
            for step in history {
                play.step(step);
            }
            play.check();
        }
        play.end();
    }
}
