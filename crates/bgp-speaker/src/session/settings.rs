//! What a session needs to know of the configuration, and the OPEN that follows from it.

use std::net::Ipv4Addr;
use std::time::Duration;

use muslin_bgp_packet::{
    AFI_IPV6, AddPathFamily, AddPathMode, AfiSafi, Asn, Capability, ExtendedNextHop, Family, FamilySet,
    GracefulFamily, GracefulRestart, LongLivedFamily, Open,
};

use super::negotiation::Negotiated;
use super::{OPEN_WAIT, SHORTEST_CONNECT_WAIT, SHORTEST_OPEN_WAIT};
use crate::config::{
    AddPathConfig, ConnectMode, Identification, LocalAs, LocalAsPrepend, RemoteAs, RoleConfig, SessionConfig,
    SpeakerConfig,
};

/// What the restart time's twelve bits can say (RFC 4724 §3), in seconds.
const LONGEST_RESTART: u16 = 4095;

/// Octets of a name in an OPEN: a label of the DNS, and what a software version may have.
const LONGEST_NAME: usize = 63;

/// What RFC 9687 §3.1 has for peers with short hold times.
const SHORTEST_SEND_HOLD: Duration = Duration::from_mins(8);

/// What the stale time's 24 bits can say (RFC 9494 §3.1), in seconds.
const LONGEST_STALE_TIME: u32 = (1 << 24) - 1;

/// What our own OPEN says of restarts (RFC 4724 §3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnRestart {
    /// R bit: our process has restarted, and waits for the routes of its peers.
    pub restarting: bool,
    /// F bit: families in which packets were forwarded all the while.
    pub forwarding_kept: FamilySet,
}

/// The part of the configuration that the state machine follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Our AS towards this peer.
    pub local_as: Asn,
    /// The speaker's own AS, where AS paths that we send show it behind `local_as`.
    pub as_behind: Option<Asn>,
    /// Our BGP identifier.
    pub router_id: Ipv4Addr,
    /// What the peer's AS must be.
    pub remote_as: RemoteAs,
    /// Who connects.
    pub connect: ConnectMode,
    /// Longest pause between attempts.
    pub connect_retry: Duration,
    /// Hold time that we offer.
    pub hold_time: Duration,
    /// Pause between two KEEPALIVEs, if shorter than usual.
    pub keepalive: Option<Duration>,
    /// How long a peer may take nothing of what we send.
    pub send_hold: Option<Duration>,
    /// Our place beside the peer.
    pub role: Option<RoleConfig>,
    /// Families that we offer.
    pub families: Vec<Family>,
    /// Whether IPv4 routes may have IPv6 next hops (RFC 8950).
    pub extended_next_hop: bool,
    /// ADD-PATH that we offer.
    pub add_path: AddPathConfig,
    /// Restart time that we offer; `None` only says that we send End-of-RIB.
    pub graceful_restart: Option<Duration>,
    /// Stale time that we offer and the longest that we grant (RFC 9494); `None` does not take part.
    pub long_lived: Option<Duration>,
    /// What the peer is told of our host and software.
    pub identification: Identification,
    /// Tells this peer from others in everything that is jittered.
    pub salt: u64,
}

impl Settings {
    /// The settings of one peer of a speaker.
    pub fn new(speaker: &SpeakerConfig, session: &SessionConfig, salt: u64) -> Self {
        let local_as = session.local_as.unwrap_or(LocalAs::new(speaker.asn));
        let shows_both = local_as.asn != speaker.asn && local_as.prepend != LocalAsPrepend::ReplaceAs;
        Self {
            local_as: local_as.asn,
            as_behind: shows_both.then_some(speaker.asn),
            router_id: speaker.router_id,
            remote_as: session.remote_as,
            connect: session.connect,
            connect_retry: session.connect_retry,
            hold_time: session.hold_time,
            keepalive: session.keepalive,
            send_hold: session.send_hold,
            role: session.role,
            families: session.families.clone(),
            extended_next_hop: session.extended_next_hop,
            add_path: session.add_path,
            graceful_restart: session.graceful_restart,
            long_lived: session.graceful_restart.and(session.long_lived),
            identification: speaker.identification.clone(),
            salt,
        }
    }

    /// Whether a session negotiated under `other` would come out the same under these settings.
    pub fn same_negotiation(&self, other: &Self) -> bool {
        let Self { connect, connect_retry, keepalive, send_hold, salt, mut add_path, .. } = *other;
        // That several are sent was agreed on; how many are is our affair.
        if add_path.send.are_several() == self.add_path.send.are_several() {
            add_path.send = self.add_path.send;
        }
        let other = Self { add_path, identification: self.identification.clone(), ..other.clone() };
        Self { connect, connect_retry, keepalive, send_hold, salt, ..self.clone() } == other
    }

    /// Whether we open connections.
    pub(super) fn dials(&self) -> bool {
        self.connect == ConnectMode::Both
    }

    /// How long an attempt to connect may take.
    pub(super) fn connect_wait(&self) -> Duration {
        self.connect_retry.max(SHORTEST_CONNECT_WAIT)
    }

    /// How long a peer may take for its OPEN. Who wants to know soon when a peer is silent does not wait four minutes
    /// for one that took the connection and never spoke: the next one may be answered.
    pub(super) fn open_wait(&self) -> Duration {
        if self.hold_time.is_zero() { OPEN_WAIT } else { self.hold_time.clamp(SHORTEST_OPEN_WAIT, OPEN_WAIT) }
    }

    /// The pause between two KEEPALIVEs of a session: the configured one, but at most a third of the hold time
    /// (RFC 4271 §4.4); `None` without timers.
    pub(crate) fn keepalive_interval(&self, negotiated: &Negotiated) -> Option<Duration> {
        let third = negotiated.keepalive_interval()?;
        Some(self.keepalive.map_or(third, |keepalive| keepalive.min(third)))
    }

    /// How long a peer of this hold time may take nothing of what we send.
    pub(crate) fn send_hold_time(&self, hold_time: Duration) -> Duration {
        self.send_hold.unwrap_or_else(|| SHORTEST_SEND_HOLD.max(hold_time * 2))
    }

    /// Whether our connection wins a collision: by identifier, then by AS (RFC 6286 §2.3).
    pub(super) fn outranks(&self, peer: &Negotiated) -> bool {
        (self.router_id, self.local_as) > (peer.remote_id, peer.remote_as)
    }

    /// The OPEN that we send.
    pub(crate) fn open(&self, restart: OwnRestart) -> Open {
        let hold_time = u16::try_from(self.hold_time.as_secs()).unwrap_or(u16::MAX);
        Open::new(self.local_as, hold_time, self.router_id, self.capabilities(restart))
    }

    fn capabilities(&self, restart: OwnRestart) -> Vec<Capability> {
        let families = || self.families.iter().map(|family| AfiSafi::from(*family));
        let mut capabilities: Vec<_> = families().map(Capability::Multiprotocol).collect();
        capabilities.extend([
            Capability::RouteRefresh,
            Capability::EnhancedRouteRefresh,
            Capability::ExtendedMessage,
        ]);
        if self.offers_extended_next_hop() {
            capabilities.push(Capability::ExtendedNextHop(vec![ExtendedNextHop {
                family: Family::Ipv4Unicast.into(),
                next_hop_afi: AFI_IPV6,
            }]));
        }
        let mode = match (self.add_path.receive, self.add_path.send.are_several()) {
            (false, false) => None,
            (true, false) => Some(AddPathMode::Receive),
            (false, true) => Some(AddPathMode::Send),
            (true, true) => Some(AddPathMode::Both),
        };
        if let Some(mode) = mode {
            let families = families().filter(|family| self.adds_paths_in(family.family()));
            capabilities
                .push(Capability::AddPath(families.map(|family| AddPathFamily { family, mode }).collect()));
        }
        capabilities.extend(self.identification.capabilities());
        capabilities.extend(self.role.map(|config| Capability::Role(config.role)));
        capabilities.push(Capability::GracefulRestart(self.restart_capability(restart)));
        if let Some(time) = self.long_lived {
            let stale_time = u32::try_from(time.as_secs()).unwrap_or(u32::MAX).min(LONGEST_STALE_TIME);
            let long_lived = |family: &Family| LongLivedFamily {
                family: (*family).into(),
                forwarding_kept: restart.forwarding_kept.contains(*family),
                stale_time,
            };
            let families = self.families.iter().map(long_lived).collect();
            capabilities.push(Capability::LongLivedGracefulRestart(families));
        }
        capabilities
    }

    fn restart_capability(&self, restart: OwnRestart) -> GracefulRestart {
        let Some(time) = self.graceful_restart else {
            // RFC 4724 §3: without families it says that we send End-of-RIB, and no more.
            return GracefulRestart { restarted: restart.restarting, ..GracefulRestart::default() };
        };
        let family = |family: &Family| GracefulFamily {
            family: (*family).into(),
            forwarding_kept: restart.forwarding_kept.contains(*family),
        };
        GracefulRestart {
            restarted: restart.restarting,
            notification: true,
            restart_time: u16::try_from(time.as_secs()).unwrap_or(u16::MAX).min(LONGEST_RESTART),
            families: self.families.iter().map(family).collect(),
        }
    }

    fn adds_paths_in(&self, family: Option<Family>) -> bool {
        family.is_some_and(|family| self.add_path.families.contains(family))
    }

    pub(super) fn offers_extended_next_hop(&self) -> bool {
        self.extended_next_hop && self.families.contains(&Family::Ipv4Unicast)
    }
}

impl Identification {
    /// As capabilities, which together stay so short that no OPEN needs RFC 9072 for them.
    fn capabilities(&self) -> impl Iterator<Item = Capability> {
        let cut = |text: &str| text[..text.floor_char_boundary(LONGEST_NAME)].to_owned();
        let host = self.host.as_deref().filter(|host| !host.is_empty()).map(|name| {
            let (host, domain) = name.split_once('.').unwrap_or((name, ""));
            Capability::Fqdn { host: cut(host), domain: cut(domain) }
        });
        let software = self.software.as_deref().filter(|software| !software.is_empty());
        host.into_iter().chain(software.map(|software| Capability::SoftwareVersion(cut(software))))
    }
}
