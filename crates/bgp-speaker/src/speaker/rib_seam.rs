//! Where sessions meet routes: what the RIB is told of peers, and what follows from what it finds.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use muslin_bgp_packet::{Cease, Family, FamilySet, Notification, PeerKind, RefreshSubtype, RouteRefresh};

use super::peer::Peer;
use super::{Output, Speaker, SpeakerEvent};
use crate::config::{LocalAsPrepend, OverLimit, PrefixLimit, SessionConfig, SpeakerConfig, TtlMode};
use crate::rib::{
    AddPathSend, LimitMark, LimitNotice, LocalAddresses, NextHopResolver, PeerIndex, PeerLoss, PeerRules,
    PeerView, RibConfig, UpdateOutcome, UpdateSummary, is_link_local,
};
use crate::session::{ConnId, Negotiated, Retention, Stop};

/// What the RIB needs to know of a configuration when it is made.
pub(super) fn rib_config(config: &SpeakerConfig) -> RibConfig {
    RibConfig {
        asn: config.asn,
        router_id: config.router_id,
        cluster_id: config.cluster_id,
        max_paths: config.max_paths,
        guard: config.guard.clone(),
    }
}

impl Speaker {
    /// Applies what is not about single peers.
    pub(super) fn configure_rib(&mut self, now: Instant, previous: &SpeakerConfig) {
        let wanted = &self.config;
        let identity = |config: &SpeakerConfig| (config.asn, config.router_id, config.cluster_id);
        if identity(wanted) != identity(previous) {
            self.rib.set_identity(wanted.asn, wanted.router_id, wanted.cluster_id);
        }
        if wanted.guard != previous.guard {
            self.rib.set_guard(wanted.guard.clone());
        }
        if wanted.max_paths != previous.max_paths {
            self.rib.set_max_paths(wanted.max_paths);
        }
        if wanted.graceful_shutdown != previous.graceful_shutdown {
            self.rib.set_graceful_shutdown(wanted.graceful_shutdown);
        }
        if wanted.originated != previous.originated {
            self.rib.originate(now, &wanted.originated);
        }
    }

    /// The session is established: the RIB may send and receive.
    pub(super) fn peer_up(&mut self, now: Instant, index: PeerIndex, negotiated: &Negotiated) {
        let Some(peer) = self.peers.get_mut(index) else { return };
        peer.in_flight = 0;
        peer.await_routes(now, negotiated);
        peer.in_rib = true;
        let graceful_shutdown = self.config.graceful_shutdown;
        let view = PeerView { graceful_shutdown, ..peer.view(negotiated, self.rib.resolver()) };
        peer.link = view.interface;
        self.rib.peer_up(now, index, view);
        peer.reported = None;
        // RFC 4724 §4.2: what the peer did not keep forwarding is not kept here either.
        let kept = negotiated.kept_families(peer.long_lived);
        let lost: FamilySet = peer.stale.iter().filter(|family| !kept.contains(*family)).collect();
        if !lost.is_empty() {
            peer.stale = lost.iter().fold(peer.stale, FamilySet::without);
            self.rib.flush_stale(index, lost);
        }
        peer.session.end_retention(peer.stale.iter().fold(FamilySet::ALL, FamilySet::without));
        let event = SpeakerEvent::SessionUp { peer: peer.key.clone(), asn: negotiated.remote_as.0 };
        self.outputs.push_back(Output::Event(event));
        self.look_for_twin(index);
    }

    /// The established session is gone.
    pub(super) fn peer_down(&mut self, now: Instant, index: PeerIndex, retention: Retention) {
        let (loss, kept) = match retention {
            Retention::Flush => (PeerLoss::Flush, FamilySet::EMPTY),
            Retention::Retain(families) => (PeerLoss::RetainStale, families),
            Retention::RetainSilent(families) => (PeerLoss::RetainSilent, families),
            Retention::RetainAll(families) => (PeerLoss::RetainAll, families),
        };
        self.rib.peer_down(now, index, loss);
        if let Some(peer) = self.peers.get_mut(index) {
            peer.quiet = None;
            peer.stale = kept;
            if loss != PeerLoss::RetainAll {
                peer.long_lived = FamilySet::EMPTY;
            }
            if loss != PeerLoss::Flush {
                // RFC 4724 §4.2: families that the peer did not name go as they always did.
                self.rib.flush_stale(index, kept.iter().fold(FamilySet::ALL, FamilySet::without));
            }
        }
    }

    /// The peer did not come back, or did not repeat everything.
    pub(super) fn flush_stale(&mut self, index: PeerIndex, families: FamilySet) {
        if let Some(peer) = self.peers.get_mut(index)
            && families.iter().any(|family| peer.stale.contains(family))
        {
            peer.stale = families.iter().fold(peer.stale, FamilySet::without);
            peer.long_lived = families.iter().fold(peer.long_lived, FamilySet::without);
            peer.session.end_retention(families);
            self.rib.flush_stale(index, families);
        }
    }

    /// The peer's restart time is over, and these families outlive it.
    pub(super) fn outlive_restart(&mut self, index: PeerIndex, families: FamilySet) {
        let Some(peer) = self.peers.get_mut(index) else { return };
        let families: FamilySet = families.iter().filter(|family| peer.stale.contains(*family)).collect();
        peer.long_lived = families.iter().fold(peer.long_lived, FamilySet::with);
        self.rib.outlive_restart(index, families);
        let families = families.iter().map(|family| family.to_string()).collect();
        let event = SpeakerEvent::LongLivedStale { peer: peer.key.clone(), families };
        self.outputs.push_back(Output::Event(event));
    }

    /// Removes every route of a peer that is forgotten.
    pub(super) fn forget_routes(&mut self, index: PeerIndex) {
        if self.peers.get(index).is_some_and(|peer| peer.in_rib) {
            self.rib.flush_stale(index, FamilySet::ALL);
        }
    }

    /// An UPDATE came.
    pub(super) fn update(&mut self, now: Instant, index: PeerIndex, conn: ConnId, body: &[u8]) {
        match self.rib.update(now, index, body) {
            UpdateOutcome::Accepted(summary) => self.updated(now, index, &summary),
            UpdateOutcome::PrefixLimit { family, limit } => {
                self.over_limit(now, index, conn, family, limit);
            }
            UpdateOutcome::Reset(notification) => {
                let detail = "an UPDATE could not be read".to_owned();
                self.fail(now, index, conn, notification, detail);
            }
        }
    }

    fn updated(&mut self, now: Instant, index: PeerIndex, summary: &UpdateSummary) {
        let Some(peer) = self.peers.get_mut(index) else { return };
        peer.heard_routes(now);
        if !summary.faults.is_empty() {
            peer.faulty_updates += 1;
            tracing::debug!(peer = %peer.key, faults = ?summary.faults, "an UPDATE has faulty attributes");
        }
        if let Some(prefix) = summary.own_identifier {
            let (peer, id) = (peer.key.clone(), self.config.router_id);
            self.outputs.push_back(Output::Event(SpeakerEvent::OwnIdentifierSeen { peer, id, prefix }));
        }
        if let Some(notice) = summary.limit {
            self.tell_limit(index, notice);
        }
        if let Some(family) = summary.end_of_rib {
            self.end_of_rib(now, index, family);
        }
        if let Some(family) = summary.disabled
            && let Some(peer) = self.peers.get(index)
        {
            let event = SpeakerEvent::FamilyDisabled { peer: peer.key.clone(), family: family.to_string() };
            self.outputs.push_back(Output::Event(event));
        }
    }

    /// Everything of a family has come.
    fn end_of_rib(&mut self, now: Instant, index: PeerIndex, family: Family) {
        if let Some(peer) = self.peers.get_mut(index) {
            peer.awaiting = peer.awaiting.without(family);
            let event = SpeakerEvent::EndOfRib { peer: peer.key.clone(), family: family.to_string() };
            self.outputs.push_back(Output::Event(event));
            // RFC 4724 §4.2: what was not announced again is not valid any more.
            self.flush_stale(index, family.into());
            self.sync.look_soon(now);
        }
    }

    /// Takes a peer's silence for the End-of-RIB that it need not send.
    pub(super) fn end_quiet_wait(&mut self, now: Instant, index: PeerIndex) {
        let quiet = self.peers.get_mut(index).map(|peer| peer.take_quiet_families(now));
        for family in quiet.unwrap_or_default().iter() {
            self.end_of_rib(now, index, family);
        }
    }

    /// A ROUTE-REFRESH came; one for a family that was not negotiated means nothing (RFC 2918 §4).
    pub(super) fn refresh(&mut self, index: PeerIndex, refresh: RouteRefresh) {
        let Some(negotiated) = self.peers.get(index).and_then(|peer| peer.session.negotiated()) else {
            return;
        };
        let negotiated_family =
            refresh.afi_safi.family().filter(|family| negotiated.families().contains(*family));
        let Some(family) = negotiated_family else { return };
        match refresh.subtype {
            RefreshSubtype::Request => self.rib.refresh(index, family),
            RefreshSubtype::Begin if negotiated.enhanced_refresh => self.rib.refresh_begins(index, family),
            RefreshSubtype::End if negotiated.enhanced_refresh => self.rib.refresh_ends(index, family),
            RefreshSubtype::Begin | RefreshSubtype::End | RefreshSubtype::Unknown(_) => {}
        }
    }

    /// Sends everything again as if the peer had asked.
    pub(super) fn resend_routes(&mut self, index: PeerIndex) {
        let Some(negotiated) = self.peers.get(index).and_then(|peer| peer.session.negotiated()) else {
            return;
        };
        for family in negotiated.families().iter() {
            self.rib.refresh(index, family);
        }
    }

    /// Besides next hops, peers may be somewhere else. A connection survives when its address moves to another
    /// interface, but our link-local next hop, and those of the peer, are of the link that it began on.
    pub(super) fn next_hops_changed(&mut self, now: Instant) {
        self.rib.next_hops_changed();
        let resolver = self.rib.resolver();
        let moved: Vec<_> =
            self.peers.iter().filter(|(_, peer)| peer.has_moved(resolver)).map(|(index, _)| index).collect();
        for index in moved {
            if let Some(peer) = self.peers.get_mut(index) {
                peer.session.stop(now, &Stop::LinkChanged);
                self.settle(now, index);
            }
        }
    }

    /// Tells the RIB what holds for peers now; all peers of one configuration at a time.
    pub(super) fn apply_rules(&mut self, now: Instant, peers: &[PeerIndex]) {
        let known = peers.iter().filter_map(|index| Some((*index, self.peers.get(*index)?)));
        let rules: Vec<_> =
            known.filter(|(_, peer)| peer.in_rib).map(|(index, peer)| peer.rules(index)).collect();
        if rules.is_empty() {
            return;
        }
        self.rib.set_rules(&rules);
        for PeerRules { peer: index, .. } in rules {
            let conn = self.peers.get(index).and_then(|peer| peer.session.established_connection());
            if let (Some(conn), Some(UpdateOutcome::PrefixLimit { family, limit })) =
                (conn, self.rib.check_limit(index))
            {
                self.over_limit(now, index, conn, family, limit);
                self.settle(now, index);
            }
        }
    }

    /// The peer has more prefixes than it may.
    fn over_limit(
        &mut self,
        now: Instant,
        index: PeerIndex,
        conn: ConnId,
        family: Family,
        limit: PrefixLimit,
    ) {
        let Some(peer) = self.peers.get_mut(index) else { return };
        let (pause, then) = match limit.over {
            OverLimit::Restart(pause) => (Some(pause), "it is let in again after a pause"),
            OverLimit::Shutdown | OverLimit::Discard | OverLimit::Warn => {
                (None, "it stays down until it is reset")
            }
        };
        let detail = format!("more than {} {family} prefixes; {then}", limit.most);
        peer.session.fail_over_limit(now, conn, pause, detail);
        self.drain_session(now, index);
    }

    fn tell_limit(&mut self, index: PeerIndex, notice: LimitNotice) {
        let Some(peer) = self.peers.get(index) else { return };
        let LimitNotice { family, received, limit, mark } = notice;
        let (peer, family, most) = (peer.key.clone(), family.to_string(), limit.most);
        let event = match mark {
            LimitMark::Below => return,
            LimitMark::Near => SpeakerEvent::PrefixLimitNear { peer, family, received, most },
            LimitMark::Over => {
                let discarded = limit.over == OverLimit::Discard;
                SpeakerEvent::PrefixLimitExceeded { peer, family, most, discarded }
            }
        };
        self.outputs.push_back(Output::Event(event));
    }

    fn fail(
        &mut self,
        now: Instant,
        index: PeerIndex,
        conn: ConnId,
        notification: Notification,
        detail: String,
    ) {
        if let Some(peer) = self.peers.get_mut(index) {
            peer.session.fail(now, conn, notification, detail);
            self.drain_session(now, index);
        }
    }

    /// The peer fell so far behind that it cannot be brought up to date.
    pub(super) fn close_overrun(&mut self, now: Instant, index: PeerIndex, conn: ConnId) {
        let detail = "the peer reads too slowly to be brought up to date".to_owned();
        self.fail(now, index, conn, Notification::cease(Cease::OutOfResources), detail);
    }
}

impl Peer {
    /// Whether its session is over another link than the one that leads to it now.
    fn has_moved(&self, resolver: &dyn NextHopResolver) -> bool {
        let (Some(began), Some((_, remote))) = (self.link, self.session.addresses()) else { return false };
        link_of(remote, resolver).is_some_and(|link| link != began)
    }

    fn view(&self, negotiated: &Negotiated, resolver: &dyn NextHopResolver) -> PeerView {
        let (local, remote) = self.session.addresses().unwrap_or((self.remote(), self.remote()));
        let interface = link_of(remote, resolver);
        let settings = self.session.settings();
        PeerView {
            key: self.key.clone(),
            asn: negotiated.remote_as,
            local_as: settings.local_as,
            as_behind: settings.as_behind,
            prepends_received: settings.as_behind.is_some()
                && self.config.local_as.is_some_and(|local| local.prepend == LocalAsPrepend::Both),
            role: settings.role.map(|config| config.role),
            id: negotiated.remote_id,
            address: remote.ip().to_canonical(),
            local: own_addresses(local.ip().to_canonical(), interface, resolver, negotiated),
            interface,
            one_hop: negotiated.decode.attributes.peer == PeerKind::External
                && matches!(self.config.ttl, TtlMode::Direct | TtlMode::Security(1)),
            decode: negotiated.decode,
            families: negotiated.families(),
            add_path_send: AddPathSend {
                families: negotiated.add_path_send,
                paths: self.config.add_path.send.limit(),
            },
            extended_next_hop: negotiated.decode.extended_next_hop,
            max_message: u16::try_from(negotiated.max_message).unwrap_or(u16::MAX),
            enhanced_refresh: negotiated.enhanced_refresh,
            graceful_shutdown: false,
            takes_long_lived_stale: negotiated.long_lived.is_some(),
            reflector: self.config.reflector,
            next_hop: self.config.next_hop,
            import: self.import.clone(),
            export: self.export.clone(),
            allowed_own_as: self.config.allowed_own_as,
            max_prefixes: self.config.max_prefixes,
        }
    }
}

/// The link that a peer is on, if it is directly attached.
fn link_of(remote: SocketAddr, resolver: &dyn NextHopResolver) -> Option<u32> {
    match remote {
        SocketAddr::V6(remote) if remote.scope_id() != 0 => Some(remote.scope_id()),
        SocketAddr::V4(_) | SocketAddr::V6(_) => {
            let way = resolver.resolve(remote.ip().to_canonical(), None)?;
            way.direct.then_some(way.interface)
        }
    }
}

/// Our addresses as next hops: that of the session, and those of the same link in the other forms. An
/// address of the loopback leads nobody anywhere, so a session over it needs others. A peer that we speak to
/// by its link-local address need not know our IPv4 subnet: it gets IPv4 routes over that address, if it can
/// read them (RFC 8950).
fn own_addresses(
    session: IpAddr,
    interface: Option<u32>,
    resolver: &dyn NextHopResolver,
    negotiated: &Negotiated,
) -> LocalAddresses {
    let beside = interface.map(|interface| resolver.addresses_of(interface)).unwrap_or_default();
    let unnumbered = session.is_ipv6()
        && is_link_local(session)
        && negotiated.decode.extended_next_hop.contains(Family::Ipv4Unicast);
    let beside = beside.into_iter().filter(|address| !(unnumbered && address.is_ipv4()));
    let usable = std::iter::once(session).chain(beside).filter(|address| !address.is_loopback());
    usable.fold(LocalAddresses::default(), |mut own, address| {
        match address {
            IpAddr::V4(address) => own.ipv4 = own.ipv4.or(Some(address)),
            IpAddr::V6(address) if address.is_unicast_link_local() => {
                own.link_local = own.link_local.or(Some(address));
            }
            IpAddr::V6(address) => own.ipv6 = own.ipv6.or(Some(address)),
        }
        own
    })
}

impl Peer {
    /// Whether a change of configuration reaches the RIB's picture of the peer beyond its rules, so that only
    /// a new session takes it up.
    pub(super) fn differs_in_view(&self, previous: &SessionConfig) -> bool {
        differ_in_view(&self.config, previous)
    }

    /// What may change while the session stays up.
    fn rules(&self, index: PeerIndex) -> PeerRules {
        PeerRules {
            peer: index,
            import: self.import.clone(),
            export: self.export.clone(),
            reflector: self.config.reflector,
            next_hop: self.config.next_hop,
            allowed_own_as: self.config.allowed_own_as,
            max_prefixes: self.config.max_prefixes,
            paths: self.config.add_path.send.limit(),
        }
    }
}

/// Whether the RIB's pictures of a peer with these configurations differ beyond rules.
pub(super) fn differ_in_view(one: &SessionConfig, other: &SessionConfig) -> bool {
    (one.local_address, one.local_as, &one.device, &one.tcp_ao)
        != (other.local_address, other.local_as, &other.device, &other.tcp_ao)
}
