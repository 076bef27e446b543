//! The end of a DEL that nobody has to wait for: a process of its own that deletes what DELs have condemned.
//!
//! It first waits a little, so that a node that stops a hundred pods pays once for the deletion of a hundred
//! interfaces, and so that it does not hold the kernel's lock while the next DEL wants it.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use crate::conntrack;
use crate::interface;
use crate::ipam;

/// The argument that makes `muslin-cni` a reaper; runtimes call plugins without any.
const ARGUMENT: &str = "reap";
/// Held by a reaper that has not begun: whatever is condemned until it lets go, it will see.
const LOCK: &str = "reaper.lock";
const GATHERING: Duration = Duration::from_millis(300);

/// What is left to do after a DEL.
#[derive(Debug)]
pub(super) struct Reaper {
    data_dir: PathBuf,
}

impl Reaper {
    /// For the node whose ledger is in `data_dir`.
    pub(super) fn new(data_dir: &Path) -> Self {
        Self { data_dir: data_dir.to_owned() }
    }

    /// The reaper that these arguments ask for.
    pub(super) fn from_command_line(mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        let is_reaper = arguments.next()? == ARGUMENT;
        is_reaper.then(|| Self { data_dir: arguments.next().unwrap_or_default().into() })
    }

    /// Sees to it that the work is done, in a process that outlives this one and holds none of its pipes, which
    /// the runtime reads to their end. Where that cannot be started, it is done at once.
    pub(super) fn start(self) {
        if let Err(TryLockError::WouldBlock) = self.lock() {
            return;
        }
        let started = Command::new("/proc/self/exe")
            .arg(ARGUMENT)
            .arg(&self.data_dir)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
        if started.is_err() {
            self.reap();
        }
    }

    /// The whole life of a reaper.
    #[expect(
        clippy::disallowed_methods,
        reason = "nothing is awaited: DELs that follow are to share the work"
    )]
    pub(super) fn run(self) -> ExitCode {
        match self.lock() {
            Err(TryLockError::WouldBlock) => return ExitCode::SUCCESS,
            Ok(lock) => {
                std::thread::sleep(GATHERING);
                drop(lock);
            }
            // Without a lock several may do the same work, which harms nobody.
            Err(TryLockError::Error(_)) => {}
        }
        self.reap()
    }

    /// What fails here is made up for by the next reaper, by GC, or by the end of the pod's namespace.
    fn reap(&self) -> ExitCode {
        let resting = ipam::resting(&self.data_dir).unwrap_or_default();
        let forgotten = conntrack::forget(&resting).is_ok();
        let reaped = interface::reap().is_ok();
        if reaped && forgotten { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn lock(&self) -> Result<File, TryLockError> {
        let path = self.data_dir.join(LOCK);
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path);
        let file = file.map_err(TryLockError::Error)?;
        file.try_lock().map(|()| file)
    }
}
