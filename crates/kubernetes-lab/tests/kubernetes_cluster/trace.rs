//! What a lab leaves behind: nothing.
//!
//! Kept by design are the programs that it has built, and what Go keeps of building them; those folders are not looked at.
//! So is what ends with the process tree that the tests, or a lab on the command line, are root of.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use muslin_kubernetes_lab::{KubernetesLab, poll};
use muslin_lab::Progress;
use muslin_netns::Namespace;
use nix::fcntl::{Flock, FlockArg};

use crate::cluster::{self, Cluster};

/// How long what was killed may take to be gone.
const PATIENCE: Duration = Duration::from_secs(20);
const GROUP: &str = "control group";
/// FRR makes it when it starts, wherever it is told to put its files: in a /run that is the process tree's own.
const FRR: &str = "/run/frr";

type Look = fn() -> io::Result<BTreeSet<String>>;

/// What a lab has while it lives, as far as it is seen from beside its namespaces.
const MADE: [(&str, Look); 5] = [
    ("process", processes),
    ("namespace", namespaces),
    (GROUP, groups),
    ("open file", open_files),
    ("file", files),
];
/// What it never touches, since it belongs to the machine.
const UNTOUCHED: [(&str, Look); 3] = [("mount", mounts), ("interface", interfaces), ("setting", settings)];

/// Everything that there is of these kinds, at one time.
pub(crate) struct Trace(BTreeSet<(&'static str, String)>);

impl Trace {
    /// Looks around before there is a lab.
    pub(crate) fn before() -> Result<Self> {
        // With its first runtime a process gets two sockets for its signals, and keeps them.
        Namespace::new("first")?.block_on(async {})?;
        Self::take()
    }

    fn take() -> Result<Self> {
        let mut found = BTreeSet::new();
        for (kind, look) in MADE.into_iter().chain(UNTOUCHED) {
            let things = look().with_context(|| format!("looking for every {kind}"))?;
            found.extend(things.into_iter().map(|thing| (kind, thing)));
        }
        Ok(Self(found))
    }

    /// What is there now and was not then.
    fn more(&self) -> Result<BTreeSet<(&'static str, String)>> {
        Ok(Self::take()?.0.difference(&self.0).cloned().collect())
    }

    /// An error unless a lab that came meanwhile is seen.
    fn shows_a_lab(&self) -> Result<()> {
        let more = self.more()?;
        for (kind, _) in MADE {
            let seen = more.iter().any(|(of, _)| *of == kind);
            ensure!(seen, "no {kind} is seen of a lab that runs: the search is wrong");
        }
        Ok(())
    }

    /// An error if there is more than then, when what ends has ended.
    fn is_all(&self) -> Result<()> {
        let mut left = Ok(BTreeSet::new());
        poll::until(PATIENCE, Duration::from_millis(100), || {
            left = self.more();
            // Somebody else's lab may have begun.
            let none = left.as_mut().is_ok_and(|left| {
                left.retain(|(kind, thing)| *kind != GROUP || !is_held(Path::new(thing)));
                left.is_empty()
            });
            none.then_some(())
        });
        let left: Vec<String> = left?.into_iter().map(|(kind, thing)| format!("{kind} {thing}")).collect();
        ensure!(left.is_empty(), "{}", left.join("\n"));
        Ok(())
    }
}

/// Ends the lab, which was the last that was needed of it, and then one that does not get as far.
pub(crate) fn nothing_is_left(before: &Trace, cluster: Arc<Cluster>) -> Result<()> {
    before.shows_a_lab()?;
    drop(Arc::into_inner(cluster).context("a test still has the cluster")?);
    before.is_all().context("left by a lab that has ended")?;
    abort_a_start()?;
    before.is_all().context("left by a lab that never was there")
}

/// No file can have the name of the second node, of which nobody takes notice before the first one runs.
fn abort_a_start() -> Result<()> {
    let impossible = "\0";
    let mut options = cluster::options()?;
    options.cluster.nodes = vec!["n1".to_owned(), impossible.to_owned()];
    let error = KubernetesLab::start(&options, Progress::Silent).err();
    let error = error.context("a lab began with a node that cannot be")?.to_string();
    ensure!(error.contains(impossible), "the start failed before it was to: {error}");
    Ok(())
}

fn names(folder: impl AsRef<Path>) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        // It was not there, or has gone meanwhile.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}

/// Folders of all processes; the namespace of the tests has no others than theirs and the lab's.
fn of_processes() -> io::Result<impl Iterator<Item = PathBuf>> {
    let is_number = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit))
    };
    Ok(names("/proc")?.into_iter().filter(is_number))
}

fn processes() -> io::Result<BTreeSet<String>> {
    // `NUMBER (NAME) …`; one that has ended meanwhile is none.
    let stats = of_processes()?.filter_map(|folder| fs::read_to_string(folder.join("stat")).ok());
    Ok(stats.filter_map(|stat| Some(stat.rsplit_once(')')?.0.to_owned() + ")")).collect())
}

fn namespaces() -> io::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for process in of_processes()? {
        // Each thread may be in other ones.
        for thread in names(process.join("task")).unwrap_or_default() {
            let kinds = names(thread.join("ns")).unwrap_or_default();
            found.extend(kinds.into_iter().filter_map(link));
        }
    }
    Ok(found)
}

fn link(path: PathBuf) -> Option<String> {
    Some(fs::read_link(path).ok()?.display().to_string())
}

/// What the tests themselves have open: a namespace or a socket in one outlives its processes so.
fn open_files() -> io::Result<BTreeSet<String>> {
    let links = names("/proc/self/fd")?.into_iter().filter_map(link);
    // The folder that is being read is open as well.
    Ok(links.filter(|link| !link.ends_with("/fd")).collect())
}

/// Groups of labs, beside those of the tests.
fn groups() -> io::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for line in fs::read_to_string("/proc/self/cgroup")?.lines() {
        let [_, controllers, own] = line.splitn(3, ':').collect::<Vec<_>>()[..] else { continue };
        let own = Path::new("/sys/fs/cgroup").join(controllers).join(own.trim_start_matches('/'));
        let below = names(own)?.into_iter().map(|path| path.display().to_string());
        found.extend(below.filter(|path| path.contains("/muslin-kubernetes-")));
    }
    Ok(found)
}

/// Whether the lab lives that has this group.
fn is_held(group: &Path) -> bool {
    let folder = File::open(group);
    folder.is_ok_and(|folder| Flock::lock(folder, FlockArg::LockSharedNonblock).is_err())
}

fn mounts() -> io::Result<BTreeSet<String>> {
    // Where it is mounted is the fifth of the words.
    let lines = fs::read_to_string("/proc/self/mountinfo")?;
    Ok(lines.lines().filter_map(|line| line.split(' ').nth(4)).map(ToOwned::to_owned).collect())
}

fn interfaces() -> io::Result<BTreeSet<String>> {
    let lines = fs::read_to_string("/proc/thread-self/net/dev")?;
    let named = lines.lines().filter_map(|line| line.split_once(':'));
    Ok(named.map(|(name, _)| name.trim().to_owned()).collect())
}

/// Of the whole machine, or of its own network; kubelets, kube-proxies and routers have a wish for each.
fn settings() -> io::Result<BTreeSet<String>> {
    let files = [
        "kernel/keys/root_maxbytes",
        "kernel/keys/root_maxkeys",
        "kernel/panic",
        "kernel/panic_on_oops",
        "net/ipv4/ip_forward",
        "net/ipv6/conf/all/forwarding",
        "net/netfilter/nf_conntrack_max",
        "vm/overcommit_memory",
    ];
    let mut found = BTreeSet::new();
    for file in files {
        match fs::read_to_string(Path::new("/proc/sys").join(file)) {
            Ok(value) => _ = found.insert(format!("{file} = {}", value.trim())),
            // Not every kernel has each.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// What is in the folders for passing files, and where the programs of a cluster write who are told no other place.
fn files() -> io::Result<BTreeSet<String>> {
    let mut folders: Vec<PathBuf> = [
        "/etc/cni/net.d",
        "/opt/cni/bin",
        "/run",
        "/var/lib/cni",
        "/var/lib/containerd",
        "/var/lib/etcd",
        "/var/lib/kubelet",
        "/var/lib/muslin",
        "/var/lib/muslin-lab",
        "/var/log/containers",
        "/var/log/pods",
        "/var/tmp",
        "/var/tmp/frr",
    ]
    .map(PathBuf::from)
    .into();
    folders.push(std::env::temp_dir());
    let home = std::env::home_dir().unwrap_or_default();
    let of_home =
        [".cache/helm", ".config/helm", ".kube", ".kube/cache", ".kube/cache/discovery", ".local/share/helm"];
    folders.extend(of_home.map(|folder| home.join(folder)));
    let mut found = BTreeSet::new();
    for folder in folders {
        found.extend(names(folder)?.into_iter().map(|path| path.display().to_string()));
    }
    found.remove(FRR);
    Ok(found)
}
