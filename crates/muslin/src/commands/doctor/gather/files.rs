//! What the node's files say.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::looked;
use crate::commands::doctor::facts::{CniFile, Listener, Looked};

/// What container runtimes read, in lexical order.
const CNI_EXTENSIONS: [&str; 3] = ["conf", "conflist", "json"];
/// A socket that listens, in `/proc/net/tcp`.
const LISTEN: &str = "0A";

/// These kernel settings; what the kernel lacks is left out.
pub(super) fn settings(folder: &Path, names: impl IntoIterator<Item = String>) -> BTreeMap<String, String> {
    let read = |name: String| {
        let value = fs::read_to_string(folder.join(&name)).ok()?;
        Some((name, value.trim().to_owned()))
    };
    names.into_iter().filter_map(read).collect()
}

/// Names of all processes that can be seen.
pub(super) fn processes(proc: &Path) -> BTreeSet<String> {
    let name = |process: PathBuf| Some(fs::read_to_string(process.join("comm")).ok()?.trim().to_owned());
    of_processes(proc).filter_map(name).collect()
}

fn of_processes(proc: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(proc).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit))
        .map(|entry| entry.path())
}

/// Who listens on a port, in the network namespace of this process.
pub(super) fn listeners(proc: &Path, port: u16) -> Vec<Listener> {
    let tables = ["/proc/self/net/tcp", "/proc/self/net/tcp6"].map(|path| fs::read_to_string(path).ok());
    let sockets: Vec<_> = tables
        .iter()
        .flatten()
        .flat_map(|table| table.lines().filter_map(|line| socket(line, port)))
        .collect();
    let owner = |inode: &str| {
        let wanted = format!("socket:[{inode}]");
        let has = |process: &PathBuf| {
            let files = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
            files
                .filter_map(|file| fs::read_link(file.path()).ok())
                .any(|target| target == Path::new(&wanted))
        };
        let process = of_processes(proc).find(has)?;
        Some(fs::read_to_string(process.join("comm")).ok()?.trim().to_owned())
    };
    sockets.into_iter().map(|(address, inode)| Listener { address, process: owner(&inode) }).collect()
}

/// Address and inode of a line of `/proc/net/tcp` or `tcp6`, if it listens on the port.
fn socket(line: &str, port: u16) -> Option<(IpAddr, String)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (address, local_port) = fields.get(1)?.split_once(':')?;
    let listens = *fields.get(3)? == LISTEN && u16::from_str_radix(local_port, 16).ok()? == port;
    let words =
        (0..address.len() / 8).map(|word| u32::from_str_radix(address.get(word * 8..word * 8 + 8)?, 16).ok());
    // Each word is printed as the machine has it in memory.
    let octets: Vec<u8> =
        words.collect::<Option<Vec<u32>>>()?.into_iter().flat_map(u32::to_ne_bytes).collect();
    let address = match <[u8; 4]>::try_from(&*octets) {
        Ok(octets) => IpAddr::V4(Ipv4Addr::from(octets)),
        Err(_) => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(&*octets).ok()?)),
    };
    listens.then_some((address, (*fields.get(9)?).to_owned()))
}

/// The configurations that the container runtime would read.
pub(super) fn cni(folder: &Path) -> Looked<Vec<CniFile>> {
    looked(folder, fs::read_dir(folder).and_then(read_all))
}

fn read_all(entries: fs::ReadDir) -> io::Result<Vec<CniFile>> {
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let is_read =
            path.extension().is_some_and(|extension| CNI_EXTENSIONS.iter().any(|known| extension == *known));
        if is_read {
            let plugins = fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok());
            files.push(CniFile { plugins: plugins.map(|list| plugins_of(&list)).unwrap_or_default(), path });
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// Types of a list's plugins, or of a single configuration.
fn plugins_of(configuration: &Value) -> Vec<String> {
    let of = |plugin: &Value| plugin.get("type").and_then(Value::as_str).map(str::to_owned);
    match configuration.get("plugins").and_then(Value::as_array) {
        Some(plugins) => plugins.iter().filter_map(of).collect(),
        None => of(configuration).into_iter().collect(),
    }
}

/// Names of the plugins in a folder.
pub(super) fn cni_plugins(folder: &Path) -> Looked<BTreeSet<String>> {
    let names = fs::read_dir(folder).and_then(|entries| {
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    });
    looked(folder, names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listening_socket_is_read_from_the_kernels_table() {
        let line = "   0: 0100007F:00B3 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1";
        assert_eq!(socket(line, 179), Some(("127.0.0.1".parse().unwrap(), "4711".to_owned())));
        assert_eq!(socket(line, 180), None);
        assert_eq!(socket(&line.replace(" 0A ", " 01 "), 179), None, "an established one does not listen");
        let line = "   0: 00000000000000000000000000000000:00B3 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4712 1";
        assert_eq!(socket(line, 179), Some(("::".parse().unwrap(), "4712".to_owned())));
    }

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn cni_configurations_come_in_the_runtimes_order_with_the_types_of_their_plugins() {
        let root = tempfile::tempdir().unwrap();
        write(
            root.path(),
            "10-muslin.conflist",
            r#"{"plugins": [{"type": "muslin-cni"}, {"type": "portmap"}]}"#,
        );
        write(root.path(), "05-bridge.conf", r#"{"type": "bridge"}"#);
        write(root.path(), "00-notes.txt", "not read");
        let Looked::Seen(files) = cni(root.path()) else { panic!("not seen") };
        assert_eq!(
            files.iter().map(|file| file.plugins.clone()).collect::<Vec<_>>(),
            [vec!["bridge".to_owned()], vec!["muslin-cni".to_owned(), "portmap".to_owned()]]
        );
        assert!(matches!(cni(&root.path().join("none")), Looked::Absent(_)));
    }
}
