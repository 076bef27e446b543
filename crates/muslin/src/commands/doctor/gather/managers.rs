//! What systemd-networkd and `NetworkManager` are told, by their files.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::commands::doctor::facts::{Networkd, NetworkdLink};

/// Where systemd's programs look for their configuration, the strongest first.
const SYSTEMD: [&str; 4] = ["etc/systemd", "run/systemd", "usr/local/lib/systemd", "usr/lib/systemd"];
/// Where systemd-networkd looks for its links' configuration, the strongest first.
const NETWORKS: [&str; 4] = [
    "etc/systemd/network",
    "run/systemd/network",
    "usr/local/lib/systemd/network",
    "usr/lib/systemd/network",
];
/// Where its program is, with and without a merged `/usr`.
const NETWORKD: [&str; 2] = ["usr/lib/systemd/systemd-networkd", "lib/systemd/systemd-networkd"];
/// Where it says what it does with each link, by the link's number.
const NETWORKD_LINKS: &str = "run/systemd/netif/links";
/// What it knows since version 256.
const NEXT_HOPS_SETTING: &str = "ManageForeignNextHops";
/// Where `NetworkManager` looks, the weakest first.
const NETWORK_MANAGER: [&str; 3] =
    ["usr/lib/NetworkManager/conf.d", "run/NetworkManager/conf.d", "etc/NetworkManager/conf.d"];
/// systemd-networkd's own configuration. Its links are known by their numbers; `name_of` has the names.
pub(super) fn networkd(root: &Path, name_of: impl Fn(u32) -> Option<String>) -> Networkd {
    let main =
        SYSTEMD.iter().find_map(|folder| fs::read_to_string(root.join(folder).join("networkd.conf")).ok());
    let main = main.into_iter().flat_map(|text| entries(&text));
    let settings = main.chain(fragments(root, &SYSTEMD, "networkd.conf.d"));
    let settings = settings.filter(|(section, ..)| section == "Network");
    let program = NETWORKD.iter().find_map(|path| fs::read(root.join(path)).ok());
    Networkd {
        settings: settings.map(|(_, key, value)| (key.to_lowercase(), value)).collect(),
        before_next_hops: program.is_some_and(|program| !contains(&program, NEXT_HOPS_SETTING)),
        links: networkd_links(root, name_of),
    }
}

/// A setting is known by its name, which the program holds as it is written in files.
fn contains(program: &[u8], setting: &str) -> bool {
    program.windows(setting.len()).any(|window| window == setting.as_bytes())
}

/// What it says of its links in the files that `networkctl` reads too.
fn networkd_links(root: &Path, name_of: impl Fn(u32) -> Option<String>) -> Vec<NetworkdLink> {
    let states = fs::read_dir(root.join(NETWORKD_LINKS)).into_iter().flatten().flatten();
    let link = |state: fs::DirEntry| {
        let number = state.file_name();
        let name = name_of(number.to_str()?.parse().ok()?)?;
        let text = fs::read_to_string(state.path()).ok()?;
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        if value("ADMIN_STATE") == Some("unmanaged") {
            return None;
        }
        let path = value("NETWORK_FILE")?.trim_matches('"');
        let file = Path::new(path).file_name()?.to_str()?.to_owned();
        let text = fs::read_to_string(root.join(path.trim_start_matches('/'))).unwrap_or_default();
        let settings = entries(&text).into_iter().chain(fragments(root, &NETWORKS, &format!("{file}.d")));
        // The last one counts.
        let mut keep =
            settings.rev().filter(|(section, key, _)| section == "Network" && key == "KeepConfiguration");
        let keeps = keep.next().is_some_and(|(.., value)| matches!(&*value, "yes" | "true" | "on" | "1"));
        Some(NetworkdLink { name, file, keeps })
    };
    let mut links: Vec<_> = states.filter_map(link).collect();
    links.sort_by(|a, b| a.name.cmp(&b.name));
    links
}

/// What the fragments of these folders say, by their names; one of a stronger folder takes the place of another of
/// the same name.
fn fragments(root: &Path, folders: &[&str], name: &str) -> Vec<Entry> {
    let mut fragments = BTreeMap::new();
    for folder in folders.iter().rev() {
        fragments.extend(configurations(&root.join(folder).join(name)));
    }
    let texts = fragments.into_values().filter_map(|path| fs::read_to_string(path).ok());
    texts.flat_map(|text| entries(&text)).collect()
}

/// `*.conf` of a folder, by name.
fn configurations(folder: &Path) -> BTreeMap<OsString, PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let files = entries.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "conf"));
    files.map(|entry| (entry.file_name(), entry.path())).collect()
}

/// Devices that `NetworkManager` leaves alone: `unmanaged-devices`, and device sections with `managed=0`.
pub(super) fn networkmanager_unmanaged(root: &Path) -> Vec<String> {
    let mut fragments = BTreeMap::new();
    for folder in NETWORK_MANAGER {
        fragments.extend(configurations(&root.join(folder)));
    }
    let main = root.join("etc/NetworkManager/NetworkManager.conf");
    let mut unmanaged = Vec::new();
    for path in std::iter::once(main).chain(fragments.into_values()) {
        let Ok(text) = fs::read_to_string(path) else { continue };
        let mut matches: BTreeMap<String, (Option<String>, bool)> = BTreeMap::new();
        for (section, key, value) in entries(&text) {
            let specs =
                value.split([';', ',']).map(|spec| spec.trim().to_owned()).filter(|spec| !spec.is_empty());
            match (&*section, key.trim_end_matches('+').trim()) {
                ("keyfile", "unmanaged-devices") => {
                    if !key.ends_with('+') {
                        unmanaged.clear();
                    }
                    unmanaged.extend(specs);
                }
                (device, "match-device") if device.starts_with("device") => {
                    matches.entry(section).or_default().0 = Some(value);
                }
                (device, "managed") if device.starts_with("device") => {
                    matches.entry(section).or_default().1 = matches!(&*value, "0" | "no" | "false" | "off");
                }
                _ => {}
            }
        }
        let left_alone =
            matches.into_values().filter(|(_, left_alone)| *left_alone).filter_map(|(device, _)| device);
        unmanaged.extend(
            left_alone.flat_map(|device| device.split([';', ',']).map(str::to_owned).collect::<Vec<_>>()),
        );
    }
    unmanaged
}

/// Section, key and value.
type Entry = (String, String, String);

/// Every line of an INI file that sets something.
fn entries(text: &str) -> Vec<Entry> {
    let mut section = String::new();
    let mut found = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            name.clone_into(&mut section);
        } else if let Some((key, value)) = line.split_once('=') {
            found.push((section.clone(), key.trim().to_owned(), value.trim().to_owned()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn a_fragment_of_networkd_overrides_the_main_file_and_etc_the_vendor() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "etc/systemd/networkd.conf", "[Network]\nManageForeignRoutes=yes\n#x=1\n");
        write(
            root.path(),
            "usr/lib/systemd/networkd.conf.d/10-a.conf",
            "[Network]\nManageForeignNextHops=yes\n",
        );
        write(root.path(), "etc/systemd/networkd.conf.d/10-a.conf", "[Network]\nManageForeignRoutes = no\n");
        let settings = networkd(root.path(), |_| None).settings;
        assert_eq!(settings.get("manageforeignroutes").map(String::as_str), Some("no"));
        assert!(!settings.contains_key("manageforeignnexthops"), "the vendor's file is masked by its name");
    }

    #[test]
    fn networkd_is_old_if_its_program_lacks_the_setting_and_new_if_there_is_no_program_to_ask() {
        let root = tempfile::tempdir().unwrap();
        let is_old = || networkd(root.path(), |_| None).before_next_hops;
        assert!(!is_old());
        write(root.path(), "usr/lib/systemd/systemd-networkd", "\0ManageForeignRoutes\0");
        assert!(is_old());
        write(root.path(), "usr/lib/systemd/systemd-networkd", "\0ManageForeignNextHops\0");
        assert!(!is_old());
    }

    #[test]
    fn a_link_of_networkd_keeps_what_its_file_or_a_fragment_says() {
        let root = tempfile::tempdir().unwrap();
        let name_of = |index| (index == 2).then(|| "eth0".to_owned());
        let links = || networkd(root.path(), name_of).links;
        write(root.path(), "run/systemd/netif/links/3", "ADMIN_STATE=configured\nNETWORK_FILE=/x.network\n");
        write(root.path(), "run/systemd/netif/links/2", "ADMIN_STATE=unmanaged\n");
        assert_eq!(links(), [], "one is gone, one is left alone");
        let state = "ADMIN_STATE=configured\nNETWORK_FILE=/run/systemd/network/10-eth0.network\n";
        write(root.path(), "run/systemd/netif/links/2", state);
        write(root.path(), "run/systemd/network/10-eth0.network", "[Network]\nKeepConfiguration=static\n");
        let link =
            |keeps| NetworkdLink { name: "eth0".to_owned(), file: "10-eth0.network".to_owned(), keeps };
        assert_eq!(links(), [link(false)]);
        let fragment = "etc/systemd/network/10-eth0.network.d/a.conf";
        write(root.path(), fragment, "[Network]\nKeepConfiguration=yes\n");
        assert_eq!(links(), [link(true)]);
    }

    #[test]
    fn devices_that_networkmanager_leaves_alone_come_from_both_kinds_of_section() {
        let root = tempfile::tempdir().unwrap();
        write(
            root.path(),
            "usr/lib/NetworkManager/conf.d/a.conf",
            "[keyfile]\nunmanaged-devices=mac:00:11\n",
        );
        write(
            root.path(),
            "etc/NetworkManager/conf.d/b.conf",
            "[keyfile]\nunmanaged-devices+=interface-name:msl*\n",
        );
        write(
            root.path(),
            "etc/NetworkManager/conf.d/c.conf",
            "[device-pods]\nmatch-device=driver:veth\nmanaged=0\n",
        );
        let unmanaged = networkmanager_unmanaged(root.path());
        assert_eq!(unmanaged, ["mac:00:11", "interface-name:msl*", "driver:veth"]);
    }
}
