//! When a node takes pods: after a start of the machine not before its routes are there. Pure.

use std::time::{Duration, Instant};

use muslin_cluster::NodeNetwork;

use crate::api::Status;

/// How long all peers are waited for; then one will do, so that a dead router keeps no node out of service.
const FOR_ALL: Duration = Duration::from_mins(1);

/// What decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sight {
    /// There is a plan.
    pub(super) planned: bool,
    /// Every session is up, every End-of-RIB was seen, the kernel holds the routes.
    pub(super) converged: bool,
    /// At least one session is there with all its routes, and the kernel holds them.
    pub(super) partly: bool,
    /// What is missing.
    pub(super) waiting_for: Vec<String>,
}

impl Sight {
    pub(super) fn of(status: &Status) -> Self {
        let complete =
            |family: &muslin_bgp_speaker::FamilyStatus| !family.negotiated || family.end_of_rib_received;
        let up = status.peers.iter().any(|peer| peer.established && peer.families.iter().all(complete));
        Self {
            planned: status.asn.is_some(),
            converged: status.readiness.converged,
            partly: up && status.kernel.agreement && status.kernel.pending == 0,
            waiting_for: status.readiness.waiting_for.clone(),
        }
    }
}

/// Opens once, and stays open: a session that goes down later is what routing is for.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    /// Whether the network was there before, in an earlier process since the machine started.
    arrived: bool,
    since: Option<Instant>,
    told: Option<bool>,
}

impl Gate {
    pub(super) fn new(arrived: bool) -> Self {
        Self { arrived, since: None, told: None }
    }

    /// What is to be told of the network, if anything.
    pub(super) fn decide(&mut self, now: Instant, sight: &Sight) -> Option<NodeNetwork> {
        if self.told == Some(true) || !sight.planned {
            return None;
        }
        let since = *self.since.get_or_insert(now);
        let late = now.duration_since(since) >= FOR_ALL;
        if sight.converged {
            let message = "every session is up, and the kernel holds the routes".to_owned();
            return Some(NodeNetwork { available: true, reason: "RoutesInstalled", message });
        }
        if sight.partly && late {
            let message = format!("the network is there; still waiting for {}", sight.waiting_for.join("; "));
            return Some(NodeNetwork { available: true, reason: "RoutesInstalledInPart", message });
        }
        // An agent that is merely restarted leaves routes and pods as they are.
        if self.arrived || self.told == Some(false) {
            return None;
        }
        let message = format!("waiting for {}", sight.waiting_for.join("; "));
        Some(NodeNetwork { available: false, reason: "RoutesMissing", message })
    }

    /// The API server has taken it.
    pub(super) fn told(&mut self, available: bool) {
        self.told = Some(available);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sight(converged: bool, partly: bool) -> Sight {
        Sight { planned: true, converged, partly, waiting_for: vec!["peer tor: Connect".to_owned()] }
    }

    #[test]
    fn after_a_start_of_the_machine_the_node_waits_until_its_routes_are_there() {
        let (mut gate, now) = (Gate::new(false), Instant::now());
        let closed = gate.decide(now, &sight(false, false)).unwrap();
        assert_eq!((closed.available, closed.message.as_str()), (false, "waiting for peer tor: Connect"));
        gate.told(false);
        assert_eq!(gate.decide(now, &sight(false, true)), None);
        assert!(gate.decide(now, &sight(true, true)).unwrap().available);
        gate.told(true);
        assert_eq!(gate.decide(now, &sight(false, false)), None, "it stays open");
    }

    #[test]
    fn one_session_will_do_when_the_others_do_not_come() {
        let (mut gate, now) = (Gate::new(false), Instant::now());
        gate.decide(now, &sight(false, true));
        gate.told(false);
        let late = gate.decide(now + FOR_ALL, &sight(false, true)).unwrap();
        assert_eq!((late.available, late.reason), (true, "RoutesInstalledInPart"));
        assert_eq!(gate.decide(now + FOR_ALL, &sight(false, false)), None, "none will not do");
    }

    #[test]
    fn a_restarted_agent_takes_nothing_back() {
        let (mut gate, now) = (Gate::new(true), Instant::now());
        assert_eq!(gate.decide(now, &sight(false, false)), None);
        assert!(gate.decide(now, &sight(true, true)).unwrap().available);
    }

    #[test]
    fn without_a_plan_nothing_is_told() {
        let mut gate = Gate::new(false);
        assert_eq!(gate.decide(Instant::now(), &Sight { planned: false, ..sight(true, true) }), None);
    }
}
