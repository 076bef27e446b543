use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};

use crate::{LinkState, NetnsError};

/// A network namespace kept alive by a file descriptor.
///
/// Clones share it. It is gone when the last clone is dropped and no process is left inside.
#[derive(Clone, Debug)]
pub struct Namespace {
    name: Arc<str>,
    /// What is behind it may be another one later: see [`renew`](Self::renew).
    handle: Arc<RwLock<Arc<OwnedFd>>>,
}

impl Namespace {
    /// Creates a namespace with its loopback up.
    ///
    /// Duplicate address detection is off in it: whoever makes namespaces gives out the addresses, and a tentative
    /// address would only add a second of waiting. `name` is for messages; the kernel does not know it.
    ///
    /// # Errors
    /// [`NetnsError::Create`] without `CAP_SYS_ADMIN`, and [`NetnsError::Netlink`] if loopback stays down.
    pub fn new(name: &str) -> Result<Self, NetnsError> {
        let namespace = Self::of(name.into(), unshared(name)?);
        namespace.prepare()?;
        Ok(namespace)
    }

    /// Puts a namespace as [`new`](Self::new) makes them in the place of this one, for all clones: a machine that
    /// lost its power. Of what the kernel had, `links` alone are kept, down and without addresses, as the hardware
    /// that they stand for. Whoever is still inside keeps what is left of the old one, to which no link leads.
    ///
    /// # Errors
    /// As [`new`](Self::new), and [`NetnsError::NoSuchLink`].
    pub fn renew(&self, links: &[&str]) -> Result<(), NetnsError> {
        // Before anything that takes time: the far ends lose their carrier.
        for link in links {
            self.set_link(link, LinkState::Down)?;
        }
        let new = Self::of(self.name.clone(), unshared(&self.name)?);
        new.prepare()?;
        for link in links {
            self.give_link(link, &new)?;
        }
        *self.handle.write().unwrap_or_else(PoisonError::into_inner) = new.handle();
        Ok(())
    }

    fn of(name: Arc<str>, handle: OwnedFd) -> Self {
        Self { name, handle: Arc::new(RwLock::new(Arc::new(handle))) }
    }

    fn prepare(&self) -> Result<(), NetnsError> {
        for scope in ["all", "default"] {
            self.sysctl(&format!("net/ipv6/conf/{scope}/accept_dad"), "0")?;
            self.sysctl(&format!("net/ipv6/conf/{scope}/dad_transmits"), "0")?;
        }
        self.set_link("lo", LinkState::Up)
    }

    /// A namespace that others made, by a path such as `/proc/PID/ns/net`; nothing in it is changed.
    ///
    /// # Errors
    /// [`NetnsError::Enter`] if the path cannot be opened.
    pub fn open(name: &str, path: impl AsRef<Path>) -> Result<Self, NetnsError> {
        let file =
            File::open(path).map_err(|source| NetnsError::Enter { namespace: name.to_owned(), source })?;
        Ok(Self::of(name.into(), file.into()))
    }

    /// The name given at creation.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A path that names the namespace to other processes of this pid namespace, for `setns` and as `CNI_NETNS`;
    /// valid as long as this process holds the namespace and does not [`renew`](Self::renew) it.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), self.handle().as_raw_fd()))
    }

    /// Runs `work` on a fresh thread inside the namespace and returns what it returns; a panic goes through.
    ///
    /// Sockets opened by `work` stay in the namespace after the thread has ended.
    ///
    /// # Errors
    /// [`NetnsError::Enter`] if the thread may not enter (the process dropped `CAP_SYS_ADMIN`).
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, NetnsError> {
        let handle = self.handle();
        on_thread(|| {
            setns(&*handle, CloneFlags::CLONE_NEWNET).map_err(|errno| NetnsError::Enter {
                namespace: self.name.to_string(),
                source: errno.into(),
            })?;
            Ok(work())
        })
    }

    /// Like [`run`](Self::run), on a detached thread that outlives this call.
    ///
    /// # Errors
    /// [`NetnsError::Enter`] if no thread can be started. If it may not enter, `work` is not run.
    pub fn run_detached(&self, work: impl FnOnce() + Send + 'static) -> Result<(), NetnsError> {
        let handle = self.handle();
        thread::Builder::new()
            .name(format!("netns-{}", self.name))
            .spawn(move || {
                if setns(&*handle, CloneFlags::CLONE_NEWNET).is_ok() {
                    work();
                }
            })
            .map(drop)
            .map_err(|source| NetnsError::Enter { namespace: self.name.to_string(), source })
    }

    /// Starts a child inside the namespace.
    ///
    /// # Errors
    /// [`NetnsError::Enter`] with the error of entering, or of starting the program.
    pub fn spawn(&self, command: &mut Command) -> Result<Child, NetnsError> {
        // A child inherits the namespace of the thread that forks it, so no code runs between fork and exec.
        self.run(|| command.spawn())?
            .map_err(|source| NetnsError::Enter { namespace: self.name.to_string(), source })
    }

    /// Drives a future on a current-thread tokio runtime inside the namespace.
    ///
    /// # Errors
    /// [`NetnsError::Enter`] if the namespace cannot be entered or no runtime can be built.
    pub fn block_on<F>(&self, future: F) -> Result<F::Output, NetnsError>
    where
        F: Future + Send,
        F::Output: Send,
    {
        self.run(|| {
            tokio::runtime::Builder::new_current_thread().enable_all().build().map(|rt| rt.block_on(future))
        })?
        .map_err(|source| NetnsError::Enter { namespace: self.name.to_string(), source })
    }

    /// Writes a kernel setting; `key` is the path below `/proc/sys`, such as `net/ipv4/ip_forward`.
    ///
    /// # Errors
    /// [`NetnsError::Sysctl`] if the setting does not exist or refuses the value.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<(), NetnsError> {
        // `/proc/sys/net` shows the settings of the reader's own namespace.
        self.run(|| std::fs::write(format!("/proc/sys/{key}"), value))?.map_err(|source| NetnsError::Sysctl {
            namespace: self.name.to_string(),
            key: key.to_owned(),
            source,
        })
    }

    pub(crate) fn handle(&self) -> Arc<OwnedFd> {
        self.handle.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Runs one conversation with the kernel's rtnetlink inside the namespace.
    pub(crate) fn netlink<T, F>(
        &self,
        talk: impl FnOnce(rtnetlink::Handle) -> F + Send,
    ) -> Result<T, NetnsError>
    where
        T: Send,
        F: Future<Output = Result<T, NetnsError>>,
    {
        let failed = |source| NetnsError::Netlink {
            namespace: self.name.to_string(),
            action: "open a netlink socket".to_owned(),
            source,
        };
        self.run(|| {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(failed)?;
            runtime.block_on(async {
                let (connection, handle, _) = rtnetlink::new_connection().map_err(failed)?;
                tokio::spawn(connection);
                talk(handle).await
            })
        })?
    }
}

fn unshared(name: &str) -> Result<OwnedFd, NetnsError> {
    // The thread that unshared goes away again; the descriptor keeps what it made.
    on_thread(|| -> io::Result<OwnedFd> {
        unshare(CloneFlags::CLONE_NEWNET)?;
        Ok(File::open("/proc/thread-self/ns/net")?.into())
    })
    .map_err(|source| NetnsError::Create { namespace: name.to_owned(), source })
}

/// Runs `work` on a thread of its own, whose namespace may change without anyone else noticing.
fn on_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| match scope.spawn(work).join() {
        Ok(value) => value,
        Err(panic) => resume_unwind(panic),
    })
}
