//! Processes of the lab: started in a namespace, watched, ended by their id.

use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use muslin_netns::Namespace;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use rustix::process::{PidfdFlags, pidfd_open};

use crate::LabError;

/// A running process. Dropping it kills it and waits for its end.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    child: Child,
    /// Readable once the process has ended.
    ended: OwnedFd,
    log: PathBuf,
}

impl Daemon {
    /// Starts `command` in `namespace`; what it prints goes to `log`.
    ///
    /// # Errors
    /// If the log cannot be written, or the program not started.
    pub fn start(
        name: impl Into<String>,
        namespace: &Namespace,
        command: &mut Command,
        log: PathBuf,
    ) -> Result<Self, LabError> {
        Self::spawn(name.into(), command, log, |command| Ok(namespace.spawn(command)?))
    }

    /// Starts `command` as `spawn` does.
    pub(crate) fn spawn(
        name: String,
        command: &mut Command,
        log: PathBuf,
        spawn: impl FnOnce(&mut Command) -> Result<Child, LabError>,
    ) -> Result<Self, LabError> {
        let output = File::create(&log).map_err(LabError::file(&log))?;
        let errors = output.try_clone().map_err(LabError::file(&log))?;
        let child = spawn(command.stdin(Stdio::null()).stdout(output).stderr(errors))?;
        let pid = rustix::process::Pid::from_child(&child);
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(ended) => Ok(Self { name, child, ended, log }),
            Err(errno) => {
                let mut child = child;
                // Already on the way out with an error; it must only not stay.
                drop(child.kill());
                drop(child.wait());
                Err(LabError::Process {
                    process: name,
                    problem: format!("cannot be watched: {errno}"),
                    log: String::new(),
                })
            }
        }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory in bytes.
    pub fn resident(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
    }

    /// Looks whether it runs.
    ///
    /// # Errors
    /// [`LabError::Process`] with its last lines if it has ended.
    pub fn check(&mut self) -> Result<(), LabError> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(self.failed(format!("ended by itself ({status})"))),
            Err(error) => Err(self.failed(format!("is lost: {error}"))),
        }
    }

    /// Waits for its end, no longer than `patience`; `None` if it still runs then.
    ///
    /// # Errors
    /// [`LabError::Process`] if it is lost.
    pub fn wait(&mut self, patience: Duration) -> Result<Option<ExitStatus>, LabError> {
        let mut ended = [PollFd::new(self.ended.as_fd(), PollFlags::POLLIN)];
        let lost = |error: std::io::Error| self.failed(format!("is lost: {error}"));
        wait_for(&mut ended, patience).map_err(|errno| lost(errno.into()))?;
        self.child.try_wait().map_err(|error| self.failed(format!("is lost: {error}")))
    }

    /// Waits until `path` exists, or the process ends, or patience does.
    ///
    /// # Errors
    /// [`LabError::Process`] in the latter two cases.
    pub fn await_path(&mut self, path: &Path, patience: Duration) -> Result<(), LabError> {
        let folder = path.parent().unwrap_or(path);
        let failed = |errno: nix::Error| LabError::file(folder)(errno.into());
        let watcher = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).map_err(failed)?;
        let arrivals = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
        watcher.add_watch(folder, arrivals).map_err(failed)?;
        let deadline = Instant::now() + patience;
        // The watch stands before the first look, so nothing can appear unseen between two looks.
        while !path.exists() {
            self.check()?;
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.failed(format!("did not create {} in {patience:?}", path.display())));
            }
            let mut events = [
                PollFd::new(watcher.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.ended.as_fd(), PollFlags::POLLIN),
            ];
            wait_for(&mut events, left).map_err(failed)?;
            while watcher.read_events().is_ok_and(|events| !events.is_empty()) {}
        }
        Ok(())
    }

    /// An error about this process, with the last lines that it wrote.
    pub fn failed(&self, problem: impl Into<String>) -> LabError {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let log = lines[lines.len().saturating_sub(15)..].join("\n");
        LabError::Process { process: self.name.clone(), problem: problem.into(), log }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Returns when one of the descriptors is ready, or patience ends.
fn wait_for(events: &mut [PollFd<'_>], patience: Duration) -> nix::Result<()> {
    match poll(events, PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX)) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno),
    }
}
