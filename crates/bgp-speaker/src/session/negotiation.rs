//! What two OPENs agree on, and what makes the peer's unacceptable (RFC 4271 §6.2).

use std::net::Ipv4Addr;
use std::time::Duration;

use muslin_bgp_packet::frame::{MAX_EXTENDED_LENGTH, MAX_LENGTH};
use muslin_bgp_packet::{
    AFI_IPV6, AsWidth, Asn, AttributeContext, Capability, DecodeContext, Family, FamilySet, GracefulRestart,
    LongLivedFamily, Notification, Open, PeerKind, Role,
};

use super::{LongLived, Settings};
use crate::config::{RemoteAs, RoleConfig};

/// What a session runs by, once both OPENs are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// The peer's AS, four octets wide if it has that capability.
    pub remote_as: Asn,
    /// The peer's BGP identifier.
    pub remote_id: Ipv4Addr,
    /// The smaller of both hold times; zero is no timers.
    pub hold_time: Duration,
    /// How its octets are read: AS width, families, ADD-PATH that it sends, extended next hops.
    pub decode: DecodeContext,
    /// Families in which it takes several paths of one destination from us.
    pub add_path_send: FamilySet,
    /// Longest message that may be sent either way, in octets.
    pub max_message: usize,
    /// Whether it resends on request (RFC 2918).
    pub refresh: bool,
    /// Whether both sides mark the ends of a refresh (RFC 7313).
    pub enhanced_refresh: bool,
    /// The peer's graceful restart, if we offered it as well (RFC 4724).
    pub graceful_restart: Option<PeerRestart>,
    /// How long the peer's routes may stay beyond that, if we offered it as well (RFC 9494).
    pub long_lived: Option<LongLived>,
    /// Whether the peer says when it has sent everything, and just restarted itself; `None` if it need not
    /// send an End-of-RIB.
    pub end_of_rib: Option<PeerStart>,
    /// The peer's OPEN.
    pub peer_open: Open,
}

/// How a peer that sends End-of-RIB came to this session (RFC 4724 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerStart {
    /// It knows its routes.
    Running,
    /// It has just restarted (R bit): it may wait for our End-of-RIB, so nobody must wait for its.
    Restarting,
}

/// What a peer said of its restart (RFC 4724 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerRestart {
    /// Whether it has just restarted.
    pub restarting: bool,
    /// Whether it keeps routes over a NOTIFICATION as well (RFC 8538).
    pub over_notification: bool,
    /// How long its routes are to be kept.
    pub time: Duration,
    /// Families whose routes survive its restart.
    pub families: FamilySet,
    /// Those of them in which it forwarded packets all the while (F bit).
    pub kept: FamilySet,
}

/// Why an OPEN is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum OpenRefusal {
    #[error("the peer's AS is {found}, configured is {wanted}")]
    PeerAs { found: Asn, wanted: String },
    #[error("the peer's BGP identifier is {found}: zero is not allowed")]
    ZeroIdentifier { found: Ipv4Addr },
    #[error("the internal peer has our own BGP identifier {found}")]
    OwnIdentifier { found: Ipv4Addr },
    #[error("the peer offers a hold time of {found} s: allowed are 0 and at least 3")]
    HoldTime { found: u16 },
    #[error("we are {ours:?} to the peer, so it must be {:?}: it says {theirs}", ours.counterpart())]
    Role { ours: Role, theirs: String },
    #[error("no address family in common: we offer {ours}, the peer {theirs}")]
    NoCommonFamily { ours: String, theirs: String, first: Family },
}

impl OpenRefusal {
    pub(super) fn notification(&self) -> Notification {
        match self {
            Self::PeerAs { .. } => Notification::bad_peer_as(),
            Self::ZeroIdentifier { .. } | Self::OwnIdentifier { .. } => Notification::bad_bgp_identifier(),
            Self::Role { .. } => Notification::role_mismatch(),
            Self::HoldTime { .. } => Notification::unacceptable_hold_time(),
            Self::NoCommonFamily { first, .. } => {
                Notification::unsupported_capability(&Capability::Multiprotocol((*first).into()))
            }
        }
    }
}

impl Negotiated {
    /// How the peer stands to us.
    pub fn peer_kind(&self) -> PeerKind {
        self.decode.attributes.peer
    }

    /// Families whose routes are exchanged.
    pub fn families(&self) -> FamilySet {
        self.decode.families
    }

    /// A third of the hold time (RFC 4271 §4.4); `None` without timers.
    pub fn keepalive_interval(&self) -> Option<Duration> {
        (!self.hold_time.is_zero()).then(|| self.hold_time / 3)
    }

    /// Families whose stale routes stay now that the peer is back: those that it says it kept forwarding
    /// (RFC 4724 §4.2), and of those that outlived its restart time what it says of them (RFC 9494 §4.2).
    pub fn kept_families(&self, long_lived: FamilySet) -> FamilySet {
        let kept = self.graceful_restart.map_or(FamilySet::EMPTY, |restart| restart.kept);
        let kept_long = self.long_lived.map_or(FamilySet::EMPTY, |long_lived| long_lived.kept);
        let is_kept =
            |family: &Family| if long_lived.contains(*family) { kept_long } else { kept }.contains(*family);
        Family::ALL.into_iter().filter(is_kept).collect()
    }
}

impl Settings {
    /// Checks the peer's OPEN and works out what the session runs by.
    pub(super) fn negotiate(&self, open: &Open) -> Result<Negotiated, OpenRefusal> {
        let remote_as = open.asn;
        let kind = self.check_as(remote_as)?;
        if open.id.is_unspecified() {
            return Err(OpenRefusal::ZeroIdentifier { found: open.id });
        }
        // RFC 6286 §2.2: equal identifiers are fine between ASes, never within one.
        if kind == PeerKind::Internal && open.id == self.router_id {
            return Err(OpenRefusal::OwnIdentifier { found: open.id });
        }
        if matches!(open.hold_time, 1 | 2) {
            return Err(OpenRefusal::HoldTime { found: open.hold_time });
        }
        self.check_role(open)?;
        let offer = Offer::read(open);
        let families = self.common_families(offer.families)?;
        let both = |wanted: bool, theirs: FamilySet| -> FamilySet {
            theirs.iter().filter(|family| wanted && families.contains(*family)).collect()
        };
        let graceful_restart = self.graceful_restart.and(offer.graceful_restart);
        let add_path = |wanted: bool, theirs: FamilySet| -> FamilySet {
            let ours = self.add_path.families;
            both(wanted, theirs).iter().filter(|family| ours.contains(*family)).collect()
        };
        Ok(Negotiated {
            remote_as,
            remote_id: open.id,
            hold_time: self.hold_time.min(Duration::from_secs(open.hold_time.into())),
            decode: DecodeContext {
                attributes: AttributeContext {
                    as_width: if open.has_four_octet_as() { AsWidth::Four } else { AsWidth::Two },
                    peer: kind,
                },
                families,
                add_path: add_path(self.add_path.receive, offer.add_path_send),
                extended_next_hop: both(self.offers_extended_next_hop(), offer.extended_next_hop),
            },
            add_path_send: add_path(self.add_path.send.are_several(), offer.add_path_receive),
            max_message: if offer.extended_message { MAX_EXTENDED_LENGTH } else { MAX_LENGTH },
            refresh: offer.refresh,
            enhanced_refresh: offer.enhanced_refresh,
            graceful_restart,
            // RFC 9494 §3.1: without the capability of RFC 4724 it means nothing.
            long_lived: graceful_restart
                .and(self.long_lived.zip(offer.long_lived))
                .map(|(most, families)| LongLived::read(families, most)),
            end_of_rib: offer
                .graceful_restart
                .map(|restart| if restart.restarting { PeerStart::Restarting } else { PeerStart::Running }),
            peer_open: open.clone(),
        })
    }

    /// RFC 4271 §6.2 and RFC 7607: the AS must be the configured one and not zero.
    fn check_as(&self, found: Asn) -> Result<PeerKind, OpenRefusal> {
        let (fits, wanted) = match self.remote_as {
            RemoteAs::Is(asn) => (found == asn, asn.to_string()),
            RemoteAs::Internal => (found == self.local_as, format!("ours, {}", self.local_as)),
            RemoteAs::External => (found != self.local_as, format!("any but ours, {}", self.local_as)),
        };
        if !fits || found == Asn::ZERO {
            return Err(OpenRefusal::PeerAs { found, wanted });
        }
        Ok(if found == self.local_as { PeerKind::Internal } else { PeerKind::External })
    }

    /// RFC 9234 §4.2: two roles must belong together; a peer that says none is accepted unless we are strict.
    fn check_role(&self, open: &Open) -> Result<(), OpenRefusal> {
        let Some(RoleConfig { role: ours, strict }) = self.role else { return Ok(()) };
        let theirs = open.capabilities.iter().find_map(|capability| match capability {
            Capability::Role(role) => Some((Some(*role), format!("{role:?}"))),
            Capability::Unknown { code: Role::CODE, value } => {
                Some((None, format!("a role that does not exist ({value:02x})")))
            }
            _ => None,
        });
        match theirs {
            Some((role, _)) if role == Some(ours.counterpart()) => Ok(()),
            None if !strict => Ok(()),
            Some((_, theirs)) => Err(OpenRefusal::Role { ours, theirs }),
            None => Err(OpenRefusal::Role { ours, theirs: "none".to_owned() }),
        }
    }

    fn common_families(&self, theirs: FamilySet) -> Result<FamilySet, OpenRefusal> {
        let common: FamilySet = self.families.iter().copied().filter(|f| theirs.contains(*f)).collect();
        match self.families.first() {
            Some(first) if common.is_empty() => Err(OpenRefusal::NoCommonFamily {
                ours: list(self.families.iter().copied()),
                theirs: list(theirs.iter()),
                first: *first,
            }),
            _ => Ok(common),
        }
    }
}

fn list(families: impl Iterator<Item = Family>) -> String {
    let names: Vec<_> = families.map(|family| family.to_string()).collect();
    if names.is_empty() { "none that we know".to_owned() } else { names.join(", ") }
}

/// What a peer's capabilities come to. Repeated ones add up, unknown ones are no concern of ours
/// (RFC 5492 §4).
#[derive(Default)]
struct Offer<'a> {
    families: FamilySet,
    refresh: bool,
    enhanced_refresh: bool,
    extended_message: bool,
    extended_next_hop: FamilySet,
    add_path_send: FamilySet,
    add_path_receive: FamilySet,
    graceful_restart: Option<PeerRestart>,
    long_lived: Option<&'a [LongLivedFamily]>,
}

impl<'a> Offer<'a> {
    fn read(open: &'a Open) -> Self {
        let families = open.families().filter_map(muslin_bgp_packet::AfiSafi::family).collect();
        open.capabilities.iter().fold(Self { families, ..Self::default() }, Self::with)
    }

    fn with(mut self, capability: &'a Capability) -> Self {
        match capability {
            Capability::RouteRefresh => self.refresh = true,
            Capability::EnhancedRouteRefresh => self.enhanced_refresh = true,
            Capability::ExtendedMessage => self.extended_message = true,
            Capability::ExtendedNextHop(tuples) => {
                let over_ipv6 = tuples.iter().filter(|tuple| tuple.next_hop_afi == AFI_IPV6);
                let families = over_ipv6.filter_map(|tuple| tuple.family.family());
                self.extended_next_hop = families.fold(self.extended_next_hop, FamilySet::with);
            }
            Capability::AddPath(tuples) => {
                for tuple in tuples {
                    let Some(family) = tuple.family.family() else { continue };
                    if tuple.mode.sends() {
                        self.add_path_send = self.add_path_send.with(family);
                    }
                    if tuple.mode.receives() {
                        self.add_path_receive = self.add_path_receive.with(family);
                    }
                }
            }
            // RFC 4724 §3: of several instances the last counts.
            Capability::GracefulRestart(restart) => self.graceful_restart = Some(restart.into()),
            Capability::LongLivedGracefulRestart(families) => self.long_lived = Some(families),
            Capability::Multiprotocol(_)
            | Capability::Role(_)
            | Capability::FourOctetAs(_)
            | Capability::Fqdn { .. }
            | Capability::SoftwareVersion(_)
            | Capability::Unknown { .. } => {}
        }
        self
    }
}

impl From<&GracefulRestart> for PeerRestart {
    fn from(restart: &GracefulRestart) -> Self {
        let families = |kept_only: bool| -> FamilySet {
            let listed = restart.families.iter().filter(|family| family.forwarding_kept || !kept_only);
            listed.filter_map(|family| family.family.family()).collect()
        };
        Self {
            restarting: restart.restarted,
            over_notification: restart.notification,
            time: Duration::from_secs(restart.restart_time.into()),
            families: families(false),
            kept: families(true),
        }
    }
}
