//! Root for everyone, and a process tree that dies as one.
//!
//! ```text
//! caller ── outer: waits, passes signals on ── init: pid 1 of a new pid namespace, reaps ── inside: the caller again
//! ```
//! All three are the same program with the same arguments; `argv[0]` says which one it is, so that nothing is
//! inherited by further children (an environment variable would be).

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, IntoRawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitCode};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::mount::{MsFlags, mount};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getgid, getuid, pipe};

use crate::NetnsError;

const INIT: &str = " [isolated: init ";
const INSIDE: &str = " [isolated]";
/// Below 64 no exit code of ours is used; 125 is the code of `env`, `chroot` and `timeout` for "could not start".
const COULD_NOT_START: u8 = 125;
/// From init to outer: "I am here" (fails if outer is gone), then at most one outcome.
const HELLO: u8 = 0xff;
/// The ways for the inside to say to init: let go of the terminal and of outer. Two, since a signal has no payload.
const DETACH_SUCCEEDED: Signal = Signal::SIGUSR1;
const DETACH_FAILED: Signal = Signal::SIGUSR2;

/// Which process the caller of [`become_root_in_user_namespace`] finds itself in.
#[derive(Debug)]
pub enum Entered {
    /// Root inside new mount and pid namespaces: do the work.
    Inside(Inside),
    /// The work was done by a child and is over (or has detached): end with this code.
    Finished(ExitCode),
}

/// Proof of being inside, and the way to let go of the terminal.
#[derive(Debug)]
pub struct Inside(());

impl Inside {
    /// Leaves the process tree standing in the background: whoever started it gets `success` as exit code 0 or 1 and
    /// the terminal back; this process goes on with its standard streams on `/dev/null`.
    ///
    /// # Errors
    /// [`NetnsError::Isolate`] if the streams cannot be let go.
    pub fn detach(self, success: bool) -> Result<(), NetnsError> {
        let failed = |source| NetnsError::Isolate {
            action: "detach from the terminal",
            source,
            remedy: "nothing is left running",
        };
        io::stdout().flush().map_err(failed)?;
        release_streams().map_err(failed)?;
        let signal = if success { DETACH_SUCCEEDED } else { DETACH_FAILED };
        kill(Pid::from_raw(1), signal).map_err(|errno| failed(errno.into()))
    }
}

/// Makes the caller root in namespaces of its own: mount (with a private `/proc` and an empty `/run`), pid, and, for
/// an ordinary user, a user namespace in which that user is root.
///
/// It runs the program again, so call it before any thread is started and before anything is printed or changed.
/// When the caller that stays outside is killed, even by SIGKILL, everything inside is killed with it; SIGINT, SIGTERM
/// and SIGHUP are passed to the inside once. Orphans inside are reaped.
///
/// # Errors
/// [`NetnsError::Isolate`] if the kernel or its administrator does not allow it, with a remedy.
pub fn become_root_in_user_namespace() -> Result<Entered, NetnsError> {
    let arg0 = std::env::args_os().next().unwrap_or_default().to_string_lossy().into_owned();
    if let Some(name) = arg0.strip_suffix(INSIDE) {
        debug_assert!(!name.contains(INIT), "the stages do not nest");
        signals().thread_unblock().map_err(|errno| isolate("unblock signals", errno.into()))?;
        return Ok(Entered::Inside(Inside(())));
    }
    if let Some((name, descriptor)) = arg0.rsplit_once(INIT) {
        return Ok(Entered::Finished(init(name, descriptor.trim_end_matches(']'))));
    }
    outer(&arg0)
}

fn outer(arg0: &str) -> Result<Entered, NetnsError> {
    unshare_as_root()?;
    signals().thread_block().map_err(|errno| isolate("block signals", errno.into()))?;
    // Not close-on-exec: init finds the writing end by its number.
    let (reader, writer) = pipe().map_err(|errno| isolate("make a pipe", errno.into()))?;
    fcntl(&reader, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))
        .map_err(|errno| isolate("make a pipe", errno.into()))?;
    let number = writer.into_raw_fd();
    let init = Command::new("/proc/self/exe")
        .arg0(format!("{arg0}{INIT}{number}]"))
        .args(std::env::args_os().skip(1))
        // Ctrl-C of the terminal reaches outer alone, which passes it on once.
        .process_group(0)
        .spawn()
        .map_err(|source| isolate("start the isolated process", source))?;
    nix::unistd::close(number).map_err(|errno| isolate("make a pipe", errno.into()))?;
    wait_for_init(init, File::from(reader)).map(Entered::Finished)
}

/// New mount and pid namespaces (the latter for children only), if need be by way of a user namespace.
fn unshare_as_root() -> Result<(), NetnsError> {
    let namespaces = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID;
    match unshare(namespaces) {
        Ok(()) => return Ok(()),
        Err(Errno::EPERM) => {}
        Err(errno) => return Err(isolate("create mount and pid namespaces", errno.into())),
    }
    let (uid, gid) = (getuid(), getgid());
    unshare(CloneFlags::CLONE_NEWUSER | namespaces)
        .map_err(|errno| isolate("create a user namespace", errno.into()))?;
    // user_namespaces(7): an unprivileged process must give up setgroups before it may map its group.
    for (file, content) in [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", format!("0 {uid} 1")),
        ("/proc/self/gid_map", format!("0 {gid} 1")),
    ] {
        std::fs::write(file, content).map_err(|source| isolate("become root in a user namespace", source))?;
    }
    Ok(())
}

/// Waits for init's end, for its word that it let go, and for signals to pass on.
///
/// One `poll` over both, since the kernel allows no thread to a process whose children get another pid namespace.
fn wait_for_init(mut init: Child, mut word: File) -> Result<ExitCode, NetnsError> {
    let pid = Pid::from_raw(init.id().cast_signed());
    let signals = SignalFd::with_flags(&signals(), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .map_err(|errno| isolate("watch signals", errno.into()))?;
    let mut listening = true;
    loop {
        let mut ready =
            [PollFd::new(signals.as_fd(), PollFlags::POLLIN), PollFd::new(word.as_fd(), PollFlags::POLLIN)];
        let watched = if listening { &mut ready[..] } else { &mut ready[..1] };
        match poll(watched, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(isolate("watch the isolated process", errno.into())),
        }
        if listening && ready[1].any().unwrap_or(false) {
            let mut byte = [0];
            match word.read(&mut byte) {
                Ok(1) if byte[0] == HELLO => {}
                Ok(1) => return Ok(ExitCode::from(byte[0])),
                // Init is ending; its exit code is on the way.
                _ => listening = false,
            }
        }
        while let Ok(Some(signal)) = signals.read_signal() {
            if Signal::SIGCHLD as u32 != signal.ssi_signo {
                // It may be gone already; then SIGCHLD is on its way.
                pass_on(pid, signal.ssi_signo);
            } else if let Ok(Some(status)) = init.try_wait() {
                let code = status.code().or(status.signal().map(|signal| 128 + signal));
                return Ok(ExitCode::from(
                    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(COULD_NOT_START),
                ));
            }
        }
    }
}

fn pass_on(process: Pid, number: u32) {
    if let Ok(signal) = Signal::try_from(number.cast_signed()) {
        let _ = kill(process, signal);
    }
}

/// Pid 1: prepares the mounts, starts the inside, reaps, and ends with it; the kernel then kills what is left.
fn init(name: &str, descriptor: &str) -> ExitCode {
    let (outer, inside) = match begin(name, descriptor) {
        Ok(started) => started,
        Err(error) => {
            // There is nobody to return an error to but the person at the keyboard.
            drop(writeln!(io::stderr(), "error: {error}"));
            return ExitCode::from(COULD_NOT_START);
        }
    };
    let mut outer = Some(outer);
    loop {
        match signals().wait() {
            Ok(Signal::SIGCHLD) => {
                if let Some(code) = reap(inside) {
                    return code;
                }
            }
            Ok(signal @ (DETACH_SUCCEEDED | DETACH_FAILED)) => {
                if let Some(outer) = outer.take() {
                    detach_init(outer, signal);
                }
            }
            Ok(signal) => _ = kill(inside, signal),
            Err(_) => {}
        }
    }
}

fn begin(name: &str, descriptor: &str) -> Result<(File, Pid), NetnsError> {
    let pipe_failed = |source| isolate("reach the process outside", source);
    let mut outer =
        OpenOptions::new().write(true).open(format!("/proc/self/fd/{descriptor}")).map_err(pipe_failed)?;
    let number = descriptor.parse::<i32>().map_err(|error| pipe_failed(io::Error::other(error)))?;
    nix::unistd::close(number).map_err(|errno| pipe_failed(errno.into()))?;
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(|errno| isolate("die with the parent", errno.into()))?;
    // Fails with EPIPE if outer died before the line above.
    outer.write_all(&[HELLO]).map_err(pipe_failed)?;

    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .map_err(|errno| isolate("make the mounts private", errno.into()))?;
    let careful = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("proc"), "/proc", Some("proc"), careful | MsFlags::MS_NOEXEC, none)
        .map_err(|errno| isolate("mount /proc", errno.into()))?;
    mount(Some("tmpfs"), "/run", Some("tmpfs"), careful, Some("mode=0755"))
        .map_err(|errno| isolate("mount /run", errno.into()))?;
    let inside = Command::new("/proc/self/exe")
        .arg0(format!("{name}{INSIDE}"))
        .args(std::env::args_os().skip(1))
        .spawn()
        .map_err(|source| isolate("start the isolated process", source))?;
    Ok((outer, Pid::from_raw(inside.id().cast_signed())))
}

/// Reaps all that ended; the exit code once it was the inside itself.
fn reap(inside: Pid) -> Option<ExitCode> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == inside => {
                return Some(ExitCode::from(u8::try_from(code).unwrap_or(COULD_NOT_START)));
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == inside => {
                return Some(ExitCode::from(u8::try_from(128 + signal as i32).unwrap_or(COULD_NOT_START)));
            }
            Ok(WaitStatus::StillAlive) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}

/// Outer may end now without taking everything along; if a step fails, it stays and nothing is lost.
fn detach_init(mut outer: File, signal: Signal) {
    if prctl::set_pdeathsig(None).is_ok() && release_streams().is_ok() {
        drop(outer.write_all(&[u8::from(signal == DETACH_FAILED)]));
    }
}

fn release_streams() -> io::Result<()> {
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::dup2_stderr(&null)?;
    Ok(())
}

fn signals() -> SigSet {
    [Signal::SIGCHLD, Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, DETACH_SUCCEEDED, DETACH_FAILED]
        .into_iter()
        .collect()
}

fn isolate(action: &'static str, source: io::Error) -> NetnsError {
    let remedy = match source.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EINVAL) => "this must happen before the process starts a thread",
        Some(Errno::ENOSPC) => "allow user namespaces (sysctl user.max_user_namespaces) or run as root",
        _ => {
            "run as root, or allow unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone=1, on Ubuntu \
             kernel.apparmor_restrict_unprivileged_userns=0)"
        }
    };
    NetnsError::Isolate { action, source, remedy }
}
