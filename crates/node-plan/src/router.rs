//! The other side of nodes' sessions: what the router that `BGPPeer`s name has to be told.

mod filters;
mod groups;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use muslin_bgp_packet::{Asn, Family, Role};
use muslin_bgp_speaker::config::{RemoteAs, RoleConfig, Secret, SessionConfig, SpeakerConfig, TtlMode};
use muslin_cluster::resources::{BgpPeer, PeerAs};
use muslin_cluster::{ClusterState, Kind, Object, nearest};

pub use self::filters::PrefixRange;
use crate::facts::{DefaultGateway, Interface, KernelFacts, Neighbour};
use crate::plan::{NodePlan, plan};

/// What a secret is until an operator writes it.
const PLACEHOLDER: &str = "REPLACE-WITH-THE-PASSWORD";

/// What is to be known beyond the cluster's state.
#[derive(Clone, Debug, Default)]
pub struct RouterRequest {
    /// `BGPPeer`s that are this router; if none is named, all that are met and not awaited.
    pub peers: Vec<String>,
    /// The router's AS, where the `BGPPeer`s only say `external`.
    pub asn: Option<Asn>,
    /// The router's identifier; its IPv4 address if absent.
    pub router_id: Option<Ipv4Addr>,
    /// Ranges that nodes connect from; those of their addresses if none is given.
    pub listen: Vec<IpNet>,
    /// Whether nodes and prefixes are written one by one instead of as ranges that new nodes fit into.
    pub exact: bool,
    /// Most prefixes of a node and family; a multiple of what they have if absent.
    pub max_prefixes: Option<u32>,
    /// Whether passwords are written, instead of a word that has to be replaced.
    pub secrets: Secrets,
}

/// What becomes of passwords.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Secrets {
    /// A word that stands for them.
    #[default]
    Hidden,
    /// They are written.
    Shown,
}

/// A router as its nodes need it.
#[derive(Clone, Debug, PartialEq)]
pub struct RouterPlan {
    /// The `BGPPeer`s that it is.
    pub peers: Vec<Arc<str>>,
    /// Its AS.
    pub asn: Asn,
    /// Its identifier.
    pub router_id: Ipv4Addr,
    /// The nodes, those together whose sessions are alike.
    pub groups: Vec<NodeGroup>,
    /// What is accepted from nodes.
    pub accept: Vec<PrefixRange>,
    /// What nodes accept.
    pub tell: Vec<PrefixRange>,
    /// Whether nodes accept a default route.
    pub default_route: bool,
}

/// Nodes whose sessions are alike.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeGroup {
    /// A name of letters, digits and underscores.
    pub name: String,
    /// Who belongs to it.
    pub members: Members,
    /// The nodes of today, with the addresses that they connect from.
    pub nodes: Vec<(Arc<str>, Option<IpAddr>)>,
    /// What their sessions are.
    pub session: RouterSession,
    /// Most prefixes of a node and family.
    pub max_prefixes: u32,
}

impl NodeGroup {
    /// The nodes of today by name and address, for a router that cannot take whoever comes from a range.
    pub fn by_name(&self) -> Members {
        Members::Each(
            self.nodes.iter().filter_map(|(node, address)| Some((node.clone(), (*address)?))).collect(),
        )
    }
}

/// Who belongs to a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Members {
    /// Whoever connects from these.
    Ranges(Vec<IpNet>),
    /// Nodes by name and address.
    Each(Vec<(Arc<str>, IpAddr)>),
    /// Whoever is at the other end of an interface.
    Links,
}

/// The router's side of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterSession {
    /// The node's AS.
    pub asn: Asn,
    /// Whether it is the router's own.
    pub internal: bool,
    /// Families.
    pub families: Vec<Family>,
    /// Whether IPv4 routes go over IPv6 next hops (RFC 8950).
    pub extended_next_hop: bool,
    /// How far away nodes may be.
    pub ttl: TtlMode,
    /// TCP-MD5 password, or what stands for it.
    pub password: Option<Secret>,
    /// How long a node's routes are kept while it restarts; none if it does not take part.
    pub graceful_restart: Option<Duration>,
    /// What the router is to the node (RFC 9234).
    pub role: Option<RoleConfig>,
    /// Whether the router has to connect.
    pub active: bool,
    /// The port that nodes connect to.
    pub port: u16,
}

/// Why there is no such router.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouterError {
    /// A name is wrong.
    #[error("there is no BGPPeer {name}; {known}")]
    NoSuchPeer {
        /// The name.
        name: String,
        /// What was meant, or what there is.
        known: String,
    },
    /// No `BGPPeer` is a router.
    #[error("no BGPPeer names a router that nodes connect to: add one, or write --peer NAME")]
    NoPeer,
    /// They are several routers.
    #[error("{0}: choose those of one router with --peer NAME, which may be given several times")]
    SeveralRouters(String),
    /// The AS is not known.
    #[error("BGPPeer {0} says `peerASN: external`: write the router's AS with --asn")]
    NoAsn(Arc<str>),
    /// The session is signed in a way that no configuration carries.
    #[error(
        "BGPPeer {0} .spec.tcpAO: no router's configuration is written with TCP-AO; leave the peer out with --peer and write its keys on the router by hand, or use .spec.password (TCP-MD5)"
    )]
    Signed(Arc<str>),
    /// No node has a session with it.
    #[error("no node has a session with {peers}: {why}")]
    NoNode {
        /// The `BGPPeer`s.
        peers: String,
        /// What keeps them from it.
        why: String,
    },
    /// A range leaves a node out.
    #[error("node {node} connects from {address}, which is in none of --listen {ranges}")]
    Outside {
        /// The node.
        node: Arc<str>,
        /// Its address.
        address: IpAddr,
        /// The ranges.
        ranges: String,
    },
    /// No node's address is known.
    #[error("node {0} has no InternalIP of the session's family: the router cannot know it by address")]
    NoAddress(Arc<str>),
}

/// What the router that `request` means has to be.
///
/// # Errors
///
/// If the cluster's state does not say it.
pub fn router_plan(state: &ClusterState, request: &RouterRequest) -> Result<RouterPlan, RouterError> {
    let chosen = chosen(state, &request.peers)?;
    if let Some((name, _)) = chosen.iter().find(|(_, peer)| peer.spec.tcp_ao.is_some()) {
        return Err(RouterError::Signed((*name).clone()));
    }
    let mut state = state.clone();
    if request.secrets == Secrets::Hidden {
        hide_secrets(&mut state, &chosen);
    }
    let nodes: Vec<(&Arc<str>, NodePlan)> =
        state.nodes.keys().map(|name| (name, plan(&state, &facts_beside(&chosen), name))).collect();
    let mut ends = Vec::new();
    for (node, plan) in &nodes {
        ends.extend(ends_of(&state, node, &plan.speaker, &chosen)?);
    }
    let names: Vec<_> = chosen.iter().map(|(name, _)| (*name).clone()).collect();
    if ends.is_empty() {
        return Err(no_node(&names, &nodes));
    }
    let secret = Secret::new(PLACEHOLDER.as_bytes());
    for end in &mut ends {
        let has_password =
            chosen.iter().any(|(name, peer)| **name == end.peer && peer.spec.password.is_some());
        if has_password && request.secrets == Secrets::Hidden {
            end.session.password = Some(secret.clone());
        }
    }
    let asn = router_asn(&chosen, request.asn, &nodes)?;
    let address = ends.iter().find_map(|end| match end.router {
        Some(IpAddr::V4(address)) => Some(address),
        _ => None,
    });
    let speakers: Vec<_> = nodes.iter().map(|(_, plan)| &plan.speaker).collect();
    let filters = filters::of(&state, &speakers, request.exact);
    Ok(RouterPlan {
        peers: names,
        asn,
        router_id: request.router_id.or(address).unwrap_or_else(|| Ipv4Addr::from(asn.0.max(1))),
        groups: groups::of(&ends, request)?,
        accept: filters.accept,
        tell: filters.tell,
        default_route: filters.default_route,
    })
}

type Chosen<'a> = Vec<(&'a Arc<str>, &'a Object<BgpPeer>)>;

fn chosen<'a>(state: &'a ClusterState, names: &[String]) -> Result<Chosen<'a>, RouterError> {
    let mut chosen = Vec::new();
    for name in names {
        let Some(found) = state.bgp_peers.get_key_value(name.as_str()) else {
            let known: Vec<&str> = state.bgp_peers.keys().map(|name| &**name).collect();
            let known = match nearest(name, &known) {
                Some(nearest) => format!("did you mean {nearest}?"),
                None => format!("there is {}", listed(&known)),
            };
            return Err(RouterError::NoSuchPeer { name: name.clone(), known });
        };
        chosen.push(found);
    }
    if names.is_empty() {
        chosen.extend(state.bgp_peers.iter().filter(|(_, peer)| peer.spec.listen_range.is_none()));
    }
    let mut asns = chosen.iter().map(|(_, peer)| peer.spec.peer_asn);
    match asns.next() {
        None => Err(RouterError::NoPeer),
        Some(first) if asns.any(|asn| asn != first) => {
            let said: Vec<_> =
                chosen.iter().map(|(name, peer)| format!("{name} of AS {}", peer.spec.peer_asn)).collect();
            Err(RouterError::SeveralRouters(format!("BGPPeers have different ASes ({})", said.join(", "))))
        }
        Some(_) => Ok(chosen),
    }
}

fn listed(names: &[&str]) -> String {
    match names {
        [] => "none".to_owned(),
        names => names.join(", "),
    }
}

/// The secrets do not even enter.
fn hide_secrets(state: &mut ClusterState, chosen: &Chosen<'_>) {
    for (name, peer) in chosen {
        let mut hidden = (***peer).clone();
        hidden.spec.password = None;
        state.bgp_peers.insert((*name).clone(), Object::new(hidden, (*peer.origin).clone()));
    }
}

/// What a node sees where a peer is found and not named: one neighbour on each interface, one gateway a family.
fn facts_beside(chosen: &Chosen<'_>) -> KernelFacts {
    let mut facts = KernelFacts::default();
    let patterns =
        chosen.iter().flat_map(|(_, peer)| peer.spec.interface.iter().chain(&peer.spec.interfaces));
    let names: BTreeSet<Arc<str>> = patterns.map(|pattern| pattern.replace('*', "0").into()).collect();
    for (index, name) in (1..).zip(names) {
        let address = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, index);
        facts.interfaces.push(Interface { name: name.clone(), mtu: 1500, ready: true, fault: None });
        facts.neighbours.push(Neighbour { interface: name, address });
    }
    if chosen.iter().any(|(_, peer)| peer.spec.auto_discovery.is_some()) {
        for address in [IpAddr::V4(Ipv4Addr::new(0, 0, 0, 1)), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
            facts.default_gateways.push(DefaultGateway { address, interface: "uplink".into(), metric: 0 });
        }
    }
    facts
}

/// The node's end of a session with the router.
struct NodeEnd {
    node: Arc<str>,
    peer: Arc<str>,
    /// Where the node connects to, if the `BGPPeer` says so.
    router: Option<IpAddr>,
    /// Where it connects from; none at the end of a link.
    address: Option<IpAddr>,
    announced: u32,
    session: RouterSession,
}

fn ends_of(
    state: &ClusterState,
    node: &Arc<str>,
    speaker: &SpeakerConfig,
    chosen: &Chosen<'_>,
) -> Result<Vec<NodeEnd>, RouterError> {
    let internal = state.nodes.get(node).map(|node| node.internal_ips()).unwrap_or_default();
    let own = |like: IpAddr| {
        let mut own = internal.iter().map(|address| address.value);
        own.find(|address| address.is_ipv4() == like.is_ipv4())
            .ok_or_else(|| RouterError::NoAddress(node.clone()))
    };
    let mut ends = Vec::new();
    let mut routers: BTreeMap<bool, (IpAddr, String)> = BTreeMap::new();
    for (name, peer) in chosen {
        let cause = format!("{} {name}", Kind::BgpPeer.name());
        let end = |session: &SessionConfig, active, port| NodeEnd {
            node: node.clone(),
            peer: (*name).clone(),
            router: None,
            address: None,
            announced: most_of_a_family(speaker),
            session: router_session(speaker, session, active, port),
        };
        for met in speaker.peers.iter().filter(|met| *met.cause == *cause) {
            let passive = met.session.connect == muslin_bgp_speaker::config::ConnectMode::Passive;
            let mut end = end(&met.session, passive, met.port);
            if peer.spec.peer_address.is_some() {
                let family = met.address.is_ipv4();
                if let Some((other, first)) = routers.insert(family, (met.address, name.to_string())) {
                    let said =
                        format!("node {node} has BGPPeers {first} at {other} and {name} at {}", met.address);
                    return Err(RouterError::SeveralRouters(said));
                }
                end.router = Some(met.address);
            }
            if met.interface.is_none() {
                end.address = Some(met.session.local_address.map_or_else(|| own(met.address), Ok)?);
            }
            ends.push(end);
        }
        for range in speaker.listen_ranges.iter().filter(|range| *range.cause == *cause) {
            let port = crate::settings::BGP_PORT;
            ends.push(NodeEnd { address: Some(own(range.range.addr())?), ..end(&range.session, true, port) });
        }
    }
    Ok(ends)
}

/// The most routes of one family that the node announces.
fn most_of_a_family(speaker: &SpeakerConfig) -> u32 {
    let v4 = speaker.originated.iter().filter(|route| route.prefix.addr().is_ipv4()).count();
    u32::try_from(v4.max(speaker.originated.len() - v4)).unwrap_or(u32::MAX)
}

fn router_session(
    speaker: &SpeakerConfig,
    session: &SessionConfig,
    active: bool,
    port: u16,
) -> RouterSession {
    let asn = session.local_as.map_or(speaker.asn, |local| local.asn);
    RouterSession {
        asn,
        internal: match session.remote_as {
            RemoteAs::Is(router) => router == asn,
            RemoteAs::Internal => true,
            RemoteAs::External => false,
        },
        families: session.families.clone(),
        extended_next_hop: session.extended_next_hop,
        ttl: session.ttl,
        password: session.password.clone(),
        graceful_restart: session.graceful_restart,
        role: session.role.map(|role| RoleConfig { role: counterpart(role.role), ..role }),
        active,
        port,
    }
}

/// The role that the other side has to have (RFC 9234 §4.2, table 2).
fn counterpart(role: Role) -> Role {
    match role {
        Role::Provider => Role::Customer,
        Role::Customer => Role::Provider,
        Role::RouteServer => Role::RouteServerClient,
        Role::RouteServerClient => Role::RouteServer,
        Role::Peer => Role::Peer,
    }
}

fn router_asn(
    chosen: &Chosen<'_>,
    told: Option<Asn>,
    nodes: &[(&Arc<str>, NodePlan)],
) -> Result<Asn, RouterError> {
    let Some((name, peer)) = chosen.first() else { return Err(RouterError::NoPeer) };
    match (peer.spec.peer_asn, told) {
        (PeerAs::Is(asn), _) | (PeerAs::External, Some(asn)) => Ok(asn),
        (PeerAs::Internal, _) => {
            let own = peer.spec.local_asn.map(|asn| asn.0);
            let ours = nodes.first().map(|(_, plan)| plan.speaker.asn);
            own.or(ours).ok_or(RouterError::NoPeer)
        }
        (PeerAs::External, None) => Err(RouterError::NoAsn((*name).clone())),
    }
}

fn no_node(peers: &[Arc<str>], nodes: &[(&Arc<str>, NodePlan)]) -> RouterError {
    let mut why = String::new();
    let problems: BTreeSet<String> = nodes
        .iter()
        .flat_map(|(_, plan)| &plan.problems)
        .filter(|problem| peers.iter().any(|peer| problem.object == format!("BGPPeer {peer}")))
        .map(ToString::to_string)
        .collect();
    for problem in &problems {
        // Writing to a String cannot fail.
        let _ = write!(why, "{}{problem}", if why.is_empty() { "" } else { "; " });
    }
    if nodes.is_empty() {
        "there are no Nodes".clone_into(&mut why);
    } else if why.is_empty() {
        "no node is selected by .spec.nodeSelector".clone_into(&mut why);
    }
    let peers: Vec<&str> = peers.iter().map(|peer| &**peer).collect();
    RouterError::NoNode { peers: format!("BGPPeer {}", peers.join(", ")), why }
}
