//! An audit: the kernel's state is read beside the work and compared with what is known of it.
//!
//! Nothing is changed by it, so that work goes on in between, and a change of a route does not wait for the reading of a
//! full table. What differs is left to a full read.

use super::objects::{Objects, Spec, State};
use super::slot::{Actual, CHANGED};
use super::{Foreign, Reconciler};
use crate::status::ProgrammerEvent;
use crate::wire::nexthop::{Content, NextHopMessage};
use crate::wire::route::RouteMessage;

/// Where an audit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stand {
    Over,
    Wanted,
    UnderWay,
}

/// An audit under way.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    /// Routes of others that were seen.
    foreign: Foreign,
    /// Something was not as it is known to be.
    differs: bool,
}

impl Reconciler {
    /// Begins, with all next-hop objects of the kernel; nothing when it has no such thing.
    pub(crate) fn begin_audit(&mut self, next_hops: Option<&[NextHopMessage]>) -> Audit {
        self.audit = Stand::UnderWay;
        self.begin_generation();
        Audit { differs: !self.knows_next_hops(next_hops.unwrap_or_default()), ..Audit::default() }
    }

    /// Compares a route, ours or not.
    pub(crate) fn audit_route(&mut self, audit: &mut Audit, route: &RouteMessage) {
        if route.table != self.config.table {
            return;
        }
        if route.protocol != self.config.protocol {
            audit.foreign.insert(route, false);
        } else if route.tos == 0 {
            audit.differs |= !self.knows_route(route);
        }
    }

    /// Ends it: what was not seen is not there, and what was refused may be tried again.
    pub(crate) fn end_audit(&mut self, audit: &Audit) {
        self.audit = Stand::Over;
        let (seen, changed) = (self.generation, self.generation.wrapping_add(CHANGED));
        let mut there = self.slots.values().filter(|slot| slot.actual != Actual::Absent);
        let all_seen = there.all(|slot| [seen, changed].contains(&slot.generation));
        if audit.differs || !all_seen || !audit.foreign.has_the_routes_of(&self.foreign) {
            self.wants_resync = true;
            return;
        }
        self.try_refused_again();
        self.counters.resyncs += 1;
        self.event(ProgrammerEvent::Resynced { drifted: 0 });
    }

    fn knows_route(&mut self, route: &RouteMessage) -> bool {
        let Some(slot) = self.slots.get_mut(&route.prefix) else { return false };
        if slot.generation == self.generation.wrapping_add(CHANGED) {
            // The kernel makes the next part of what it tells before that is asked for: this may be how it was.
            return true;
        }
        if slot.actual.metric() != Some(route.metric) {
            return self.strays.get(&route.prefix).is_some_and(|strays| strays.contains(&route.metric));
        }
        slot.generation = self.generation;
        match slot.actual {
            Actual::Present(entry) => self.paths.is_of(entry.path, route),
            Actual::Odd { .. } => true,
            Actual::Absent => false,
        }
    }

    fn knows_next_hops(&self, next_hops: &[NextHopMessage]) -> bool {
        let objects = &self.paths.objects;
        let is_present = |state: &State| matches!(state, State::Present { .. });
        let present = objects.iter().filter(|(_, object)| is_present(&object.state)).count();
        let own = next_hops.iter().filter(|message| message.protocol == self.config.protocol).count();
        own == present + objects.strays.len()
            && next_hops.iter().all(|message| match &message.content {
                _ if message.protocol == self.config.protocol => knows_object(objects, message),
                Content::Group(members) => members.iter().all(|(member, _)| self.foreign.holds(*member)),
                _ => true,
            })
    }
}

fn knows_object(objects: &Objects, message: &NextHopMessage) -> bool {
    if objects.strays.contains(&message.id) {
        return true;
    }
    let Some(object) = objects.by_id(message.id).and_then(|key| objects.get(key)) else { return false };
    match (&message.content, &object.spec, &object.state) {
        (Content::Single(hop), Spec::Single(known), _) => hop == known,
        (Content::Group(members), Spec::Group(_), State::Present { members: known, .. }) => {
            let mut members = members.clone();
            members.sort_unstable();
            members == *known
        }
        _ => false,
    }
}
