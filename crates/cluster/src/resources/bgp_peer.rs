//! `BGPPeer`: whom to speak BGP with.

mod place;
mod times;
mod transport;

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use muslin_bgp_packet::Asn;
use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

pub use self::place::{AutoDiscovery, AutoDiscoveryMode, interface_matches};
pub use self::times::GracefulRestart;
pub(crate) use self::times::check_hold_time;
pub use self::transport::{PasswordSource, SecretKeyRef, TcpAo, TcpAoAlgorithm};
use super::fields::{AsNumber, Cidr, TimeSpan, from_text, usable_asn};
use super::selector::LabelSelector;
use super::{Check, fields, schema};
use crate::problem::Fault;

/// Specification of a `BGPPeer`: exactly one of `peerAddress`, `interface` (or `interfaces`) without an address,
/// `listenRange` and `autoDiscovery`, and the peer's AS.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = super::rules::BGP_PEER))]
pub struct BgpPeerSpec {
    /// Nodes that have this peer; all if absent. A stand-alone speaker does not look at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<LabelSelector>,
    /// Where the peer is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_address: Option<IpAddr>,
    /// The interface on which a link-local `peerAddress` is found. Without an address, the interface at whose
    /// other end the peer is, found by its router advertisements: `eth0`, or a pattern as `eth*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Several interfaces, each with a peer at its other end; names and patterns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<String>,
    /// The peer is where the node's own routes lead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_discovery: Option<AutoDiscovery>,
    /// TCP port of the peer; 179 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Whoever connects from this range is a peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen_range: Option<Cidr>,
    /// Most peers of the range at a time; 1000 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen_limit: Option<u32>,
    /// The peer's AS: a number, `internal` (ours) or `external` (any but ours).
    #[serde(rename = "peerASN")]
    pub peer_asn: PeerAs,
    /// Our AS towards this peer, if not our own.
    #[serde(rename = "localASN", default, skip_serializing_if = "Option::is_none")]
    pub local_asn: Option<AsNumber>,
    /// In which AS paths `localASN` and our own AS stand; `ReplaceAS` if absent. Not without `localASN`.
    #[serde(rename = "localASPrepend", default, skip_serializing_if = "Option::is_none")]
    pub local_as_prepend: Option<LocalAsPrepend>,
    /// What we are to this external peer (RFC 9234): routes that would leak are neither taken nor sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Whether a peer that does not say its role is refused; `false` if absent. Not without `role`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strict_role: Option<bool>,
    /// The address that we speak from; if absent, the node's address on the link of the peer, else the kernel's choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_address: Option<IpAddr>,
    /// The interface whose address we speak from. Not together with `localAddress`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_interface: Option<String>,
    /// The VRF that the session runs over: connections are bound to it both ways. A plain interface works as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vrf: Option<String>,
    /// Who opens the connection; `Both` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_mode: Option<ConnectMode>,
    /// Hold time that we offer; 90 seconds if absent, 0 for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_time: Option<TimeSpan>,
    /// Pause between two KEEPALIVEs, at least a second; a third of the hold time if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keepalive_time: Option<TimeSpan>,
    /// How long the peer may take nothing of what we send (RFC 9687), at least the hold time; the longer of 8
    /// minutes and twice the hold time if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_hold_time: Option<TimeSpan>,
    /// How long sent octets may stay without an acknowledgement of the peer's TCP; ten seconds longer than
    /// `sendHoldTime` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_user_timeout: Option<TimeSpan>,
    /// Longest pause between two attempts to connect; 5 seconds if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_retry: Option<TimeSpan>,
    /// Address families; the one of the session's addresses if absent, both for peers found on an interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub families: Option<Vec<AddressFamily>>,
    /// Whether IPv4 routes may have IPv6 next hops (RFC 8950); if absent, wherever IPv4 routes go over IPv6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extended_next_hop: Option<bool>,
    /// Several paths for one prefix (RFC 7911).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub add_path: Option<AddPath>,
    /// How many hops away an external peer may be. Not together with `ttlSecurity`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multihop: Option<u8>,
    /// Refuse packets from further away than this many hops (RFC 5082). Not together with `multihop`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_security: Option<u8>,
    /// TCP-AO key (RFC 5925), which needs Linux 6.7 or later. Not together with `password`.
    #[serde(rename = "tcpAO", default, skip_serializing_if = "Option::is_none")]
    pub tcp_ao: Option<TcpAo>,
    /// TCP-MD5 password (RFC 2385).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<PasswordSource>,
    /// Both sides keep routes in use while the other one restarts (RFC 4724, RFC 8538); on if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graceful_restart: Option<GracefulRestart>,
    /// Whether this internal peer is a client of our route reflection (RFC 4456).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route_reflector_client: Option<bool>,
    /// The next hop that we send; `Auto` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_hop: Option<NextHop>,
    /// Names of `BGPFilter`s, asked in this order; what none of them decides is left to the derived policy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<String>,
    /// Most prefixes per family that the peer may send; 100000 if absent, 0 for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_prefixes: Option<u32>,
    /// The share of `maxPrefixes` at which a warning is given, in percent; 75 if absent, 100 for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_prefixes_warning: Option<u8>,
    /// What happens beyond `maxPrefixes`; `Restart` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_prefixes_action: Option<MaxPrefixesAction>,
    /// How long a peer is kept out that exceeded `maxPrefixes`, twice as long each time in a row; a minute if
    /// absent. Only with the action `Restart`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_prefixes_restart: Option<TimeSpan>,
    /// How often our own AS may stand in a received path. If absent: 1 for external peers of nodes, since
    /// nodes share one AS behind an external router; else 0.
    #[serde(rename = "allowedOwnAS", default, skip_serializing_if = "Option::is_none")]
    pub allowed_own_as: Option<u8>,
    /// Shuts the peer down; the text is told to it (RFC 9003).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = 255))]
    pub shutdown: Option<String>,
}

/// What the peer's AS must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerAs {
    /// This one.
    Is(Asn),
    /// Ours.
    Internal,
    /// Any but ours.
    External,
}

const PEER_AS: &str = "an AS number from 1 to 4294967294 that is not reserved, `internal` or `external`";

impl<'de> Deserialize<'de> for PeerAs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer, PEER_AS, |text| match text {
            "internal" => Some(Self::Internal),
            "external" => Some(Self::External),
            number => usable_asn(number).map(Self::Is),
        })
    }
}

impl schemars::JsonSchema for PeerAs {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PeerAs".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let pattern = format!("^(internal|external|{})$", fields::AS_NUMBER);
        schema::number_or_text(PEER_AS, &pattern, fields::AS_NUMBERS, &fields::RESERVED_AS_NUMBERS)
    }
}

impl Serialize for PeerAs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for PeerAs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(asn) => fmt::Display::fmt(asn, f),
            Self::Internal => f.write_str("internal"),
            Self::External => f.write_str("external"),
        }
    }
}

/// Who opens the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
pub enum ConnectMode {
    /// Both sides.
    Both,
    /// Only the peer.
    Passive,
}

/// In which AS paths an AS that only this peer sees stands beside our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
pub enum LocalAsPrepend {
    /// Sent paths have it instead of our own, received ones stay as they are (`no-prepend replace-as`).
    #[serde(rename = "ReplaceAS")]
    ReplaceAs,
    /// Sent paths have it before our own, received ones stay as they are (`no-prepend`).
    NoPrepend,
    /// Sent paths have it before our own, and it is put before received ones.
    Both,
}

/// What we are to a peer (RFC 9234).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
pub enum Role {
    /// We sell transit to it.
    Provider,
    /// We buy transit from it.
    Customer,
    /// We exchange our own and our customers' routes.
    Peer,
    /// We are the route server.
    RouteServer,
    /// It is our route server.
    RouteServerClient,
}

/// A family of unicast addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
pub enum AddressFamily {
    /// IPv4.
    IPv4,
    /// IPv6.
    IPv6,
}

/// What happens when a peer has more prefixes than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
pub enum MaxPrefixesAction {
    /// The session ends, and the peer is let in again after `maxPrefixesRestart`.
    Restart,
    /// The session ends and stays down until the limit changes or the agent restarts.
    Shutdown,
    /// The session stays, what comes beyond is refused.
    Discard,
    /// The session stays and nothing is refused; it is only said.
    Warn,
}

/// Which next hop we send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
pub enum NextHop {
    /// As RFC 4271 §5.1.3 says: ourselves towards external peers, unchanged towards internal ones.
    Auto,
    /// Always ourselves.
    #[serde(rename = "Self")]
    Itself,
    /// Never changed.
    Unchanged,
}

/// Several paths for one prefix, where the peer agrees.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema,
)]
#[serde(deny_unknown_fields, default)]
pub struct AddPath {
    /// Whether the peer may send several; if absent, internal peers may.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receive: Option<bool>,
    /// How many we send; only the best one if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send: Option<SentPaths>,
    /// In which of the session's families; in all if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub families: Option<Vec<AddressFamily>>,
}

/// How many paths of one prefix are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SentPaths {
    /// So many of the best.
    Best(u8),
    /// Every usable one.
    All,
}

impl<'de> Deserialize<'de> for SentPaths {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer, SENT_PATHS, |text| match text {
            "All" => Some(Self::All),
            number => number.parse().ok().map(Self::Best),
        })
    }
}

const SENT_PATHS: &str = "a number of paths from 0 to 255, or `All`";

impl schemars::JsonSchema for SentPaths {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SentPaths".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let pattern = "^(All|[0-9]{1,2}|1[0-9]{2}|2[0-4][0-9]|25[0-5])$";
        schema::number_or_text(SENT_PATHS, pattern, (0, 255), &[])
    }
}

impl Serialize for SentPaths {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Best(paths) => serializer.serialize_u8(*paths),
            Self::All => serializer.serialize_str("All"),
        }
    }
}

impl BgpPeerSpec {
    /// Whether the session carries a family: one that is named, else that of its addresses.
    fn carries(&self, family: AddressFamily) -> bool {
        match (&self.families, self.peer_address, self.listen_range) {
            (Some(families), ..) => families.contains(&family),
            (None, Some(address), _) => address.is_ipv4() == (family == AddressFamily::IPv4),
            (None, None, Some(range)) => range.0.addr().is_ipv4() == (family == AddressFamily::IPv4),
            // An interface peer is spoken with over IPv6; what it carries is decided elsewhere.
            (None, None, None) => true,
        }
    }

    fn check_reflection(&self, fault: &mut impl FnMut(&str, &str, &str)) {
        if let Some(families) = self.add_path.as_ref().and_then(|add_path| add_path.families.as_ref()) {
            if families.is_empty() {
                fault(".addPath.families", "found none", "name IPv4, IPv6 or both, or leave it out");
            } else if !families.iter().all(|family| self.carries(*family)) {
                let remedy = "name it in `families` too, or take it out";
                fault(".addPath.families", "found a family that the session does not carry", remedy);
            }
        }
        if self.route_reflector_client == Some(true) && self.peer_asn == PeerAs::External {
            fault(".routeReflectorClient", "found a client that is external", "write `peerASN: internal`");
        }
    }

    fn check_prefix_limit(&self, fault: &mut impl FnMut(&str, &str, &str)) {
        if self.max_prefixes_warning.is_some_and(|percent| !(1..=100).contains(&percent)) {
            fault(".maxPrefixesWarning", "found no share", "write a percentage from 1 to 100");
        }
        let restarts = matches!(self.max_prefixes_action, None | Some(MaxPrefixesAction::Restart));
        match self.max_prefixes_restart {
            Some(_) if !restarts => {
                fault(".maxPrefixesRestart", "the action is not `Restart`", "leave it out");
            }
            Some(TimeSpan(pause)) if pause < Duration::from_secs(1) => {
                fault(".maxPrefixesRestart", "found less than a second", "write 1s or more");
            }
            Some(_) | None => {}
        }
        if self.max_prefixes == Some(0) {
            let without_limit = [
                (self.max_prefixes_warning.is_some(), ".maxPrefixesWarning"),
                (self.max_prefixes_action.is_some(), ".maxPrefixesAction"),
                (self.max_prefixes_restart.is_some(), ".maxPrefixesRestart"),
            ];
            for (_, field) in without_limit.into_iter().filter(|(present, _)| *present) {
                fault(field, "`maxPrefixes` is 0, which is no limit", "leave it out, or write a limit");
            }
        }
    }
}

impl Check for BgpPeerSpec {
    fn check(&self, faults: &mut Vec<Fault>) {
        let mut fault = |field: &str, message: &str, remedy: &str| {
            faults.push(Fault::new(format!(".spec{field}"), message, remedy));
        };
        place::check(self, &mut fault);
        if self.port == Some(0) {
            fault(".port", "found 0", "write the port that the peer listens on, 1 to 65535");
        }
        if self.listen_limit == Some(0) {
            fault(".listenLimit", "found 0", "write how many peers may connect, or leave it out");
        }
        if self.multihop.is_some() && self.ttl_security.is_some() {
            fault(".ttlSecurity", "there is a `multihop` too", "keep one: both set the TTL");
        }
        for (hops, field) in [(self.multihop, ".multihop"), (self.ttl_security, ".ttlSecurity")] {
            if hops == Some(0) {
                fault(field, "found 0", "write the number of hops, 1 for a peer on the link");
            }
        }
        if self.families.as_ref().is_some_and(Vec::is_empty) {
            fault(".families", "found none", "name IPv4, IPv6 or both, or leave it out");
        }
        self.check_reflection(&mut fault);
        if self.shutdown.as_ref().is_some_and(|text| text.len() > 255) {
            fault(".shutdown", "found more than 255 octets", "shorten the text");
        }
        if self.local_asn.is_some_and(|local| self.peer_asn == PeerAs::Is(local.0)) {
            fault(".localASN", "found the peer's AS", "write `peerASN: internal`, or another AS");
        }
        self.check_prefix_limit(&mut fault);
        self.check_transport(&mut fault);
        if self.local_as_prepend.is_some() && self.local_asn.is_none() {
            fault(".localASPrepend", "there is no `localASN`", "name the AS, or leave it out");
        }
        if self.strict_role.is_some() && self.role.is_none() {
            fault(".strictRole", "there is no `role`", "name our role, or leave it out");
        }
        if self.role.is_some() && self.peer_asn == PeerAs::Internal {
            fault(".role", "found a role for an internal peer", "leave it out: roles are between ASes");
        }
        if let (Some(local), Some(peer)) = (self.local_address, self.peer_address)
            && local.is_ipv4() != peer.is_ipv4()
        {
            fault(
                ".localAddress",
                "found another family than the peer's",
                "write an address of the peer's family",
            );
        }
        self.check_times(faults);
        if let Some(selector) = &self.node_selector {
            selector.check(".spec.nodeSelector", faults);
        }
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}
