//! What a speaker is told to be: itself, its peers, what it originates and what it refuses.
//!
//! A configuration is a complete desired state. [`Speaker`](crate::Speaker) compares it with what is in
//! force and applies only the difference; no session is reset unless the protocol demands it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use muslin_bgp_packet::{Asn, Community, Family, FamilySet, LargeCommunity};
use serde::{Deserialize, Serialize};

pub use muslin_bgp_packet::Role;

mod bmp;
mod defaults;
mod guard;
mod pattern;
mod policy;
mod prefix_set;
mod secret;
mod session;
mod shared;
mod sharing;
mod validate;

pub use self::bmp::{BmpCollector, BmpTables};
pub use self::guard::{Allowed, GuardRange, ImportGuard, OwnedBlock};
pub use self::pattern::{Pattern, PatternError};
pub use self::policy::{
    Action, AsPathTest, CommunityTest, Condition, LinkBandwidth, MedChange, NextHopChange, Outcome, PeerTest,
    Policy, Quantifier, Rule, Verdict,
};
pub use self::prefix_set::{PrefixMatch, PrefixSet};
pub use self::secret::Secret;
pub use self::session::{
    Identification, LocalAs, LocalAsPrepend, OverLimit, PrefixLimit, RoleConfig, TcpAo, TcpAoAlgorithm,
};
pub use self::shared::Shared;
pub use self::sharing::SharedPolicies;
pub use self::validate::{ConfigError, PolicyError};

/// Why something is configured: the object and field, as text for people ("`Node n1 .spec.podCIDRs[0]`").
pub type Cause = Arc<str>;

/// The whole desired state of a speaker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpeakerConfig {
    /// Our autonomous system.
    pub asn: Asn,
    /// Our BGP identifier, never zero (RFC 6286 §2.1).
    pub router_id: Ipv4Addr,
    /// Our reflection cluster, shared by reflectors of the same clients; the identifier if absent (RFC 4456 §7).
    pub cluster_id: Option<Ipv4Addr>,
    /// What peers are told of our host and software.
    pub identification: Identification,
    /// Where to listen; empty means that no connection is accepted.
    pub listen: Vec<SocketAddr>,
    /// Peers that we know by address.
    pub peers: Vec<PeerConfig>,
    /// Ranges from which peers may connect that we do not know by address.
    pub listen_ranges: Vec<ListenRange>,
    /// Everything that we originate.
    pub originated: Vec<OriginatedRoute>,
    /// What is never learned, whatever a policy says.
    pub guard: ImportGuard,
    /// Most equal paths of one destination that are handed to the kernel.
    pub max_paths: u8,
    /// Whether we are about to go: every route is sent with `GRACEFUL_SHUTDOWN`, and with the lowest preference
    /// to internal peers, so that traffic finds other ways first (RFC 8326 §4).
    pub graceful_shutdown: bool,
    /// BMP collectors, each told of sessions and routes.
    pub bmp: Vec<BmpCollector>,
}

/// A peer's name in configuration, status and logs; unique within a speaker.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PeerKey(pub Arc<str>);

/// One peer that is known by address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerConfig {
    /// Name, unique within the speaker.
    pub key: PeerKey,
    /// Where the peer is.
    pub address: IpAddr,
    /// The interface of a link-local address.
    pub interface: Option<Arc<str>>,
    /// TCP port that the peer listens on.
    pub port: u16,
    /// What all peers, also those of a listen range, share.
    pub session: Shared<SessionConfig>,
    /// The object and field that asked for this peer.
    pub cause: Cause,
}

/// A range of addresses from which unnamed peers may connect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenRange {
    /// Name; a peer of the range is called `key/address`.
    pub key: PeerKey,
    /// Addresses that may connect.
    pub range: IpNet,
    /// Most peers of this range at a time.
    pub limit: u32,
    /// What each of its peers gets; always passive.
    pub session: SessionConfig,
    /// The object and field that asked for this range.
    pub cause: Cause,
}

/// What the peer's AS must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RemoteAs {
    /// Exactly this one.
    Is(Asn),
    /// Ours.
    Internal,
    /// Any but ours.
    External,
}

/// Who opens the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum ConnectMode {
    /// Both sides; a collision is resolved by RFC 4271 §6.8.
    #[default]
    Both,
    /// Only the peer.
    Passive,
}

/// How a peer stands to this speaker's route reflection (RFC 4456).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum ReflectorRole {
    /// An ordinary internal peer.
    #[default]
    NonClient,
    /// Routes from and to this internal peer are reflected.
    Client,
}

/// Which NEXT_HOP we send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum NextHopMode {
    /// RFC 4271 §5.1.3: self towards external peers unless the next hop is on the shared link, unchanged towards internal ones.
    #[default]
    Auto,
    /// Always our own address of the session.
    Itself,
    /// Never touched.
    Unchanged,
}

/// The part of a peer's configuration that does not name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionConfig {
    /// What the peer's AS must be.
    pub remote_as: RemoteAs,
    /// Our AS towards this peer, if not the speaker's.
    pub local_as: Option<LocalAs>,
    /// The address that we connect from; `None` leaves it to the kernel.
    pub local_address: Option<IpAddr>,
    /// Who connects.
    pub connect: ConnectMode,
    /// Pause between two attempts; the first attempt is immediate, repeats back off from a fraction of this up to it.
    pub connect_retry: Duration,
    /// Hold time that we offer: zero or at least three seconds.
    pub hold_time: Duration,
    /// Pause between two KEEPALIVEs, if shorter than a third of the negotiated hold time.
    pub keepalive: Option<Duration>,
    /// How long the peer may take nothing of what we send; the longer of 8 minutes and twice the hold time if
    /// absent (RFC 9687).
    pub send_hold: Option<Duration>,
    /// How long sent octets may stay without an acknowledgement of the peer's TCP; ten seconds longer
    /// than `send_hold` if absent.
    pub tcp_user_timeout: Option<Duration>,
    /// Our place beside an external peer, by which routes are kept from leaking (RFC 9234).
    pub role: Option<RoleConfig>,
    /// Families that we offer.
    pub families: Vec<Family>,
    /// Address family of next hops: offer RFC 8950 for IPv4.
    pub extended_next_hop: bool,
    /// Several paths of one destination (RFC 7911).
    pub add_path: AddPathConfig,
    /// Routers that an external peer may be away; 1 is directly connected.
    pub ttl: TtlMode,
    /// The VRF, or other interface, that the session runs over: our connections are bound to it, and those of the
    /// peer are accepted through it only.
    pub device: Option<Arc<str>>,
    /// TCP-MD5 key (RFC 2385).
    pub password: Option<Secret>,
    /// TCP-AO key (RFC 5925); not together with a TCP-MD5 key.
    pub tcp_ao: Option<TcpAo>,
    /// Graceful restart (RFC 4724, 8538): how long the peer may keep our routes; `None` neither asks for that
    /// nor keeps the peer's, and only says that we send End-of-RIB.
    pub graceful_restart: Option<Duration>,
    /// Long-lived graceful restart (RFC 9494): how long stale routes may stay after the restart time, the
    /// peer's here at most and ours there; whole seconds below 2^24. `None` does not take part.
    pub long_lived: Option<Duration>,
    /// Reflection.
    pub reflector: ReflectorRole,
    /// NEXT_HOP that we send.
    pub next_hop: NextHopMode,
    /// What is accepted from the peer.
    pub import: Arc<Policy>,
    /// What is sent to the peer.
    pub export: Arc<Policy>,
    /// How often our own AS may stand in a received AS_PATH: 0 refuses it (RFC 4271 §9.1.2). Nodes that
    /// share one AS behind an external router need 1; block ownership is then checked by the guard.
    pub allowed_own_as: u8,
    /// Prefix limit per family; `None` is no limit.
    pub max_prefixes: Option<PrefixLimit>,
    /// Whether the peer is administratively shut down, and the text that it is told (RFC 9003).
    pub shutdown: Option<Arc<str>>,
}

/// ADD-PATH as offered (RFC 7911).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AddPathConfig {
    /// Whether we can receive several paths.
    pub receive: bool,
    /// How many we send.
    pub send: SentPaths,
    /// In which of the session's families.
    pub families: FamilySet,
}

/// How many paths of one destination a peer is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum SentPaths {
    /// The best one, without an identifier.
    #[default]
    One,
    /// So many of the best, if the peer takes several. Its own paths count though it is not sent them.
    Best(u8),
    /// Every usable one, if the peer takes several.
    All,
}

/// TTL handling of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TtlMode {
    /// Directly connected: TTL 1 towards external peers, 64 towards internal ones.
    Direct,
    /// Up to this many hops away.
    Multihop(u8),
    /// RFC 5082: send 255, drop below 256 − hops.
    Security(u8),
}

/// A route that we originate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OriginatedRoute {
    /// Destination.
    pub prefix: IpNet,
    /// What kind of thing it leads to; policies match on it.
    pub source: RouteSource,
    /// What policies know it by besides, if they do: [`Condition::Label`].
    pub label: Option<Arc<str>>,
    /// `LOCAL_PREF`, if not the default 100.
    pub local_pref: Option<u32>,
    /// MED, if any.
    pub med: Option<u32>,
    /// Standard communities.
    pub communities: Vec<Community>,
    /// Large communities.
    pub large_communities: Vec<LargeCommunity>,
    /// The object and field that it comes from.
    pub cause: Cause,
}

/// Where a route comes from, in the terms of policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum RouteSource {
    /// A node's pod address block.
    Pod,
    /// A Service address or range.
    Service,
    /// An operator's own prefix.
    Static,
    /// Learned from a peer.
    Learned,
}
