//! Peers that `BGPPeer`s ask for.

mod places;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use muslin_bgp_packet::{Asn, Family, FamilySet, Role};
use muslin_bgp_speaker::config::{
    AddPathConfig, ConnectMode, ListenRange, LocalAs, LocalAsPrepend, NextHopMode, OverLimit, PeerConfig,
    PeerKey, Policy, PrefixLimit, ReflectorRole, RemoteAs, RoleConfig, Secret, SentPaths, SessionConfig,
    Shared, SharedPolicies, TcpAo, TcpAoAlgorithm, TtlMode,
};
use muslin_cluster::resources::{
    self, AddPath, AddressFamily, BgpPeer, BgpPeerSpec, GracefulRestart, MaxPrefixesAction, NextHop,
    PasswordSource, PeerAs,
};
use muslin_cluster::{ClusterState, DEFAULT_NAMESPACE, Kind, Problem};

pub use self::places::{AwaitedPeer, Discovery};
use self::places::{FoundBy, Place};
use crate::causes::Subject;
use crate::facts::KernelFacts;
use crate::policy::Relation;
use crate::settings::BGP_PORT;

/// More prefixes than any cluster has, fewer than the Internet.
const MAX_PREFIXES: u32 = 100_000;
const LISTEN_LIMIT: u32 = 1000;
/// Longest TCP-MD5 key that Linux takes, in octets.
const MAX_PASSWORD: usize = 80;

/// What a peer's policies are when its filters decide nothing.
#[derive(Clone, Debug)]
pub(crate) struct Policies {
    pub(crate) import: Arc<Policy>,
    pub(crate) export: Arc<Policy>,
    /// How often our own AS may stand in a received path.
    pub(crate) allowed_own_as: u8,
}

impl Policies {
    /// The same with one value for equal policies: a thousand peers have few that differ.
    fn shared(self, shared: &mut SharedPolicies) -> Self {
        Self { import: shared.share(&self.import), export: shared.share(&self.export), ..self }
    }
}

/// Whose peers they are.
pub(crate) struct Local<'a> {
    pub(crate) state: &'a ClusterState,
    pub(crate) facts: &'a KernelFacts,
    pub(crate) asn: Asn,
    /// The addresses that Kubernetes knows the node by.
    pub(crate) node_addresses: &'a [IpAddr],
    /// What peers that name no address are spoken to from.
    pub(crate) chosen_addresses: &'a [IpAddr],
}

/// Peers and ranges of peers.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    pub(crate) named: Vec<PeerConfig>,
    pub(crate) ranges: Vec<ListenRange>,
    pub(crate) discovery: Discovery,
    pub(crate) problems: Vec<Problem>,
}

impl Peers {
    /// The peers among `wanted`; `policies` makes those of a peer, with its filters, for internal and external ones.
    pub(crate) fn of<'a>(
        local: &Local<'a>,
        wanted: impl Iterator<Item = (&'a Arc<str>, &'a muslin_cluster::Object<BgpPeer>)>,
        policies: impl Fn(&Subject<'_, BgpPeer>, Relation, &mut Vec<Problem>) -> Policies,
    ) -> Self {
        let mut peers = Self::default();
        let mut taken = Taken::new();
        let mut shared = SharedPolicies::default();
        // Whoever is written out is not displaced by one who is found.
        let (written, found): (Vec<_>, Vec<_>) =
            wanted.partition(|(_, object)| object.spec.peer_address.is_some());
        for (name, object) in written.into_iter().chain(found) {
            let peer = Subject::new(Kind::BgpPeer, name, object);
            let spec = &object.spec;
            let awaited = peers.discovery.awaited.len();
            let mut places = peers.discovery.places(&peer, local.facts);
            if spec.shutdown.is_some() {
                peers.discovery.awaited.truncate(awaited);
            }
            places.retain(|place| local.is_free(&peer, place, &mut taken, &mut peers.problems));
            if places.is_empty() && spec.listen_range.is_none() {
                continue;
            }
            let password = match local.password(spec.password.as_ref()) {
                Ok(password) => password,
                Err((message, remedy)) => {
                    peers.problems.push(peer.refused(".spec.password", message, remedy));
                    continue;
                }
            };
            let tcp_ao = match local.tcp_ao(spec) {
                Ok(tcp_ao) => tcp_ao,
                Err((message, remedy)) => {
                    peers.problems.push(peer.refused(".spec.tcpAO", message, remedy));
                    continue;
                }
            };
            let source = match local.source(spec) {
                Ok(source) => source,
                Err((message, remedy)) => {
                    peers.problems.push(peer.refused(".spec.sourceInterface", message, remedy));
                    continue;
                }
            };
            let relation = local.relation(&peer);
            let kinship = relation.kinship;
            let policies = policies(&peer, relation, &mut peers.problems).shared(&mut shared);
            let session = |place: Option<&Place>| SessionConfig {
                tcp_ao: tcp_ao.clone(),
                local_address: source.or_else(|| local.own_address(place?.address)),
                ..Local::session(&peer, kinship, place, policies.clone(), password.clone())
            };
            peers.problems.extend(local.unreachable(&peer, kinship));
            peers.problems.extend(without_meaning(&peer, kinship));
            peers.problems.extend(no_client(&peer, kinship));
            let cause: Arc<str> = peer.reference.to_string().into();
            for place in places {
                let session = alike(&peers.named, session(Some(&place)));
                peers.named.push(PeerConfig {
                    key: place.key,
                    address: place.address,
                    interface: place.interface,
                    port: spec.port.unwrap_or(BGP_PORT),
                    session,
                    cause: cause.clone(),
                });
            }
            if let Some(range) = spec.listen_range {
                let limit = spec.listen_limit.unwrap_or(LISTEN_LIMIT);
                let session = session(None);
                let key = PeerKey(name.clone());
                peers.ranges.push(ListenRange { key, range: range.0, limit, session, cause });
            }
        }
        peers
    }
}

/// A session, one with that of a neighbour if it is equal: most are, and those of IPv4 and IPv6 take turns.
pub(crate) fn alike(before: &[PeerConfig], session: SessionConfig) -> Shared<SessionConfig> {
    let mut neighbours = before.iter().rev().take(2).map(|peer| &peer.session);
    neighbours.find(|neighbour| ***neighbour == session).cloned().unwrap_or_else(|| session.into())
}

/// What is written for an external peer and asked of an internal one.
fn without_meaning(peer: &Subject<'_, BgpPeer>, kinship: Kinship) -> Option<Problem> {
    let spec = &peer.object.spec;
    (kinship == Kinship::Internal && spec.role.is_some()).then(|| {
        peer.refused(".spec.role", "the peer is of our own AS", "leave it out: roles are between ASes")
    })
}

/// Who is where.
type Taken = BTreeMap<(IpAddr, Option<Arc<str>>), Arc<str>>;

/// Whether a peer is of our AS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kinship {
    Internal,
    External,
}

impl Local<'_> {
    fn is_own(&self, address: IpAddr) -> bool {
        self.facts.is_local(address) || self.node_addresses.contains(&address)
    }

    /// Whether a peer may be there; otherwise why not.
    fn is_free(
        &self,
        peer: &Subject<'_, BgpPeer>,
        place: &Place,
        taken: &mut Taken,
        problems: &mut Vec<Problem>,
    ) -> bool {
        let Place { address, interface, field, .. } = place;
        if self.is_own(*address) {
            let message = format!("{address} is an address of this node");
            let remedy = "write the peer's address, or select other nodes";
            problems.push(peer.refused(field, message, remedy));
            return false;
        }
        match taken.entry((*address, interface.clone())) {
            Entry::Occupied(first) => {
                let message = format!("BGPPeer {} has {address} already", first.get());
                problems.push(peer.refused(field, message, "remove one of the two"));
                false
            }
            Entry::Vacant(free) => {
                free.insert(peer.name().clone());
                true
            }
        }
    }

    fn relation(&self, peer: &Subject<'_, BgpPeer>) -> Relation {
        let spec = &peer.object.spec;
        let local = spec.local_asn.map_or(self.asn, |asn| asn.0);
        let kinship = match spec.peer_asn {
            PeerAs::Internal => Kinship::Internal,
            PeerAs::Is(asn) if asn == local => Kinship::Internal,
            PeerAs::Is(_) | PeerAs::External => Kinship::External,
        };
        Relation { own: self.asn, local, kinship }
    }

    /// An external session is one hop unless it is told otherwise.
    fn unreachable(&self, peer: &Subject<'_, BgpPeer>, kinship: Kinship) -> Option<Problem> {
        let spec = &peer.object.spec;
        let address = spec.peer_address?;
        let told = spec.multihop.is_some() || spec.ttl_security.is_some() || spec.interface.is_some();
        if kinship == Kinship::Internal || told || self.facts.connected.is_empty() {
            return None;
        }
        if self.facts.link_of(address).is_some() {
            return None;
        }
        let message = format!("{address} is on no link of this node, and an external session spans one hop");
        Some(peer.advice(".spec.peerAddress", message, "set `multihop`, or correct the address"))
    }

    fn session(
        peer: &Subject<'_, BgpPeer>,
        kinship: Kinship,
        place: Option<&Place>,
        policies: Policies,
        password: Option<Secret>,
    ) -> SessionConfig {
        let spec = &peer.object.spec;
        let is_v4 = match (place, spec.listen_range) {
            (Some(place), _) => place.address.is_ipv4(),
            (None, Some(range)) => range.0.addr().is_ipv4(),
            (None, None) => true,
        };
        let families = match &spec.families {
            None if place.is_some_and(|place| place.found == FoundBy::Advertisement) => Family::ALL.to_vec(),
            None => vec![transport_family(is_v4)],
            Some(families) => Family::ALL
                .into_iter()
                .filter(|family| families.iter().any(|wanted| unicast(*wanted) == *family))
                .collect(),
        };
        let ipv4_over_ipv6 = !is_v4 && families.contains(&Family::Ipv4Unicast);
        let usual = usual(match spec.peer_asn {
            PeerAs::Is(asn) => RemoteAs::Is(asn),
            PeerAs::Internal => RemoteAs::Internal,
            PeerAs::External => RemoteAs::External,
        });
        SessionConfig {
            local_as: spec.local_asn.map(|asn| LocalAs {
                asn: asn.0,
                prepend: spec.local_as_prepend.map_or(LocalAsPrepend::default(), local_as_prepend),
            }),
            device: spec.vrf.as_deref().map(Into::into),
            connect: match (spec.connect_mode, spec.listen_range) {
                (Some(resources::ConnectMode::Passive), _) | (_, Some(_)) => ConnectMode::Passive,
                _ => ConnectMode::Both,
            },
            connect_retry: spec.connect_retry.map_or(usual.connect_retry, |time| time.0),
            hold_time: spec.hold_time.map_or(usual.hold_time, |time| time.0),
            keepalive: spec.keepalive_time.map(|time| time.0),
            send_hold: spec.send_hold_time.map(|time| time.0),
            tcp_user_timeout: spec.tcp_user_timeout.map(|time| time.0),
            role: spec
                .role
                .filter(|_| kinship == Kinship::External)
                .map(|role| RoleConfig { role: wire_role(role), strict: spec.strict_role.unwrap_or(false) }),
            families,
            extended_next_hop: spec.extended_next_hop.unwrap_or(ipv4_over_ipv6),
            add_path: add_path(spec.add_path.as_ref(), kinship),
            ttl: match (spec.multihop, spec.ttl_security) {
                (Some(hops), _) => TtlMode::Multihop(hops),
                (None, Some(hops)) => TtlMode::Security(hops),
                (None, None) => TtlMode::Direct,
            },
            password,
            graceful_restart: restart_time(spec.graceful_restart),
            long_lived: stale_time(spec.graceful_restart),
            reflector: match spec.route_reflector_client {
                Some(true) => ReflectorRole::Client,
                _ => ReflectorRole::NonClient,
            },
            next_hop: match spec.next_hop {
                None | Some(NextHop::Auto) => NextHopMode::Auto,
                Some(NextHop::Itself) => NextHopMode::Itself,
                Some(NextHop::Unchanged) => NextHopMode::Unchanged,
            },
            allowed_own_as: spec.allowed_own_as.unwrap_or(policies.allowed_own_as),
            import: policies.import,
            export: policies.export,
            max_prefixes: prefix_limit(spec),
            shutdown: spec.shutdown.as_deref().map(Into::into),
            ..usual
        }
    }

    /// The address that we speak from, or what is wrong and what to do.
    fn source(&self, spec: &BgpPeerSpec) -> Result<Option<IpAddr>, (String, String)> {
        let Some(interface) = &spec.source_interface else {
            return Ok(spec.local_address.or_else(|| self.own_address(spec.peer_address?)));
        };
        let is_v4 = spec.peer_address.is_none_or(|peer| peer.is_ipv4());
        let mut addresses = self.facts.addresses.iter().filter(|local| *local.interface == **interface);
        let fitting = addresses.find(|local| local.address.is_ipv4() == is_v4);
        fitting.map(|local| Some(local.address)).ok_or_else(|| {
            let family = if is_v4 { "IPv4" } else { "IPv6" };
            let message = format!("{interface} has no {family} address that is known beyond its link");
            (message, "give it one, name another interface, or write `localAddress`".to_owned())
        })
    }

    /// The TCP-AO key that a peer asks for, or what is wrong and what to do. A kernel without TCP-AO has no session
    /// with such a peer: it would not be protected.
    fn tcp_ao(&self, spec: &BgpPeerSpec) -> Result<Option<TcpAo>, (String, String)> {
        let Some(wanted) = &spec.tcp_ao else { return Ok(None) };
        if self.facts.tcp_ao == Some(false) {
            let message = "this kernel has no TCP-AO, and without it there is no session".to_owned();
            let remedy =
                "run Linux 6.7 or later with CONFIG_TCP_AO, or use `password` (TCP-MD5) on both sides";
            return Err((message, remedy.to_owned()));
        }
        let source = PasswordSource { secret_key_ref: wanted.secret_key_ref.clone() };
        let send_id = wanted.send_id.unwrap_or(1);
        Ok(self.password(Some(&source))?.map(|key| TcpAo {
            key,
            send_id,
            receive_id: wanted.receive_id.unwrap_or(send_id),
            algorithm: match wanted.algorithm {
                None | Some(resources::TcpAoAlgorithm::HmacSha1) => TcpAoAlgorithm::HmacSha1,
                Some(resources::TcpAoAlgorithm::AesCmac) => TcpAoAlgorithm::AesCmac,
            },
        }))
    }

    /// The address that we speak from to a peer that names none.
    fn own_address(&self, peer: IpAddr) -> Option<IpAddr> {
        let link_local = matches!(peer, IpAddr::V6(address) if address.is_unicast_link_local());
        let mut chosen = self.chosen_addresses.iter().copied().filter(|_| !link_local);
        let chosen = chosen.find(|address| address.is_ipv4() == peer.is_ipv4());
        chosen.or_else(|| self.address_towards(peer))
    }

    /// The node's own address on the link of a peer: the kernel might choose a virtual one.
    pub(crate) fn address_towards(&self, peer: IpAddr) -> Option<IpAddr> {
        let link = self.facts.link_of(peer)?.prefix;
        self.node_addresses.iter().copied().find(|address| link.contains(address))
    }

    /// The password that a source leads to, or what is wrong and what to do.
    pub(crate) fn password(
        &self,
        source: Option<&PasswordSource>,
    ) -> Result<Option<Secret>, (String, String)> {
        let Some(PasswordSource { secret_key_ref: source }) = source else { return Ok(None) };
        let name = format!("{}/{}", source.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE), source.name);
        let key = source.key.as_deref().unwrap_or("password");
        let Some(secret) = self.state.secrets.get(&*name) else {
            let message = format!("there is no Secret {name}, and without its password there is no session");
            return Err((message, "make the Secret, or take the password out".to_owned()));
        };
        let encoded = secret.data.as_ref().and_then(|data| data.get(key)).map(|value| value.0.as_slice());
        let written = secret.string_data.as_ref().and_then(|data| data.get(key)).map(String::as_bytes);
        match written.or(encoded) {
            None => {
                Err((format!("Secret {name} has no key {key}"), "add the key, or name another".to_owned()))
            }
            Some(password) if !(1..=MAX_PASSWORD).contains(&password.len()) => {
                let message = format!("key {key} of Secret {name} has {} octets", password.len());
                Err((message, format!("use a password of 1 to {MAX_PASSWORD} octets")))
            }
            Some(password) => Ok(Some(Secret(password.into()))),
        }
    }
}

/// An internal peer may send several paths unless it is told otherwise: a reflector's clients would lose all but
/// one of equal paths.
fn add_path(written: Option<&AddPath>, kinship: Kinship) -> AddPathConfig {
    let receive = written.and_then(|add_path| add_path.receive);
    let families = written.and_then(|add_path| add_path.families.as_ref());
    AddPathConfig {
        receive: receive.unwrap_or(kinship == Kinship::Internal),
        send: match written.and_then(|add_path| add_path.send) {
            None | Some(resources::SentPaths::Best(0 | 1)) => SentPaths::One,
            Some(resources::SentPaths::Best(paths)) => SentPaths::Best(paths),
            Some(resources::SentPaths::All) => SentPaths::All,
        },
        families: families.map_or(FamilySet::ALL, |families| families.iter().copied().map(unicast).collect()),
    }
}

/// Routes are reflected within the AS only.
fn no_client(peer: &Subject<'_, BgpPeer>, kinship: Kinship) -> Option<Problem> {
    let client = peer.object.spec.route_reflector_client == Some(true);
    (client && kinship == Kinship::External).then(|| {
        let message = "the peer is in another AS, so it is no client and the field does nothing";
        peer.advice(".spec.routeReflectorClient", message, "take it out, or correct `peerASN`")
    })
}

/// A session of which nothing is written but the peer's AS.
pub(crate) fn usual(remote_as: RemoteAs) -> SessionConfig {
    SessionConfig {
        extended_next_hop: false,
        max_prefixes: Some(PrefixLimit::new(MAX_PREFIXES)),
        ..SessionConfig::external(remote_as)
    }
}

/// How long peers are to keep our routes over a restart; `None` if it is switched off.
pub(crate) fn restart_time(wanted: Option<GracefulRestart>) -> Option<Duration> {
    match wanted {
        Some(GracefulRestart { enabled: Some(false), .. }) => None,
        Some(GracefulRestart { restart_time: Some(time), .. }) => Some(time.0),
        Some(GracefulRestart { restart_time: None, .. }) | None => usual(RemoteAs::External).graceful_restart,
    }
}

/// How long routes stay as last resort after that (RFC 9494).
pub(crate) fn stale_time(wanted: Option<GracefulRestart>) -> Option<Duration> {
    wanted.and_then(|restart| restart.long_lived_stale_time).map(|time| time.0)
}

pub(crate) fn transport_family(is_v4: bool) -> Family {
    if is_v4 { Family::Ipv4Unicast } else { Family::Ipv6Unicast }
}

/// The limit that is written, with what is usual for the rest of it.
fn prefix_limit(spec: &BgpPeerSpec) -> Option<PrefixLimit> {
    let most = spec.max_prefixes.unwrap_or(MAX_PREFIXES);
    let usual = PrefixLimit::new(most);
    let pause = spec.max_prefixes_restart.map(|time| time.0);
    let over = match spec.max_prefixes_action {
        None | Some(MaxPrefixesAction::Restart) => pause.map_or(usual.over, OverLimit::Restart),
        Some(MaxPrefixesAction::Shutdown) => OverLimit::Shutdown,
        Some(MaxPrefixesAction::Discard) => OverLimit::Discard,
        Some(MaxPrefixesAction::Warn) => OverLimit::Warn,
    };
    let warning = spec.max_prefixes_warning.unwrap_or(usual.warning);
    (most > 0).then_some(PrefixLimit { most, warning, over })
}

fn local_as_prepend(prepend: resources::LocalAsPrepend) -> LocalAsPrepend {
    match prepend {
        resources::LocalAsPrepend::ReplaceAs => LocalAsPrepend::ReplaceAs,
        resources::LocalAsPrepend::NoPrepend => LocalAsPrepend::NoPrepend,
        resources::LocalAsPrepend::Both => LocalAsPrepend::Both,
    }
}

fn wire_role(role: resources::Role) -> Role {
    match role {
        resources::Role::Provider => Role::Provider,
        resources::Role::Customer => Role::Customer,
        resources::Role::Peer => Role::Peer,
        resources::Role::RouteServer => Role::RouteServer,
        resources::Role::RouteServerClient => Role::RouteServerClient,
    }
}

fn unicast(family: AddressFamily) -> Family {
    match family {
        AddressFamily::IPv4 => Family::Ipv4Unicast,
        AddressFamily::IPv6 => Family::Ipv6Unicast,
    }
}
