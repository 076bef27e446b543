//! Breaks one thing on purpose, so that tests can show that the proofs notice.

use ipnet::IpNet;
use muslin_pod_network::firewall::{self, FirewallPlan, Masquerade};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::LabError;
use crate::addresses::Family;
use crate::blueprint::POD_RANGE;
use crate::lab::Lab;
use crate::options::Tamper;

/// Who is kept from repairing what was broken, until this is dropped.
pub(crate) struct Tampered {
    frozen: Vec<Pid>,
}

impl Drop for Tampered {
    fn drop(&mut self) {
        for process in &self.frozen {
            // One that has died meanwhile is found by whoever waits for it.
            let _ = nix::sys::signal::kill(*process, Signal::SIGCONT);
        }
    }
}

pub(crate) fn apply(lab: &Lab, what: Tamper) -> Result<Tampered, LabError> {
    let victims: Vec<_> = match what {
        Tamper::Route => lab.routers[0].daemons.iter().collect(),
        Tamper::Rule | Tamper::Source => vec![&lab.agents[0].daemon],
    };
    let mut frozen = Vec::new();
    for victim in victims {
        victim.signal(Signal::SIGSTOP);
        frozen.push(Pid::from_raw(victim.id().cast_signed()));
    }
    let tampered = Tampered { frozen };
    let node = &lab.network.nodes[0];
    match what {
        Tamper::Route => {
            let block: IpNet = lab.blueprint.nodes[1].block.get(Family::V4);
            lab.network.routers[0].remove_route(block)?;
        }
        Tamper::Rule => node.run(|| firewall::apply(&FirewallPlan::default()))??,
        Tamper::Source => {
            let pod_ranges = Family::BOTH.map(|family| POD_RANGE.get(family)).to_vec();
            let masquerade = Masquerade { pod_ranges, never: Vec::new() };
            let plan = FirewallPlan { masquerade, ..FirewallPlan::default() };
            node.run(|| firewall::apply(&plan))??;
        }
    }
    Ok(tampered)
}
