//! The scenarios that are deployed, each with the faults that its `verify.sh` has to notice.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use super::engine::Engine;
use super::fault::{Action, Fault, WhatIsLeft};

/// Those that need images which only a registry has: their topology is checked, and no more.
pub(super) const VALIDATED: &[&str] = &["k8s-single-tor", "k8s-dual-tor", "k8s-dualstack"];

/// Those that are deployed, verified and destroyed.
///
/// What can be repaired is broken first; the last fault of each is not repaired.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "bgp-interop",
        faults: &[
            Fault {
                name: "a filter lets everything in",
                action: Action::Edit {
                    file: "muslin/bgp.yaml",
                    words: "10.0.0.0/8, minLength: 24, maxLength: 24",
                    instead: "0.0.0.0/0, minLength: 0, maxLength: 32",
                },
                noticed: &[("muslin", "192.0.2.0/24"), ("bird", "192.0.2.0/24")],
                what_is_left: WhatIsLeft::Nothing,
            },
            Fault {
                name: "a link is down",
                action: Action::Run { node: "frr", command: "ip link set eth1 down" },
                noticed: &[("bird", "10.1.0.0/24"), ("frr", "fd00:0:2::/48"), ("frr", "10.1.0.1 > 10.2.0.1")],
                what_is_left: WhatIsLeft::Nothing,
            },
        ],
    },
    Scenario {
        name: "tor-clos",
        faults: &[
            Fault {
                name: "nodes know another router",
                action: Action::Edit {
                    file: "cluster/bgp.yaml",
                    words: "peerASN: external",
                    instead: "peerASN: 65101",
                },
                noticed: &[("node3", "sessions"), ("node3", "10.244.1.0/24")],
                what_is_left: WhatIsLeft::Nothing,
            },
            Fault {
                name: "a link to a spine is down",
                action: Action::Run { node: "tor1", command: "ip link set eth1 down" },
                noticed: &[("tor1", "10.244.3.0/24"), ("tor2", "fd44:0:0:1::/64")],
                what_is_left: WhatIsLeft::Degraded,
            },
        ],
    },
    Scenario {
        name: "route-reflector",
        faults: &[
            Fault {
                name: "clients are no clients",
                action: Action::Edit {
                    file: "reflector/bgp.yaml",
                    words: "routeReflectorClient: true",
                    instead: "routeReflectorClient: false",
                },
                noticed: &[("node1", "10.244.3.0/24"), ("rack2", "fd44:0:0:1::/64")],
                what_is_left: WhatIsLeft::Nothing,
            },
            Fault {
                name: "a reflector is switched off",
                action: Action::Stop { node: "rr1" },
                noticed: &[("rr1", "sessions")],
                what_is_left: WhatIsLeft::Degraded,
            },
        ],
    },
    Scenario {
        name: "unnumbered",
        faults: &[Fault {
            name: "a link to a leaf is down",
            action: Action::Run { node: "leaf1", command: "ip link set eth1 down" },
            noticed: &[("node1", "10.244.2.0/24"), ("node1", "fd44:0:0:3::/64")],
            what_is_left: WhatIsLeft::Degraded,
        }],
    },
];

/// A folder below `containerlab/`, and what is broken in it.
pub(super) struct Scenario {
    pub(super) name: &'static str,
    faults: &'static [Fault],
}

impl Scenario {
    /// Deploys, verifies, breaks and destroys; each step is reported.
    pub(super) fn run(&self, engine: &Engine, folder: &Path, report: &mut dyn FnMut(&str, Result<String>)) {
        let deployed = engine.deploy(folder);
        let stands = deployed.is_ok();
        report("deploy", deployed);
        if stands {
            report("verify", content(engine, folder, Expectation::Healthy));
            for fault in self.faults {
                report(fault.name, noticed(engine, folder, fault));
            }
        }
        report("destroy", engine.destroy(folder));
    }
}

/// What `verify.sh` is asked to expect.
#[derive(Clone, Copy)]
enum Expectation {
    Healthy,
    Degraded,
}

/// What `verify.sh` says within so many seconds, and whether it is content.
fn verify(engine: &Engine, folder: &Path, expected: Expectation, seconds: u32) -> Result<(bool, String)> {
    let mut command = engine.command(folder.join("verify.sh"));
    if let Expectation::Degraded = expected {
        command.arg("degraded");
    }
    command.env("WAIT", seconds.to_string());
    let output = command.output().context("verify.sh could not be started")?;
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    Ok((output.status.success(), said.into_owned()))
}

fn content(engine: &Engine, folder: &Path, expected: Expectation) -> Result<String> {
    let start = Instant::now();
    let (passed, said) = verify(engine, folder, expected, 120)?;
    ensure!(passed, "verify.sh fails:\n{said}");
    let last = said.lines().last().unwrap_or_default();
    Ok(format!("verified in {:.1} s: {last}", start.elapsed().as_secs_f64()))
}

/// Breaks one thing, which has to be noticed where it shows; where it can be repaired, that has to make all well again.
fn noticed(engine: &Engine, folder: &Path, fault: &Fault) -> Result<String> {
    fault.action.make(engine, folder)?;
    let broken = verify(engine, folder, Expectation::Healthy, 5);
    let rest = match fault.what_is_left {
        WhatIsLeft::Nothing => Ok(String::new()),
        WhatIsLeft::Degraded => content(engine, folder, Expectation::Degraded).context("what is left"),
    };
    let repaired = fault.action.repair(folder)?;
    let (passed, said) = broken?;
    rest?;
    if passed {
        bail!("verify.sh is content with it");
    }
    let failed: Vec<&str> = said.lines().filter(|line| line.starts_with("FAIL")).collect();
    for (node, subject) in fault.noticed {
        let names = |line: &&str| {
            line.split_once(" expected: ").is_some_and(|(head, _)| {
                let head = head.split_whitespace().collect::<Vec<_>>().join(" ");
                head == format!("FAIL {node} {subject}")
            })
        };
        ensure!(failed.iter().any(names), "verify.sh does not name {node} {subject}:\n{said}");
    }
    if repaired {
        content(engine, folder, Expectation::Healthy).context("after the repair")?;
    }
    Ok(format!("noticed in {} lines, among them: {}", failed.len(), failed.first().unwrap_or(&"")))
}
