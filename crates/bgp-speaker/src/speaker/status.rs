//! What a speaker shows of itself and of its peers. Everything here is plain data that a client reads back.

mod detail;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use muslin_bgp_packet::{AsWidth, Capability, Family};
use serde::{Deserialize, Serialize};

pub use self::detail::{ExportStatus, PeerRestartStatus, RestartStatus};
use super::Speaker;
use super::peer::Peer;
use crate::config::{OverLimit, PeerKey};
use crate::rib::{PeerIndex, Refusal, RefusalCounts};
use crate::session::{Counters, EndReason, Negotiated, State, agreed_in_words, capability_in_words};

/// A speaker as a whole.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpeakerStatus {
    /// Our AS.
    pub asn: u32,
    /// Our BGP identifier.
    pub router_id: Ipv4Addr,
    /// How long it has been running.
    pub uptime_seconds: u64,
    /// Addresses that it is to listen on.
    pub listen: Vec<SocketAddr>,
    /// Peers, those of ranges included.
    pub peers: usize,
    /// Established ones.
    pub established: usize,
    /// Whether every peer that can be waited for has sent its routes since the start.
    pub synced: bool,
    /// Listen ranges.
    pub ranges: Vec<RangeStatus>,
}

/// A listen range.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RangeStatus {
    /// Its name.
    pub key: PeerKey,
    /// Addresses that may connect.
    pub range: String,
    /// Peers of it at present.
    pub peers: u32,
    /// Most peers at a time.
    pub limit: u32,
}

/// One peer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerStatus {
    /// Its name.
    pub key: PeerKey,
    /// Its address.
    pub address: IpAddr,
    /// Our interface towards it, where that matters.
    pub interface: Option<String>,
    /// The object and field that asked for it.
    pub cause: String,
    /// The listen range that it came out of.
    pub range: Option<PeerKey>,
    /// State of the session.
    pub state: State,
    /// How long it has been in this state.
    pub state_seconds: u64,
    /// Whether routes are exchanged.
    pub established: bool,
    /// Whether configuration or an operator keeps it down.
    pub shut_down: bool,
    /// What went wrong last.
    pub last_error: Option<LastError>,
    /// Why the last session that exchanged routes ended.
    pub last_loss: Option<LastError>,
    /// What people should know though nothing is wrong.
    pub notes: Vec<Cow<'static, str>>,
    /// Our AS towards the peer.
    pub local_asn: u32,
    /// The AS that is expected of it.
    pub expected_asn: String,
    /// What was agreed on; only when established.
    pub negotiated: Option<NegotiatedStatus>,
    /// Per family that we offer.
    pub families: Vec<FamilyStatus>,
    /// Time left on its timers.
    pub timers: TimerStatus,
    /// Messages.
    pub messages: Counters,
    /// Octets received on all its connections.
    pub octets_received: u64,
    /// Octets sent on all its connections.
    pub octets_sent: u64,
    /// Octets that wait for the peer to take them.
    pub octets_queued: usize,
    /// UPDATEs with faulty attributes (RFC 7606).
    pub faulty_updates: u64,
    /// What it was sent and is still owed.
    pub export: ExportStatus,
    /// Graceful restart.
    pub graceful_restart: RestartStatus,
    /// Received routes that were refused since the session came up, by reason.
    pub refused: BTreeMap<String, u64>,
}

/// What went wrong last with a peer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastError {
    /// In words, with codes where the protocol has them.
    pub text: String,
    /// What can be done about it.
    pub remedy: Option<Cow<'static, str>>,
    /// How long ago.
    pub seconds_ago: u64,
}

/// What a session runs by.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NegotiatedStatus {
    /// The peer's AS.
    pub remote_asn: u32,
    /// The peer's BGP identifier.
    pub remote_id: Ipv4Addr,
    /// Our end of the connection.
    pub local_address: SocketAddr,
    /// The peer's end.
    pub remote_address: SocketAddr,
    /// Whether the peer is in our AS.
    pub internal: bool,
    /// Hold time; zero is no timers.
    pub hold_seconds: u64,
    /// Interval of KEEPALIVEs.
    pub keepalive_seconds: f64,
    /// Longest message, in octets.
    pub max_message: usize,
    /// Whether AS numbers have four octets.
    pub four_octet_as: bool,
    /// Capabilities of both sides, in words.
    pub capabilities: CapabilityStatus,
}

/// Capabilities in words, in the order of the OPEN.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CapabilityStatus {
    /// Ours.
    pub ours: Vec<String>,
    /// The peer's.
    pub theirs: Vec<String>,
    /// What both come to.
    pub in_effect: Vec<String>,
}

/// A peer's family.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(clippy::struct_excessive_bools, reason = "independent facts that clients read by name")]
pub struct FamilyStatus {
    /// Its name.
    pub family: String,
    /// Whether both sides have it in this session.
    pub negotiated: bool,
    /// Whether the peer has sent all its routes: by its End-of-RIB or, where it need not send one, by its
    /// silence.
    pub end_of_rib_received: bool,
    /// Whether the peer was sent our End-of-RIB.
    pub end_of_rib_sent: bool,
    /// Whether routes of a lost session are kept.
    pub stale: bool,
    /// Most routes that it may have.
    pub limit: Option<u32>,
    /// Routes that the peer has announced.
    pub received: u32,
    /// Those of them that import accepts.
    pub accepted: u32,
    /// Those of them that import refuses.
    pub rejected: u32,
    /// Routes that the peer was sent.
    pub advertised: u32,
}

/// Time left on timers, in seconds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(clippy::struct_field_names, reason = "units belong to the names that clients read")]
pub struct TimerStatus {
    /// Until the peer is given up.
    pub hold_seconds: Option<f64>,
    /// Until our next KEEPALIVE.
    pub keepalive_seconds: Option<f64>,
    /// Until we try to connect again.
    pub next_attempt_seconds: Option<f64>,
    /// Until routes of the lost peer are removed.
    pub retention_seconds: Option<f64>,
}

impl Speaker {
    /// The speaker as a whole.
    pub fn status(&self, now: Instant) -> SpeakerStatus {
        let established = |peer: &Peer| peer.session.state() == State::Established;
        SpeakerStatus {
            asn: self.config.asn.0,
            router_id: self.config.router_id,
            uptime_seconds: now.saturating_duration_since(self.started).as_secs(),
            listen: self.config.listen.clone(),
            peers: self.peers.iter().count(),
            established: self.peers.iter().filter(|(_, peer)| established(peer)).count(),
            synced: self.is_synced(),
            ranges: self.peers.ranges().iter().map(super::peers::Range::status).collect(),
        }
    }

    /// Every peer, by name.
    pub fn peers(&self, now: Instant) -> Vec<PeerStatus> {
        self.peers.iter().map(|(index, peer)| self.peer_status(now, index, peer)).collect()
    }

    /// One peer.
    pub fn peer(&self, now: Instant, key: &PeerKey) -> Option<PeerStatus> {
        let index = self.peers.find_by_key(key)?;
        Some(self.peer_status(now, index, self.peers.get(index)?))
    }

    fn peer_status(&self, now: Instant, index: PeerIndex, peer: &Peer) -> PeerStatus {
        let session = &peer.session;
        let refusals = self.rib.refusals(index);
        let families = self.family_status(index, peer);
        let limit_notes = peer.limit_notes(&families, refusals);
        let in_words = |(at, reason): (Instant, &EndReason)| LastError {
            text: reason.to_string(),
            remedy: reason.remedy().map(Cow::Borrowed),
            seconds_ago: now.saturating_duration_since(at).as_secs(),
        };
        PeerStatus {
            key: peer.key.clone(),
            address: peer.address,
            interface: peer.interface.as_deref().map(str::to_owned),
            cause: peer.cause.to_string(),
            range: peer.range.clone(),
            state: session.state(),
            state_seconds: now.saturating_duration_since(session.since()).as_secs(),
            established: session.state() == State::Established,
            shut_down: peer.is_shut_down(),
            last_error: session.last_error().map(in_words),
            last_loss: session.last_loss().map(in_words),
            notes: peer
                .notes()
                .into_iter()
                .chain(self.identifier_notes(index, peer))
                .chain(limit_notes)
                .collect(),
            local_asn: session.settings().local_as.0,
            expected_asn: peer.expected_as(),
            negotiated: session.negotiated().map(|negotiated| peer.negotiated_status(negotiated)),
            families,
            refused: refusals.iter().map(|(reason, count)| (reason.name().to_owned(), count)).collect(),
            timers: peer.timer_status(now),
            messages: *session.counters(),
            octets_received: peer.octets_received,
            octets_sent: peer.octets_sent,
            octets_queued: peer.in_flight,
            export: self.rib.export_state(index).filter(|_| peer.in_rib).map(Into::into).unwrap_or_default(),
            graceful_restart: detail::restart_status(session, peer.stale),
            faulty_updates: peer.faulty_updates,
        }
    }

    fn family_status(&self, index: PeerIndex, peer: &Peer) -> Vec<FamilyStatus> {
        let negotiated = peer.session.negotiated();
        let counts = self.rib.peer_counts(index).filter(|_| peer.in_rib).unwrap_or_default();
        let export = self.rib.export_state(index).filter(|_| peer.in_rib);
        let [ipv4_sent, ipv6_sent] = export.map(|export| export.advertised).unwrap_or_default();
        let status = |family: &Family| {
            let negotiated = negotiated.is_some_and(|negotiated| negotiated.families().contains(*family));
            let (paths, advertised) = match family {
                Family::Ipv4Unicast => (counts.ipv4, ipv4_sent),
                Family::Ipv6Unicast => (counts.ipv6, ipv6_sent),
            };
            FamilyStatus {
                family: family.to_string(),
                negotiated,
                end_of_rib_sent: negotiated
                    && export.is_some_and(|export| !export.end_of_rib_owed.contains(*family)),
                stale: peer.stale.contains(*family),
                end_of_rib_received: negotiated && !peer.awaiting.contains(*family),
                limit: peer.config.max_prefixes.map(|limit| limit.most),
                received: paths.received,
                accepted: paths.accepted,
                rejected: paths.received.saturating_sub(paths.accepted),
                advertised,
            }
        };
        peer.config.families.iter().map(status).collect()
    }
}

impl Peer {
    fn notes(&self) -> Vec<Cow<'static, str>> {
        let mut notes = Vec::new();
        if self.import.is_missing() {
            notes.push("nothing is accepted: RFC 8212 wants an import policy for an external peer".into());
        }
        if self.export.is_missing() {
            notes.push("nothing is sent: RFC 8212 wants an export policy for an external peer".into());
        }
        if !self.long_lived.is_empty() {
            notes.push("its restart time is over: its routes stay as last resort (RFC 9494)".into());
        }
        notes
    }

    /// What a person should know of the prefix limit.
    fn limit_notes(&self, families: &[FamilyStatus], refusals: RefusalCounts) -> Vec<Cow<'static, str>> {
        let Some(limit) = self.config.max_prefixes else { return Vec::new() };
        let near = families.iter().filter(|family| family.received >= limit.warns_at());
        let mut notes: Vec<_> = near
            .map(|family| format!("{}: {} of {} prefixes", family.family, family.received, limit.most).into())
            .collect();
        let discarded = refusals.iter().find(|(refusal, _)| *refusal == Refusal::PrefixLimit);
        if let Some((_, count)) = discarded.filter(|_| limit.over == OverLimit::Discard) {
            notes.push(
                format!("{count} announcements beyond the limit were refused: raise it, or filter").into(),
            );
        }
        notes
    }

    fn expected_as(&self) -> String {
        use crate::config::RemoteAs;
        match self.config.remote_as {
            RemoteAs::Is(asn) => asn.to_string(),
            RemoteAs::Internal => "internal".to_owned(),
            RemoteAs::External => "external".to_owned(),
        }
    }

    fn negotiated_status(&self, negotiated: &Negotiated) -> NegotiatedStatus {
        let (local_address, remote_address) =
            self.session.addresses().unwrap_or((self.remote(), self.remote()));
        let keepalive = self.session.settings().keepalive_interval(negotiated);
        let in_words = |capabilities: &[Capability]| capabilities.iter().map(capability_in_words).collect();
        NegotiatedStatus {
            remote_asn: negotiated.remote_as.0,
            remote_id: negotiated.remote_id,
            local_address,
            remote_address,
            internal: negotiated.peer_kind() == muslin_bgp_packet::PeerKind::Internal,
            hold_seconds: negotiated.hold_time.as_secs(),
            keepalive_seconds: keepalive.unwrap_or_default().as_secs_f64(),
            max_message: negotiated.max_message,
            four_octet_as: negotiated.decode.attributes.as_width == AsWidth::Four,
            capabilities: CapabilityStatus {
                ours: in_words(&self.session.own_open().capabilities),
                theirs: in_words(&negotiated.peer_open.capabilities),
                in_effect: agreed_in_words(negotiated),
            },
        }
    }

    fn timer_status(&self, now: Instant) -> TimerStatus {
        let timers = self.session.timers(now);
        let seconds = |timer: Option<Duration>| timer.map(|left| left.as_secs_f64());
        TimerStatus {
            hold_seconds: seconds(timers.hold),
            keepalive_seconds: seconds(timers.keepalive),
            next_attempt_seconds: seconds(timers.next_attempt),
            retention_seconds: seconds(timers.retention),
        }
    }
}

impl super::peers::Range {
    fn status(&self) -> RangeStatus {
        RangeStatus {
            key: self.config.key.clone(),
            range: self.config.range.to_string(),
            peers: self.used,
            limit: self.config.limit,
        }
    }
}
