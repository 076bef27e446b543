//! What is left of a run is removed, however it ended.
//!
//! ```text
//! xtask test ──┬── xtask sweep: waits for the end of its input
//!              └── xtask containerlab ── dockerd ── …
//! ```
//! All but the sweeper hold the writing end of its input, so it ends with the last of them, whether they are done or were
//! killed. The sweeper has a process group of its own: Ctrl-C is not for it.

use std::fs;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::unistd::pipe2;

use super::engine;

/// What the sweeper is told.
#[derive(clap::Args)]
pub(crate) struct Sweep {
    /// Folder of the run.
    #[arg(long)]
    folder: PathBuf,
    /// Its control group.
    #[arg(long)]
    cgroup: String,
}

impl Sweep {
    /// Waits for the end of the run, and removes what is left.
    pub(crate) fn run(&self) -> Result<()> {
        sweep(io::stdin().lock(), &self.folder, &self.cgroup)
    }
}

fn sweep(mut run: impl Read, folder: &Path, cgroup: &str) -> Result<()> {
    io::copy(&mut run, &mut io::sink())?;
    engine::remove_cgroups(cgroup);
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| folder.display().to_string())
        }
        _ => Ok(()),
    }
}

/// A sweeper that waits.
pub(super) struct Sweeper {
    process: Child,
    /// Inherited by all that is started from now on.
    held: Option<OwnedFd>,
}

impl Sweeper {
    pub(super) fn start(folder: &Path, cgroup: &str) -> Result<Self> {
        // The sweeper itself must not have the writing end.
        let (input, held) = pipe2(OFlag::O_CLOEXEC)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("sweep").arg("--folder").arg(folder).arg("--cgroup").arg(cgroup);
        let process = command.stdin(Stdio::from(input)).stdout(Stdio::null()).process_group(0).spawn()?;
        fcntl(&held, FcntlArg::F_SETFD(FdFlag::empty()))?;
        Ok(Self { process, held: Some(held) })
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        drop(self.held.take());
        drop(self.process.wait());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_left_goes_once_the_last_process_of_a_run_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let left = folder.path().join("left");
        fs::create_dir_all(left.join("data")).unwrap();
        fs::write(left.join("data/file"), "").unwrap();
        let (input, held) = io::pipe().unwrap();
        let also_held = held.try_clone().unwrap();
        let (done, is_done) = std::sync::mpsc::channel();
        let path = left.clone();
        std::thread::spawn(move || done.send(sweep(input, &path, "muslin-no-such-group")));
        drop(held);
        assert!(is_done.recv_timeout(Duration::from_millis(50)).is_err(), "a process is left");
        drop(also_held);
        is_done.recv().unwrap().unwrap();
        assert!(!left.exists());
    }
}
