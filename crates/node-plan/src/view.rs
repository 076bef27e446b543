//! A plan as people and programs read it.

mod policy;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use muslin_bgp_packet::Family;
use muslin_bgp_speaker::config::{
    AddPathConfig, ConnectMode, GuardRange, ListenRange, LocalAsPrepend, NextHopMode, OriginatedRoute,
    OverLimit, OwnedBlock, PeerConfig, Policy, PrefixLimit, ReflectorRole, RemoteAs, RouteSource, SentPaths,
    SessionConfig, SpeakerConfig, TtlMode, Verdict,
};
use muslin_cluster::Problem;
use muslin_pod_network::FirewallPlan;
use serde::Serialize;

use crate::causes::{Caused, Withheld};
use crate::peers::{AwaitedPeer, Discovery};
use crate::plan::NodePlan;
use crate::speaker::SpeakerPlan;

/// A plan, ready to be printed; secrets are left out.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanView {
    /// The node; none for a stand-alone speaker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Our AS.
    pub asn: u32,
    /// Our BGP identifier.
    pub router_id: Ipv4Addr,
    /// Our reflection cluster, where it is not the identifier.
    #[serde(rename = "clusterID", skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<Ipv4Addr>,
    /// Where we listen.
    pub listen: Vec<SocketAddr>,
    /// Most equal paths used together.
    pub max_paths: u8,
    /// BMP collectors.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bmp: Vec<Caused<SocketAddr>>,
    /// Peers, and ranges that peers may connect from.
    pub peers: Vec<PeerView>,
    /// Peers that have no address yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub awaited: Vec<AwaitedPeer>,
    /// What we announce.
    pub originated: Vec<RouteView>,
    /// What is asked for but not announced.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub withheld: Vec<Withheld>,
    /// The policies that peers refer to by name.
    pub policies: Vec<PolicyView>,
    /// What is never learned.
    pub guard: GuardView,
    /// Blocks that pods get their addresses from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub address_blocks: Vec<Caused<IpNet>>,
    /// Blocks whose unused addresses lead nowhere.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blackholes: Vec<Caused<IpNet>>,
    /// The packet filter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firewall: Option<FirewallPlan>,
    /// MTU of pods' interfaces, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// What is worth knowing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Caused<String>>,
    /// What is wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
}

/// A peer, or a range of peers.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerView {
    /// Its name.
    pub name: Arc<str>,
    /// Its address with port, or the range that it connects from.
    pub address: String,
    /// Its AS: a number, `internal` or `external`.
    pub asn: String,
    /// Where we connect from; none leaves it to the kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_address: Option<IpAddr>,
    /// Address families.
    pub families: Vec<String>,
    /// Hold time that we offer, in seconds.
    pub hold_time: u64,
    /// What differs from the usual.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// Name of the policy for what it sends.
    pub import: Arc<str>,
    /// Name of the policy for what it is sent.
    pub export: Arc<str>,
    /// Why it is a peer.
    pub cause: Arc<str>,
}

/// A route that we announce.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteView {
    /// The prefix.
    pub prefix: IpNet,
    /// `pod`, `service` or `static`.
    pub source: &'static str,
    /// Attributes that are not the usual ones, and the advertisements that ask for it (`advertised by edge[0]`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<String>,
    /// Why.
    pub cause: Arc<str>,
}

/// A policy in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyView {
    /// Its name.
    pub name: Arc<str>,
    /// Its rules in order, each with its cause; the first that matches decides.
    pub rules: Vec<Caused<String>>,
    /// What happens to all else.
    pub otherwise: &'static str,
}

/// What is never learned, in words.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GuardView {
    /// Only within these, besides the blocks of `from_owner_only`; none says that everything may be learned
    /// that is not refused below.
    pub only: Option<Vec<Caused<IpNet>>>,
    /// Nothing that covers, equals or is within these, unless `only` names just that.
    pub never_over: Vec<Caused<IpNet>>,
    /// Nothing that equals or is within these ranges of Services, unless `only` names a part of one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<Caused<IpNet>>,
    /// Nothing that equals or is within these.
    pub never_within: Vec<Caused<IpNet>>,
    /// Only from their owners ("n2").
    pub from_owner_only: Vec<Caused<String>>,
    /// Whether a default route may be learned.
    pub default_route: bool,
}

impl From<&NodePlan> for PlanView {
    fn from(plan: &NodePlan) -> Self {
        Self {
            node: Some(plan.node.clone()),
            withheld: plan.withheld.clone(),
            address_blocks: plan.address_blocks.clone(),
            blackholes: plan.blackholes.clone(),
            firewall: Some(plan.firewall.clone()),
            mtu: plan.mtu,
            notes: plan.notes.clone(),
            ..Self::of(&plan.speaker, &plan.discovery, &plan.problems)
        }
    }
}

impl From<&SpeakerPlan> for PlanView {
    fn from(plan: &SpeakerPlan) -> Self {
        Self::of(&plan.speaker, &plan.discovery, &plan.problems)
    }
}

impl PlanView {
    fn of(speaker: &SpeakerConfig, discovery: &Discovery, problems: &[Problem]) -> Self {
        let named = speaker.peers.iter().map(PeerView::from);
        let ranges = speaker.listen_ranges.iter().map(PeerView::from);
        let guard = &speaker.guard;
        let sessions = speaker.peers.iter().map(|peer| &*peer.session);
        let sessions = sessions.chain(speaker.listen_ranges.iter().map(|range| &range.session));
        let mut policies: Vec<PolicyView> = Vec::new();
        for policy in sessions.flat_map(|session| [&*session.import, &*session.export]) {
            if policies.iter().all(|known| known.name != policy.name) {
                policies.push(policy.into());
            }
        }
        Self {
            node: None,
            asn: speaker.asn.0,
            router_id: speaker.router_id,
            cluster_id: speaker.cluster_id,
            listen: speaker.listen.clone(),
            max_paths: speaker.max_paths,
            bmp: speaker.bmp.iter().map(|bmp| Caused::new(bmp.address, bmp.cause.clone())).collect(),
            peers: named.chain(ranges).collect(),
            awaited: discovery.awaited.clone(),
            originated: speaker.originated.iter().map(RouteView::from).collect(),
            withheld: Vec::new(),
            policies,
            guard: GuardView {
                only: guard.allowed.ranges().map(|ranges| ranges.iter().map(caused_range).collect()),
                never_over: guard.protected.iter().map(caused_range).collect(),
                services: guard.service_ranges.iter().map(caused_range).collect(),
                never_within: guard.own_addresses.iter().chain(&guard.own_blocks).map(caused_range).collect(),
                from_owner_only: guard.owned_blocks.iter().map(owned_block).collect(),
                default_route: guard.allow_default,
            },
            address_blocks: Vec::new(),
            blackholes: Vec::new(),
            firewall: None,
            mtu: None,
            notes: Vec::new(),
            problems: problems.to_vec(),
        }
    }
}

fn caused_range(range: &GuardRange) -> Caused<IpNet> {
    Caused::new(range.range, range.cause.clone())
}

fn owned_block(owned: &OwnedBlock) -> Caused<String> {
    let mut text = vec![format!("{} of {}", owned.block, owned.owner)];
    let shared = if owned.shares_as { " (shared)" } else { "" };
    text.extend(owned.origin_as.map(|asn| format!("AS {asn}{shared}")));
    if !owned.addresses.is_empty() {
        text.push(format!("next hop {}", join(&owned.addresses, " or ")));
    }
    Caused::new(text.join(", "), owned.cause.clone())
}

impl From<&PeerConfig> for PeerView {
    fn from(peer: &PeerConfig) -> Self {
        let address = SocketAddr::new(peer.address, peer.port);
        let address = match &peer.interface {
            Some(interface) => format!("{address} on {interface}"),
            None => address.to_string(),
        };
        Self::of(&peer.key.0, address, &peer.session, &peer.cause)
    }
}

impl From<&ListenRange> for PeerView {
    fn from(range: &ListenRange) -> Self {
        let address = format!("{}, at most {}", range.range, range.limit);
        Self::of(&range.key.0, address, &range.session, &range.cause)
    }
}

impl PeerView {
    fn of(name: &Arc<str>, address: String, session: &SessionConfig, cause: &Arc<str>) -> Self {
        Self {
            name: name.clone(),
            address,
            asn: match session.remote_as {
                RemoteAs::Is(asn) => asn.to_string(),
                RemoteAs::Internal => "internal".to_owned(),
                RemoteAs::External => "external".to_owned(),
            },
            local_address: session.local_address,
            families: session.families.iter().map(ToString::to_string).collect(),
            hold_time: session.hold_time.as_secs(),
            options: options(session),
            import: session.import.name.clone(),
            export: session.export.name.clone(),
            cause: cause.clone(),
        }
    }
}

fn options(session: &SessionConfig) -> Vec<String> {
    let mut options = Vec::new();
    options.extend(session.local_as.map(|local| {
        let beside = match local.prepend {
            LocalAsPrepend::ReplaceAs => "",
            LocalAsPrepend::NoPrepend => ", before our own in sent paths",
            LocalAsPrepend::Both => ", before our own in sent paths and in received ones",
        };
        format!("local AS {}{beside}", local.asn)
    }));
    options.extend(session.role.map(|config| {
        let strict = if config.strict { ", strict" } else { "" };
        format!("role {:?}{strict}", config.role)
    }));
    options.extend(session.send_hold.map(|time| format!("send hold {} s", time.as_secs())));
    options.extend(session.tcp_user_timeout.map(|time| format!("TCP user timeout {} s", time.as_secs())));
    options.extend(session.keepalive.map(|pause| format!("keepalive {} s", pause.as_secs_f64())));
    if session.connect == ConnectMode::Passive {
        options.push("passive".to_owned());
    }
    if session.extended_next_hop {
        options.push("extended next hop".to_owned());
    }
    options.extend(add_path(session));
    options.extend(match session.ttl {
        TtlMode::Direct => None,
        TtlMode::Multihop(hops) => Some(format!("multihop {hops}")),
        TtlMode::Security(hops) => Some(format!("TTL security {hops}")),
    });
    options.extend(session.device.as_ref().map(|device| format!("over {device}")));
    if let Some(ao) = &session.tcp_ao {
        options.push(format!("TCP-AO, KeyIDs {} and {}", ao.send_id, ao.receive_id));
    }
    if session.password.is_some() {
        options.push("password".to_owned());
    }
    options.push(match session.graceful_restart {
        Some(time) => format!("graceful restart {} s", time.as_secs()),
        None => "no graceful restart".to_owned(),
    });
    if let Some(time) = session.long_lived {
        options.push(format!("long-lived stale time {} s", time.as_secs()));
    }
    if session.reflector == ReflectorRole::Client {
        options.push("route reflector client".to_owned());
    }
    options.extend(match session.next_hop {
        NextHopMode::Auto => None,
        NextHopMode::Itself => Some("next hop self".to_owned()),
        NextHopMode::Unchanged => Some("next hop unchanged".to_owned()),
    });
    if session.allowed_own_as > 0 {
        options.push(format!("own AS allowed {}", session.allowed_own_as));
    }
    options.push(match session.max_prefixes {
        Some(limit) => prefix_limit(limit),
        None => "any number of prefixes".to_owned(),
    });
    options.extend(session.shutdown.as_ref().map(|text| format!("shut down: {text}")));
    options
}

fn prefix_limit(limit: PrefixLimit) -> String {
    let PrefixLimit { most, warning, over } = limit;
    let text = format!("at most {most} prefixes");
    if limit == PrefixLimit::new(most) {
        return text;
    }
    let then = match over {
        OverLimit::Restart(pause) => format!("then reset for {} s", pause.as_secs()),
        OverLimit::Shutdown => "then shut down".to_owned(),
        OverLimit::Discard => "the rest is refused".to_owned(),
        OverLimit::Warn => "then only a warning".to_owned(),
    };
    format!("{text}, warning at {warning} %, {then}")
}

fn add_path(session: &SessionConfig) -> Option<String> {
    let AddPathConfig { receive, send, families } = session.add_path;
    let words = match (receive, send) {
        (false, SentPaths::One) => return None,
        (true, SentPaths::One) => "receive".to_owned(),
        (false, SentPaths::Best(paths)) => format!("send {paths}"),
        (true, SentPaths::Best(paths)) => format!("receive, send {paths}"),
        (false, SentPaths::All) => "send all".to_owned(),
        (true, SentPaths::All) => "receive, send all".to_owned(),
    };
    let (within, without): (Vec<&Family>, Vec<&Family>) =
        session.families.iter().partition(|family| families.contains(**family));
    let only = if without.is_empty() { String::new() } else { format!(" for {}", join(&within, ", ")) };
    Some(format!("ADD-PATH {words}{only}"))
}

impl From<&OriginatedRoute> for RouteView {
    fn from(route: &OriginatedRoute) -> Self {
        let mut attributes = Vec::new();
        attributes.extend(route.local_pref.map(|preference| format!("local-pref {preference}")));
        attributes.extend(route.med.map(|med| format!("MED {med}")));
        attributes.extend(route.communities.iter().map(ToString::to_string));
        attributes.extend(route.large_communities.iter().map(ToString::to_string));
        attributes.extend(route.label.as_ref().map(|label| format!("advertised by {label}")));
        Self { prefix: route.prefix, source: source(route.source), attributes, cause: route.cause.clone() }
    }
}

impl From<&Policy> for PolicyView {
    fn from(policy: &Policy) -> Self {
        Self {
            name: policy.name.clone(),
            rules: policy
                .rules
                .iter()
                .map(|rule| Caused::new(policy::rule_text(rule), rule.cause.clone()))
                .collect(),
            otherwise: verdict(policy.otherwise),
        }
    }
}

fn source(source: RouteSource) -> &'static str {
    match source {
        RouteSource::Pod => "pod",
        RouteSource::Service => "service",
        RouteSource::Static => "static",
        RouteSource::Learned => "learned",
    }
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Accept => "accept",
        Verdict::Reject => "reject",
    }
}

fn join<T: ToString>(items: &[T], between: &str) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(between)
}
