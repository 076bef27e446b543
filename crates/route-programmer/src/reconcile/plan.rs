//! From differences to operations.

use std::sync::Arc;

use ipnet::IpNet;
use rustix::io::Errno;
use smallvec::SmallVec;

use super::audit::Stand;
use super::objects::{ObjectKey, Spec, State};
use super::paths::PathId;
use super::slot::{Actual, Entry, Slot, Stage};
use super::{Operation, Reconciler};
use crate::path::Path;
use crate::status::{ClashEffect, ProgrammerEvent};
use crate::wire::refusal::KernelRefusal;
use crate::wire::route::{RouteWrite, Target, Write};

/// Fewer prefixes than this are taken in the order in which they came: scattering them gains nothing.
const SCATTER_FROM: usize = 4096;
/// Its fraction in 32 bits, whose multiples fall evenly anywhere in the whole range.
const GOLDEN_RATIO: u32 = 0x9e37_79b9;

/// What one look at a slot gives.
enum Step {
    Rest,
    Emit(Operation),
    /// Its next-hop object is being made.
    Defer,
}

/// What a route of a path would point at.
enum Way {
    Ready(Target),
    Pending,
    Refused,
}

impl Reconciler {
    /// Appends up to `max` operations that can be done now, in an order in which they can be done. None:
    /// nothing is left to do, as far as is known.
    pub(crate) fn next_batch(&mut self, max: usize, batch: &mut Vec<Operation>) {
        self.plan_objects(max, batch);
        let mut deferred: SmallVec<[IpNet; 64]> = SmallVec::new();
        while batch.len() + deferred.len() < max {
            let Some(prefix) = self.draw() else { break };
            let Some(slot) = self.slots.get_mut(&prefix) else { continue };
            slot.queued = false;
            let sides = (slot.desired, slot.actual);
            match self.step(prefix, sides, batch) {
                Step::Rest => self.forget_if_empty(prefix),
                Step::Emit(operation) => batch.push(operation),
                Step::Defer => deferred.push(prefix),
            }
        }
        for prefix in deferred.into_iter().rev() {
            if let Some(slot) = self.slots.get_mut(&prefix) {
                slot.queued = true;
                self.queue.push_front(prefix);
            }
        }
        if batch.is_empty() && self.queue.is_empty() && self.synced {
            self.plan_deletions(max, batch);
        }
    }

    /// The next prefix to be looked at: the one that waits longest, but of many any one.
    ///
    /// The kernel's trie of IPv4 halves its nodes again and again on its way through deletions in ascending order, as a
    /// peer's table comes: 200,000 of them take three times as long as the same ones scattered, and additions a quarter
    /// longer. The steps of the golden ratio scatter without a source of randomness.
    fn draw(&mut self) -> Option<IpNet> {
        let waiting = self.queue.len();
        if waiting < SCATTER_FROM {
            return self.queue.pop_front();
        }
        self.scatter = self.scatter.wrapping_add(GOLDEN_RATIO);
        let place = (u64::from(self.scatter) * waiting as u64) >> 32;
        self.queue.swap_remove_front(place as usize)
    }

    /// Groups whose members came or went.
    fn plan_objects(&mut self, max: usize, batch: &mut Vec<Operation>) {
        let mut deferred: SmallVec<[ObjectKey; 16]> = SmallVec::new();
        while batch.len() < max {
            let Some(key) = self.paths.objects.pop_marked() else { break };
            // What is not there is made when a route wants it.
            let state = self.paths.objects.get(key).map(|object| &object.state);
            if !self.paths.objects.in_use || !matches!(state, Some(State::Present { .. })) {
                continue;
            }
            match self.object_step(key, batch) {
                Step::Rest => {}
                Step::Emit(operation) => batch.push(operation),
                Step::Defer => deferred.push(key),
            }
        }
        deferred.into_iter().for_each(|key| self.paths.objects.mark(key));
    }

    /// Makes an object, and first its members; or changes a group whose usable members are others now.
    fn object_step(&mut self, key: ObjectKey, batch: &mut Vec<Operation>) -> Step {
        let objects = &self.paths.objects;
        let Some(object) = objects.get(key).filter(|object| object.users > 0) else { return Step::Rest };
        match (&object.spec, &object.state) {
            (_, State::Refused(_) | State::Pending) | (Spec::Single(_), State::Present { .. }) => Step::Rest,
            (Spec::Single(hop), State::Absent) => {
                let hop = hop.clone();
                self.paths.objects.set_state(key, State::Pending);
                Step::Emit(Operation::CreateNextHop { object: key, hop })
            }
            (Spec::Group(wanted), state) => match (objects.usable_members(wanted), state) {
                (Err(missing), _) => {
                    for member in missing {
                        if let Step::Emit(operation) = self.object_step(member, batch) {
                            batch.push(operation);
                        }
                    }
                    Step::Defer
                }
                (Ok(members), State::Present { id, members: have }) => {
                    // An empty group cannot be written; the kernel deletes it with its last member.
                    if members.is_empty() || members == *have {
                        return Step::Rest;
                    }
                    Step::Emit(Operation::ReplaceGroup { object: key, id: *id, members })
                }
                (Ok(members), _) if members.is_empty() => {
                    let refusal = KernelRefusal::from_errno(Errno::NETUNREACH);
                    self.paths.objects.set_state(key, State::Refused(refusal));
                    Step::Rest
                }
                (Ok(members), _) => {
                    self.paths.objects.set_state(key, State::Pending);
                    Step::Emit(Operation::CreateGroup { object: key, members })
                }
            },
        }
    }

    /// Objects that nobody wants any more: groups first, by which their members become free.
    fn plan_deletions(&mut self, max: usize, batch: &mut Vec<Operation>) {
        let objects = &mut self.paths.objects;
        let foreign = &self.foreign;
        for key in std::mem::take(&mut objects.idle) {
            match objects.get(key).filter(|object| object.users == 0).map(|object| &object.state) {
                None => {}
                Some(State::Present { id, .. }) if foreign.holds(*id) => {}
                Some(State::Present { id, .. }) => {
                    let operation = Operation::DeleteNextHop { id: *id };
                    if batch.len() >= max {
                        objects.idle.push(key);
                    } else if !batch.contains(&operation) {
                        batch.push(operation);
                    }
                }
                Some(_) => objects.remove_if_unused(key),
            }
        }
        let strays = std::mem::take(&mut objects.strays);
        let deletable = strays.into_iter().filter(|id| !foreign.holds(*id));
        batch.extend(deletable.map(|id| Operation::DeleteNextHop { id }));
    }

    fn step(
        &mut self,
        prefix: IpNet,
        (desired, actual): (Option<Entry>, Actual),
        batch: &mut Vec<Operation>,
    ) -> Step {
        let stage = self.refusals.get(&prefix).map(|refused| refused.stage);
        if stage == Some(Stage::Doubtful) {
            return Step::Rest;
        }
        let delete = |metric| Step::Emit(Operation::DeleteRoute { prefix, metric });
        let Some(desired) = desired else {
            self.note_clash(prefix, None);
            return match actual {
                Actual::Absent => self.stray_step(prefix),
                _ if stage == Some(Stage::Settled) || self.is_unclaimed(prefix) => Step::Rest,
                Actual::Present(Entry { metric, .. }) | Actual::Odd { metric } => delete(metric),
            };
        };
        let blocked = self.note_clash(prefix, Some(desired.metric));
        match actual {
            Actual::Present(entry) if entry == desired => {
                // The kernel's own route of a link came later than ours.
                let overrules = blocked && !self.foreign.shares_key(prefix, desired.metric);
                if overrules { delete(entry.metric) } else { self.stray_step(prefix) }
            }
            Actual::Present(Entry { metric, .. }) | Actual::Odd { metric } if metric != desired.metric => {
                // The new one first, then the old one goes as a stray.
                self.strays.entry(prefix).or_default().push(metric);
                self.set_actual(prefix, Actual::Absent);
                self.step(prefix, (Some(desired), Actual::Absent), batch)
            }
            Actual::Absent if blocked => {
                self.refusals.remove(&prefix);
                self.stray_step(prefix)
            }
            Actual::Absent if stage == Some(Stage::Settled) => self.stray_step(prefix),
            Actual::Absent => self.write(prefix, desired, Write::Add, batch),
            // Replacing could hit the other route with this key: only delete, which names our protocol.
            Actual::Present(_) | Actual::Odd { .. } if blocked => delete(desired.metric),
            // A path that nobody wants does not stay for the new one's refusal.
            Actual::Present(_) | Actual::Odd { .. } if stage == Some(Stage::Settled) => {
                delete(desired.metric)
            }
            Actual::Present(_) | Actual::Odd { .. } => self.write(prefix, desired, Write::Replace, batch),
        }
    }

    fn write(&mut self, prefix: IpNet, desired: Entry, write: Write, batch: &mut Vec<Operation>) -> Step {
        match self.way(prefix, desired.path, batch) {
            Way::Pending => Step::Defer,
            Way::Refused if write == Write::Replace => {
                Step::Emit(Operation::DeleteRoute { prefix, metric: desired.metric })
            }
            Way::Refused => self.stray_step(prefix),
            Way::Ready(target) => {
                let source = self.paths.get(desired.path).and_then(|path| path.source());
                let route = RouteWrite { prefix, metric: desired.metric, source, target };
                Step::Emit(Operation::WriteRoute { write, route, path: desired.path })
            }
        }
    }

    fn way(&mut self, prefix: IpNet, path: PathId, batch: &mut Vec<Operation>) -> Way {
        let object = self.paths.object(path).filter(|_| self.paths.objects.in_use);
        let Some(key) = object else {
            let path = self.paths.get(path).map_or_else(|| Arc::new(Path::Blackhole), Arc::clone);
            return Way::Ready(Target::Inline(path));
        };
        match self.paths.objects.get(key).map(|object| &object.state) {
            Some(State::Present { id, .. }) => return Way::Ready(Target::Object(*id)),
            Some(State::Absent) => match self.object_step(key, batch) {
                Step::Emit(operation) => batch.push(operation),
                Step::Rest | Step::Defer => {}
            },
            Some(State::Refused(_) | State::Pending) | None => {}
        }
        // A group that has no usable member is refused by ourselves, just now.
        match self.paths.objects.get_mut(key) {
            Some(object) if matches!(object.state, State::Refused(_)) => {
                object.waiting.insert(prefix);
                Way::Refused
            }
            _ => Way::Pending,
        }
    }

    /// Routes of ours beside the wanted one, once it is known that nobody wants them.
    fn stray_step(&mut self, prefix: IpNet) -> Step {
        if self.strays.is_empty() {
            return Step::Rest;
        }
        let claimed = self.slots.get(&prefix).is_some_and(|slot| slot.desired.is_some());
        let stray = self.strays.get(&prefix).and_then(|metrics| metrics.first().copied());
        match stray {
            Some(metric) if self.synced || claimed => Step::Emit(Operation::DeleteRoute { prefix, metric }),
            _ => Step::Rest,
        }
    }

    /// Keeps the list of clashes, and tells whether ours must not be there.
    fn note_clash(&mut self, prefix: IpNet, metric: Option<u32>) -> bool {
        let clash = metric.and_then(|metric| self.foreign.clash(prefix, metric));
        let Some(clash) = clash else {
            if !self.clashes.is_empty() {
                self.clashes.remove(&prefix);
            }
            return false;
        };
        if self.clashes.insert(prefix, clash.clone()).as_ref() != Some(&clash) {
            self.counters.clashes += 1;
            self.event(ProgrammerEvent::Clash(clash.clone()));
        }
        clash.effect == ClashEffect::OursBlocked
    }

    fn is_unclaimed(&self, prefix: IpNet) -> bool {
        self.slots.get(&prefix).is_some_and(|slot| slot.unclaimed)
    }

    fn forget_if_empty(&mut self, prefix: IpNet) {
        // What was deleted since an audit began may still be told of.
        if self.audit == Stand::UnderWay {
            return;
        }
        let empty = |slot: &Slot| slot.desired.is_none() && slot.actual == Actual::Absent && !slot.queued;
        if self.slots.get(&prefix).is_some_and(empty) && !self.strays.contains_key(&prefix) {
            self.slots.remove(&prefix);
            self.refusals.remove(&prefix);
        }
    }
}
