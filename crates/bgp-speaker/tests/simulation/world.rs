//! What the operators of the simulated speakers want, and what their kernels know: the truth that the
//! invariants compare the speakers with.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};

use ipnet::{IpNet, Ipv4Net};
use muslin_bgp_packet::{Asn, Community};
use muslin_bgp_speaker::Speaker;
use muslin_bgp_speaker::config::{
    Action, AddPathConfig, Condition, ConnectMode, GuardRange, ImportGuard, ListenRange, MedChange,
    NextHopMode, OriginatedRoute, OwnedBlock, PeerConfig, PeerKey, Policy, PrefixMatch, ReflectorRole,
    RemoteAs, RouteSource, Rule, SentPaths, SessionConfig, SpeakerConfig, Verdict,
};
use muslin_bgp_speaker::rib::{NextHopResolver, Resolution};
use muslin_bgp_speaker::speaker::{Input, Start};

use crate::network::Network;
use crate::random::Random;
use crate::topology::{Guarding, Peering, Relation, Side, Topology, generate};

/// Blocks that each speaker owns.
const BLOCKS: u8 = 3;

/// What a route is originated with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origination {
    pub(crate) med: Option<u32>,
    pub(crate) local_pref: Option<u32>,
    pub(crate) community: Option<u16>,
}

/// What a kernel knows of the way to addresses.
#[derive(Debug)]
pub(crate) struct Table {
    own: IpAddr,
    shared_link: bool,
    pub(crate) unreachable: BTreeSet<IpAddr>,
    pub(crate) metrics: BTreeMap<IpAddr, u32>,
}

struct Kernel(Arc<Mutex<Table>>);

impl NextHopResolver for Kernel {
    fn resolve(&self, next_hop: IpAddr, _interface: Option<u32>) -> Option<Resolution> {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let host = host_of(next_hop)?;
        if table.unreachable.contains(&next_hop) {
            return None;
        }
        let interface = if table.shared_link { 1 } else { host as u32 + 1 };
        let metric = table.metrics.get(&next_hop).copied().unwrap_or(0);
        Some(Resolution { gateway: next_hop, interface, metric, direct: true })
    }

    fn is_local(&self, address: IpAddr) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).own == address
    }
}

pub(crate) struct World {
    pub(crate) network: Network,
    pub(crate) topology: Topology,
    pub(crate) originated: Vec<BTreeMap<IpNet, Origination>>,
    pub(crate) tables: Vec<Arc<Mutex<Table>>>,
    /// Who says that it is about to go (RFC 8326).
    pub(crate) leaving: BTreeSet<usize>,
}

impl World {
    /// A network of which every speaker is on and originates some of its blocks.
    pub(crate) fn new(seed: u64, trace: bool) -> Self {
        let mut random = Random::new(seed);
        let topology = generate(&mut random);
        let hosts = topology.asns.len();
        let table = |host| Table {
            own: address(host),
            shared_link: topology.shared_link,
            unreachable: BTreeSet::new(),
            metrics: BTreeMap::new(),
        };
        let tables = (0..hosts).map(|host| Arc::new(Mutex::new(table(host)))).collect();
        let originated = (0..hosts).map(|host| BTreeMap::from([(block(host, 0), Origination::default())]));
        let originated = originated.collect();
        let mut network = Network::new(random, (0..hosts).map(address));
        network.trace = trace;
        let leaving = BTreeSet::new();
        let mut world = Self { network, topology, originated, tables, leaving };
        for host in 0..hosts {
            world.start(host, Start::Fresh);
        }
        world
    }

    /// Starts a speaker with what is wanted of it now; if it knows of its earlier life, it says so to its peers.
    pub(crate) fn start(&mut self, host: usize, start: Start) {
        let kernel = Box::new(Kernel(self.tables[host].clone()));
        let speaker = Speaker::started(self.network.now, self.config(host), kernel, start);
        self.network.start(host, speaker.expect("the configuration of the simulation is valid"));
    }

    /// Tells a speaker what is wanted of it now.
    pub(crate) fn configure(&mut self, host: usize) {
        let config = self.config(host);
        self.network.on(host, |speaker, now| {
            speaker.configure(now, config).expect("the configuration of the simulation is valid");
        });
    }

    /// Changes what a kernel knows, and says so.
    pub(crate) fn route(&mut self, host: usize, change: impl FnOnce(&mut Table)) {
        change(&mut self.tables[host].lock().unwrap_or_else(PoisonError::into_inner));
        self.network.on(host, |speaker, now| speaker.handle_input(now, Input::NextHopsChanged));
    }

    /// Whoever originates a prefix.
    pub(crate) fn originators(&self, prefix: IpNet) -> impl Iterator<Item = usize> {
        (0..self.originated.len()).filter(move |host| self.originated[*host].contains_key(&prefix))
    }

    fn config(&self, host: usize) -> SpeakerConfig {
        let IpAddr::V4(router_id) = address(host) else { unreachable!("hosts have IPv4 addresses") };
        let mut config = SpeakerConfig::new(Asn(self.topology.asns[host]), router_id);
        config.listen = vec!["0.0.0.0:179".parse().expect("an address")];
        config.guard = self.guard(host);
        config.graceful_shutdown = self.leaving.contains(&host);
        config.originated =
            self.originated[host].iter().map(|(prefix, with)| originate(*prefix, with)).collect();
        for peering in &self.topology.peerings {
            let Some(end) = peering.ends.iter().position(|end| *end == host) else { continue };
            if peering.sides[end].absent {
                continue;
            }
            let other = peering.ends[1 - end];
            let session = self.session(peering, end);
            if peering.by_range && end == 0 {
                let range = ListenRange::new(IpNet::from(address(other)), session);
                config
                    .listen_ranges
                    .push(ListenRange { key: PeerKey::new(&format!("range{other}")), ..range });
            } else {
                config.peers.push(PeerConfig::new(address(other), session));
            }
        }
        config
    }

    fn session(&self, peering: &Peering, end: usize) -> SessionConfig {
        let side = &peering.sides[end];
        let base = match peering.relation {
            Relation::External => {
                SessionConfig::external(RemoteAs::Is(Asn(self.topology.asns[peering.ends[1 - end]])))
            }
            Relation::Internal | Relation::Reflection => SessionConfig::internal(),
        };
        let own_as = Asn(self.topology.asns[peering.ends[end]]);
        SessionConfig {
            connect: if peering.waits && end == 0 { ConnectMode::Passive } else { ConnectMode::Both },
            hold_time: peering.hold,
            graceful_restart: peering.restart,
            long_lived: peering.long_lived,
            add_path: if peering.add_path {
                AddPathConfig { receive: true, send: SentPaths::Best(3), ..AddPathConfig::default() }
            } else {
                AddPathConfig::default()
            },
            reflector: if peering.relation == Relation::Reflection && end == 0 {
                ReflectorRole::Client
            } else {
                ReflectorRole::NonClient
            },
            next_hop: self.next_hop_mode(peering, end),
            allowed_own_as: if self.topology.is_node(peering.ends[end]) {
                self.topology.allowed_own_as
            } else {
                0
            },
            shutdown: side.shut_down.then(|| "by configuration".into()),
            ..base.with_policies(
                policy(
                    "in",
                    &side.refused_in,
                    side.community.map(|value| community(1, value)).into_iter().collect(),
                ),
                policy("out", &side.refused_out, export_actions(side, own_as)),
            )
        }
    }

    /// Borders are the next hop of what they bring into their AS; a reflector touches nothing.
    fn next_hop_mode(&self, peering: &Peering, end: usize) -> NextHopMode {
        let host = peering.ends[end];
        let is_border = self
            .topology
            .peerings
            .iter()
            .any(|other| other.relation == Relation::External && other.ends.contains(&host));
        if is_border && peering.relation != Relation::External {
            NextHopMode::Itself
        } else {
            NextHopMode::Auto
        }
    }

    fn guard(&self, host: usize) -> ImportGuard {
        let Guarding::Nodes(nodes) = self.topology.guarding else { return ImportGuard::open() };
        if !self.topology.is_node(host) {
            return ImportGuard::open();
        }
        let hosts = self.topology.asns.len();
        let others = (hosts - nodes..hosts).filter(|other| *other != host);
        ImportGuard {
            own_blocks: blocks(host).map(|range| GuardRange { range, cause: "own block".into() }).collect(),
            owned_blocks: others
                .flat_map(|owner| blocks(owner).map(move |block| (owner, block)))
                .map(|(owner, block)| OwnedBlock {
                    block,
                    owner: format!("node{owner}").into(),
                    origin_as: Some(Asn(self.topology.asns[owner])),
                    shares_as: false,
                    addresses: vec![address(owner)],
                    cause: "block of another node".into(),
                })
                .collect(),
            ..ImportGuard::open()
        }
    }
}

/// Where a host is.
pub(crate) fn address(host: usize) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, host as u8 + 1).into()
}

/// Who is there.
pub(crate) fn host_of(address: IpAddr) -> Option<usize> {
    match address {
        IpAddr::V4(address) => match address.octets() {
            [10, 0, 0, host @ 1..=255] => Some(usize::from(host) - 1),
            _ => None,
        },
        IpAddr::V6(_) => None,
    }
}

/// A block of a host.
pub(crate) fn block(host: usize, number: u8) -> IpNet {
    Ipv4Net::new_assert(Ipv4Addr::new(10, 100 + host as u8, number, 0), 24).into()
}

/// All blocks of a host.
pub(crate) fn blocks(host: usize) -> impl Iterator<Item = IpNet> {
    (0..BLOCKS).map(move |number| block(host, number))
}

/// Whose block a prefix is, if it is one.
pub(crate) fn owner_of(prefix: IpNet) -> Option<usize> {
    match prefix.addr() {
        IpAddr::V4(address) if (100..200).contains(&address.octets()[1]) => {
            Some(usize::from(address.octets()[1]) - 100)
        }
        _ => None,
    }
}

/// A prefix that several may originate.
pub(crate) fn anycast(number: u8) -> IpNet {
    Ipv4Net::new_assert(Ipv4Addr::new(10, 200, number, 0), 24).into()
}

fn community(high: u16, low: u16) -> Action {
    Action::AddCommunity(standard(high, low).into())
}

fn standard(high: u16, low: u16) -> Community {
    Community(u32::from(high) << 16 | u32::from(low))
}

fn export_actions(side: &Side, own_as: Asn) -> Vec<Action> {
    let prepend = (side.prepend > 0).then_some(Action::Prepend(own_as, side.prepend));
    prepend.into_iter().chain(side.med.map(MedChange::Set).map(Action::Med)).collect()
}

fn policy(name: &str, refused: &BTreeSet<IpNet>, actions: Vec<Action>) -> Policy {
    let mut rules = Vec::new();
    if !refused.is_empty() {
        let prefixes: Vec<_> = refused.iter().map(|prefix| PrefixMatch::exact(*prefix)).collect();
        rules.push(Rule::reject("simulation").when(Condition::Prefix(prefixes.into())));
    }
    if !actions.is_empty() {
        rules.push(Rule { actions, ..Rule::accept("simulation") });
    }
    Policy { name: name.into(), rules, otherwise: Verdict::Accept }
}

fn originate(prefix: IpNet, with: &Origination) -> OriginatedRoute {
    OriginatedRoute {
        med: with.med,
        label: None,
        local_pref: with.local_pref,
        communities: with.community.map(|value| standard(2, value)).into_iter().collect(),
        ..OriginatedRoute::new(prefix, RouteSource::Pod, "simulation")
    }
}
