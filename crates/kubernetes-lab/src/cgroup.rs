//! Control groups: one below our own for the lab, one in it for every node, in each hierarchy of the machine.
//!
//! A node that has its control-group namespace there sees itself as the root: its kubelet needs no special word, and
//! neither sees other nodes nor touches the machine's own groups.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use muslin_lab::LabError;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::poll;

const ROOT: &str = "/sys/fs/cgroup";
const PREFIX: &str = "muslin-kubernetes-";
/// How long killed processes may take to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// One hierarchy of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hierarchy {
    /// Controllers of version 1, such as `cpu,cpuacct`; empty for version 2.
    pub(crate) controllers: String,
    /// The group.
    pub(crate) group: PathBuf,
}

/// The lab's groups, which are there until somebody [removes](Self::remove) them.
#[derive(Clone, Debug)]
pub(crate) struct Cgroups {
    hierarchies: Vec<Hierarchy>,
    /// Tells other labs that this one lives. A lab that dies, however it does, lets go of it.
    _held: Arc<[Held]>,
}

/// A lab's group, locked as a folder.
type Held = Flock<File>;

impl Cgroups {
    /// Makes the lab's group in every hierarchy, and removes those of labs that have died.
    pub(crate) fn create() -> Result<Self, LabError> {
        let own = fs::read_to_string("/proc/self/cgroup").map_err(LabError::file("/proc/self/cgroup"))?;
        // Process ids are those of the lab's own namespace, so this one is no name for a machine's group.
        let name = format!("{PREFIX}{:08x}", rand::random::<u32>());
        Self::named(&name, hierarchies(&own, Path::new(ROOT)))
    }

    /// As [`create`](Self::create), below the groups of these hierarchies.
    fn named(name: &str, mut hierarchies: Vec<Hierarchy>) -> Result<Self, LabError> {
        let held = hierarchies.iter_mut().map(|hierarchy| {
            remove_dead(&hierarchy.group);
            hierarchy.group.push(name);
            make_held(hierarchy)
        });
        let held = held.collect::<Result<_, _>>()?;
        Ok(Self { hierarchies, _held: held })
    }

    /// Makes a node's group in every hierarchy.
    pub(crate) fn node(&self, node: &str) -> Result<Vec<Hierarchy>, LabError> {
        let ours = self.hierarchies.iter().map(|hierarchy| {
            let group = hierarchy.group.join(node);
            let node = Hierarchy { group, ..hierarchy.clone() };
            make(&node)?;
            Ok(node)
        });
        ours.collect()
    }

    /// Kills whatever is in a node's groups and removes them.
    pub(crate) fn remove_node(&self, node: &str) {
        for hierarchy in &self.hierarchies {
            remove(&hierarchy.group.join(node));
        }
    }

    /// Kills whatever is in the groups and removes them.
    pub(crate) fn remove(&self) {
        for hierarchy in &self.hierarchies {
            remove(&hierarchy.group);
        }
    }
}

/// The hierarchies in which a process can be put, by the lines of its `/proc/…/cgroup`.
fn hierarchies(own: &str, root: &Path) -> Vec<Hierarchy> {
    let lines: Vec<(&str, &str)> = own
        .lines()
        .filter_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            Some((fields.next()?, fields.next()?.trim_start_matches('/')))
        })
        .collect();
    let version1 =
        lines.iter().filter(|(controllers, _)| !controllers.is_empty() && !controllers.contains('='));
    let version1 = version1.map(|(controllers, group)| Hierarchy {
        controllers: (*controllers).to_owned(),
        group: root.join(controllers).join(group),
    });
    let version1: Vec<Hierarchy> = version1.collect();
    if !version1.is_empty() {
        return version1;
    }
    let version2 = lines.iter().filter(|(controllers, _)| controllers.is_empty());
    version2.map(|(_, group)| Hierarchy { controllers: String::new(), group: root.join(group) }).collect()
}

/// Makes a lab's group, as the lab's for as long as it lives.
fn make_held(hierarchy: &Hierarchy) -> Result<Held, LabError> {
    let group = &hierarchy.group;
    loop {
        fs::create_dir_all(group).map_err(LabError::file(group))?;
        match lock(group, FlockArg::LockExclusive) {
            Ok(held) if group.exists() => {
                give_processors(hierarchy)?;
                return Ok(held);
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(LabError::file(group)(error));
            }
            // Another lab saw it before it was locked, and took it for a dead one's.
            Ok(_) | Err(_) => {}
        }
    }
}

fn lock(group: &Path, how: FlockArg) -> io::Result<Held> {
    Flock::lock(File::open(group)?, how).map_err(|(_, errno)| errno.into())
}

fn make(hierarchy: &Hierarchy) -> Result<(), LabError> {
    fs::create_dir_all(&hierarchy.group).map_err(LabError::file(&hierarchy.group))?;
    give_processors(hierarchy)
}

/// A new group of this controller has no processors and no memory until it is given some.
fn give_processors(Hierarchy { controllers, group }: &Hierarchy) -> Result<(), LabError> {
    if controllers.split(',').any(|controller| controller == "cpuset") {
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let above = group.parent().unwrap_or(group).join(file);
            let all = fs::read_to_string(&above).map_err(LabError::file(above))?;
            fs::write(group.join(file), all.trim()).map_err(LabError::file(group.join(file)))?;
        }
    }
    Ok(())
}

/// Groups of labs whose processes were all killed from outside.
fn remove_dead(above: &Path) {
    let Ok(entries) = fs::read_dir(above) else { return };
    for entry in entries.flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        // Of one that lives, the groups without a process are those that a kubelet is about to fill.
        if let Ok(_held) = lock(&entry.path(), FlockArg::LockExclusiveNonblock) {
            // The kernel refuses while a process is left.
            remove_empty(&entry.path());
        }
    }
}

fn remove(group: &Path) {
    // The kernel tells nobody when the last process of a version 1 group is gone.
    poll::until(PATIENCE, Duration::from_millis(10), || {
        kill_all(group);
        (!group.exists() || remove_empty(group)).then_some(())
    });
}

fn kill_all(group: &Path) {
    for below in below(group) {
        kill_all(&below);
    }
    for process in fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default().lines() {
        // 0 is a process that this namespace does not see.
        if let Ok(process @ 1..) = process.parse() {
            let _ = kill(Pid::from_raw(process), Signal::SIGKILL);
        }
    }
}

fn remove_empty(group: &Path) -> bool {
    for below in below(group) {
        remove_empty(&below);
    }
    fs::remove_dir(group).is_ok()
}

fn below(group: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(group) else { return Vec::new() };
    let folders = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::sync::Barrier;
    use std::thread;

    use super::*;

    #[test]
    fn every_hierarchy_of_version_1_is_used_but_named_ones() {
        let own = "9:name=systemd:/\n4:memory:/a/b\n2:cpu,cpuacct:/\n0::/\n";
        let found = hierarchies(own, Path::new("/c"));
        assert_eq!(
            found,
            [hierarchy("memory", "/c/memory/a/b"), hierarchy("cpu,cpuacct", "/c/cpu,cpuacct/")]
        );
    }

    #[test]
    fn version_2_is_one_hierarchy() {
        let found = hierarchies("0::/user.slice/x\n", Path::new("/c"));
        assert_eq!(found, [hierarchy("", "/c/user.slice/x")]);
    }

    fn hierarchy(controllers: &str, group: impl Into<PathBuf>) -> Hierarchy {
        Hierarchy { controllers: controllers.to_owned(), group: group.into() }
    }

    /// A lab whose groups are plain folders: they are made, locked and removed as groups are.
    fn lab(name: &str, above: &Path) -> Result<Cgroups, LabError> {
        Cgroups::named(&format!("{PREFIX}{name}"), vec![hierarchy("memory", above)])
    }

    #[test]
    fn a_lab_that_begins_removes_the_groups_of_a_dead_one_and_none_of_one_that_lives() {
        let above = tempfile::tempdir().unwrap();
        let (dead, living) = (lab("dead", above.path()).unwrap(), lab("living", above.path()).unwrap());
        let groups = [&dead, &living].map(|lab| lab.node("n1").unwrap()[0].group.clone());
        drop(dead);
        lab("new", above.path()).unwrap();
        assert_eq!(groups.map(|group| group.exists()), [false, true]);
        living.remove();
        assert!(!above.path().join(format!("{PREFIX}living")).exists());
    }

    #[test]
    fn labs_that_begin_in_the_same_moment_take_nothing_from_each_other() {
        const LABS: usize = 8;
        let above = tempfile::tempdir().unwrap();
        for round in 0..50 {
            let begin = Barrier::new(LABS);
            thread::scope(|scope| {
                for number in 0..LABS {
                    let (above, begin) = (above.path(), &begin);
                    scope.spawn(move || {
                        begin.wait();
                        let made = lab(&format!("{round}-{number}"), above)
                            .and_then(|lab| lab.node("n1").map(|node| (lab, node)));
                        // Everybody has begun, and looked for the dead.
                        begin.wait();
                        let (lab, node) = made.unwrap();
                        assert!(node[0].group.exists(), "{} is gone", node[0].group.display());
                        lab.remove();
                    });
                }
            });
        }
    }
}
