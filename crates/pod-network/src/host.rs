//! What a host that forwards pods' packets needs of its kernel settings.
//!
//! The pod's own interface is the plugin's affair; here is what concerns the node as a whole, asserted by the
//! agent, and looked at by the plugin's STATUS.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where a process finds the settings of its own network namespace, unless its container shows them elsewhere.
pub const SETTINGS: &str = "/proc/sys/net";

/// An address family that pods have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4
    V4,
    /// IPv6
    V6,
}

/// A setting that is wrong and could not be put right.
#[derive(Debug, thiserror::Error)]
#[error("{} is {found:?}, pods need {wanted:?}: {source}", path.display())]
pub struct SettingProblem {
    /// The file under `/proc/sys`.
    pub path: PathBuf,
    /// Its value.
    pub found: String,
    /// The value it should have.
    pub wanted: &'static str,
    /// Why it could not be changed.
    pub source: io::Error,
}

/// Makes the node forward packets of `families` that come in by `uplinks`, and returns what it could not do.
/// `settings` is the folder of the settings, normally [`SETTINGS`]; in a container that one is read-only.
///
/// A link that takes router advertisements goes on taking them, and strict reverse-path filtering on an uplink
/// becomes loose: with two upstream routers an answer may well come in by the other one.
pub fn prepare(settings: &Path, families: &[Family], uplinks: &[&str]) -> Vec<SettingProblem> {
    let mut problems = Vec::new();
    let mut set = |name: &str, wanted: &'static str| {
        let path = settings.join(name);
        let found = read(&path);
        if found == wanted {
            return;
        }
        if let Err(source) = fs::write(&path, wanted) {
            problems.push(SettingProblem { path, found, wanted, source });
        }
    };
    // Equal paths are chosen by flow, not by pair of hosts: two pods may well use both uplinks.
    for name in ["ipv4/fib_multipath_hash_policy", "ipv6/fib_multipath_hash_policy"] {
        if read(&settings.join(name)) == "0" {
            set(name, "1");
        }
    }
    if families.contains(&Family::V4) {
        set("ipv4/ip_forward", "1");
        for uplink in uplinks {
            if effective_rp_filter(settings, uplink) == Some(1) {
                set(&format!("ipv4/conf/{uplink}/rp_filter"), "2");
            }
        }
    }
    if families.contains(&Family::V6) {
        // A forwarding host ignores router advertisements, and with them its default route, unless told to overrule.
        for uplink in uplinks {
            let name = format!("ipv6/conf/{uplink}/accept_ra");
            if read(&settings.join(&name)) == "1" {
                set(&name, "2");
            }
        }
        set("ipv6/conf/all/forwarding", "1");
    }
    problems
}

/// Does the node forward packets of this family?
pub fn forwards(family: Family) -> bool {
    let name = match family {
        Family::V4 => "ipv4/ip_forward",
        Family::V6 => "ipv6/conf/all/forwarding",
    };
    read(&Path::new(SETTINGS).join(name)) != "0"
}

/// The kernel takes the larger of the two values.
fn effective_rp_filter(settings: &Path, interface: &str) -> Option<u8> {
    let value =
        |of: &str| -> Option<u8> { read(&settings.join(format!("ipv4/conf/{of}/rp_filter"))).parse().ok() };
    Some(value("all")?.max(value(interface)?))
}

/// Empty if the kernel does not have the setting.
fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}
