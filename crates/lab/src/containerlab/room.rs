//! Where a node's programs run: network, mounts and host name of its own, over the machine's programs and libraries.
//!
//! `/etc` shows the machine's files, without the configuration of the daemons that are run here; `/run` and `/var` are
//! empty; what `binds` name lies over all that. Nothing of it is written to the machine.

mod mounts;

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use muslin_netns::Namespace;
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{User, chown, sethostname};

use super::file::NodeSpec;
use super::image;
use crate::LabError;
use crate::daemon::Daemon;

/// A node's namespaces. The kernel keeps them as long as this does.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) network: Namespace,
    /// Holds the place, so that others can enter it by a process.
    pub(super) holder: Daemon,
    spaces: Spaces,
    environment: Vec<(String, String)>,
    search: std::ffi::OsString,
}

#[derive(Debug)]
struct Spaces {
    mounts: File,
    host_name: File,
}

impl Room {
    /// Makes the namespaces; `folder` is an empty one for the node's files.
    pub(super) fn make(node: &NodeSpec, folder: &Path) -> Result<Self, LabError> {
        let network = Namespace::new(&node.name)?;
        for (key, value) in &node.sysctls {
            network.sysctl(key, value)?;
        }
        let run = folder.join("run");
        fs::create_dir(&run).map_err(LabError::file(&run))?;
        let spaces = network.run(|| Spaces::make(node, &run))??;
        let usual = std::env::var_os("PATH").unwrap_or_default();
        let inside = [mounts::programs(), mounts::tools()];
        let daemons = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
        let search =
            inside.into_iter().chain(std::env::split_paths(&usual)).chain(daemons.map(PathBuf::from));
        let search = std::env::join_paths(search)
            .map_err(|error| LabError::system("put PATH together")(io::Error::other(error)))?;
        let environment = node.environment.clone().into_iter().collect();
        let mut hold = Command::new("sleep");
        hold.arg("infinity");
        let log = folder.join("holder.log");
        let holder = Daemon::spawn(format!("holder of {}", node.name), &mut hold, log, |command| {
            spaces.spawn(&network, command)
        })?;
        Ok(Self { network, holder, spaces, environment, search })
    }

    /// Starts a program of the node; what it prints goes to `log`.
    pub(super) fn start(&self, name: String, words: &[String], log: PathBuf) -> Result<Daemon, LabError> {
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).envs(self.environment.iter().cloned()).env("PATH", &self.search);
        Daemon::spawn(name, &mut command, log, |command| self.spaces.spawn(&self.network, command))
    }

    /// What a command in here gets beside its own environment.
    pub(super) fn environment(&self) -> Vec<(String, std::ffi::OsString)> {
        let own = self.environment.iter().map(|(key, value)| (key.clone(), value.into()));
        own.chain([("PATH".to_owned(), self.search.clone())]).collect()
    }
}

impl Spaces {
    /// Called on a thread of its own, which enters what it makes.
    fn make(node: &NodeSpec, run: &Path) -> Result<Self, LabError> {
        let failed = |errno: nix::Error| LabError::system("make a node's namespaces")(errno.into());
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS).map_err(failed)?;
        sethostname(&node.name).map_err(failed)?;
        mounts::prepare(node, run).map_err(|error| LabError::Process {
            process: format!("node {}", node.name),
            problem: format!("cannot be given its files: {error}"),
            log: String::new(),
        })?;
        if image::is_frr(node) {
            give_to_frr()?;
        }
        let open = |kind: &str| {
            let path = Path::new("/proc/thread-self/ns").join(kind);
            File::open(&path).map_err(LabError::file(path))
        };
        Ok(Self { mounts: open("mnt")?, host_name: open("uts")? })
    }

    fn spawn(&self, network: &Namespace, command: &mut Command) -> Result<Child, LabError> {
        let program = PathBuf::from(command.get_program());
        let enter = || -> io::Result<Child> {
            // A thread that shares its root and folder with others may not change them.
            unshare(CloneFlags::CLONE_FS)?;
            setns(self.mounts.as_fd(), CloneFlags::CLONE_NEWNS)?;
            setns(self.host_name.as_fd(), CloneFlags::CLONE_NEWUTS)?;
            command.spawn()
        };
        network.run(enter)?.map_err(LabError::file(program))
    }
}

/// The folders that FRR's package has for its daemons, which run as a user of their own.
fn give_to_frr() -> Result<(), LabError> {
    for folder in ["/run/frr", "/var/lib/frr", "/var/log/frr", "/var/tmp/frr"] {
        let path = Path::new(folder);
        let failed = |errno: nix::Error| LabError::file(path)(errno.into());
        fs::create_dir_all(path).map_err(LabError::file(path))?;
        if let Some(user) = User::from_name("frr").map_err(failed)? {
            chown(path, Some(user.uid), Some(user.gid)).map_err(failed)?;
        }
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(LabError::file(path))?;
    }
    Ok(())
}
