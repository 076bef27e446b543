//! Breaks one thing on purpose, so that tests can show that the proofs notice.

use ipnet::IpNet;
use muslin_pod_network::firewall::{self, FirewallPlan, Masquerade};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use crate::LabError;
use crate::addresses::Family;
use crate::blueprint::POD_RANGE;
use crate::lab::Lab;
use crate::options::Tamper;

/// What was broken stays broken until this is dropped.
pub(crate) struct Tampered {
    _frozen: Vec<Frozen>,
}

/// A process of ours that is kept from repairing anything, until this is dropped.
struct Frozen(Pid);

impl Frozen {
    /// Returns when none of its threads does anything any more: one that runs takes the signal at its next chance only.
    fn new(process: Pid) -> Self {
        // One that has ended is found by whoever waits for it, and left to them.
        let _ = kill(process, Signal::SIGSTOP);
        let stopped = WaitPidFlag::WSTOPPED | WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        while waitid(Id::Pid(process), stopped) == Err(Errno::EINTR) {}
        Self(process)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGCONT);
    }
}

pub(crate) fn apply(lab: &Lab, what: Tamper) -> Result<Tampered, LabError> {
    let victims: Vec<_> = match what {
        Tamper::Route => lab.routers[0].daemons.iter().collect(),
        Tamper::Rule | Tamper::Source => vec![&lab.agents[0].daemon],
    };
    let frozen = victims.iter().map(|victim| Frozen::new(Pid::from_raw(victim.id().cast_signed()))).collect();
    let tampered = Tampered { _frozen: frozen };
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

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_frozen_process_does_nothing_any_more_from_that_moment_on() {
        let mut busy = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        let id = busy.id();
        let states: String = (0..20)
            .map(|_| {
                let _frozen = Frozen::new(Pid::from_raw(id.cast_signed()));
                let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
                stat.rsplit_once(") ").unwrap().1.chars().next().unwrap()
            })
            .collect();
        busy.kill().unwrap();
        busy.wait().unwrap();
        assert_eq!(states, "T".repeat(20));
    }
}
