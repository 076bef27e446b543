//! What the kernel made of an operation.

use ipnet::IpNet;
use rustix::io::Errno;

use super::objects::{ObjectKey, Spec, State};
use super::slot::{Actual, Entry, RouteRefusal, Stage};
use super::{Operation, Outcome, Reconciler};
use crate::path::Hop;
use crate::route::NextHop;
use crate::status::{ProgrammerEvent, Refused};
use crate::wire::nexthop::Members;
use crate::wire::refusal::KernelRefusal;
use crate::wire::route::{Target, Write};

impl Reconciler {
    /// Takes what became of an operation of the last batch.
    pub(crate) fn handle_outcome(&mut self, operation: &Operation, outcome: Outcome) {
        match &outcome {
            Outcome::Done(_) => self.counters.accepted += 1,
            Outcome::Refused(_) => self.counters.refused += 1,
        }
        match (operation, outcome) {
            (Operation::WriteRoute { route, path, .. }, Outcome::Done(_)) => {
                let entry = Entry { path: *path, metric: route.metric };
                let rests = self.set_actual(route.prefix, Actual::Present(entry));
                if !self.refusals.is_empty() {
                    self.refusals.remove(&route.prefix);
                }
                if !rests || !self.strays.is_empty() {
                    self.enqueue(route.prefix);
                }
            }
            (Operation::WriteRoute { write, route, .. }, Outcome::Refused(refusal)) => {
                let over_object = matches!(route.target, Target::Object(_));
                let doubtful = (*write == Write::Add && refusal.is(Errno::EXIST))
                    || (over_object && (refusal.is(Errno::INVAL) || refusal.is(Errno::NOENT)));
                self.refuse_route(route.prefix, refusal, doubtful);
            }
            (Operation::DeleteRoute { prefix, metric }, outcome) => {
                self.handle_deletion(*prefix, *metric, outcome);
            }
            (Operation::CreateNextHop { object, hop }, outcome) => {
                self.handle_creation(*object, Members::new(), outcome, &refused_hop(hop));
            }
            (Operation::CreateGroup { object, members }, outcome) => {
                let subject = Refused::Group(members.len());
                self.handle_creation(*object, members.clone(), outcome, &subject);
            }
            (Operation::ReplaceGroup { object, id, members }, Outcome::Done(_)) => {
                self.paths.objects.set_state(*object, State::Present { id: *id, members: members.clone() });
            }
            (Operation::ReplaceGroup { object, members, .. }, Outcome::Refused(refusal)) => {
                // It may be gone. Read, and see; but only once.
                if let Some(object) = self.paths.objects.get_mut(*object)
                    && !object.doubted
                {
                    object.doubted = true;
                    self.wants_resync = true;
                }
                self.event(ProgrammerEvent::Refused(Refused::Group(members.len()), refusal));
            }
            (Operation::DeleteNextHop { id }, outcome) => {
                let gone = match outcome {
                    Outcome::Done(_) => true,
                    Outcome::Refused(refusal) => refusal.is(Errno::NOENT),
                };
                if let (Some(key), true) = (self.paths.objects.by_id(*id), gone) {
                    self.paths.objects.set_state(key, State::Absent);
                    self.paths.objects.remove_if_unused(key);
                }
            }
        }
    }

    /// It is not known what became of a batch.
    pub(crate) fn handle_batch_lost(&mut self, batch: &[Operation]) {
        for operation in batch {
            match operation {
                Operation::WriteRoute { route, .. } => self.enqueue(route.prefix),
                Operation::DeleteRoute { prefix, .. } => self.enqueue(*prefix),
                // Pending ones stay so until the read, and the others are planned anew by it.
                Operation::CreateNextHop { .. }
                | Operation::CreateGroup { .. }
                | Operation::ReplaceGroup { .. }
                | Operation::DeleteNextHop { .. } => {}
            }
        }
        self.wants_resync = true;
    }

    fn handle_deletion(&mut self, prefix: IpNet, metric: u32, outcome: Outcome) {
        // What cannot be deleted is found again by the next full read, so it is not tried in a loop.
        if let Outcome::Refused(refusal) = outcome
            && !refusal.is(Errno::SRCH)
        {
            self.event(ProgrammerEvent::Refused(Refused::Route(prefix), refusal));
        }
        if self.slots.get(&prefix).is_some_and(|slot| slot.actual.metric() == Some(metric)) {
            self.set_actual(prefix, Actual::Absent);
        }
        if let Some(strays) = self.strays.get_mut(&prefix) {
            strays.retain(|stray| *stray != metric);
            if strays.is_empty() {
                self.strays.remove(&prefix);
            }
        }
        self.enqueue(prefix);
    }

    /// A refusal that contradicts what we believe is looked into before it counts.
    fn refuse_route(&mut self, prefix: IpNet, refusal: KernelRefusal, doubtful: bool) {
        let first = !self.refusals.contains_key(&prefix);
        let stage = if doubtful && first { Stage::Doubtful } else { Stage::Settled };
        if stage == Stage::Doubtful {
            self.wants_resync = true;
        } else {
            self.event(ProgrammerEvent::Refused(Refused::Route(prefix), refusal.clone()));
        }
        self.refusals.insert(prefix, RouteRefusal { refusal, stage });
        self.enqueue(prefix);
    }

    fn handle_creation(&mut self, key: ObjectKey, members: Members, outcome: Outcome, subject: &Refused) {
        match outcome {
            Outcome::Done(Some(id)) => {
                self.paths.objects.set_state(key, State::Present { id, members });
                self.paths.objects.mark_groups_of(key);
                self.release_waiting(key);
            }
            // It stays pending until the read tells, so that it is not made twice.
            Outcome::Done(None) => self.wants_resync = true,
            Outcome::Refused(refusal) if refusal.is(Errno::OPNOTSUPP) => self.do_without(key, &refusal),
            Outcome::Refused(refusal) => {
                let is_group =
                    self.paths.objects.get(key).is_some_and(|object| matches!(object.spec, Spec::Group(_)));
                if let Some(object) = self.paths.objects.get_mut(key)
                    && is_group
                    && !object.doubted
                {
                    // A member that we believe in may be gone.
                    object.doubted = true;
                    self.wants_resync = true;
                }
                self.event(ProgrammerEvent::Refused(subject.clone(), refusal.clone()));
                self.paths.objects.set_state(key, State::Refused(refusal));
                self.paths.objects.mark_groups_of(key);
            }
        }
    }

    /// The kernel does not have what we asked for: resilient groups, or next-hop objects at all.
    fn do_without(&mut self, key: ObjectKey, refusal: &KernelRefusal) {
        let is_group = |spec: &Spec| matches!(spec, Spec::Group(_));
        let group = self.paths.objects.get(key).is_some_and(|object| is_group(&object.spec));
        self.paths.objects.set_state(key, State::Absent);
        if group && self.config.resilience.take().is_some() {
            tracing::warn!("the kernel has no resilient next-hop groups; plain groups are used");
        } else if std::mem::take(&mut self.paths.objects.in_use) {
            tracing::warn!(%refusal, "the kernel has no next-hop objects; next hops are written into each route");
            self.enqueue_differing();
        }
    }

    /// Routes that waited for an object are looked at again.
    pub(super) fn release_waiting(&mut self, key: ObjectKey) {
        let waiting = self.paths.objects.get_mut(key).map(|object| std::mem::take(&mut object.waiting));
        for prefix in waiting.into_iter().flatten() {
            self.enqueue(prefix);
        }
    }

    pub(super) fn enqueue_differing(&mut self) {
        let differing: Vec<IpNet> =
            self.slots.iter().filter(|(_, slot)| !slot.rests()).map(|(prefix, _)| *prefix).collect();
        for prefix in differing {
            self.enqueue(prefix);
        }
    }
}

fn refused_hop(hop: &Hop) -> Refused {
    Refused::NextHop(NextHop {
        gateway: hop.gateway,
        interface: hop.interface,
        weight: 1,
        onlink: hop.onlink,
    })
}
