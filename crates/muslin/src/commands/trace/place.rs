//! Where an address lives: on this node itself, or in the network namespace of a pod.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use muslin_netns::Namespace;
use muslin_route_programmer::{Packet, look_up};

/// Most namespaces that are looked into.
const MOST: usize = 4_096;

/// The namespace on this machine that has the address, other than the one that this process is in.
pub(super) fn namespace_of(root: &Path, address: IpAddr) -> Option<Namespace> {
    let mut seen = BTreeSet::new();
    seen.extend(inode(Path::new("/proc/self/ns/net")));
    candidates(root)
        .filter(|path| inode(path).is_some_and(|inode| seen.insert(inode)))
        .take(MOST)
        .filter_map(|path| Namespace::open(&format!("pod {address}"), path).ok())
        .find(|namespace| namespace.run(|| is_here(address)).unwrap_or_default())
}

/// Whether the address belongs to the network namespace of the calling thread.
pub(super) fn is_here(address: IpAddr) -> bool {
    look_up(Packet { destination: address, source: None, input: None }).is_ok_and(|decision| decision.local)
}

/// Where container runtimes keep namespaces, then those of all processes.
fn candidates(root: &Path) -> impl Iterator<Item = PathBuf> {
    let files = |folder: &str| {
        fs::read_dir(root.join(folder)).into_iter().flatten().flatten().map(|entry| entry.path())
    };
    let named = files("run/netns").chain(files("var/run/netns"));
    let processes = files("proc").filter(|path| {
        path.file_name().is_some_and(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit))
    });
    named.chain(processes.map(|process| process.join("ns/net")))
}

fn inode(path: &Path) -> Option<(u64, u64)> {
    let file = fs::metadata(path).ok()?;
    Some((file.dev(), file.ino()))
}
