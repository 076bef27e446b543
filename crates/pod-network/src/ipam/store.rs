//! The ledger on disk.
//!
//! One file, replaced by renaming under a lock that the kernel drops when its holder dies. No flush: after a
//! power failure nothing of the file matters, since no pod outlives the machine; a file that cannot be read is
//! therefore replaced by what the kernel knows, which after a reboot is nothing.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::{Attached, BootTime, Ledger};
use crate::atomic_file::{self, Durability};
use crate::fail_point;

const VERSION: u32 = 1;
const LEDGER: &str = "ipam.json";
const LOCK: &str = "ipam.lock";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// The lock is held for well under a millisecond: who waits longer than this waits for a disk that hangs.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// The ledger's file, locked until this value is dropped.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    boot_id: String,
    _lock: File,
}

/// Why the ledger could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// Another plugin holds the lock for too long.
    #[error("{}: still locked after {} s", path.display(), LOCK_PATIENCE.as_secs())]
    Contended {
        /// The lock file.
        path: PathBuf,
    },
    /// A newer plugin wrote it: recovering would lose what it knows.
    #[error("{}: version {found} is newer than {VERSION}, the newest that this muslin-cni reads", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// The ledger is lost and the kernel's own knowledge cannot be read either.
    #[error("the ledger is lost and could not be rebuilt: {reason}")]
    Unrecoverable {
        /// What the kernel said.
        reason: String,
    },
}

#[derive(Serialize, Deserialize)]
struct Format<L> {
    version: u32,
    /// Times in the ledger count from the start of this boot.
    boot_id: String,
    ledger: L,
}

/// The version alone, so that a newer file is told from a broken one.
#[derive(Deserialize)]
struct FormatVersion {
    version: u32,
}

impl Store {
    /// Locks the ledger in `data_dir` (created if missing), waiting for others at most ten seconds.
    pub fn lock(data_dir: &Path) -> Result<Self, StoreError> {
        let path = data_dir.join(LOCK);
        let failed = |source| StoreError::Io { path: path.clone(), source };
        fs::create_dir_all(data_dir).map_err(failed)?;
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        let file = match file.try_lock() {
            Ok(()) => file,
            Err(TryLockError::Error(source)) => return Err(failed(source)),
            Err(TryLockError::WouldBlock) => wait_for_lock(file, &path)?,
        };
        let boot_id =
            fs::read_to_string(BOOT_ID).map_err(|source| StoreError::Io { path: BOOT_ID.into(), source })?;
        Ok(Self { path: data_dir.join(LEDGER), boot_id: boot_id.trim().to_owned(), _lock: file })
    }

    /// Reads the ledger. One that is missing or broken is rebuilt from `attached`, what the kernel has; a broken
    /// one is kept beside it for whoever wants to know why.
    pub fn load<E: std::fmt::Display>(
        &self,
        attached: impl FnOnce() -> Result<Vec<Attached>, E>,
    ) -> Result<Ledger, StoreError> {
        if let Some(format) = read(&self.path)? {
            let mut ledger = format.ledger;
            if format.boot_id != self.boot_id {
                ledger.begin_boot();
            }
            return Ok(ledger);
        }
        // Best effort: the file may simply be missing.
        let _ = fs::rename(&self.path, self.path.with_extension("json.broken"));
        let attached = attached().map_err(|error| StoreError::Unrecoverable { reason: error.to_string() })?;
        Ok(Ledger::recovered(&attached, now()))
    }

    /// Replaces the ledger on disk.
    pub fn save(&self, ledger: &Ledger) -> Result<(), StoreError> {
        let failed = |source| StoreError::Io { path: self.path.clone(), source };
        let format = Format { version: VERSION, boot_id: self.boot_id.clone(), ledger };
        let contents = serde_json::to_vec(&format).map_err(|error| failed(error.into()))?;
        fail_point::reached("before-save");
        atomic_file::replace(&self.path, &contents, 0o600, Durability::Process).map_err(failed)
    }

    /// The ledger without the lock, for status: what was last saved, `None` if there is none.
    pub(super) fn peek(data_dir: &Path) -> Result<Option<Ledger>, StoreError> {
        Ok(read(&data_dir.join(LEDGER))?.map(|format| format.ledger))
    }
}

/// `None` if the file is missing or broken.
fn read(path: &Path) -> Result<Option<Format<Ledger>>, StoreError> {
    let contents = match fs::read(path) {
        Ok(contents) => contents,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(StoreError::Io { path: path.to_owned(), source }),
    };
    match serde_json::from_slice(&contents) {
        Ok(FormatVersion { version }) if version > VERSION => {
            Err(StoreError::Newer { path: path.to_owned(), found: version })
        }
        Ok(FormatVersion { .. }) => Ok(serde_json::from_slice(&contents).ok()),
        Err(_) => Ok(None),
    }
}

/// The kernel queues those who wait, so nobody starves; the waiting is done aside so that it can end.
fn wait_for_lock(file: File, path: &Path) -> Result<File, StoreError> {
    let (sender, receiver) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let locked = file.lock().map(|()| file);
        // Nobody listens any more if patience ran out; the process is about to end.
        let _ = sender.send(locked);
    });
    match receiver.recv_timeout(LOCK_PATIENCE) {
        Ok(Ok(file)) => Ok(file),
        Ok(Err(source)) => Err(StoreError::Io { path: path.to_owned(), source }),
        Err(_) => Err(StoreError::Contended { path: path.to_owned() }),
    }
}

/// The time on the clock that ledgers are kept in.
pub(crate) fn now() -> BootTime {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or_default());
    BootTime(seconds + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or_default()))
}

#[cfg(test)]
mod tests;
