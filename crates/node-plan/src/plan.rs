//! The plan of one node.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use muslin_bgp_speaker::config::{OriginatedRoute, RouteSource, SpeakerConfig};
use muslin_cluster::kubernetes::Node;
use muslin_cluster::{ClusterState, Effect, Kind, Object, ObjectRef, Origin, Problem};
use muslin_pod_network::FirewallPlan;

use crate::advertisement::{Advertisements, Askers, ExportRules, Origination, Routes};
use crate::blocks::Ownership;
use crate::causes::{Caused, Subject, Withheld};
use crate::facts::KernelFacts;
use crate::firewall::firewall;
use crate::guard::node_guard;
use crate::mesh::Mesh;
use crate::peers::{Discovery, Kinship, Local, Peers, Policies};
use crate::policy::{Direction, before, derived_export, derived_import, filtered};
use crate::services::{ServiceRoutes, Services};
use crate::settings::{Settings, unused};

/// Everything that a node is to do, each item with its cause.
#[derive(Clone, Debug, PartialEq)]
pub struct NodePlan {
    /// The node.
    pub node: String,
    /// The speaker: peers, originated routes, policies, import guard.
    pub speaker: SpeakerConfig,
    /// Blocks that pods get their addresses from.
    pub address_blocks: Vec<Caused<IpNet>>,
    /// Blocks whose unused addresses lead nowhere: the node's own, never a Service range.
    pub blackholes: Vec<Caused<IpNet>>,
    /// Where peers are looked for, and which have not been found yet.
    pub discovery: Discovery,
    /// The packet filter.
    pub firewall: FirewallPlan,
    /// Ranges and single addresses of Services that this node answers for.
    pub service_ranges: Vec<Caused<IpNet>>,
    /// MTU of pods' interfaces, in bytes; `None` leaves it to the kernel.
    pub mtu: Option<u32>,
    /// What is asked for but not announced by this node, with the reason.
    pub withheld: Vec<Withheld>,
    /// Addresses of Services whose endpoint here is ending while another node has one that is ready.
    pub ending: BTreeSet<IpNet>,
    /// Addresses of `Local` Services with an endpoint here while another node has one that is ready.
    pub relieved: BTreeSet<IpNet>,
    /// What is worth knowing and is not wrong.
    pub notes: Vec<Caused<String>>,
    /// What is wrong: of the state that was read, and of what follows from it.
    pub problems: Vec<Problem>,
}

/// Decides what `node` is to do.
///
/// Total: whatever is wrong becomes a [`Problem`] and is left out. A node that the state does not have gets a
/// plan without peers, routes and blocks.
pub fn plan(state: &ClusterState, facts: &KernelFacts, node: &str) -> NodePlan {
    plan_holding(state, facts, node, &BTreeSet::new())
}

/// As [`plan`], with the routes in `held` announced for as long as an endpoint here serves, be it ending; see
/// [`Lingering`](crate::Lingering).
pub fn plan_holding(
    state: &ClusterState,
    facts: &KernelFacts,
    node: &str,
    held: &BTreeSet<IpNet>,
) -> NodePlan {
    let settings = Settings::of(state, Some(node));
    let mut problems = state.problems.clone();
    problems.extend(unused(state, Some(node)));
    let ownership = Ownership::of(state, &settings);
    let concerns_us = ownership.problems.iter().filter(|(owner, _)| &**owner == node);
    problems.extend(concerns_us.map(|(_, problem)| problem.clone()));

    let object = state.nodes.get_key_value(node).map(|(name, object)| Subject::new(Kind::Node, name, object));
    let addresses = object.as_ref().map_or_else(Vec::new, |node| internal_addresses(node.object));
    let router_id = settings.router_id.unwrap_or_else(|| router_id(node, &addresses));
    let mut speaker = SpeakerConfig {
        identification: settings.names.identification(Some(node)),
        listen: listen(settings.listen_port),
        guard: node_guard(state, facts, &settings, &ownership, node),
        cluster_id: settings.cluster_id,
        max_paths: settings.max_paths,
        bmp: settings.bmp.clone(),
        ..SpeakerConfig::new(settings.asn, router_id)
    };
    let mut notes = Vec::new();
    let mut services = ServiceRoutes::default();
    let mut discovery = Discovery::default();
    match &object {
        None => problems.push(unknown_node(state, node)),
        Some(object) => {
            let labels = &object.object.labels;
            let advertisements = Advertisements::of(state, Some(labels));
            let routes;
            (routes, services) =
                originate(state, &settings, &ownership, node, object.object, &advertisements, held);
            speaker.originated = routes.routes(&advertisements);

            let local = Local {
                state,
                facts,
                asn: settings.asn,
                node_addresses: &addresses,
                chosen_addresses: &settings.local_addresses,
            };
            let import = derived_import(&ownership, &settings, node);
            let selected = state.bgp_peers.iter().filter(|(_, peer)| {
                peer.spec
                    .node_selector
                    .as_ref()
                    .is_none_or(|selector| selector.matches(|key| labels.get(key)))
            });
            // Peers that are told alike share one policy, and so what is sent.
            let usual = derived_export(&ExportRules::default(), "");
            let told_or_usual = |told: &ExportRules, peer: &str| {
                if told.is_empty() { usual.clone() } else { derived_export(told, peer) }
            };
            let peers = Peers::of(&local, selected, |peer, relation, problems| {
                let told = advertisements.export_rules(&routes, Some(peer), relation.own);
                let export = told_or_usual(&told, peer.name());
                Policies {
                    import: filtered(state, peer, relation, Direction::Import, &[], &import, problems),
                    export: filtered(
                        state,
                        peer,
                        relation,
                        Direction::Export,
                        &told.first,
                        &export,
                        problems,
                    ),
                    // Nodes share one AS behind an external router; the guard knows whose each block is.
                    allowed_own_as: u8::from(relation.kinship == Kinship::External),
                }
            });
            let explicit: BTreeSet<_> = peers.named.iter().map(|peer| peer.address).collect();
            let told = advertisements.export_rules(&routes, None, settings.asn);
            let export = before(&told.first, &told_or_usual(&told, "the node mesh"));
            let mesh = Mesh::of(&local, &settings, node, &explicit, &ownership, &import, &export);
            speaker.peers = peers.named;
            speaker.peers.extend(mesh.peers);
            speaker.listen_ranges = peers.ranges;
            discovery = peers.discovery;
            problems.extend(peers.problems);
            problems.extend(mesh.problem);
            notes.extend(mesh.notes);
            problems.extend(advertisements.problems);
            notes.extend(advertisements.notes);
        }
    }
    let blocks: Vec<_> =
        ownership.blocks_of(node).map(|(range, cause)| Caused::new(range, cause.clone())).collect();
    let announced: Vec<_> =
        speaker.originated.iter().filter(|route| route.source == RouteSource::Service).cloned().collect();
    let service_ranges = announced.iter().map(|route| Caused::new(route.prefix, route.cause.clone()));
    NodePlan {
        node: node.to_owned(),
        firewall: firewall(state, &settings, &ownership, node, &speaker, &announced),
        service_ranges: service_ranges.collect(),
        speaker,
        blackholes: blocks.clone(),
        address_blocks: blocks,
        mtu: facts.uplink_mtu.or_else(|| facts.least_mtu(&discovery)),
        discovery,
        withheld: services.withheld,
        ending: services.ending,
        relieved: services.relieved,
        notes,
        problems,
    }
}

/// What a node announces.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Announced {
    /// The prefixes.
    pub originated: Vec<OriginatedRoute>,
    /// What is asked for but not announced by this node, with the reason.
    pub withheld: Vec<Withheld>,
}

/// What every node of the cluster announces, as its plan has it. For who looks at all of them: a plan of each would
/// also need the facts of its kernel.
pub fn announced(state: &ClusterState) -> BTreeMap<Arc<str>, Announced> {
    let ownership = Ownership::of(state, &Settings::of(state, None));
    let of_node = |(name, node): (&Arc<str>, &Object<Node>)| {
        let settings = Settings::of(state, Some(name));
        let advertisements = Advertisements::of(state, Some(&node.labels));
        let held = BTreeSet::new();
        let (routes, services) = originate(state, &settings, &ownership, name, node, &advertisements, &held);
        let originated = routes.routes(&advertisements);
        (name.clone(), Announced { originated, withheld: services.withheld })
    };
    state.nodes.iter().map(of_node).collect()
}

fn originate(
    state: &ClusterState,
    settings: &Settings,
    ownership: &Ownership,
    name: &str,
    node: &Node,
    advertisements: &Advertisements<'_>,
    held: &BTreeSet<IpNet>,
) -> (Origination, ServiceRoutes) {
    let mut routes = Origination::default();
    originate_pods(ownership, name, advertisements, &mut routes);
    let services = Services { state, settings, ownership, advertisements, held };
    let services = services.announce(name, Some(node), &mut routes);
    for route in &settings.originate {
        routes.add(route.clone(), Askers::USUAL);
    }
    routes.add_prefixes(advertisements);
    (routes, services)
}

fn internal_addresses(node: &Node) -> Vec<IpAddr> {
    node.internal_ips().iter().map(|address| address.value).collect()
}

/// Pods are announced in any case: the mesh is always told of them.
fn originate_pods(
    ownership: &Ownership,
    node: &str,
    advertisements: &Advertisements<'_>,
    routes: &mut Origination,
) {
    let askers = if advertisements.governs(Routes::Pods) {
        Askers { usual: false, by: advertisements.pods() }
    } else {
        Askers::USUAL
    };
    for (prefix, cause) in ownership.blocks_of(node) {
        routes.add(OriginatedRoute::new(prefix, RouteSource::Pod, cause), askers.clone());
    }
}

/// Where a speaker listens: on every address of both families.
pub(crate) fn listen(port: Option<u16>) -> Vec<SocketAddr> {
    let addresses = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    port.into_iter().flat_map(|port| addresses.map(|address| SocketAddr::new(address, port))).collect()
}

/// The node's first IPv4 address, else a number that follows from its name (RFC 6286 wants no more of it).
fn router_id(node: &str, addresses: &[IpAddr]) -> Ipv4Addr {
    let address = addresses.iter().find_map(|address| match address {
        IpAddr::V4(address) if !address.is_unspecified() => Some(*address),
        _ => None,
    });
    address.unwrap_or_else(|| {
        // FNV-1a: short, and the same on every machine and in every version.
        let hash = node
            .bytes()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        Ipv4Addr::from(hash.max(1))
    })
}

fn unknown_node(state: &ClusterState, node: &str) -> Problem {
    let known: Vec<_> = state.nodes.keys().take(5).map(|name| &**name).collect();
    let remedy = match known.as_slice() {
        [] => "add the Node object".to_owned(),
        known => format!("add the Node object, or choose one of {}", known.join(", ")),
    };
    let message = "there is no such node, so it has no peers and announces nothing";
    let node = ObjectRef::new(Kind::Node, node);
    ClusterState::problem(&node, &Origin::default(), "", message, remedy, Effect::Refused)
}
