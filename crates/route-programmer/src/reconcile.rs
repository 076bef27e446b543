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
//! that took routes with it in silence) asks for a full read instead of a guess. An audit asks for one too, if it finds
//! what is not as it is known to be.
//!
//! Outcomes of a batch are handed back before the next input.

mod audit;
mod events;
mod foreign;
mod objects;
mod operation;
mod outcome;
mod paths;
mod plan;
mod report;
mod resync;
mod slot;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use ipnet::IpNet;
use smallvec::SmallVec;

pub(crate) use audit::Audit;
pub(crate) use events::Change;
pub(crate) use operation::{Operation, Outcome};
pub(crate) use resync::Resync;

use crate::config::{NextHopObjects, ProgrammerConfig, Resilience};
use crate::path::{Family, Path};
use crate::route::{NextHop, RouteChange};
use crate::status::{Adopted, Clash, Counters, ProgrammerEvent};
use crate::wire::constants::IP6_RT_PRIO_USER;
use audit::Stand;
use foreign::Foreign;
use paths::{PathId, Paths};
use slot::{Actual, CHANGED, Entry, RouteRefusal, Slot};

pub(crate) type Map<K, V> = hashbrown::HashMap<K, V, foldhash::fast::RandomState>;
pub(crate) type Set<K> = hashbrown::HashSet<K, foldhash::fast::RandomState>;

/// Most events that wait to be fetched; later ones are only counted.
const EVENT_LIMIT: usize = 256;

/// See the module.
#[derive(Debug)]
pub(crate) struct Reconciler {
    config: ProgrammerConfig,
    slots: Map<IpNet, Slot>,
    paths: Paths,
    queue: VecDeque<IpNet>,
    /// Where in a long queue the next look falls.
    scatter: u32,
    foreign: Foreign,
    clashes: BTreeMap<IpNet, Clash>,
    refusals: Map<IpNet, RouteRefusal>,
    /// Routes of ours beside the one of the slot: another metric of a former configuration.
    strays: Map<IpNet, SmallVec<[u32; 1]>>,
    synced: bool,
    started: bool,
    generation: u32,
    wants_resync: bool,
    audit: Stand,
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
            scatter: 0,
            foreign: Foreign::default(),
            clashes: BTreeMap::new(),
            refusals: Map::default(),
            strays: Map::default(),
            synced: false,
            started: false,
            generation: 0,
            wants_resync: true,
            audit: Stand::Over,
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
        let slot = match entry {
            Some(_) => self.slots.entry(prefix).or_insert_with(Slot::empty),
            None => match self.slots.get_mut(&prefix) {
                Some(slot) => slot,
                None => return,
            },
        };
        if let Some(old) = slot.desired {
            self.paths.release(old.path);
            self.desired -= 1;
        }
        self.desired += usize::from(entry.is_some());
        if slot.desired != entry && !self.refusals.is_empty() {
            self.refusals.remove(&prefix);
        }
        slot.desired = entry;
        if std::mem::take(&mut slot.unclaimed) {
            self.unclaimed -= 1;
        }
        if !std::mem::replace(&mut slot.queued, true) {
            self.queue.push_back(prefix);
        }
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

    /// Settings of groups, which change when the kernel does not have them.
    pub(crate) fn resilience(&self) -> Option<Resilience> {
        self.config.resilience
    }

    /// Whether what is known is to be compared with the kernel's state.
    pub(crate) fn wants_audit(&self) -> bool {
        self.audit == Stand::Wanted
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
            && !std::mem::replace(&mut slot.queued, true)
        {
            self.queue.push_back(prefix);
        }
    }

    /// Something became of a route; true when the slot rests with it.
    fn set_actual(&mut self, prefix: IpNet, actual: Actual) -> bool {
        self.place(prefix, actual, self.generation.wrapping_add(CHANGED))
    }

    fn place(&mut self, prefix: IpNet, actual: Actual, generation: u32) -> bool {
        let Some(slot) = self.slots.get_mut(&prefix) else { return true };
        if let Actual::Present(entry) = actual {
            self.paths.retain(entry.path);
        }
        if let Actual::Present(entry) = slot.actual {
            self.paths.release(entry.path);
        }
        self.present -= usize::from(slot.actual != Actual::Absent);
        self.present += usize::from(actual != Actual::Absent);
        slot.actual = actual;
        slot.generation = generation;
        if actual == Actual::Absent && std::mem::take(&mut slot.unclaimed) {
            self.unclaimed -= 1;
        }
        slot.rests()
    }
}
