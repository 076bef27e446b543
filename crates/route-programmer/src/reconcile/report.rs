//! Status for people and programs.

use ipnet::IpNet;

use super::Reconciler;
use super::objects::{Spec, State};
use super::slot::Actual;
use crate::path::Path;
use crate::route::NextHop;
use crate::status::{Refusal, Refused, RouteReport, RouteState, Status};

impl Reconciler {
    pub(crate) fn status(&self) -> Status {
        let (next_hop_objects, next_hop_groups) = self.object_count();
        let (refusals, refusal_count) = self.refusals();
        let blocked = self.clashes.values().filter(|clash| clash.blocks()).count();
        let pending = self.queue.len() + self.paths.objects.marked();
        Status {
            agreement: self.started
                && !self.wants_resync
                && pending == 0
                && refusal_count == 0
                && blocked == 0
                && self.unclaimed == 0,
            synced: self.synced,
            desired: self.desired,
            installed: self.present,
            unclaimed: self.unclaimed,
            pending,
            next_hop_objects,
            next_hop_groups,
            uses_next_hop_objects: self.paths.objects.in_use,
            adopted: self.adopted,
            clashes: self.clashes.values().take(Status::SAMPLES).cloned().collect(),
            clash_count: self.clashes.len(),
            refusals,
            refusal_count,
            counters: self.counters,
        }
    }

    /// Objects of ours in the kernel, and the groups among them.
    pub(super) fn object_count(&self) -> (usize, usize) {
        let present = || {
            let objects = self.paths.objects.iter().map(|(_, object)| object);
            objects.filter(|object| matches!(object.state, State::Present { .. }))
        };
        (present().count(), present().filter(|object| matches!(object.spec, Spec::Group(_))).count())
    }

    fn refusals(&self) -> (Vec<Refusal>, usize) {
        let routes = self.refusals.iter().map(|(prefix, refused)| Refusal {
            subject: Refused::Route(*prefix),
            refusal: refused.refusal.clone(),
            routes: 1,
        });
        let objects = self.paths.objects.iter().filter(|(_, object)| object.users > 0);
        let objects = objects.filter_map(|(_, object)| {
            let State::Refused(refusal) = &object.state else { return None };
            let subject = match &object.spec {
                Spec::Single(hop) => Refused::NextHop(NextHop {
                    gateway: hop.gateway,
                    interface: hop.interface,
                    weight: 1,
                    onlink: hop.onlink,
                }),
                Spec::Group(members) => Refused::Group(members.len()),
            };
            Some(Refusal { subject, refusal: refusal.clone(), routes: object.waiting.len() })
        });
        let mut count = 0;
        let all = objects.chain(routes).inspect(|_| count += 1);
        let mut samples = Vec::new();
        for refusal in all {
            if samples.len() < Status::SAMPLES {
                samples.push(refusal);
            }
        }
        (samples, count)
    }

    /// Where our routes stand, by prefix, up to `limit` of them behind `after`.
    pub(crate) fn routes(&self, after: Option<IpNet>, limit: usize) -> Vec<RouteReport> {
        let mut prefixes: Vec<IpNet> =
            self.slots.keys().filter(|prefix| after.is_none_or(|after| **prefix > after)).copied().collect();
        if limit < prefixes.len() {
            prefixes.select_nth_unstable(limit);
            prefixes.truncate(limit);
        }
        prefixes.sort_unstable();
        prefixes.into_iter().filter_map(|prefix| self.route(prefix)).collect()
    }

    /// Where our route for exactly this prefix stands.
    pub(crate) fn route(&self, prefix: IpNet) -> Option<RouteReport> {
        let slot = self.slots.get(&prefix)?;
        let (entry, state) = match (slot.desired, slot.actual) {
            (Some(desired), actual) => (desired, self.state(prefix, actual == Actual::Present(desired))),
            (None, Actual::Present(entry)) if slot.unclaimed => (entry, RouteState::Unclaimed),
            (None, _) => return None,
        };
        let path = self.paths.get(entry.path)?;
        let next_hops = path.hops().iter().map(|(hop, weight)| NextHop {
            gateway: hop.gateway,
            interface: hop.interface,
            weight: *weight,
            onlink: hop.onlink,
        });
        let next_hops = if **path == Path::Blackhole { Vec::new() } else { next_hops.collect() };
        Some(RouteReport { prefix, metric: entry.metric, next_hops, state })
    }

    fn state(&self, prefix: IpNet, installed: bool) -> RouteState {
        if installed {
            return RouteState::Installed;
        }
        if let Some(clash) = self.clashes.get(&prefix).filter(|clash| clash.blocks()) {
            return RouteState::Blocked(clash.clone());
        }
        if let Some(refused) = self.refusals.get(&prefix) {
            return RouteState::Refused(refused.refusal.clone());
        }
        let waits = self.paths.objects.iter().find_map(|(_, object)| match &object.state {
            State::Refused(refusal) if object.waiting.contains(&prefix) => Some(refusal.clone()),
            _ => None,
        });
        waits.map_or(RouteState::Pending, RouteState::Refused)
    }
}
