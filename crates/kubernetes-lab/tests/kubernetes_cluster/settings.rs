//! The kernel settings of a node, before we were there and after.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::Result;
use muslin_netns::Namespace;

/// Every setting of a network namespace by its name below `/proc/sys/net`.
pub(crate) type Settings = BTreeMap<String, String>;

/// What Linux has unless somebody wants it otherwise, and a filter of reverse paths as distributions set it. A new
/// namespace may begin with what the machine has.
const USUAL: [(&str, &str); 8] = [
    ("ipv4/ip_forward", "0"),
    // After what it depends on.
    ("ipv4/conf/all/accept_redirects", "1"),
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/eth0/rp_filter", "1"),
    ("ipv4/fib_multipath_hash_policy", "0"),
    ("ipv6/conf/all/forwarding", "0"),
    ("ipv6/conf/eth0/accept_ra", "1"),
    ("ipv6/fib_multipath_hash_policy", "0"),
];

/// Makes a node's settings the usual ones, whatever this machine has; all of them.
pub(crate) fn make_usual(node: &Namespace) -> Result<Settings> {
    for (name, value) in USUAL {
        node.sysctl(&format!("net/{name}"), value)?;
    }
    read(node)
}

/// All settings of a node's network that can be read.
pub(crate) fn read(node: &Namespace) -> Result<Settings> {
    let root = Path::new("/proc/sys/net");
    let settings = node.run(|| {
        let mut settings = Settings::new();
        for family in ["ipv4", "ipv6"] {
            add(root, &root.join(family), &mut settings);
        }
        settings
    })?;
    Ok(settings)
}

fn add(root: &Path, folder: &Path, settings: &mut Settings) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            add(root, &path, settings);
        } else if let (Ok(name), Ok(value)) = (path.strip_prefix(root), fs::read_to_string(&path)) {
            settings.insert(name.display().to_string(), value.trim().to_owned());
        }
    }
}

/// The settings that differ, as `sysctl` names them; the link to the router is `UPLINK`.
pub(crate) fn changed(before: &Settings, after: &Settings) -> BTreeSet<String> {
    let differ = before.iter().filter(|(name, value)| after.get(*name).is_some_and(|now| now != *value));
    differ.map(|(name, _)| as_written(name)).collect()
}

fn as_written(name: &str) -> String {
    // One setting switches forwarding on for every interface.
    let name = match (name.split_once('/'), name.ends_with("/forwarding")) {
        (Some(("ipv4", _)), true) => "ipv4/ip_forward",
        (Some(("ipv6", _)), true) => "ipv6/conf/all/forwarding",
        _ => name,
    };
    format!("net.{}", name.replace("/eth0/", "/UPLINK/").replace('/', "."))
}
