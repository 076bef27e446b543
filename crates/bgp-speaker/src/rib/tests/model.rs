//! Random histories: at the end the RIB, the kernel and every peer must hold what the naive RIB computes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipnet::IpNet;
use muslin_bgp_packet::{Family, FamilySet};
use proptest::prelude::*;

use super::reference::{Learned, Reference, prefix};
use super::support::{Heard, World, announcement, ip, via, withdrawal};
use super::variety::{
    Flavour, PEERS, Paths, attributes_of, flavour, guard, import_policy, next_hop_of, originated, peer_view,
    policy,
};
use crate::config::ReflectorRole;
use crate::rib::{Matching, PeerIndex, PeerLoss, PeerRules, RibSummary, RouteFilter, RouteState};

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

/// Routes without the identifiers, which are told apart by being keys and are otherwise the speaker's choice.
fn by_prefix(routes: &BTreeMap<(IpNet, u32), Heard>) -> BTreeMap<IpNet, Vec<String>> {
    let mut all: BTreeMap<IpNet, Vec<String>> = BTreeMap::new();
    for ((prefix, _), heard) in routes {
        all.entry(*prefix).or_default().push(format!("{heard:?}"));
    }
    for paths in all.values_mut() {
        paths.sort();
    }
    all
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
        let reference = Reference::new(guard(0), world.ways.clone(), 4);
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
        let (import_as, export_as) = (Arc::new(import_policy(import)), Arc::new(policy(export)));
        let mut changes = Vec::new();
        for peer in peers.iter().copied().map(PeerIndex) {
            if let Some(view) = self.reference.views.get_mut(&peer) {
                view.import = import_as.clone();
                view.export = export_as.clone();
                // What else may change under a session comes out of the same numbers.
                view.allowed_own_as = import & 1;
                if view.is_internal() {
                    view.reflector =
                        if export & 1 == 1 { ReflectorRole::Client } else { ReflectorRole::NonClient };
                }
                changes.push(PeerRules::of(peer, view));
            }
        }
        self.world.rib.set_rules(&changes);
    }

    fn check(&mut self) {
        self.world.settle();
        for prefix in self.reference.prefixes() {
            self.check_selection(prefix);
        }
        for (prefix, route) in &self.world.fib {
            let ways: BTreeSet<_> = route.next_hops.iter().map(|way| (way.gateway, way.interface)).collect();
            assert_eq!(ways, self.reference.kernel(*prefix), "kernel route of {prefix}");
        }
        for peer in &self.reference.up {
            let receiver = &self.world.receivers[peer];
            let (found, wanted) = (by_prefix(&receiver.routes), self.reference.sent(*peer));
            assert_eq!(found, by_prefix(&wanted), "what {peer:?} holds");
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
        assert_eq!(summary, RibSummary::default(), "everything is given back");
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
