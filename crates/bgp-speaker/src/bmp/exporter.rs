//! What one collector is told: the table, then what changes.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use ipnet::IpNet;
use muslin_bgp_packet::{AsWidth, Capability, Family, Open, UpdateEncoder};

use super::wire::{self, Down, PeerHeader, Policy, Source, Statistic};
use crate::Speaker;
use crate::config::BmpCollector;
use crate::rib::{Follower, Lagged, Monitored, PeerIndex, Tapped, write_withdrawal};
use crate::session::EndReason;

/// Destinations that one step of the dump tells.
const STEP: usize = 32;

/// A collector's place.
#[derive(Debug)]
pub struct Exporter {
    config: BmpCollector,
    phase: Phase,
    /// Sessions that the collector knows to be up.
    up: BTreeMap<PeerIndex, PeerHeader>,
    next_statistics: Option<Instant>,
}

#[derive(Debug)]
enum Phase {
    New,
    /// The table is told; the next destinations come after this one.
    Dump(Follower, Option<IpNet>),
    Live(Follower),
}

/// Whether an exporter has told everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There is more: pull again when the connection has room.
    More,
    /// Everything is told, until the speaker's [revision](Speaker::revision) changes.
    Drained,
}

/// Now, as a deadline and as the world's time since 1970.
#[derive(Clone, Copy, Debug)]
struct Clock {
    now: Instant,
    wall: Duration,
}

impl Exporter {
    /// The exporter of a new connection.
    pub fn new(config: BmpCollector) -> Self {
        Self { config, phase: Phase::New, up: BTreeMap::new(), next_statistics: None }
    }

    /// Appends messages until there are about `room` octets of them. `wall` is the time since 1970.
    ///
    /// # Errors
    /// [`Lagged`] when the collector took too long: it has to be connected anew.
    pub fn pull(
        &mut self,
        speaker: &Speaker,
        now: Instant,
        wall: Duration,
        room: usize,
        out: &mut BytesMut,
    ) -> Result<Progress, Lagged> {
        let clock = Clock { now, wall };
        self.report(speaker, clock, out);
        while out.len() < room {
            match std::mem::replace(&mut self.phase, Phase::New) {
                Phase::New => self.phase = self.begin(speaker, clock, out),
                Phase::Dump(mut follower, after) => {
                    // What changes meanwhile goes first, so that a long dump does not fall off the ring.
                    if self.tell_change(speaker, clock, &mut follower, out)? {
                        self.phase = Phase::Dump(follower, after);
                    } else {
                        self.phase = self.dump(speaker, clock, follower, after, out);
                    }
                }
                Phase::Live(mut follower) => {
                    let told = self.tell_change(speaker, clock, &mut follower, out)?;
                    self.phase = Phase::Live(follower);
                    if !told {
                        return Ok(Progress::Drained);
                    }
                }
            }
        }
        Ok(Progress::More)
    }

    /// When it wants to be pulled although nothing changed.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next_statistics
    }

    /// The last words.
    pub fn terminate(out: &mut BytesMut) {
        wire::termination(out);
    }

    fn begin(&mut self, speaker: &Speaker, clock: Clock, out: &mut BytesMut) -> Phase {
        let description = concat!("muslin ", env!("CARGO_PKG_VERSION"));
        wire::initiation(description, &speaker.config().router_id.to_string(), out);
        let follower = speaker.rib().follow();
        for index in speaker.peer_indexes() {
            self.tell_up(speaker, clock, index, out);
        }
        if self.config.tables.loc_rib {
            let open = Self::loc_rib_open(speaker);
            let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
            wire::peer_up(loc_rib(speaker), clock.wall, [nowhere; 2], [&open, &open], out);
        }
        self.next_statistics = self.config.statistics.map(|interval| clock.now + interval);
        Phase::Dump(follower, None)
    }

    /// RFC 9069 §5.3: an OPEN that says how the Loc-RIB's routes are to be read.
    fn loc_rib_open(speaker: &Speaker) -> BytesMut {
        let config = speaker.config();
        let families = Family::ALL.map(|family| Capability::Multiprotocol(family.into()));
        let capabilities: Vec<_> =
            families.into_iter().chain([Capability::FourOctetAs(config.asn)]).collect();
        encoded(&Open::new(config.asn, 0, config.router_id, capabilities))
    }

    fn dump(
        &self,
        speaker: &Speaker,
        clock: Clock,
        follower: Follower,
        after: Option<IpNet>,
        out: &mut BytesMut,
    ) -> Phase {
        let prefixes: Vec<IpNet> = speaker.rib().destinations_after(after).take(STEP).collect();
        for prefix in &prefixes {
            for path in speaker.rib().monitored(*prefix) {
                self.tell_path(speaker, clock, *prefix, &path, out);
                if path.best {
                    self.tell_best(speaker, clock, *prefix, Some(&path), out);
                }
            }
        }
        if let Some(last) = prefixes.last() {
            return Phase::Dump(follower, Some(*last));
        }
        self.tell_ends(speaker, clock, out);
        Phase::Live(follower)
    }

    /// RFC 7854 §3.3: End-of-RIB of every table that was told.
    fn tell_ends(&self, speaker: &Speaker, clock: Clock, out: &mut BytesMut) {
        let tables = self.config.tables;
        let mut ends = |header, policy| {
            for family in Family::ALL {
                wire::route(header, policy, clock.wall, out, |out| UpdateEncoder::end_of_rib(family, out));
            }
        };
        for header in self.up.values() {
            for (wanted, policy) in
                [(tables.before_policy, Policy::Before), (tables.after_policy, Policy::After)]
            {
                if wanted {
                    ends(*header, policy);
                }
            }
        }
        if tables.loc_rib {
            ends(loc_rib(speaker), Policy::Before);
        }
    }

    /// Tells the next change; says whether there was one.
    fn tell_change(
        &mut self,
        speaker: &Speaker,
        clock: Clock,
        follower: &mut Follower,
        out: &mut BytesMut,
    ) -> Result<bool, Lagged> {
        let Some(change) = speaker.rib().next_tapped(follower)? else { return Ok(false) };
        match change {
            Tapped::Up(index) => self.tell_up(speaker, clock, *index, out),
            Tapped::Down(index, reason) => {
                if let Some(header) = self.up.remove(index) {
                    wire::peer_down(header, clock.wall, &down(reason), out);
                }
            }
            Tapped::Best(prefix) => {
                let paths = speaker.rib().monitored(*prefix);
                self.tell_best(speaker, clock, *prefix, paths.iter().find(|path| path.best), out);
            }
            Tapped::Path { peer, prefix, path_id } => {
                let paths = speaker.rib().monitored(*prefix);
                let path = paths.iter().find(|path| path.peer == *peer && path.path_id == *path_id);
                match path {
                    Some(path) => {
                        self.tell_path(speaker, clock, *prefix, path, out);
                        if path.accepted.is_none() && self.config.tables.after_policy {
                            self.tell_gone(speaker, clock, Policy::After, (*peer, *prefix, *path_id), out);
                        }
                    }
                    None => {
                        for policy in self.policies() {
                            self.tell_gone(speaker, clock, policy, (*peer, *prefix, *path_id), out);
                        }
                    }
                }
            }
            Tapped::Sent(_) => {}
        }
        Ok(true)
    }

    fn policies(&self) -> impl Iterator<Item = Policy> + use<> {
        let tables = self.config.tables;
        let before = tables.before_policy.then_some(Policy::Before);
        before.into_iter().chain(tables.after_policy.then_some(Policy::After))
    }

    fn tell_up(&mut self, speaker: &Speaker, clock: Clock, index: PeerIndex, out: &mut BytesMut) {
        let Some((view, session)) = speaker.rib().up_peer(index).zip(speaker.session(index)) else { return };
        let (Some((local, remote)), Some(negotiated)) = (session.addresses(), session.negotiated()) else {
            return;
        };
        let header = PeerHeader { source: Source::Peer(view.address), asn: view.asn.0, id: view.id };
        if self.up.insert(index, header) == Some(header) {
            return;
        }
        let opens = [encoded(&session.own_open()), encoded(&negotiated.peer_open)];
        wire::peer_up(header, clock.wall, [local, remote], [&opens[0], &opens[1]], out);
    }

    /// A received path, before and after policy as far as it got.
    fn tell_path(
        &self,
        speaker: &Speaker,
        clock: Clock,
        prefix: IpNet,
        path: &Monitored,
        out: &mut BytesMut,
    ) {
        let Some(header) = self.up.get(&path.peer) else { return };
        let path_id = wire_path_id(speaker, path.peer, prefix, path.path_id);
        for policy in self.policies() {
            let attributes = match policy {
                Policy::Before => Some(path.received),
                Policy::After => path.accepted,
            };
            let Some(attributes) = attributes else { continue };
            wire::route(*header, policy, clock.ago(path.age), out, |out| {
                speaker.rib().write_route(out, prefix, path_id, attributes, AsWidth::Four);
            });
        }
    }

    fn tell_gone(
        &self,
        speaker: &Speaker,
        clock: Clock,
        policy: Policy,
        (peer, prefix, path_id): (PeerIndex, IpNet, u32),
        out: &mut BytesMut,
    ) {
        let Some(header) = self.up.get(&peer) else { return };
        let path_id = wire_path_id(speaker, peer, prefix, path_id);
        wire::route(*header, policy, clock.wall, out, |out| write_withdrawal(out, prefix, path_id));
    }

    fn tell_best(
        &self,
        speaker: &Speaker,
        clock: Clock,
        prefix: IpNet,
        best: Option<&Monitored>,
        out: &mut BytesMut,
    ) {
        if !self.config.tables.loc_rib {
            return;
        }
        let header = loc_rib(speaker);
        let Some((best, attributes)) = best.and_then(|best| Some((best, best.accepted?))) else {
            wire::route(header, Policy::Before, clock.wall, out, |out| write_withdrawal(out, prefix, None));
            return;
        };
        wire::route(header, Policy::Before, clock.ago(best.age), out, |out| {
            speaker.rib().write_route(out, prefix, None, attributes, AsWidth::Four);
        });
    }

    /// Statistics, if they are due.
    fn report(&mut self, speaker: &Speaker, clock: Clock, out: &mut BytesMut) {
        let Some(interval) = self.config.statistics else { return };
        if self.next_statistics.is_none_or(|due| due > clock.now) {
            return;
        }
        self.next_statistics = Some(clock.now + interval);
        for (index, header) in &self.up {
            let Some(counts) = speaker.rib().peer_counts(*index) else { continue };
            let (ipv4, ipv6) = (u64::from(counts.ipv4.received), u64::from(counts.ipv6.received));
            let rejected: u64 = speaker.rib().refusals(*index).iter().map(|(_, count)| count).sum();
            let numbers = [
                Statistic::Rejected(saturated(rejected)),
                Statistic::AdjRibIn(ipv4 + ipv6),
                Statistic::AdjRibInOf(Family::Ipv4Unicast, ipv4),
                Statistic::AdjRibInOf(Family::Ipv6Unicast, ipv6),
                Statistic::TreatedAsWithdraw(saturated(counts.received.treated_as_withdraw)),
            ];
            wire::statistics(*header, clock.wall, &numbers, out);
        }
        if self.config.tables.loc_rib {
            let routes = Statistic::LocRib(speaker.summary().destinations as u64);
            wire::statistics(loc_rib(speaker), clock.wall, &[routes], out);
        }
    }
}

impl Clock {
    /// The world's time that many seconds ago.
    fn ago(self, seconds: u32) -> Duration {
        self.wall.saturating_sub(Duration::from_secs(seconds.into()))
    }
}

fn saturated(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn loc_rib(speaker: &Speaker) -> PeerHeader {
    let config = speaker.config();
    PeerHeader { source: Source::LocRib, asn: config.asn.0, id: config.router_id }
}

/// The path identifier as the peer's session has it.
fn wire_path_id(speaker: &Speaker, peer: PeerIndex, prefix: IpNet, path_id: u32) -> Option<u32> {
    let family = Family::from(prefix);
    speaker.rib().up_peer(peer).filter(|view| view.decode.add_path.contains(family)).map(|_| path_id)
}

fn encoded(open: &Open) -> BytesMut {
    let mut octets = BytesMut::new();
    open.encode(&mut octets);
    octets
}

/// Events of RFC 4271 §8.1 by which we close without a NOTIFICATION.
const MANUAL_STOP: u16 = 2;
const TCP_CONNECTION_FAILS: u16 = 18;

fn down(reason: &EndReason) -> Down {
    match reason {
        EndReason::Sent { notification, .. } => Down::Sent(notification.clone()),
        EndReason::Received { notification } => Down::Received(notification.clone()),
        EndReason::ClosedByPeer | EndReason::ReplacedByPeer => Down::Closed,
        EndReason::ConnectionFailed { .. }
        | EndReason::ConnectFailed { .. }
        | EndReason::ConnectTimedOut { .. } => Down::Event(TCP_CONNECTION_FAILS),
        EndReason::Stopped(crate::session::Stop::Removed) => Down::Removed,
        EndReason::Stopped(stop) => stop.notification().map_or(Down::Event(MANUAL_STOP), Down::Sent),
    }
}
