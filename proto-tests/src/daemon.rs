//! A daemon under test: what a test may ask of it, and the process that it is.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use ipnet::IpNet;
use muslin_bgp_packet::Family;
use muslin_netns::Namespace;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{PidfdFlags, pidfd_open};
use tempfile::TempDir;

use crate::route::{Announcement, Route};
use crate::setup::Setup;
use crate::wait;

/// How long a process may take to end when told to.
const END_WITHIN: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };

/// A daemon does not have what it was asked for, and says so itself. An error that a scenario ends with is told
/// apart by it from one that nobody expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(pub String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// A running BGP speaker.
pub trait Daemon: Send {
    /// How many of its sessions are established.
    ///
    /// # Errors
    /// When the daemon does not answer or its answer cannot be read; so for all methods.
    fn established(&mut self) -> Result<usize>;

    /// Every path that it has from its peers.
    ///
    /// # Errors
    /// As above.
    fn received(&mut self) -> Result<BTreeSet<Route>>;

    /// Originates one more prefix.
    ///
    /// # Errors
    /// As above.
    fn announce(&mut self, announcement: &Announcement) -> Result<()>;

    /// Originates one of several paths to a prefix (RFC 7911), by its own identifier and AS_PATH.
    ///
    /// # Errors
    /// As above, and [`Refused`] when it only has several paths of what it learned.
    fn announce_path(&mut self, prefix: IpNet, _identifier: u8, _as_path: &[u32]) -> Result<()> {
        bail!(Refused(format!("it has one path of its own to {prefix}")))
    }

    /// Originates a prefix no longer.
    ///
    /// # Errors
    /// As above.
    fn withdraw(&mut self, prefix: IpNet) -> Result<()>;

    /// Asks the peers for all their routes again (RFC 2918).
    ///
    /// # Errors
    /// As above.
    fn refresh(&mut self) -> Result<()>;

    /// The families whose End-of-RIB it received; `None` when it tells nobody.
    ///
    /// # Errors
    /// As above.
    fn ends_of_rib(&mut self) -> Result<Option<BTreeSet<Family>>>;

    /// Makes the sessions of the running daemon what a changed setup says of them.
    ///
    /// # Errors
    /// As above.
    fn reload(&mut self, setup: &Setup) -> Result<()>;

    /// Shuts its sessions down and tells the peers why (RFC 9003).
    ///
    /// # Errors
    /// As above, and [`Refused`] when it cannot.
    fn shut_down(&mut self, text: &str) -> Result<()>;

    /// Ends the BGP process as a crash would, and starts it again as one that restarts (RFC 4724).
    ///
    /// # Errors
    /// As above, and [`Refused`] when it cannot.
    fn crash(&mut self, namespace: &Namespace) -> Result<()>;

    /// How many ROUTE-REFRESH messages came on each of its sessions, marks (RFC 7313) included.
    ///
    /// # Errors
    /// As above, and [`Refused`] when it does not tell.
    fn refreshes(&mut self) -> Result<Vec<u64>>;

    /// Everything that it told its operator so far.
    ///
    /// # Errors
    /// As above.
    fn said(&mut self) -> Result<String> {
        self.process().log()
    }

    /// Its process, to be frozen or read from.
    fn process(&self) -> &Process;
}

/// A child process with a folder and a log of its own; stopped and waited for when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    folder: TempDir,
}

impl Process {
    /// A folder for a process that is to be, readable by a daemon that runs as a user of its own.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn folder() -> Result<TempDir> {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::Builder::new().prefix("muslin-proto-").tempdir()?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        Ok(folder)
    }

    /// Starts a program in a namespace. Its output goes to `log` in the folder.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(namespace: &Namespace, folder: TempDir, command: &mut Command) -> Result<Self> {
        let child = Self::spawn(namespace, &folder, command)?;
        Ok(Self { child, folder })
    }

    /// Ends the process and those that it started by a signal, and starts a program in its place and with its folder.
    /// Its log goes on.
    ///
    /// # Errors
    /// When it does not end, or the other one cannot be started.
    pub fn replace(&mut self, with: Signal, namespace: &Namespace, command: &mut Command) -> Result<()> {
        // All at once: one that sees another end would say goodbye, or be gone before its own signal.
        self.freeze()?;
        let family = Self::family(self.child.id())?;
        let ends = family.iter().map(|id| end_of(*id)).collect::<Result<Vec<_>>>()?;
        for id in family {
            signal(id, with)?;
            if with != Signal::SIGKILL {
                signal(id, Signal::SIGCONT)?;
            }
        }
        // The last of them may be the one that has the port.
        for end in ends {
            let ready = poll(&mut [PollFd::new(&end, PollFlags::IN)], Some(&END_WITHIN))?;
            ensure!(ready == 1, "{:?} did not end within {END_WITHIN:?} of {with}", self.child);
        }
        self.child.wait()?;
        self.child = Self::spawn(namespace, &self.folder, command)?;
        Ok(())
    }

    fn spawn(namespace: &Namespace, folder: &TempDir, command: &mut Command) -> Result<Child> {
        let log = File::options().create(true).append(true).open(folder.path().join("log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).current_dir(folder.path());
        namespace
            .spawn(command)
            .with_context(|| format!("{} could not be started", command.get_program().display()))
    }

    /// A path in the process's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Its id and those of the processes that it started.
    ///
    /// # Errors
    /// When it is gone.
    pub fn ids(&self) -> Result<Vec<u32>> {
        Self::family(self.child.id())
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The first line of its log that holds any of the words, without what stands before them: what it said when it
    /// did not understand its configuration.
    pub fn complaint(&self, words: &[&str]) -> Option<Refused> {
        let log = self.log().ok()?;
        let found = log.lines().find_map(|line| {
            let start = words.iter().filter_map(|word| line.find(word)).min()?;
            Some(line[start..].trim().to_owned())
        });
        found.map(Refused)
    }

    /// Everything that it printed so far.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn log(&self) -> Result<String> {
        let mut text = Vec::new();
        File::open(self.path("log"))?.read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// The families for which a line of the log holds all of the words.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn logged(&self, ipv4: &[&str], ipv6: &[&str]) -> Result<BTreeSet<Family>> {
        let log = self.log()?;
        let has = |words: &[&str]| log.lines().any(|line| words.iter().all(|word| line.contains(word)));
        let families = [(Family::Ipv4Unicast, has(ipv4)), (Family::Ipv6Unicast, has(ipv6))];
        Ok(families.into_iter().filter_map(|(family, seen)| seen.then_some(family)).collect())
    }

    /// Waits until a file is there, and if it is a socket, until somebody listens on it.
    ///
    /// # Errors
    /// When it does not appear or the process ends before.
    pub fn await_file(&mut self, name: &str) -> Result<()> {
        let path = self.path(name);
        wait::until(&path.display().to_string(), || {
            self.check()?;
            Ok(is_ready(&path).map_err(|error| error.to_string()))
        })
    }

    /// Complains when the process has ended.
    ///
    /// # Errors
    /// Its exit status and its log, when it has.
    pub fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("it has ended, {status}:\n{}", self.log()?),
            None => Ok(()),
        }
    }

    /// Sends a signal to the process.
    ///
    /// # Errors
    /// When it is gone.
    pub fn signal(&self, what: Signal) -> Result<()> {
        signal(self.child.id(), what)
    }

    /// Stops the process and those that it started in their tracks, as a machine that hangs; [`thaw`](Self::thaw) lets
    /// them go on.
    ///
    /// # Errors
    /// When they are gone.
    pub fn freeze(&self) -> Result<()> {
        Self::family(self.child.id())?.into_iter().try_for_each(|id| signal(id, Signal::SIGSTOP))
    }

    /// Lets frozen processes go on.
    ///
    /// # Errors
    /// When they are gone.
    pub fn thaw(&self) -> Result<()> {
        Self::family(self.child.id())?.into_iter().try_for_each(|id| signal(id, Signal::SIGCONT))
    }

    /// A process and, below it, those that it started.
    fn family(id: u32) -> Result<Vec<u32>> {
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
        let mut all = vec![id];
        for child in children.split_whitespace() {
            all.extend(Self::family(child.parse()?)?);
        }
        Ok(all)
    }
}

/// An error while a file is not there, or is a socket on which nobody listens: OpenBGPD makes its control socket before it
/// reads its configuration, and listens after that.
///
/// # Errors
/// What the kernel says of it.
pub fn is_ready(path: &Path) -> io::Result<()> {
    if fs::metadata(path)?.file_type().is_socket() { UnixStream::connect(path).map(drop) } else { Ok(()) }
}

/// Readable once the process has ended.
fn end_of(id: u32) -> Result<OwnedFd> {
    let id = i32::try_from(id).ok().and_then(rustix::process::Pid::from_raw).context("process id")?;
    Ok(pidfd_open(id, PidfdFlags::empty())?)
}

fn signal(id: u32, signal: Signal) -> Result<()> {
    let id = i32::try_from(id).context("process id")?;
    kill(Pid::from_raw(id), signal).with_context(|| format!("{signal} to {id}"))
}

impl Drop for Process {
    fn drop(&mut self) {
        // A process that was frozen must run to see the request.
        let _ = self.thaw();
        let _ = signal(self.child.id(), Signal::SIGTERM);
        let ended = wait::until("the end", || Ok(self.child.try_wait()?.ok_or_else(|| "it runs".to_owned())));
        if ended.is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Runs a daemon's client and returns what it prints.
///
/// # Errors
/// When it fails, with what it printed to standard error.
pub fn ask(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&said));
    }
    String::from_utf8(output.stdout).with_context(|| format!("{command:?}"))
}

/// Writes a configuration file that only its owner may read, as OpenBGPD demands.
///
/// # Errors
/// When it cannot be written.
pub fn write_configuration(path: &Path, text: &str) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}
