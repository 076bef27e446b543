//! Short ways to write a configuration: every field has the value that is right most of the time.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use muslin_bgp_packet::{Asn, Family, FamilySet};

use super::{
    AddPathConfig, ConnectMode, Identification, ImportGuard, ListenRange, NextHopMode, OriginatedRoute,
    PeerConfig, PeerKey, Policy, ReflectorRole, RemoteAs, RouteSource, SentPaths, SessionConfig, Shared,
    SpeakerConfig, TtlMode, Verdict,
};

/// TCP port of BGP (RFC 4271 §8.2.1.1).
const BGP_PORT: u16 = 179;

/// Name of the policy that an external peer has when nobody wrote one.
const NO_POLICY: &str = "RFC 8212: no policy";

impl SpeakerConfig {
    /// A speaker that listens nowhere, has no peers and originates nothing. It is a router: of what peers send,
    /// their policies decide, and only a default route is refused besides.
    pub fn new(asn: Asn, router_id: Ipv4Addr) -> Self {
        Self {
            asn,
            router_id,
            cluster_id: None,
            identification: Identification::default(),
            listen: Vec::new(),
            peers: Vec::new(),
            listen_ranges: Vec::new(),
            originated: Vec::new(),
            guard: ImportGuard::open(),
            max_paths: 16,
            graceful_shutdown: false,
            bmp: Vec::new(),
        }
    }
}

impl PeerConfig {
    /// A peer at `address`, named by it, on the BGP port.
    pub fn new(address: IpAddr, session: impl Into<Shared<SessionConfig>>) -> Self {
        Self {
            key: PeerKey(address.to_string().into()),
            address,
            interface: None,
            port: BGP_PORT,
            session: session.into(),
            cause: "configuration".into(),
        }
    }
}

impl ListenRange {
    /// Up to 256 peers out of `range`, named by it.
    pub fn new(range: IpNet, session: SessionConfig) -> Self {
        Self {
            key: PeerKey(range.to_string().into()),
            range,
            limit: 256,
            session,
            cause: "configuration".into(),
        }
    }
}

impl SessionConfig {
    /// A directly connected external peer. Nothing is exchanged until both policies are given (RFC 8212).
    pub fn external(remote_as: RemoteAs) -> Self {
        Self {
            remote_as,
            local_as: None,
            local_address: None,
            connect: ConnectMode::Both,
            connect_retry: Duration::from_secs(5),
            hold_time: Duration::from_secs(90),
            keepalive: None,
            send_hold: None,
            tcp_user_timeout: None,
            role: None,
            families: vec![Family::Ipv4Unicast, Family::Ipv6Unicast],
            extended_next_hop: true,
            add_path: AddPathConfig::default(),
            ttl: TtlMode::Direct,
            device: None,
            password: None,
            tcp_ao: None,
            graceful_restart: Some(Duration::from_mins(2)),
            long_lived: None,
            reflector: ReflectorRole::NonClient,
            next_hop: NextHopMode::Auto,
            import: Policy::reject_all(NO_POLICY).into(),
            export: Policy::reject_all(NO_POLICY).into(),
            allowed_own_as: 0,
            max_prefixes: None,
            shutdown: None,
        }
    }

    /// An internal peer: everything is accepted and sent, as RFC 8212 allows.
    pub fn internal() -> Self {
        let accept = Arc::new(Policy::accept_all("default of internal peers"));
        Self { import: accept.clone(), export: accept, ..Self::external(RemoteAs::Internal) }
    }

    /// The same session with these policies.
    #[must_use]
    pub fn with_policies(self, import: impl Into<Arc<Policy>>, export: impl Into<Arc<Policy>>) -> Self {
        Self { import: import.into(), export: export.into(), ..self }
    }
}

impl Default for AddPathConfig {
    /// One path of each destination, both ways.
    fn default() -> Self {
        Self { receive: false, send: SentPaths::One, families: FamilySet::ALL }
    }
}

impl SentPaths {
    /// Whether we offer to send several.
    pub fn are_several(self) -> bool {
        self.limit() > 1
    }

    /// Most paths of one destination.
    pub fn limit(self) -> u16 {
        match self {
            Self::One => 1,
            Self::Best(paths) => paths.into(),
            Self::All => u16::MAX,
        }
    }
}

impl Policy {
    /// A policy without rules that lets everything pass.
    pub fn accept_all(name: &str) -> Self {
        Self { name: name.into(), rules: Vec::new(), otherwise: Verdict::Accept }
    }

    /// A policy without rules that refuses everything.
    pub fn reject_all(name: &str) -> Self {
        Self { name: name.into(), rules: Vec::new(), otherwise: Verdict::Reject }
    }

    /// Whether nobody wrote this policy: RFC 8212 §2 leaves an external peer without routes then.
    pub fn is_missing(&self) -> bool {
        &*self.name == NO_POLICY
    }
}

impl OriginatedRoute {
    /// A route to `prefix` without attributes of its own.
    pub fn new(prefix: IpNet, source: RouteSource, cause: &str) -> Self {
        Self {
            prefix,
            source,
            label: None,
            local_pref: None,
            med: None,
            communities: Vec::new(),
            large_communities: Vec::new(),
            cause: cause.into(),
        }
    }
}

impl PeerKey {
    /// The key of that name.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }
}

impl std::fmt::Display for PeerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
