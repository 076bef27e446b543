//! Taking in a full read of the kernel's state: on start, after lost events, when an audit found something.

use std::net::IpAddr;

use ipnet::IpNet;

use super::audit::Stand;
use super::objects::{ObjectKey, Objects, Spec, State};
use super::paths::PathId;
use super::slot::{Actual, Entry, GENERATION, Slot, Stage};
use super::{Map, Reconciler};
use crate::path::Hop;
use crate::status::{Adopted, ProgrammerEvent};
use crate::wire::nexthop::{Content, Members, NextHopMessage};
use crate::wire::refusal::KernelRefusal;
use crate::wire::route::RouteMessage;

/// A full read under way. Routes are taken as they come; nothing is kept of them but what ours become.
#[derive(Debug, Default)]
pub(crate) struct Resync {
    /// Paths of routes over next-hop objects, so that each is looked up once.
    paths: Map<(u32, Option<IpAddr>), PathId>,
    ipv4_routes: usize,
    ipv6_routes: usize,
}

impl Reconciler {
    /// Begins, with all next-hop objects of the kernel; nothing when it has no such thing.
    pub(crate) fn begin_resync(&mut self, next_hops: Option<&[NextHopMessage]>) -> Resync {
        self.wants_resync = false;
        self.audit = Stand::Over;
        self.begin_generation();
        self.foreign.clear();
        self.strays.clear();
        match next_hops {
            Some(next_hops) => self.take_next_hops(next_hops),
            None => self.paths.objects.in_use = false,
        }
        Resync::default()
    }

    /// Takes a route of the read, ours or not.
    pub(crate) fn resync_route(&mut self, resync: &mut Resync, route: &RouteMessage) {
        if route.table != self.config.table {
            return;
        }
        if route.protocol != self.config.protocol {
            self.foreign.insert(route, false);
            return;
        }
        if route.tos != 0 {
            return;
        }
        match route.prefix {
            IpNet::V4(_) => resync.ipv4_routes += 1,
            IpNet::V6(_) => resync.ipv6_routes += 1,
        }
        let actual = match self.path_of(resync, route) {
            Some(path) => Actual::Present(Entry { path, metric: route.metric }),
            None => Actual::Odd { metric: route.metric },
        };
        let slot = self.slots.entry(route.prefix).or_insert_with(Slot::empty);
        let wanted = slot.desired.map_or(self.config.metric, |desired| desired.metric);
        let first = slot.generation != self.generation;
        if first || route.metric == wanted {
            let stray = slot.actual.metric().filter(|_| !first);
            if first && slot.actual != actual {
                self.drifted += 1;
            }
            self.place(route.prefix, actual, self.generation);
            if let Some(stray) = stray {
                self.strays.entry(route.prefix).or_default().push(stray);
            }
        } else {
            self.strays.entry(route.prefix).or_default().push(route.metric);
        }
        if let Actual::Present(entry) = actual {
            self.paths.release(entry.path);
        }
    }

    /// The path of a route of ours, with one more user.
    fn path_of(&mut self, resync: &mut Resync, route: &RouteMessage) -> Option<PathId> {
        let Some(id) = route.object else {
            return route.path().map(|path| self.paths.acquire(path));
        };
        if let Some(path) = resync.paths.get(&(id, route.source)) {
            self.paths.retain(*path);
            return Some(*path);
        }
        let key = self.paths.objects.by_id(id)?;
        let path = self.paths.path_of_object(key, route.source)?;
        let path = self.paths.acquire(path);
        // Held until the read ends, so that the id keeps its meaning.
        self.paths.retain(path);
        resync.paths.insert((id, route.source), path);
        Some(path)
    }

    /// Ends the read: what it did not show is not there, and what was refused may be tried again.
    pub(crate) fn end_resync(&mut self, resync: Resync) {
        let generation = self.generation;
        let missing: Vec<_> = self
            .slots
            .iter()
            .filter(|(_, slot)| slot.generation != generation && slot.actual != Actual::Absent)
            .map(|(prefix, _)| *prefix)
            .collect();
        self.drifted += missing.len();
        for prefix in missing {
            self.set_actual(prefix, Actual::Absent);
        }
        for path in resync.paths.into_values() {
            self.paths.release(path);
        }
        if !self.synced {
            for slot in self.slots.values_mut().filter(|slot| slot.desired.is_none() && !slot.unclaimed) {
                slot.unclaimed = slot.actual != Actual::Absent;
                self.unclaimed += usize::from(slot.unclaimed);
            }
        }
        self.try_refused_again();
        self.counters.resyncs += 1;
        let drifted = std::mem::take(&mut self.drifted);
        if self.started {
            self.counters.drifted += drifted as u64;
            self.event(ProgrammerEvent::Resynced { drifted });
        } else {
            self.started = true;
            self.adopted = Adopted {
                routes: resync.ipv4_routes + resync.ipv6_routes,
                ipv4_routes: resync.ipv4_routes,
                ipv6_routes: resync.ipv6_routes,
                next_hops: self.object_count().0,
            };
        }
    }

    /// The read failed midway. What it showed is half a truth: nothing may be written before another one.
    pub(crate) fn abandon_resync(&mut self, resync: Resync) {
        for path in resync.paths.into_values() {
            self.paths.release(path);
        }
        self.wants_resync = true;
    }

    /// What was refused may be possible by now.
    pub(super) fn try_refused_again(&mut self) {
        let slots = &self.slots;
        self.refusals.retain(|prefix, _| slots.get(prefix).is_some_and(|slot| !slot.rests()));
        for refused in self.refusals.values_mut() {
            refused.stage = Stage::Retry;
        }
        self.retry_objects();
        self.enqueue_differing();
        self.recheck_clashes();
    }

    /// From now on it is noted of each route whether it was seen, or changed.
    pub(super) fn begin_generation(&mut self) {
        self.generation = self.generation.wrapping_add(GENERATION);
    }

    fn recheck_clashes(&mut self) {
        let clashing: Vec<_> = self.clashes.keys().copied().collect();
        for prefix in clashing {
            self.enqueue(prefix);
        }
        let foreign = &self.foreign;
        let met: Vec<_> = self.slots.keys().filter(|prefix| foreign.has(**prefix)).copied().collect();
        for prefix in met {
            self.enqueue(prefix);
        }
    }

    fn retry_objects(&mut self) {
        let objects = &mut self.paths.objects;
        let suspended = objects.iter().any(|(_, object)| object.suspended);
        objects.may_be_suspended = suspended;
        for key in self.paths.objects.keys() {
            let Some(object) = self.paths.objects.get(key) else { continue };
            if object.users == 0 {
                self.paths.objects.idle.push(key);
                continue;
            }
            if matches!(object.state, State::Refused(_)) {
                self.paths.objects.set_state(key, State::Absent);
            }
            self.release_waiting(key);
            self.paths.objects.mark(key);
        }
    }

    fn take_next_hops(&mut self, next_hops: &[NextHopMessage]) {
        let protocol = self.config.protocol;
        for foreign in next_hops.iter().filter(|message| message.protocol != protocol) {
            if let Content::Group(members) = &foreign.content {
                for (member, _) in members {
                    self.foreign.hold(*member);
                }
            }
        }
        let own = || next_hops.iter().filter(move |message| message.protocol == protocol);
        let singles = own().filter_map(|message| match &message.content {
            Content::Single(hop) => Some((message.id, hop.clone())),
            _ => None,
        });
        let groups = own().filter_map(|message| match &message.content {
            Content::Group(members) => Some((message.id, members.clone())),
            _ => None,
        });
        let others = own().filter(|message| message.content == Content::Other).map(|message| message.id);

        let objects = &mut self.paths.objects;
        objects.strays = others.collect();
        let before = objects.forget_states();
        take_singles(objects, &before, &singles.collect::<Vec<_>>());
        take_groups(objects, &before, &groups.collect::<Vec<_>>());
        for (key, state) in before {
            if let State::Refused(refusal) = state {
                restore_refusal(objects, key, refusal);
            }
        }
    }
}

fn restore_refusal(objects: &mut Objects, key: ObjectKey, refusal: KernelRefusal) {
    if objects.get(key).is_some_and(|object| object.state == State::Absent) {
        objects.set_state(key, State::Refused(refusal));
    }
}

fn id_before(before: &Map<ObjectKey, State>, key: ObjectKey) -> Option<u32> {
    match before.get(&key) {
        Some(State::Present { id, .. }) => Some(*id),
        _ => None,
    }
}

/// Objects that we knew keep their ids; others are adopted by what they hold; a double is a stray.
fn take_singles(objects: &mut Objects, before: &Map<ObjectKey, State>, singles: &[(u32, Hop)]) {
    let known = |objects: &Objects, id: u32, hop: &Hop| {
        let key = objects.by_spec(&Spec::Single(hop.clone()))?;
        (id_before(before, key) == Some(id)).then_some(key)
    };
    let (kept, new): (Vec<_>, Vec<_>) =
        singles.iter().partition(|(id, hop)| known(objects, *id, hop).is_some());
    for (id, hop) in kept.into_iter().chain(new) {
        let key = objects.find_or_insert(Spec::Single(hop.clone()));
        adopt(objects, key, *id, Members::new());
    }
}

fn take_groups(objects: &mut Objects, before: &Map<ObjectKey, State>, groups: &[(u32, Members)]) {
    let mut before_ids: Map<u32, ObjectKey> = Map::default();
    for key in objects.keys() {
        let is_group = objects.get(key).is_some_and(|object| matches!(object.spec, Spec::Group(_)));
        if let (true, Some(id)) = (is_group, id_before(before, key)) {
            before_ids.insert(id, key);
        }
    }
    // A group that we knew is what it shall be; the kernel may have taken members out of it.
    for (id, members) in groups {
        if let Some(key) = before_ids.get(id) {
            adopt(objects, *key, *id, members.clone());
        }
    }
    for (id, members) in groups.iter().filter(|(id, _)| !before_ids.contains_key(id)) {
        let keys = members.iter().map(|(member, weight)| Some((objects.by_id(*member)?, *weight)));
        match keys.collect::<Option<smallvec::SmallVec<[(ObjectKey, u8); 4]>>>() {
            Some(mut keys) => {
                keys.sort_unstable();
                let key = objects.find_or_insert(Spec::Group(keys));
                adopt(objects, key, *id, members.clone());
            }
            None => objects.strays.push(*id),
        }
    }
}

fn adopt(objects: &mut Objects, key: ObjectKey, id: u32, mut members: Members) {
    members.sort_unstable();
    match objects.get(key).map(|object| &object.state) {
        Some(State::Present { .. }) => objects.strays.push(id),
        _ => objects.set_state(key, State::Present { id, members }),
    }
}
