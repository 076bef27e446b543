//! Routes: Adj-RIBs-In, Loc-RIB, Adj-RIBs-Out, and what the kernel should have.
//!
//! Sans-I/O like everything in this crate: messages go in by [`Rib::update`], messages come out by
//! [`Rib::pull`], kernel routes by [`Rib::drain_fib`], and time is an argument. Long work is done in slices by
//! [`Rib::advance`].
//!
//! ```text
//! update ─▶ attributes (interned) ─▶ import (loops, guard, policy) ─▶ destinations ─▶ decision
//!                                                                                        │
//!                    pull ◀─ journal ◀─ export group (policy, rewrite, pack) ◀─ ring of changes ─▶ drain_fib
//! ```

mod attributes;
mod blocks;
mod changes;
mod changes_made;
mod decision;
mod destination;
mod explain;
mod fib;
mod foresee;
mod guard;
mod import;
mod leaks;
mod limit;
mod loc_rib;
mod monitor;
mod next_hops;
mod originate;
mod peers;
mod prefix_index;
mod refusal;
pub(crate) mod slab;
mod sweep;
mod tap;
mod update;
mod view;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use muslin_bgp_packet::{Asn, Family, FamilySet};

pub(crate) use attributes::{AttributeId, DEFAULT_LOCAL_PREF, Marks};
pub(crate) use changes::Cursor;
pub(crate) use changes_made::changes;
pub use decision::Step;
pub(crate) use destination::{DestinationId, Path};
pub use explain::{Explanation, ExportExplanation, PathExplanation};
pub use fib::{FibChange, FibNextHop, FibRoute};
pub(crate) use foresee::{Judges, PassedOn, Rejudged};
pub(crate) use guard::{Bearer, GuardRefusal, guard_verdict};
pub(crate) use leaks::{adds_on_egress, would_leak};
pub use limit::{LimitMark, LimitNotice};
pub(crate) use loc_rib::LocRib;
pub(crate) use monitor::{Monitored, write_withdrawal};
pub(crate) use next_hops::{NextHopKey, Reach, is_link_local};
pub use next_hops::{NextHopResolver, Resolution};
pub(crate) use originate::attributes_of;
pub(crate) use peers::slot;
pub use peers::{AddPathSend, LocalAddresses, PathCounts, PeerIndex, PeerLoss, PeerView, ReceivedCounts};
pub use refusal::{Refusal, RefusalCounts};
pub use tap::Lagged;
pub(crate) use tap::{Follower, Tapped};
pub use update::{UpdateOutcome, UpdateSummary};
pub use view::{Decision, Matching, Page, PeerCounts, RibSummary, RouteFilter, RouteState, RouteView, Stage};

use crate::config::{ImportGuard, NextHopMode, OriginatedRoute, Policy, PrefixLimit, ReflectorRole};
use crate::export::Exports;
pub use crate::export::{ExportState, Pull};
use crate::policy::has_same_effect;
use crate::session::EndReason;
use attributes::Identity;
use fib::Fib;
use guard::Guard;
use next_hops::NextHops;
use peers::Peer;
use sweep::{Jobs, Task};

/// What a RIB is told when it is made.
#[derive(Clone, Debug)]
pub struct RibConfig {
    /// Our AS.
    pub asn: Asn,
    /// Our identifier.
    pub router_id: Ipv4Addr,
    /// Our reflection cluster; the identifier if it is not given (RFC 4456 §7).
    pub cluster_id: Option<Ipv4Addr>,
    /// Most paths of an ECMP set.
    pub max_paths: u8,
    /// What is never learned.
    pub guard: ImportGuard,
}

/// What of a peer may change while its session stays up.
#[derive(Clone, Debug)]
pub struct PeerRules {
    /// The peer.
    pub peer: PeerIndex,
    /// What is accepted from it.
    pub import: Arc<Policy>,
    /// What is sent to it.
    pub export: Arc<Policy>,
    /// Reflection towards it.
    pub reflector: ReflectorRole,
    /// NEXT_HOP that we send.
    pub next_hop: NextHopMode,
    /// How often our own AS may stand in a received AS_PATH.
    pub allowed_own_as: u8,
    /// Most prefixes per family.
    pub max_prefixes: Option<PrefixLimit>,
    /// Most paths of one destination that it is sent, if it takes several.
    pub paths: u16,
}

impl PeerRules {
    /// What holds for a peer as the RIB was told of it.
    pub fn of(peer: PeerIndex, view: &PeerView) -> Self {
        Self {
            peer,
            import: view.import.clone(),
            export: view.export.clone(),
            reflector: view.reflector,
            next_hop: view.next_hop,
            allowed_own_as: view.allowed_own_as,
            max_prefixes: view.max_prefixes,
            paths: view.add_path_send.paths,
        }
    }
}

/// Whether peers became clients of our reflection, or ceased to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reflection {
    Same,
    Changed,
}

/// All routes of a speaker.
pub struct Rib {
    routes: LocRib,
    exports: Exports,
    fib: Fib,
    jobs: Jobs,
    began: Instant,
}

impl Rib {
    /// An empty RIB. The resolver must not see our own routes.
    pub fn new(now: Instant, config: RibConfig, resolver: Box<dyn NextHopResolver + Send>) -> Self {
        let RibConfig { asn, router_id, cluster_id, max_paths, guard } = config;
        let identity = Identity { asn, router_id, cluster_id: cluster_id.unwrap_or(router_id) };
        Self {
            routes: LocRib::new(identity, NextHops::new(resolver), Guard::new(guard), max_paths),
            exports: Exports::default(),
            fib: Fib::default(),
            jobs: Jobs::default(),
            began: now,
        }
    }

    /// A session is established. Routes that the peer left behind stale stay so until they are announced
    /// again or flushed.
    pub fn peer_up(&mut self, now: Instant, index: PeerIndex, view: PeerView) {
        self.tick(now);
        self.exports.leave(&mut self.routes, index);
        match self.routes.peers.get_mut(index) {
            Some(peer) if peer.view.key == view.key => {
                peer.begin_session(view);
                self.set_silent(index, false);
            }
            _ => {
                // The index belonged to another peer: nothing of it may be taken for this one's.
                self.remove_peer(index);
                self.routes.peers.insert(index, Peer::new(view));
            }
        }
        self.exports.join(&mut self.routes, index);
        self.routes.tap.note(|| Tapped::Up(index));
    }

    /// Tells those who look in why a session ends, before its routes go.
    pub(crate) fn note_end(&mut self, index: PeerIndex, reason: &EndReason) {
        self.routes.tap.note(|| Tapped::Down(index, Arc::new(reason.clone())));
    }

    /// A session ended.
    pub fn peer_down(&mut self, now: Instant, index: PeerIndex, loss: PeerLoss) {
        self.tick(now);
        self.exports.leave(&mut self.routes, index);
        if self.routes.peers.get(index).is_none_or(|peer| !peer.up) {
            return;
        }
        // RFC 4724 §4.2: what was stale before this session and was not announced in it goes at once. It also
        // keeps epochs apart.
        if loss != PeerLoss::RetainAll {
            self.flush_now(index);
        }
        let Some(peer) = self.routes.peers.get_mut(index) else { return };
        peer.up = false;
        let long_lived = peer.long_lived;
        peer.begin_epoch(FamilySet::ALL);
        if loss == PeerLoss::RetainAll {
            peer.long_lived = long_lived;
        }
        if loss == PeerLoss::RetainSilent {
            self.set_silent(index, true);
        }
        if loss == PeerLoss::Flush {
            self.flush_stale(index, FamilySet::ALL);
        }
    }

    /// Removes what a peer has not announced since its session was lost or since it began a refresh: its
    /// End-of-RIB came, the time to wait is over, or it does not keep its state after all.
    pub fn flush_stale(&mut self, index: PeerIndex, families: FamilySet) {
        let Some(peer) = self.routes.peers.get_mut(index) else { return };
        #[cfg(feature = "planted-bugs")]
        if crate::planted::is_planted(crate::planted::Bug::StaleRoutesKept) {
            return;
        }
        let stale: FamilySet = families.iter().filter(|family| peer.stale.contains(*family)).collect();
        if !stale.is_empty() {
            peer.stale = peer.stale.iter().filter(|family| !stale.contains(*family)).collect();
            self.jobs.push(Task::Flush(index, stale));
        }
    }

    /// A lost peer's restart time is over: what is stale of these families stays, marked, and is used only where
    /// there is nothing else; what asks for it goes (RFC 9494 §4.2).
    pub fn outlive_restart(&mut self, index: PeerIndex, families: FamilySet) {
        if let Some(peer) = self.routes.peers.get_mut(index) {
            peer.long_lived = families.iter().fold(peer.long_lived, FamilySet::with);
            self.jobs.push(Task::Outlive(index, families));
        }
    }

    /// Whether nothing of a lost peer is left, so that its index may be given to another one.
    pub fn is_flushed(&self, index: PeerIndex) -> bool {
        self.routes.peers.get(index).is_none_or(|peer| {
            !peer.up && !self.jobs.is_flushing(index) && peer.counts.iter().all(|counts| counts.received == 0)
        })
    }

    /// Applies the body of an UPDATE.
    pub fn update(&mut self, now: Instant, index: PeerIndex, body: &[u8]) -> UpdateOutcome {
        self.tick(now);
        let outcome = self.routes.update(index, body);
        if let UpdateOutcome::Accepted(UpdateSummary { disabled: Some(family), .. }) = &outcome
            && let Some(peer) = self.routes.peers.get_mut(index)
        {
            // RFC 7606 §2: its routes go, and further ones are ignored.
            peer.disabled = peer.disabled.with(*family);
            peer.begin_epoch((*family).into());
            self.flush_stale(index, (*family).into());
        }
        outcome
    }

    /// The peer asked for our routes again (RFC 2918 §4).
    pub fn refresh(&mut self, index: PeerIndex, family: Family) {
        self.exports.refresh(&self.routes, index, family);
    }

    /// The peer begins to send its routes again: what it does not repeat is stale (RFC 7313 §4).
    pub fn refresh_begins(&mut self, index: PeerIndex, family: Family) {
        if self.routes.peers.get(index).is_some_and(|peer| peer.long_lived.contains(family)) {
            // Whoever repeats everything needs no End-of-RIB before.
            self.flush_stale(index, family.into());
        }
        self.jobs.finish_flush(&mut self.routes, index);
        if let Some(peer) = self.routes.peers.get_mut(index) {
            peer.begin_epoch(family.into());
            peer.refreshing = peer.refreshing.with(family);
        }
    }

    /// The peer has sent all its routes again. Without a beginning this is ignored (RFC 7313 §4).
    pub fn refresh_ends(&mut self, index: PeerIndex, family: Family) {
        if let Some(peer) = self.routes.peers.get_mut(index)
            && peer.refreshing.contains(family)
        {
            peer.refreshing = peer.refreshing.without(family);
            self.flush_stale(index, family.into());
        }
    }

    /// Changes what holds for peers while sessions stay up: received routes are judged anew, what peers were
    /// sent is compared with what they should have. All changes of one configuration belong in one call, so
    /// that peers that share an export group keep sharing it.
    pub fn set_rules(&mut self, rules: &[PeerRules]) {
        let (mut exported, mut reflection) = (Vec::new(), Reflection::Same);
        for rule in rules {
            let PeerRules { peer: index, import, export, reflector, next_hop, allowed_own_as, .. } = rule;
            let Some(peer) = self.routes.peers.get_mut(*index) else { continue };
            let same_import = has_same_effect(&peer.view.import, import);
            #[cfg(feature = "planted-bugs")]
            let same_import =
                same_import || crate::planted::is_planted(crate::planted::Bug::ImportChangeForgotten);
            if !same_import || peer.view.allowed_own_as != *allowed_own_as {
                self.jobs.push(Task::Rejudge(*index));
            }
            let same_export = has_same_effect(&peer.view.export, export);
            #[cfg(feature = "planted-bugs")]
            let same_export =
                same_export || crate::planted::is_planted(crate::planted::Bug::ExportChangeForgotten);
            if peer.view.reflector != *reflector {
                reflection = Reflection::Changed;
            }
            let shape = (peer.view.next_hop, peer.view.reflector, peer.view.add_path_send.paths);
            let same_shape = shape == (*next_hop, *reflector, rule.paths);
            let view = Arc::make_mut(&mut peer.view);
            view.import = import.clone();
            view.export = export.clone();
            view.reflector = *reflector;
            view.next_hop = *next_hop;
            view.allowed_own_as = *allowed_own_as;
            view.max_prefixes = rule.max_prefixes;
            view.add_path_send.paths = rule.paths;
            if !(same_export && same_shape) && peer.up {
                exported.push(*index);
            }
        }
        self.exports.regroup(&mut self.routes, &exported);
        if reflection == Reflection::Changed {
            // Whether a route may go to others depends on whom it came from.
            self.exports.look_at_everything(&mut self.routes);
        }
    }

    /// Says of every route that we are about to go, or no longer does (RFC 8326 §4).
    pub fn set_graceful_shutdown(&mut self, graceful_shutdown: bool) {
        let mut exported = Vec::new();
        let indexes: Vec<_> = self.routes.peers.iter().map(|(index, _)| index).collect();
        for index in indexes {
            let Some(peer) = self.routes.peers.get_mut(index) else { continue };
            if peer.view.graceful_shutdown != graceful_shutdown {
                Arc::make_mut(&mut peer.view).graceful_shutdown = graceful_shutdown;
                if peer.up {
                    exported.push(index);
                }
            }
        }
        #[cfg(feature = "planted-bugs")]
        if crate::planted::is_planted(crate::planted::Bug::GracefulShutdownForgotten) {
            return;
        }
        self.exports.regroup(&mut self.routes, &exported);
    }

    /// Changes who we are. Sessions have to be opened anew for it, so what peers were sent stays as it is
    /// until they come back; received routes are judged anew. A new cluster needs no new session: reflected
    /// routes are sent again.
    pub fn set_identity(&mut self, asn: Asn, router_id: Ipv4Addr, cluster_id: Option<Ipv4Addr>) {
        let cluster_id = cluster_id.unwrap_or(router_id);
        let before = self.routes.attributes.identity.cluster_id;
        self.routes.attributes.set_identity(Identity { asn, router_id, cluster_id });
        self.rejudge_all();
        if cluster_id != before {
            let internal = self.routes.peers.iter().filter(|(_, peer)| peer.up && peer.view.is_internal());
            let internal: Vec<_> = internal.map(|(index, _)| index).collect();
            self.exports.regroup(&mut self.routes, &internal);
        }
    }

    /// The view of where next hops lead.
    pub fn resolver(&self) -> &dyn NextHopResolver {
        self.routes.attributes.next_hops.resolver()
    }

    /// Changes what is never learned.
    pub fn set_guard(&mut self, guard: ImportGuard) {
        if *self.routes.guard.config() != guard {
            self.routes.guard = Arc::new(Guard::new(guard));
            self.rejudge_all();
        }
    }

    /// Changes how many paths an ECMP set may have.
    pub fn set_max_paths(&mut self, max_paths: u8) {
        if std::mem::replace(&mut self.routes.max_paths, max_paths) != max_paths {
            self.routes.reelect_everything();
        }
    }

    /// Makes exactly these the originated routes.
    pub fn originate(&mut self, now: Instant, routes: &[OriginatedRoute]) {
        self.tick(now);
        self.routes.originate(routes);
    }

    /// Whether peers are sent only what originates here, and no End-of-RIB, until everything else is known
    /// (RFC 4724 §4.1).
    pub fn defer_learned(&mut self, deferred: bool) {
        if std::mem::replace(&mut self.routes.defers_learned, deferred) != deferred {
            self.exports.look_at_everything(&mut self.routes);
        }
    }

    /// Looks again where next hops lead.
    pub fn next_hops_changed(&mut self) {
        #[cfg(feature = "planted-bugs")]
        if crate::planted::is_planted(crate::planted::Bug::NextHopChangeMissed) {
            return;
        }
        for id in self.routes.attributes.next_hops.resolve_all() {
            self.jobs.push(Task::NextHop(id));
        }
    }

    /// Does background work, about `budget` destinations of it; says whether there is more.
    pub fn advance(&mut self, now: Instant, budget: usize) -> bool {
        self.tick(now);
        let more = self.jobs.advance(&mut self.routes, budget);
        let disbanding = self.exports.advance(&mut self.routes, budget);
        more || disbanding
    }

    /// Appends messages for a peer until there are `room` octets of them, or one segment more.
    pub fn pull(&mut self, index: PeerIndex, room: usize, out: &mut Vec<Bytes>) -> Pull {
        self.exports.pull(&mut self.routes, index, room, out)
    }

    /// Appends the peers that have something to send although their last [`Rib::pull`] drained them.
    pub fn poll_ready(&mut self, out: &mut Vec<PeerIndex>) {
        self.exports.poll_ready(&mut self.routes, out);
    }

    /// Appends up to `max` changes for the kernel.
    pub fn drain_fib(&mut self, max: usize, out: &mut Vec<FibChange>) {
        self.fib.drain(&mut self.routes, max, out);
    }

    /// Whether the kernel has changes to pull.
    pub fn has_fib_changes(&self) -> bool {
        self.fib.has_changes(&self.routes)
    }

    /// Elects anew wherever a peer has paths, when it falls silent or speaks again.
    fn set_silent(&mut self, index: PeerIndex, silent: bool) {
        if let Some(peer) = self.routes.peers.get_mut(index)
            && std::mem::replace(&mut peer.silent, silent) != silent
        {
            self.jobs.push(Task::Reelect(index));
        }
    }

    fn tick(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.began).as_secs();
        self.routes.seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
    }

    fn rejudge_all(&mut self) {
        let peers: Vec<_> = self.routes.peers.iter().map(|(index, _)| index).collect();
        for index in peers {
            self.jobs.push(Task::Rejudge(index));
        }
    }

    fn remove_peer(&mut self, index: PeerIndex) {
        self.exports.leave(&mut self.routes, index);
        if let Some(peer) = self.routes.peers.get_mut(index) {
            peer.begin_epoch(FamilySet::ALL);
            self.flush_now(index);
        }
    }

    /// Removes a peer's stale paths in one go.
    fn flush_now(&mut self, index: PeerIndex) {
        let stale = self.routes.peers.get(index).map_or(FamilySet::EMPTY, |peer| peer.stale);
        if !stale.is_empty() {
            self.flush_stale(index, stale);
        }
        self.jobs.finish_flush(&mut self.routes, index);
    }
}

#[cfg(test)]
mod tests;
