//! A pod's network namespace, entered on a thread of its own that ends there.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// An open network namespace.
#[derive(Debug)]
pub(crate) struct Netns {
    file: File,
    path: PathBuf,
}

/// Why a namespace cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("network namespace {}: {source}", path.display())]
pub(crate) struct NetnsError {
    path: PathBuf,
    source: io::Error,
}

impl Netns {
    /// Opens the namespace at `path`; a file that is not one is found out on entering it.
    pub(crate) fn open(path: &Path) -> Result<Self, NetnsError> {
        let file = File::open(path).map_err(|source| NetnsError { path: path.to_owned(), source })?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Is it the namespace of the calling thread?
    pub(crate) fn is_current(&self) -> Result<bool, NetnsError> {
        let identity = |file: &File| file.metadata().map(|metadata| (metadata.dev(), metadata.ino()));
        let current = File::open("/proc/thread-self/ns/net").and_then(|file| identity(&file));
        let same = identity(&self.file).and_then(|this| current.map(|current| this == current));
        same.map_err(|source| self.error(source))
    }

    /// Runs `work` inside the namespace. Only a thread that then ends goes there: the caller can never be left
    /// in the wrong place.
    pub(crate) fn run<T: Send, E: Send + From<NetnsError>>(
        &self,
        work: impl FnOnce() -> Result<T, E> + Send,
    ) -> Result<T, E> {
        let entered = || {
            move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network))
                .map_err(|errno| self.error(errno.into()))?;
            work()
        };
        std::thread::scope(|scope| match scope.spawn(entered).join() {
            Ok(outcome) => outcome,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }

    /// The number by which netlink messages name the namespace.
    pub(super) fn number(&self) -> u32 {
        // A descriptor is never negative while it is open.
        self.file.as_raw_fd().unsigned_abs()
    }

    fn error(&self, source: io::Error) -> NetnsError {
        NetnsError { path: self.path.clone(), source }
    }
}
