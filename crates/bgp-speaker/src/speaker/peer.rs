//! One peer of a speaker: its session, its flow of octets, and what the RIB knows of it.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::sync::Arc;
use std::time::{Duration, Instant};

use muslin_bgp_packet::FamilySet;

use super::SocketOptions;
use crate::config::{
    Cause, PeerConfig, PeerKey, Policy, RemoteAs, SessionConfig, Shared, SpeakerConfig, TtlMode,
};
use crate::session::{ConnId, EndReason, Session, Settings};

/// The send hold timer goes first: it can say why.
const BEYOND_SEND_HOLD: Duration = Duration::from_secs(10);

/// What is wanted of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// What its configuration says.
    Wanted,
    /// Nothing: an operator's command keeps it down, whatever the configuration says.
    CommandedDown,
    /// It is no longer configured, and forgotten when its last output has left.
    Removed,
}

/// What a speaker holds of one peer.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) key: PeerKey,
    pub(super) address: IpAddr,
    pub(super) interface: Option<Arc<str>>,
    pub(super) port: u16,
    pub(super) config: Shared<SessionConfig>,
    /// The policies, shared with the RIB.
    pub(super) import: Arc<Policy>,
    pub(super) export: Arc<Policy>,
    pub(super) cause: Cause,
    /// The listen range that it came out of; `None` for peers known by address.
    pub(super) range: Option<PeerKey>,
    pub(super) session: Session,
    /// What is wanted of it.
    pub(super) standing: Standing,
    /// The attempt to connect that is under way.
    pub(super) dialing: Option<ConnId>,
    /// The failed attempt that was told last: a peer that stays away is told once.
    pub(super) reported: Option<EndReason>,
    /// When the speaker's timer queue calls this peer.
    pub(super) scheduled: Option<Instant>,
    /// Octets given to the established connection that have not left yet.
    pub(super) in_flight: usize,
    /// Whether it waits in the queue of peers to be fed.
    pub(super) queued: bool,
    /// Families whose End-of-RIB has not come yet.
    pub(super) awaiting: FamilySet,
    /// Families of which routes of a lost session are kept (RFC 4724 §4.2).
    pub(super) stale: FamilySet,
    /// Those of them that outlived its restart time (RFC 9494).
    pub(super) long_lived: FamilySet,
    /// When a peer that need not send an End-of-RIB will have been quiet for long enough.
    pub(super) quiet: Option<Instant>,
    /// UPDATEs with faulty attributes (RFC 7606).
    pub(super) faulty_updates: u64,
    pub(super) octets_received: u64,
    pub(super) octets_sent: u64,
    /// Whether the RIB knows it: it was established at least once.
    pub(super) in_rib: bool,
    /// The link that it was on when its session began, if it was on one.
    pub(super) link: Option<u32>,
}

impl Peer {
    pub(super) fn new(now: Instant, speaker: &SpeakerConfig, config: &PeerConfig) -> Self {
        let settings = settings(speaker, &config.session, config.address);
        Self {
            key: config.key.clone(),
            address: config.address,
            interface: config.interface.clone(),
            port: config.port,
            import: config.session.import.clone(),
            export: config.session.export.clone(),
            config: config.session.clone(),
            cause: config.cause.clone(),
            range: None,
            session: Session::new(now, settings),
            standing: Standing::Wanted,
            dialing: None,
            scheduled: None,
            in_flight: 0,
            queued: false,
            awaiting: FamilySet::EMPTY,
            stale: FamilySet::EMPTY,
            long_lived: FamilySet::EMPTY,
            reported: None,
            quiet: None,
            faulty_updates: 0,
            octets_received: 0,
            octets_sent: 0,
            in_rib: false,
            link: None,
        }
    }

    /// Where we connect to. The scope of a link-local address is found by whoever opens the socket.
    pub(super) fn remote(&self) -> SocketAddr {
        match self.address {
            IpAddr::V4(address) => SocketAddr::from((address, self.port)),
            IpAddr::V6(address) => SocketAddrV6::new(address, self.port, 0, 0).into(),
        }
    }

    /// How its sockets are to be set.
    pub(super) fn socket_options(&self) -> SocketOptions {
        let internal = match self.config.remote_as {
            RemoteAs::Internal => true,
            RemoteAs::Is(asn) => asn == self.session.settings().local_as,
            RemoteAs::External => false,
        };
        let ttl = match self.config.ttl {
            TtlMode::Direct if internal => 64,
            TtlMode::Direct => 1,
            TtlMode::Multihop(hops) => hops.max(1),
            TtlMode::Security(_) => u8::MAX,
        };
        SocketOptions {
            local_address: self.config.local_address,
            interface: self.config.device.clone().or_else(|| self.interface.clone()),
            ttl,
            min_ttl: min_ttl(self.config.ttl),
            user_timeout: self.config.tcp_user_timeout.unwrap_or_else(|| {
                self.session.settings().send_hold_time(self.config.hold_time) + BEYOND_SEND_HOLD
            }),
            password: self.config.password.clone(),
            tcp_ao: self.config.tcp_ao.clone(),
        }
    }
}

/// The least TTL that is accepted. RFC 5082 §3: a packet from `hops` routers away arrives with 256 − hops at
/// least.
pub(super) fn min_ttl(mode: TtlMode) -> Option<u8> {
    match mode {
        TtlMode::Direct | TtlMode::Multihop(_) => None,
        TtlMode::Security(hops) => Some(u8::MAX - hops.max(1) + 1),
    }
}

/// The settings of a peer's session; its address tells it from others in what is jittered.
pub(super) fn settings(speaker: &SpeakerConfig, session: &SessionConfig, address: IpAddr) -> Settings {
    let salt = match address {
        IpAddr::V4(address) => u64::from(u32::from(address)),
        IpAddr::V6(address) => (u128::from(address) >> 64) as u64 ^ u128::from(address) as u64,
    };
    Settings::new(speaker, session, salt ^ u64::from(u32::from(speaker.router_id)).rotate_left(32))
}
