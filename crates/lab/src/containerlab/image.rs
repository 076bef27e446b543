//! What stands for an image: the programs of this machine.

use std::path::{Path, PathBuf};

use super::file::{NodeSpec, TopologyFile};
use crate::LabError;
use crate::router;

/// The entry point of the image with FRR, which is FRR's own without its watchdog.
pub(super) const FRR_START: &str = include_str!("../../../../containerlab/images/frr-start");
/// The program of the image with Muslin that makes a pod as a container runtime does.
pub(super) const POD: &str = include_str!("../../../../containerlab/images/pod");

/// Programs by the Debian package that has them.
const PACKAGES: &[(&str, &str)] = &[
    ("bird", "bird2"),
    ("gobgpd", "gobgpd"),
    ("gobgp", "gobgpd"),
    ("ip", "iproute2"),
    ("ping", "iputils-ping"),
    ("jq", "jq"),
];

/// What a node runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Main {
    /// These words.
    Command(Vec<String>),
    /// The daemons of FRR.
    Frr,
    /// Nothing: a host to look around from.
    Nothing,
}

impl Main {
    pub(super) fn of(node: &NodeSpec) -> Self {
        match &node.command {
            Some(words) => Self::Command(words.clone()),
            None if is_frr(node) => Self::Frr,
            None => Self::Nothing,
        }
    }
}

/// Whether the node's image is one with FRR, as its name says.
pub(super) fn is_frr(node: &NodeSpec) -> bool {
    node.image.to_lowercase().contains("frr")
}

/// Where the programs of the running `muslin` are.
pub(super) fn programs() -> Option<PathBuf> {
    std::env::current_exe().ok().and_then(|path| path.parent().map(Path::to_path_buf))
}

/// An error if a program that a node needs is not on this machine.
pub(super) fn check(topology: &TopologyFile) -> Result<(), LabError> {
    let lacking = |node: &NodeSpec, program: &str, remedy: String| {
        Err(LabError::Missing(format!(
            "node {} needs {program}, which this machine lacks: {remedy}",
            node.name
        )))
    };
    for node in &topology.nodes {
        if is_frr(node) {
            if router::find(&["zebra", "bgpd", "staticd"]).is_none() || router::find(&["vtysh"]).is_none() {
                return lacking(node, "FRR", "install the package frr".to_owned());
            }
            if !nix::unistd::geteuid().is_root() {
                return Err(LabError::Missing(format!(
                    "node {} runs FRR, whose daemons change to users of their own: run this as root",
                    node.name
                )));
            }
        }
        let command = node.command.iter().chain(&node.exec);
        // `pod` is a script that needs these.
        let of_pod: &[&str] =
            if node.exec.iter().any(|words| words[0] == "pod") { &["ip", "jq", "bash"] } else { &[] };
        for program in command.map(|words| words[0].as_str()).chain(of_pod.iter().copied()) {
            let ours = programs().is_some_and(|folder| folder.join(program).is_file());
            if program == "pod" || ours || program.contains('/') || router::find(&[program]).is_some() {
                continue;
            }
            let package = PACKAGES.iter().find(|(name, _)| *name == program);
            let remedy = match package {
                Some((_, package)) => format!("install the package {package}"),
                None => "install it".to_owned(),
            };
            return lacking(node, program, remedy);
        }
    }
    Ok(())
}
