//! What happens to the kernel by other hands, and the passing of time.

use std::time::Instant;

use ipnet::IpNet;

use super::Reconciler;
use super::audit::Stand;
use super::slot::Actual;
use crate::status::ProgrammerEvent;
use crate::wire::nexthop::NextHopMessage;
use crate::wire::route::RouteMessage;

/// Whether a route is there or was taken away, as an event told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Added,
    /// In the place of another one with its key.
    Replaced,
    Deleted,
}

impl Reconciler {
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
            if self.audit == Stand::Over {
                self.audit = Stand::Wanted;
            }
        }
    }
}
