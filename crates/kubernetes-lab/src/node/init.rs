//! A node from the inside: a process that enters namespaces and a control group of its own, and one in it that is
//! process 1, makes the file system look like a machine's, and keeps the node's services running.
//!
//! ```text
//! lab ── outer: in the node's network and control groups; killing it is a power failure
//!          └── init: process 1 ── containerd ── pods
//!                             ├── kubelet
//!                             └── kube-proxy
//! ```
//! Standard paths are the node's own, so that nothing that is installed on it has to know that it is in a lab.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use muslin_lab::LabError;
use nix::fcntl::{OFlag, openat, renameat};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, sethostname};
use serde::{Deserialize, Serialize};

use crate::cgroup::Hierarchy;
use crate::poll;

/// `argv[0]` of process 1.
const INIT: &str = "muslin-lab-node-init";
/// A service that ended is started again after this.
const PAUSE: Duration = Duration::from_millis(500);
/// How often process 1 looks after its children and for what services wait for.
const LOOK: Duration = Duration::from_millis(20);

/// What a node is made of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct NodeSetup {
    pub(crate) name: String,
    /// What stands for `/var/lib`, `/var/log`, `/opt` and what is changed in `/etc`; it survives a reboot.
    pub(crate) folder: PathBuf,
    /// Kubernetes' programs, found in the node as [`PROGRAMS`].
    pub(crate) programs: PathBuf,
    /// The folder of the product's commands, found in the node as [`COMMANDS`].
    pub(crate) commands: PathBuf,
    pub(crate) hierarchies: Vec<Hierarchy>,
    pub(crate) services: Vec<Service>,
    /// Where process 1 writes its id, as the lab sees it.
    pub(crate) process: PathBuf,
}

/// A program that process 1 keeps running.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) program: PathBuf,
    /// Where its arguments are, one a line, as the node sees it; whenever it is started, they are read.
    pub(crate) arguments: PathBuf,
    /// It is started when this exists.
    pub(crate) after: Option<PathBuf>,
}

/// Where a node has Kubernetes' programs.
pub(crate) const PROGRAMS: &str = "/opt/kubernetes";
/// Where a node has the product's commands, for who looks around: a checkout below `/tmp` is out of its sight.
pub(crate) const COMMANDS: &str = "/opt/muslin";
/// Where a node has its configuration files.
pub(crate) const CONFIGURATION: &str = "/var/lib/muslin-lab";

/// Arguments of the hidden command that is a node.
#[derive(Clone, Debug, clap::Args)]
pub struct NodeArgs {
    /// What the node is made of
    setup: PathBuf,
}

/// Runs a node of the lab until it is killed.
///
/// Call it before any thread is started.
pub fn run_node(arguments: &NodeArgs) -> ExitCode {
    let inside = std::env::args_os().next().is_some_and(|name| name == INIT);
    let done = read(&arguments.setup).and_then(|setup| {
        if inside { init(&setup).map(|()| ExitCode::SUCCESS) } else { outer(&setup, &arguments.setup) }
    });
    done.unwrap_or_else(|error| {
        drop(writeln!(io::stderr(), "error: {error}"));
        ExitCode::FAILURE
    })
}

fn read(path: &Path) -> Result<NodeSetup, LabError> {
    let text = fs::read(path).map_err(LabError::file(path))?;
    serde_json::from_slice(&text).map_err(|error| LabError::file(path)(error.into()))
}

/// Enters the groups and namespaces, starts process 1, and ends with it.
fn outer(setup: &NodeSetup, file: &Path) -> Result<ExitCode, LabError> {
    let failed = |errno: nix::Error| LabError::system("make namespaces for a node")(errno.into());
    for hierarchy in &setup.hierarchies {
        let processes = hierarchy.group.join("cgroup.procs");
        fs::write(&processes, "0").map_err(LabError::file(processes))?;
    }
    unshare(
        CloneFlags::CLONE_NEWCGROUP
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWPID
            | CloneFlags::CLONE_NEWUTS,
    )
    .map_err(failed)?;
    // Process 1 covers the lab's folder, for us as well.
    let (folder, name) = open_folder_of(&setup.process)?;
    let mut init = Command::new("/proc/self/exe")
        .arg0(INIT)
        .args(std::env::args_os().skip(1))
        // A node has a /tmp of its own: what the caller has in its place is not there, and no probe could be run.
        .env_remove("TMPDIR")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(LabError::file(file))?;
    let booted = init.stdout.take().map(|mut said| said.read_exact(&mut [0]));
    if let Some(Ok(())) = booted {
        tell_process(&folder, &name, init.id()).map_err(LabError::file(&setup.process))?;
    }
    let status = init.wait().map_err(LabError::system("wait for a node"))?;
    Ok(ExitCode::from(u8::from(!status.success())))
}

fn open_folder_of(path: &Path) -> Result<(File, OsString), LabError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let opened = File::open(folder).map_err(LabError::file(folder))?;
    Ok((opened, path.file_name().unwrap_or_default().to_owned()))
}

/// Writes the number of process 1 where the lab awaits it: whoever finds the file finds it whole, and the node booted.
fn tell_process(folder: &File, name: &OsStr, id: u32) -> io::Result<()> {
    let new = OsStr::new("process.new");
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_CLOEXEC;
    let mut file = File::from(openat(folder, new, flags, Mode::from_bits_truncate(0o644))?);
    file.write_all(id.to_string().as_bytes())?;
    renameat(folder, new, folder, name)?;
    Ok(())
}

/// Process 1.
fn init(setup: &NodeSetup) -> Result<(), LabError> {
    let failed = |errno: nix::Error| LabError::system("begin a node")(errno.into());
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(failed)?;
    sethostname(&setup.name).map_err(failed)?;
    make_file_system(setup)?;
    io::stdout()
        .write_all(b".")
        .and_then(|()| io::stdout().flush())
        .map_err(LabError::system("begin a node"))?;
    let mut services: Vec<Running<'_>> = setup.services.iter().map(Running::new).collect();
    loop {
        for service in &mut services {
            service.keep_running()?;
        }
        reap(&mut services);
        poll::rest(LOOK);
    }
}

/// A service and its process.
struct Running<'a> {
    service: &'a Service,
    child: Option<Child>,
    not_before: Instant,
}

impl<'a> Running<'a> {
    fn new(service: &'a Service) -> Self {
        Self { service, child: None, not_before: Instant::now() }
    }

    fn keep_running(&mut self) -> Result<(), LabError> {
        let Service { name, program, arguments, after } = self.service;
        let wait = after.as_ref().is_some_and(|path| !path.exists()) || Instant::now() < self.not_before;
        if self.child.is_some() || wait {
            return Ok(());
        }
        let path = PathBuf::from(format!("/var/log/{name}.log"));
        let log = File::options().create(true).append(true).open(&path);
        let log = log.map_err(LabError::file(&path))?;
        let errors = log.try_clone().map_err(LabError::file(&path))?;
        let arguments = fs::read_to_string(arguments).map_err(LabError::file(arguments))?;
        let mut command = Command::new(program);
        command.args(arguments.lines()).stdin(Stdio::null()).stdout(log).stderr(errors);
        let child = command.spawn().map_err(LabError::file(program))?;
        self.child = Some(child);
        Ok(())
    }
}

/// Process 1 inherits every orphan of the node.
fn reap(services: &mut [Running<'_>]) {
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        let Some(ended) = status.pid().filter(|_| status != WaitStatus::StillAlive) else { return };
        let is = |child: &Child| Pid::from_raw(child.id().cast_signed()) == ended;
        for running in services.iter_mut().filter(|running| running.child.as_ref().is_some_and(is)) {
            running.child = None;
            running.not_before = Instant::now() + PAUSE;
        }
    }
}

/// Settings of the whole machine that kubelets want to write; the node gets a file of its own for each.
const MACHINE_SETTINGS: [&str; 5] = [
    "vm/overcommit_memory",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
];

/// What tells one boot of a machine from the next.
const BOOT_ID: &str = "kernel/random/boot_id";

fn make_file_system(setup: &NodeSetup) -> Result<(), LabError> {
    // What happens here stays here.
    mount_at("none", "/", "", MsFlags::MS_REC | MsFlags::MS_PRIVATE, "")?;
    mount_at("proc", "/proc", "proc", careful() | MsFlags::MS_NOEXEC, "")?;
    mount_control_groups(&setup.hierarchies)?;

    let folder = &setup.folder;
    let settings = folder.join("settings");
    for setting in MACHINE_SETTINGS {
        let (real, own) = (Path::new("/proc/sys").join(setting), settings.join(setting.replace('/', ".")));
        // Keys may be missing from a kernel.
        let Ok(value) = fs::read(&real) else { continue };
        make_folder(&settings)?;
        fs::write(&own, value).map_err(LabError::file(&own))?;
        bind(&own, &real)?;
    }
    // Every start is a boot of its own.
    let (real, own) = (Path::new("/proc/sys").join(BOOT_ID), settings.join(BOOT_ID.replace('/', ".")));
    let fresh = Path::new("/proc/sys/kernel/random/uuid");
    let boot_id = fs::read(fresh).map_err(LabError::file(fresh))?;
    make_folder(&settings)?;
    fs::write(&own, boot_id).map_err(LabError::file(&own))?;
    bind(&own, &real)?;
    for (source, place) in [(&setup.programs, PROGRAMS), (&setup.commands, COMMANDS)] {
        let own = folder.join(place.trim_start_matches('/'));
        make_folder(&own)?;
        bind(source, &own)?;
    }
    for (own, usual) in [("lib", "/var/lib"), ("log", "/var/log"), ("opt", "/opt")] {
        let own = folder.join(own);
        make_folder(&own)?;
        bind(&own, Path::new(usual))?;
    }
    let (upper, work) = (folder.join("etc"), folder.join("etc.work"));
    make_folder(&upper)?;
    make_folder(&work)?;
    let layers = format!("lowerdir=/etc,upperdir={},workdir={}", upper.display(), work.display());
    mount_at("overlay", "/etc", "overlay", MsFlags::empty(), &layers)?;
    // Last, since the node's folder is below them.
    mount_at("tmpfs", "/tmp", "tmpfs", careful(), "mode=1777")?;
    mount_at("tmpfs", "/run", "tmpfs", careful(), "mode=0755")?;
    // As on a machine: what a container mounts into a shared folder is seen by all.
    mount_at("none", "/", "", MsFlags::MS_REC | MsFlags::MS_SHARED, "")
}

/// The node's groups as the whole of them.
fn mount_control_groups(hierarchies: &[Hierarchy]) -> Result<(), LabError> {
    umount2("/sys", MntFlags::MNT_DETACH).map_err(|errno| LabError::system("unmount /sys")(errno.into()))?;
    mount_at("sysfs", "/sys", "sysfs", careful() | MsFlags::MS_NOEXEC, "")?;
    if hierarchies.iter().any(|hierarchy| hierarchy.controllers.is_empty()) {
        return mount_at("cgroup2", "/sys/fs/cgroup", "cgroup2", careful(), "");
    }
    mount_at("tmpfs", "/sys/fs/cgroup", "tmpfs", careful(), "mode=0755")?;
    for Hierarchy { controllers, .. } in hierarchies {
        let place = format!("/sys/fs/cgroup/{controllers}");
        make_folder(Path::new(&place))?;
        mount_at("cgroup", &place, "cgroup", careful(), controllers)?;
    }
    Ok(())
}

fn careful() -> MsFlags {
    MsFlags::MS_NOSUID | MsFlags::MS_NODEV
}

fn mount_at(source: &str, target: &str, kind: &str, flags: MsFlags, data: &str) -> Result<(), LabError> {
    mount(Some(source), target, Some(kind), flags, Some(data))
        .map_err(|errno| LabError::file(target)(errno.into()))
}

fn bind(source: &Path, target: &Path) -> Result<(), LabError> {
    let none = None::<&str>;
    mount(Some(source), target, none, MsFlags::MS_BIND | MsFlags::MS_REC, none)
        .map_err(|errno| LabError::file(target)(errno.into()))
}

fn make_folder(path: &Path) -> Result<(), LabError> {
    fs::create_dir_all(path).map_err(LabError::file(path))
}
