//! The core: desired routes and the kernel's routes in, operations out. No socket, no clock, no thread.
//!
//! ```text
//!   apply, mark_synced ─▶ desired ┐
//!                                 ├─▶ next_batch ─▶ operations ─▶ (kernel) ─▶ handle_outcome ┐
//!   events, full reads ─▶ actual ─┘        ▲                                                 │
//!                                          └──────────────── actual ◀────────────────────────┘
//! ```
//!
//! Each prefix has a slot with both sides; a slot whose sides differ is queued, and one look at it gives at
//! most one operation. What is not known for certain (a refusal that contradicts what we believe, a link
//! that took routes with it in silence) asks for a full read instead of a guess.
//!
//! Outcomes of a batch are handed back before the next input.

mod foreign;
mod objects;
mod operation;
mod outcome;
mod paths;
mod plan;
mod report;
mod resync;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use ipnet::IpNet;
use smallvec::SmallVec;

pub(crate) use operation::{Operation, Outcome};

use crate::config::{NextHopObjects, ProgrammerConfig, Resilience};
use crate::path::{Family, Path};
use crate::route::{NextHop, RouteChange};
use crate::status::{Adopted, Clash, Counters, ProgrammerEvent};
use crate::wire::constants::IP6_RT_PRIO_USER;
use crate::wire::nexthop::NextHopMessage;
use crate::wire::refusal::KernelRefusal;
use crate::wire::route::RouteMessage;
use foreign::Foreign;
use objects::State;
use paths::{PathId, Paths};

pub(crate) type Map<K, V> = hashbrown::HashMap<K, V, foldhash::fast::RandomState>;
pub(crate) type Set<K> = hashbrown::HashSet<K, foldhash::fast::RandomState>;

/// Most events that wait to be fetched; later ones are only counted.
const EVENT_LIMIT: usize = 256;

/// One of our routes, in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    path: PathId,
    metric: u32,
}

/// What the kernel has for a prefix of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Actual {
    Absent,
    Present(Entry),
    /// It carries our protocol, but we would not have written it so.
    Odd {
        metric: u32,
    },
}

impl Actual {
    fn metric(self) -> Option<u32> {
        match self {
            Self::Absent => None,
            Self::Present(entry) => Some(entry.metric),
            Self::Odd { metric } => Some(metric),
        }
    }
}

#[derive(Debug)]
struct Slot {
    desired: Option<Entry>,
    actual: Actual,
    queued: bool,
    /// Found on start, not asked for, and not yet synced.
    unclaimed: bool,
    /// Of the last full read that saw it.
    generation: u8,
}

/// How far a refused route has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It contradicts what we believe: wait for the full read.
    Doubtful,
    /// May be tried once more.
    Retry,
    /// Stays refused until something changes.
    Settled,
}

#[derive(Clone, Debug)]
struct RouteRefusal {
    refusal: KernelRefusal,
    stage: Stage,
}

/// Whether a route is there or was taken away, as an event told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Added,
    /// In the place of another one with its key.
    Replaced,
    Deleted,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Reconciler {
    config: ProgrammerConfig,
    slots: Map<IpNet, Slot>,
    paths: Paths,
    queue: VecDeque<IpNet>,
    foreign: Foreign,
    clashes: BTreeMap<IpNet, Clash>,
    refusals: Map<IpNet, RouteRefusal>,
    /// Routes of ours beside the one of the slot: another metric of a former configuration.
    strays: Map<IpNet, SmallVec<[u32; 1]>>,
    synced: bool,
    started: bool,
    generation: u8,
    wants_resync: bool,
    next_audit: Instant,
    desired: usize,
    present: usize,
    unclaimed: usize,
    swept: usize,
    disturbed: usize,
    drifted: usize,
    adopted: Adopted,
    counters: Counters,
    events: VecDeque<ProgrammerEvent>,
}

impl Reconciler {
    /// Knows nothing yet, and so begins by asking for a full read.
    pub(crate) fn new(config: ProgrammerConfig, now: Instant) -> Self {
        let mut paths = Paths::default();
        paths.objects.in_use = config.next_hop_objects == NextHopObjects::WherePossible;
        Self {
            next_audit: now + config.audit_interval,
            config,
            slots: Map::default(),
            paths,
            queue: VecDeque::new(),
            foreign: Foreign::default(),
            clashes: BTreeMap::new(),
            refusals: Map::default(),
            strays: Map::default(),
            synced: false,
            started: false,
            generation: 0,
            wants_resync: true,
            desired: 0,
            present: 0,
            unclaimed: 0,
            swept: 0,
            disturbed: 0,
            drifted: 0,
            adopted: Adopted::default(),
            counters: Counters::default(),
            events: VecDeque::new(),
        }
    }

    /// Takes a change of what is desired.
    pub(crate) fn apply(&mut self, change: &RouteChange) {
        let prefix = change.prefix.trunc();
        let family = Family::of(prefix.addr());
        let entry = change.route.as_ref().and_then(|route| {
            let path = Path::desired(&route.kind, route.source, family)?;
            let path = self.paths.acquire(path);
            if self.paths.objects.may_be_suspended {
                self.resume(path);
            }
            let metric = match (route.metric.unwrap_or(self.config.metric), family) {
                // What the kernel makes of "no metric" in IPv6.
                (0, Family::V6) => IP6_RT_PRIO_USER,
                (metric, _) => metric,
            };
            Some(Entry { path, metric })
        });
        if entry.is_none() && !self.slots.contains_key(&prefix) {
            return;
        }
        let slot = self.slots.entry(prefix).or_insert_with(Slot::empty);
        if let Some(old) = slot.desired {
            self.paths.release(old.path);
            self.desired -= 1;
        }
        self.desired += usize::from(entry.is_some());
        if slot.desired != entry && !self.refusals.is_empty() {
            self.refusals.remove(&prefix);
        }
        slot.desired = entry;
        if slot.unclaimed {
            slot.unclaimed = false;
            self.unclaimed -= 1;
        }
        self.enqueue(prefix);
    }

    /// All that is desired has been said once: what is left over of an earlier process goes.
    pub(crate) fn mark_synced(&mut self) {
        if self.synced {
            return;
        }
        self.synced = true;
        let unclaimed: Vec<IpNet> =
            self.slots.iter().filter(|(_, slot)| slot.unclaimed).map(|(prefix, _)| *prefix).collect();
        self.swept = unclaimed.len();
        self.unclaimed = 0;
        let strays: Vec<IpNet> = self.strays.keys().copied().collect();
        for prefix in unclaimed.into_iter().chain(strays) {
            if let Some(slot) = self.slots.get_mut(&prefix) {
                slot.unclaimed = false;
            }
            self.enqueue(prefix);
        }
        if self.swept > 0 {
            self.event(ProgrammerEvent::Swept(self.swept));
        }
    }

    /// Nothing is desired any more, and everything of ours goes.
    pub(crate) fn sweep_all(&mut self) {
        let desired: Vec<IpNet> =
            self.slots.iter().filter(|(_, slot)| slot.desired.is_some()).map(|(prefix, _)| *prefix).collect();
        for prefix in desired {
            self.apply(&RouteChange::withdraw(prefix));
        }
        self.mark_synced();
    }

    /// A next hop is gone by the caller's own knowledge (session or BFD lost): groups do without it at
    /// once, one message each, before the routes themselves are withdrawn one by one.
    pub(crate) fn next_hop_lost(&mut self, next_hop: &NextHop) {
        let matches = |object: &objects::Object| match &object.spec {
            objects::Spec::Single(hop) => {
                hop.interface == next_hop.interface && hop.gateway == next_hop.gateway
            }
            objects::Spec::Group(_) => false,
        };
        self.paths.objects.may_be_suspended = true;
        let lost: SmallVec<[_; 2]> = self
            .paths
            .objects
            .iter()
            .filter(|(_, object)| matches(object) && !object.suspended)
            .map(|(key, _)| key)
            .collect();
        for key in lost {
            if let Some(object) = self.paths.objects.get_mut(key) {
                object.suspended = true;
            }
            self.paths.objects.mark_groups_of(key);
        }
    }

    /// A route that names a suspended next hop brings it back.
    fn resume(&mut self, path: PathId) {
        let Some(key) = self.paths.object(path) else { return };
        let members: SmallVec<[_; 4]> = match self.paths.objects.get(key).map(|object| &object.spec) {
            Some(objects::Spec::Group(members)) => members.iter().map(|(member, _)| *member).collect(),
            _ => SmallVec::from_slice(&[key]),
        };
        for member in members {
            if let Some(object) = self.paths.objects.get_mut(member).filter(|object| object.suspended) {
                object.suspended = false;
                self.paths.objects.mark_groups_of(member);
            }
        }
    }

    /// Takes an event about a route, of ours or not, that we did not cause.
    pub(crate) fn handle_route(&mut self, route: &RouteMessage, change: Change) {
        if route.table != self.config.table {
            return;
        }
        if route.protocol == self.config.protocol {
            self.handle_own_route(route, change);
            return;
        }
        match change {
            Change::Added | Change::Replaced => self.foreign.insert(route, change == Change::Replaced),
            Change::Deleted => self.foreign.remove(route),
        }
        let Some(slot) = self.slots.get(&route.prefix) else { return };
        if change == Change::Replaced && route.tos == 0 && slot.actual.metric() == Some(route.metric) {
            // Another program replaced, and the kernel let it replace ours.
            self.disturb(route.prefix);
        }
        self.refusals.remove(&route.prefix);
        self.enqueue(route.prefix);
    }

    fn handle_own_route(&mut self, route: &RouteMessage, change: Change) {
        let prefix = route.prefix;
        let known = self.slots.get(&prefix).map_or(Actual::Absent, |slot| slot.actual);
        if change == Change::Deleted {
            if known.metric() == Some(route.metric) {
                self.disturb(prefix);
            } else if let Some(strays) = self.strays.get_mut(&prefix) {
                strays.retain(|metric| *metric != route.metric);
            }
        } else {
            // Somebody writes in our name. A read tells what came of it.
            self.wants_resync = true;
        }
    }

    /// A route of ours is gone.
    fn disturb(&mut self, prefix: IpNet) {
        self.set_actual(prefix, Actual::Absent);
        self.refusals.remove(&prefix);
        self.disturbed += 1;
        self.counters.disturbed += 1;
        self.enqueue(prefix);
    }

    /// Takes an event about a next-hop object that we did not cause. Routes go with a deleted object, of
    /// IPv4 without a word.
    pub(crate) fn handle_next_hop(&mut self, object: &NextHopMessage, change: Change) {
        if object.protocol == self.config.protocol || change == Change::Deleted {
            self.wants_resync = true;
        }
    }

    /// It is not known what became of a batch.
    pub(crate) fn handle_batch_lost(&mut self, batch: &[Operation]) {
        for operation in batch {
            match operation {
                Operation::CreateNextHop { object, .. } | Operation::CreateGroup { object, .. } => {
                    self.paths.objects.set_state(*object, State::Absent);
                }
                Operation::WriteRoute { route, .. } => self.enqueue(route.prefix),
                Operation::DeleteRoute { prefix, .. } => self.enqueue(*prefix),
                Operation::ReplaceGroup { .. } | Operation::DeleteNextHop { .. } => {}
            }
        }
        self.wants_resync = true;
    }

    /// Settings of groups, which change when the kernel does not have them.
    pub(crate) fn resilience(&self) -> Option<Resilience> {
        self.config.resilience
    }

    /// A link or its addresses changed. The kernel drops routes of a link that goes down, some of them
    /// without a word, and refuses what it accepts once the link is back: so read, and try again.
    pub(crate) fn handle_interface(&mut self, interface: u32) {
        if self.paths.uses_interface(interface) {
            self.wants_resync = true;
        }
    }

    /// Events were lost.
    pub(crate) fn handle_overrun(&mut self) {
        self.counters.overruns += 1;
        self.wants_resync = true;
        self.event(ProgrammerEvent::Overrun);
    }

    /// The kernel's state changed while it was read, each time it was tried.
    pub(crate) fn handle_interrupted(&mut self) {
        self.wants_resync = true;
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    pub(crate) fn poll_timeout(&self) -> Instant {
        self.next_audit
    }

    /// Time has passed; the audit may be due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if now >= self.next_audit {
            self.next_audit = now + self.config.audit_interval;
            self.wants_resync = true;
        }
    }

    /// Whether the kernel's state must be read before anything else is done.
    pub(crate) fn wants_resync(&self) -> bool {
        self.wants_resync
    }

    /// What happened since the last call.
    pub(crate) fn poll_event(&mut self) -> Option<ProgrammerEvent> {
        if self.disturbed > 0 {
            return Some(ProgrammerEvent::Disturbed(std::mem::take(&mut self.disturbed)));
        }
        self.events.pop_front()
    }

    fn event(&mut self, event: ProgrammerEvent) {
        if self.events.len() < EVENT_LIMIT {
            self.events.push_back(event);
        }
    }

    fn enqueue(&mut self, prefix: IpNet) {
        if let Some(slot) = self.slots.get_mut(&prefix)
            && !slot.queued
        {
            slot.queued = true;
            self.queue.push_back(prefix);
        }
    }

    fn set_actual(&mut self, prefix: IpNet, actual: Actual) {
        let Some(slot) = self.slots.get_mut(&prefix) else { return };
        if let Actual::Present(entry) = actual {
            self.paths.retain(entry.path);
        }
        if let Actual::Present(entry) = slot.actual {
            self.paths.release(entry.path);
        }
        self.present -= usize::from(slot.actual != Actual::Absent);
        self.present += usize::from(actual != Actual::Absent);
        slot.actual = actual;
        if actual == Actual::Absent && std::mem::take(&mut slot.unclaimed) {
            self.unclaimed -= 1;
        }
    }
}

impl Slot {
    fn empty() -> Self {
        Self { desired: None, actual: Actual::Absent, queued: false, unclaimed: false, generation: 0 }
    }

    /// Both sides agree and the slot is worth keeping: no look at it is needed.
    fn rests(&self) -> bool {
        matches!((self.desired, self.actual), (Some(desired), Actual::Present(actual)) if desired == actual)
    }
}
