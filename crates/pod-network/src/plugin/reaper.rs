//! The end of a DEL that nobody has to wait for: a process of its own that deletes what DELs have condemned.

use std::net::IpAddr;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use crate::conntrack;
use crate::interface;

/// The argument that makes `muslin-cni` a reaper; runtimes call plugins without any.
const ARGUMENT: &str = "reap";

/// What is left to do after a DEL.
#[derive(Debug)]
pub(super) struct Reaper {
    /// Whose conversations the node is to forget.
    pub(super) addresses: Vec<IpAddr>,
}

impl Reaper {
    pub(super) fn from_command_line(mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        let is_reaper = arguments.next()? == ARGUMENT;
        is_reaper.then(|| Self { addresses: arguments.filter_map(|text| text.parse().ok()).collect() })
    }

    /// Does the work in a process that outlives this one and holds none of its pipes, which the runtime reads to
    /// their end. Where that cannot be started, the work is done at once.
    pub(super) fn start(self) {
        let started = Command::new("/proc/self/exe")
            .arg(ARGUMENT)
            .args(self.addresses.iter().map(IpAddr::to_string))
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
        if started.is_err() {
            self.run();
        }
    }

    /// What fails here is made up for by the next reaper, by GC, or by the end of the pod's namespace.
    pub(super) fn run(self) -> ExitCode {
        let forgotten = conntrack::forget(&self.addresses).is_ok();
        let reaped = interface::reap().is_ok();
        if reaped && forgotten { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
