//! Next-hop objects: one per next hop, one group per set, shared by all routes that lead there.

use std::collections::VecDeque;

use ipnet::IpNet;
use smallvec::SmallVec;

use super::{Map, Set};
use crate::path::{Hop, Path};
use crate::wire::nexthop::Members;
use crate::wire::refusal::KernelRefusal;

/// Place of an object in the table; not the kernel's id, which changes when an object is made anew.
pub(crate) type ObjectKey = u32;

/// What an object shall hold.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Spec {
    Single(Hop),
    /// Sorted by key.
    Group(SmallVec<[(ObjectKey, u8); 4]>),
}

/// What the kernel has of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Absent,
    /// Asked for; the answer is outstanding.
    Pending,
    Present {
        id: u32,
        /// Of a group: what it holds now, which is less than its spec while a member cannot be made.
        members: Members,
    },
    Refused(KernelRefusal),
}

#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) spec: Spec,
    pub(crate) state: State,
    /// Paths and groups that want it.
    pub(crate) users: u32,
    /// Lost by word of the caller: groups do without it until a route asks for it anew.
    pub(crate) suspended: bool,
    /// It is among those to be looked at.
    dirty: bool,
    /// A refusal of it has already led to a full read.
    pub(crate) doubted: bool,
    /// Routes that wait for it, because it was refused.
    pub(crate) waiting: Set<IpNet>,
}

#[derive(Debug, Default)]
pub(crate) struct Objects {
    slots: Vec<Option<Object>>,
    free: Vec<ObjectKey>,
    by_spec: Map<Spec, ObjectKey>,
    by_id: Map<u32, ObjectKey>,
    /// Whether new routes are written over objects.
    pub(super) in_use: bool,
    pub(super) may_be_suspended: bool,
    /// To be looked at: to be made, or a group to be changed.
    dirty: VecDeque<ObjectKey>,
    /// Without users, perhaps; to be deleted once nothing else is left to do.
    pub(super) idle: Vec<ObjectKey>,
    /// Ids that carry our protocol but are nothing we could use; deleted like idle ones.
    pub(super) strays: Vec<u32>,
}

impl Objects {
    pub(crate) fn get(&self, key: ObjectKey) -> Option<&Object> {
        self.slots.get(key as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, key: ObjectKey) -> Option<&mut Object> {
        self.slots.get_mut(key as usize)?.as_mut()
    }

    pub(crate) fn by_id(&self, id: u32) -> Option<ObjectKey> {
        self.by_id.get(&id).copied()
    }

    pub(crate) fn by_spec(&self, spec: &Spec) -> Option<ObjectKey> {
        self.by_spec.get(spec).copied()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ObjectKey, &Object)> {
        (0..).zip(&self.slots).filter_map(|(key, slot)| Some((key, slot.as_ref()?)))
    }

    pub(crate) fn keys(&self) -> Vec<ObjectKey> {
        self.iter().map(|(key, _)| key).collect()
    }

    /// The object for a path with hops, with one more user.
    pub(crate) fn acquire(&mut self, path: &Path) -> Option<ObjectKey> {
        let key = match path.hops() {
            [] => return None,
            [(hop, _)] => self.find_or_insert(Spec::Single(hop.clone())),
            hops => {
                let mut members: SmallVec<[(ObjectKey, u8); 4]> = hops
                    .iter()
                    .map(|(hop, weight)| (self.find_or_insert(Spec::Single(hop.clone())), *weight))
                    .collect();
                members.sort_unstable();
                self.find_or_insert(Spec::Group(members))
            }
        };
        if let Some(object) = self.get_mut(key) {
            object.users += 1;
        }
        Some(key)
    }

    /// The object with this content; a new one has no users, but is one of its members.
    pub(super) fn find_or_insert(&mut self, spec: Spec) -> ObjectKey {
        if let Some(key) = self.by_spec(&spec) {
            return key;
        }
        if let Spec::Group(members) = &spec {
            for (member, _) in members {
                if let Some(object) = self.get_mut(*member) {
                    object.users += 1;
                }
            }
        }
        let object = Object {
            spec: spec.clone(),
            state: State::Absent,
            users: 0,
            suspended: false,
            dirty: false,
            doubted: false,
            waiting: Set::default(),
        };
        let key = if let Some(key) = self.free.pop() {
            self.slots[key as usize] = Some(object);
            key
        } else {
            self.slots.push(Some(object));
            (self.slots.len() - 1) as ObjectKey
        };
        self.by_spec.insert(spec, key);
        key
    }

    /// Takes one user away.
    pub(crate) fn release(&mut self, key: ObjectKey) {
        let Some(object) = self.get_mut(key) else { return };
        object.users = object.users.saturating_sub(1);
        if object.users == 0 {
            self.idle.push(key);
        }
    }

    /// All objects as if the kernel had none, and what was known of them.
    pub(super) fn forget_states(&mut self) -> Map<ObjectKey, State> {
        self.by_id.clear();
        let present = (0..).zip(&mut self.slots).filter_map(|(key, slot)| Some((key, slot.as_mut()?)));
        present.map(|(key, object)| (key, std::mem::replace(&mut object.state, State::Absent))).collect()
    }

    /// Sets what the kernel has.
    pub(crate) fn set_state(&mut self, key: ObjectKey, state: State) {
        let Some(object) = self.slots.get_mut(key as usize).and_then(Option::as_mut) else { return };
        if let State::Present { id, .. } = object.state {
            self.by_id.remove(&id);
        }
        if let State::Present { id, .. } = state {
            self.by_id.insert(id, key);
            object.doubted = false;
        }
        object.state = state;
    }

    /// Forgets an object that the kernel does not have and nobody wants; its members lose a user.
    pub(crate) fn remove_if_unused(&mut self, key: ObjectKey) {
        let Some(object) = self.get(key) else { return };
        if object.users > 0 || matches!(object.state, State::Present { .. }) {
            return;
        }
        let Some(object) = self.slots[key as usize].take() else { return };
        self.by_spec.remove(&object.spec);
        self.free.push(key);
        if let Spec::Group(members) = object.spec {
            for (member, _) in members {
                self.release(member);
            }
        }
    }

    /// Has the groups with this member looked at.
    pub(crate) fn mark_groups_of(&mut self, member: ObjectKey) {
        let is_group = |object: &Object| match &object.spec {
            Spec::Group(members) => members.iter().any(|(key, _)| *key == member),
            Spec::Single(_) => false,
        };
        let groups: SmallVec<[ObjectKey; 8]> =
            self.iter().filter(|(_, object)| is_group(object)).map(|(key, _)| key).collect();
        groups.into_iter().for_each(|group| self.mark(group));
    }

    /// Has an object looked at.
    pub(crate) fn mark(&mut self, key: ObjectKey) {
        if let Some(object) = self.slots.get_mut(key as usize).and_then(Option::as_mut)
            && !std::mem::replace(&mut object.dirty, true)
        {
            self.dirty.push_back(key);
        }
    }

    /// The next object to be looked at.
    pub(super) fn pop_marked(&mut self) -> Option<ObjectKey> {
        let key = self.dirty.pop_front()?;
        if let Some(object) = self.get_mut(key) {
            object.dirty = false;
        }
        Some(key)
    }

    /// How many are to be looked at.
    pub(super) fn marked(&self) -> usize {
        self.dirty.len()
    }

    /// What a group shall hold now: its members that exist, those that are suspended only when there are
    /// no others. The members that are still to be made, if any are.
    pub(super) fn usable_members(
        &self,
        members: &[(ObjectKey, u8)],
    ) -> Result<Members, SmallVec<[ObjectKey; 4]>> {
        let in_force = self.existing_members(members, |object| !object.suspended)?;
        if in_force.is_empty() { self.existing_members(members, |_| true) } else { Ok(in_force) }
    }

    fn existing_members(
        &self,
        members: &[(ObjectKey, u8)],
        counts: impl Fn(&Object) -> bool,
    ) -> Result<Members, SmallVec<[ObjectKey; 4]>> {
        let mut existing = Members::new();
        let mut missing = SmallVec::new();
        for (key, weight) in members {
            match self.get(*key).filter(|object| counts(object)).map(|object| &object.state) {
                Some(State::Present { id, .. }) => existing.push((*id, *weight)),
                Some(State::Absent | State::Pending) => missing.push(*key),
                Some(State::Refused(_)) | None => {}
            }
        }
        existing.sort_unstable();
        if missing.is_empty() { Ok(existing) } else { Err(missing) }
    }
}
