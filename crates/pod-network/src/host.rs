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

/// Whether a setting that stays as it is has to be acted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// Packets get lost.
    Fault,
    /// None does, as things are.
    Note,
}

/// A setting that is wrong and could not be put right.
#[derive(Debug, thiserror::Error)]
#[error(
    "{name} {} and cannot be made {wanted} ({}: {source}): {consequence}; give the agent a writable /proc/sys/net \
     (--sysctl-dir), or on the node: sysctl -w {name}={wanted}",
    if found.is_empty() { "is not there".to_owned() } else { format!("is {found}") }, path.display()
)]
pub struct SettingProblem {
    /// What `sysctl` calls it.
    pub name: String,
    /// The file under `/proc/sys`.
    pub path: PathBuf,
    /// The family whose packets it concerns.
    pub family: Family,
    /// Its value; empty if the kernel does not have it.
    pub found: String,
    /// The value it should have.
    pub wanted: &'static str,
    /// What comes of it.
    pub consequence: &'static str,
    /// How bad that is where packets of the family are forwarded.
    pub weight: Weight,
    /// Why it could not be changed.
    pub source: io::Error,
}

/// What became of the settings that were not as they should be.
#[derive(Debug, Default)]
pub struct Prepared {
    /// What was put right, in words.
    pub changed: Vec<String>,
    /// What could not be.
    pub problems: Vec<SettingProblem>,
}

/// Makes the node forward packets of `families` that come in by `uplinks`, and returns what it did and could not do.
/// `settings` is the folder of the settings, normally [`SETTINGS`]; in a container that one is read-only.
///
/// A link that takes router advertisements goes on taking them, and strict reverse-path filtering on an uplink
/// becomes loose: with two upstream routers an answer may well come in by the other one.
pub fn prepare(settings: &Path, families: &[Family], uplinks: &[&str]) -> Prepared {
    let wanted = families.iter().flat_map(|family| match family {
        Family::V4 => ipv4(settings, uplinks),
        Family::V6 => ipv6(settings, uplinks),
    });
    let mut prepared = Prepared::default();
    for setting in wanted {
        setting.put_right(settings, &mut prepared);
    }
    prepared
}

/// A setting as it should be.
struct Setting {
    /// Its file below the folder of the settings.
    file: String,
    family: Family,
    wanted: &'static str,
    consequence: &'static str,
    weight: Weight,
}

impl Setting {
    fn put_right(self, settings: &Path, prepared: &mut Prepared) {
        let Self { file, family, wanted, consequence, weight } = self;
        let (name, path) = (sysctl_name(&file), settings.join(&file));
        let found = read(&path);
        if found == wanted {
            return;
        }
        match fs::write(&path, wanted) {
            Ok(()) => prepared.changed.push(format!("{name} was {found} and is {wanted} now")),
            Err(source) => {
                let problem =
                    SettingProblem { name, path, family, found, wanted, consequence, weight, source };
                prepared.problems.push(problem);
            }
        }
    }
}

fn ipv4(settings: &Path, uplinks: &[&str]) -> Vec<Setting> {
    let mut wanted = Vec::from_iter(hash_policy(settings, "ipv4", Family::V4));
    wanted.push(Setting {
        file: "ipv4/ip_forward".to_owned(),
        family: Family::V4,
        wanted: "1",
        consequence: "the node does not forward IPv4, so its pods are cut off",
        weight: Weight::Fault,
    });
    let strict = uplinks.iter().filter(|uplink| effective_rp_filter(settings, uplink) == Some(1));
    wanted.extend(strict.map(|uplink| Setting {
        file: format!("ipv4/conf/{uplink}/rp_filter"),
        family: Family::V4,
        wanted: "2",
        consequence: "an answer that comes in by another link than the best way back is dropped",
        // There has to be another link.
        weight: if uplinks.len() > 1 { Weight::Fault } else { Weight::Note },
    }));
    wanted
}

fn ipv6(settings: &Path, uplinks: &[&str]) -> Vec<Setting> {
    let mut wanted = Vec::from_iter(hash_policy(settings, "ipv6", Family::V6));
    // A forwarding host ignores router advertisements, and with them its default route, unless told to overrule.
    let accept_ra = uplinks.iter().map(|uplink| format!("ipv6/conf/{uplink}/accept_ra"));
    wanted.extend(accept_ra.filter(|file| read(&settings.join(file)) == "1").map(|file| Setting {
        file,
        family: Family::V6,
        wanted: "2",
        consequence: "a node that forwards ignores router advertisements: a default route that came by one expires",
        weight: Weight::Fault,
    }));
    wanted.push(Setting {
        file: "ipv6/conf/all/forwarding".to_owned(),
        family: Family::V6,
        wanted: "1",
        consequence: "the node does not forward IPv6, so its pods are cut off",
        weight: Weight::Fault,
    });
    wanted
}

/// Equal paths are chosen by flow, not by pair of hosts: two pods may well use both uplinks.
fn hash_policy(settings: &Path, folder: &str, family: Family) -> Option<Setting> {
    let file = format!("{folder}/fib_multipath_hash_policy");
    (read(&settings.join(&file)) == "0").then_some(Setting {
        file,
        family,
        wanted: "1",
        consequence: "all flows between two hosts take one of several equal paths",
        weight: Weight::Note,
    })
}

/// What `sysctl` calls the setting in this file below [`SETTINGS`]. A dot within the name of a link is a slash to it.
pub fn sysctl_name(file: &str) -> String {
    let parts = file.split('/').map(|part| part.replace('.', "/"));
    parts.fold("net".to_owned(), |name, part| format!("{name}.{part}"))
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
