//! A lab that `--keep` left standing: how to find it, enter it and end it.
//!
//! The lab holds a lock on a file for as long as it lives, and the kernel tells who holds it: there is no stale
//! record to mistake for a lab. Where its namespaces are stands in a file inside the lab's own `/run`.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use muslin_netns::Namespace;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::LabError;

/// In the lab's private `/run`.
const RECORD: &str = "/run/muslin-lab.json";

/// Held by a lab that may be left standing. Its file goes with it.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    _file: File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // First the name, then the lock: whoever waits for the lock waits for an end, not for a file.
        drop(std::fs::remove_file(&self.path));
    }
}

/// Where things are in a standing lab, as seen inside.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    places: Vec<PlaceRecord>,
}

#[derive(Debug, Serialize, Deserialize)]
struct PlaceRecord {
    name: String,
    /// Descriptor of the namespace in the lab's process.
    descriptor: u32,
    /// File with the id of the process whose other namespaces are entered too, as the lab sees it.
    process: Option<PathBuf>,
    environment: Vec<(String, OsString)>,
}

/// Where a command can be run in a standing lab.
#[derive(Debug)]
pub struct Place {
    /// What it is asked for by.
    pub name: String,
    /// Its network.
    pub network: Namespace,
    /// A file with the id of a process, as the lab sees it, whose mounts and processes the command shares.
    pub process: Option<PathBuf>,
    /// What the command gets beside its own environment; `PATH` is put in front of the command's.
    pub environment: Vec<(String, OsString)>,
}

impl Lock {
    /// Takes the lock.
    ///
    /// # Errors
    /// [`LabError::Missing`] if a lab of this user stands already.
    pub fn take() -> Result<Self, LabError> {
        let path = lock_path();
        let file = open_lock(&path, OpenOptions::new().create(true)).map_err(LabError::file(&path))?;
        match fcntl(&file, FcntlArg::F_SETLK(&whole_file())) {
            Ok(_) => Ok(Self { path, _file: file }),
            Err(Errno::EAGAIN | Errno::EACCES) => {
                Err(LabError::Missing("a lab stands already: end it with `muslin lab down`".to_owned()))
            }
            Err(errno) => Err(LabError::file(path)(errno.into())),
        }
    }
}

/// Writes down where everything is, for `muslin lab shell`.
///
/// # Errors
/// [`LabError::File`] if it cannot be written.
pub fn record(places: impl IntoIterator<Item = Place>) -> Result<(), LabError> {
    let places = places.into_iter().map(|place| {
        let path = place.network.path();
        let descriptor = path.file_name().and_then(|name| name.to_string_lossy().parse().ok());
        let Place { name, process, environment, .. } = place;
        PlaceRecord { name, descriptor: descriptor.unwrap_or_default(), process, environment }
    });
    let record = Record { places: places.collect() };
    let text = serde_json::to_vec(&record).map_err(|error| LabError::file(RECORD)(error.into()))?;
    std::fs::write(RECORD, text).map_err(LabError::file(RECORD))
}

/// Runs a command in a place of the standing lab; its exit code.
pub(crate) fn shell(place: Option<&str>, command: &[OsString]) -> Result<ExitCode, LabError> {
    let (lab, _) = holder()?;
    let process = PathBuf::from(format!("/proc/{lab}"));
    let record = process.join("root").join(RECORD.trim_start_matches('/'));
    let text = std::fs::read(&record).map_err(LabError::file(&record))?;
    let record: Record =
        serde_json::from_slice(&text).map_err(|error| LabError::file(&record)(error.into()))?;
    let names = || record.places.iter().map(|place| place.name.as_str()).collect::<Vec<_>>().join(" ");
    let Some(name) = place else {
        return Err(LabError::Missing(format!(
            "which one? `muslin lab shell NAME`, with one of: {}",
            names()
        )));
    };
    let Some(place) = record.places.iter().find(|place| place.name == name) else {
        return Err(LabError::Missing(format!("there is no {name} in the lab, only: {}", names())));
    };
    // Now: inside, this process has no entry in /proc.
    let own_folder = std::env::current_exe().ok().and_then(|path| path.parent().map(Path::to_path_buf));
    let host = place.process.as_deref().map(|file| Inhabitant::read(&process, file)).transpose()?;
    enter(&process, place.descriptor)?;
    let usual = [std::env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into())];
    let words = if command.is_empty() { &usual } else { command };
    let mut shell = match host {
        None => Command::new(&words[0]),
        Some(Inhabitant { id, namespaces }) => {
            // What is in front of a network namespace: the mounts and processes of a whole host.
            let mut nsenter = Command::new("nsenter");
            nsenter.arg("--target").arg(id).args(namespaces).arg("--").arg(&words[0]);
            nsenter
        }
    };
    shell.args(&words[1..]).env("MUSLIN_LAB", name);
    let mut path: Vec<PathBuf> = own_folder.into_iter().collect();
    for (key, value) in &place.environment {
        if key == "PATH" {
            path.extend(std::env::split_paths(value));
        } else {
            shell.env(key, value);
        }
    }
    path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    if let Ok(path) = std::env::join_paths(path) {
        shell.env("PATH", path);
    }
    let program = PathBuf::from(shell.get_program());
    let mut child = shell.spawn().map_err(LabError::file(&program))?;
    // Ctrl-C is for the command, which runs in the same foreground group.
    let interrupt: SigSet = [Signal::SIGINT, Signal::SIGQUIT].into_iter().collect();
    let _ = interrupt.thread_block();
    let status = child.wait().map_err(LabError::file(&program))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(1)))
}

/// A process whose namespaces are entered.
struct Inhabitant {
    /// As the lab sees it.
    id: String,
    /// Options of `nsenter`: what it does not share with the lab, since what is shared needs, and may have, no entering.
    namespaces: Vec<&'static str>,
}

impl Inhabitant {
    /// `file` is a path in the lab, of a file with the id of the process.
    fn read(lab: &Path, file: &Path) -> Result<Self, LabError> {
        let root = lab.join("root");
        let path = root.join(file.strip_prefix("/").unwrap_or(file));
        let id = std::fs::read_to_string(&path).map_err(LabError::file(path))?.trim().to_owned();
        let own = root.join("proc").join(&id).join("ns");
        let link = |path: PathBuf| std::fs::read_link(&path).map_err(LabError::file(path));
        let mut namespaces = Vec::new();
        for (kind, option) in
            [("mnt", "--mount"), ("pid", "--pid"), ("uts", "--uts"), ("ipc", "--ipc"), ("cgroup", "--cgroup")]
        {
            if link(own.join(kind))? != link(lab.join("ns").join(kind))? {
                namespaces.push(option);
            }
        }
        Ok(Self { id, namespaces })
    }
}

/// Ends the standing lab and waits until it is gone.
pub(crate) fn down() -> Result<(), LabError> {
    let (lab, file) = holder()?;
    let failed = |errno: Errno| LabError::system("end the lab")(errno.into());
    kill(Pid::from_raw(lab), Signal::SIGTERM).map_err(failed)?;
    // Granted when the lab has let go of it, after its processes are gone.
    fcntl(&file, FcntlArg::F_SETLKW(&whole_file())).map_err(failed)?;
    Ok(())
}

/// The process of the standing lab, and the file that it has locked.
fn holder() -> Result<(i32, File), LabError> {
    let none = || LabError::Missing("no lab stands: leave one with `muslin lab --keep`".to_owned());
    let path = lock_path();
    let file = match open_lock(&path, &mut OpenOptions::new()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(none()),
        opened => opened.map_err(LabError::file(&path))?,
    };
    let mut lock = whole_file();
    fcntl(&file, FcntlArg::F_GETLK(&mut lock)).map_err(|errno| LabError::file(path)(errno.into()))?;
    if i32::from(lock.l_type) == libc::F_UNLCK || lock.l_pid <= 0 {
        return Err(none());
    }
    Ok((lock.l_pid, file))
}

/// One file per user, the same path inside and outside of a lab, whose `/run` is its own.
fn lock_path() -> PathBuf {
    let folder = Some(std::env::temp_dir()).filter(|folder| !folder.starts_with("/run"));
    folder.unwrap_or_else(|| "/tmp".into()).join(format!("muslin-lab-{}.lock", outer_user()))
}

fn open_lock(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    options.read(true).write(true).mode(0o600).custom_flags((OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC).bits());
    let file = options.open(path)?;
    if file.metadata()?.uid() != nix::unistd::geteuid().as_raw() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it belongs to another user"));
    }
    Ok(file)
}

/// This user as the outermost user namespace knows it: `uid_map` holds "inside outside count".
fn outer_user() -> u32 {
    let own = nix::unistd::geteuid().as_raw();
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let lines = map.lines().filter_map(|line| {
        let numbers: Vec<u32> = line.split_whitespace().filter_map(|number| number.parse().ok()).collect();
        <[u32; 3]>::try_from(numbers).ok()
    });
    let outside = lines.into_iter().find_map(|[inside, outside, count]| {
        own.checked_sub(inside).filter(|offset| *offset < count).map(|offset| outside + offset)
    });
    outside.unwrap_or(own)
}

fn whole_file() -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

/// Goes where the lab's process is, and into one of its network namespaces.
fn enter(process: &Path, descriptor: u32) -> Result<(), LabError> {
    // All opened before the first step, since each changes what paths mean.
    let open = |path: PathBuf| File::open(&path).map_err(LabError::file(path));
    let kinds = [
        ("user", CloneFlags::CLONE_NEWUSER),
        ("mnt", CloneFlags::CLONE_NEWNS),
        ("pid", CloneFlags::CLONE_NEWPID),
    ];
    let mut steps = Vec::new();
    for (kind, flag) in kinds {
        let path = process.join("ns").join(kind);
        let own = std::fs::read_link(Path::new("/proc/self/ns").join(kind)).map_err(LabError::file(&path))?;
        if std::fs::read_link(&path).map_err(LabError::file(&path))? != own {
            steps.push((open(path)?, flag));
        }
    }
    let network = process.join("fd").join(descriptor.to_string());
    steps.push((open(network)?, CloneFlags::CLONE_NEWNET));
    for (namespace, flag) in steps {
        setns(namespace, flag).map_err(|errno| LabError::system("enter the lab")(errno.into()))?;
    }
    Ok(())
}
