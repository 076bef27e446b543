//! The CNI network configuration list that tells the container runtime to call `muslin-cni`.
//!
//! It is installed only once the node can serve pods: its presence is what turns a kubelet's node `Ready`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::atomic_file::{self, Durability};

/// The name of the installed file. Runtimes take the first of a folder in lexical order.
pub const FILE_NAME: &str = "10-muslin.conflist";

/// The plugin that containerd calls for every pod beside the network's own.
pub const LOOPBACK: &str = "loopback";

/// A network configuration list with `muslin-cni` as its first plugin.
#[derive(Clone, Debug, PartialEq)]
pub struct Conflist {
    /// The network's name; reservations and garbage collection are scoped to it.
    pub name: String,
    /// Where the plugin finds `network.json` and keeps its ledger.
    pub data_dir: PathBuf,
    /// Plugins called after ours, such as `portmap`, as they stand in the list.
    pub chained: Vec<Value>,
}

/// How the list calls the plugin of this name after ours: those that are known get what they are for, others
/// their name alone.
pub fn chained(name: &str) -> Value {
    match name {
        "portmap" => json!({ "type": name, "capabilities": { "portMappings": true } }),
        "bandwidth" => json!({ "type": name, "capabilities": { "bandwidth": true } }),
        _ => json!({ "type": name }),
    }
}

/// What an installation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Installed {
    /// The file is new or changed.
    Written,
    /// The folder already held exactly this file; it was not touched, so no runtime reloads.
    Unchanged,
}

impl Conflist {
    /// The list as text. Runtimes that know CNI 1.1 pick it from `cniVersions`, older ones use 1.0.0.
    pub fn render(&self) -> String {
        let own = json!({
            "type": "muslin-cni",
            "dataDir": self.data_dir,
            "capabilities": { "ips": true, "mac": true },
        });
        let mut plugins = vec![own];
        plugins.extend(self.chained.iter().cloned());
        let list = json!({
            "cniVersion": "1.0.0",
            "cniVersions": ["1.0.0", "1.1.0"],
            "name": self.name,
            "plugins": plugins,
        });
        format!("{list:#}\n")
    }

    /// Puts the list into `conf_dir` (created if missing) atomically.
    pub fn install(&self, conf_dir: &Path) -> io::Result<Installed> {
        let path = conf_dir.join(FILE_NAME);
        let text = self.render();
        if fs::read(&path).is_ok_and(|present| present == text.as_bytes()) {
            return Ok(Installed::Unchanged);
        }
        fs::create_dir_all(conf_dir)?;
        atomic_file::replace(&path, text.as_bytes(), 0o644, Durability::PowerLoss)?;
        Ok(Installed::Written)
    }
}

/// Removes our list from `conf_dir`; one that is not there is removed already.
pub fn remove(conf_dir: &Path) -> io::Result<()> {
    gone(fs::remove_file(conf_dir.join(FILE_NAME)))
}

/// Removes the program file `name` from `bin_dir`; one that is not there is removed already.
pub fn remove_binary(bin_dir: &Path, name: &str) -> io::Result<()> {
    gone(fs::remove_file(bin_dir.join(name)))
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Copies the program file `binary` into `bin_dir` (created if missing) under `name`, also while the one that
/// is there runs.
pub fn install_binary(binary: &Path, bin_dir: &Path, name: &str) -> io::Result<Installed> {
    let program = fs::read(binary)?;
    let path = bin_dir.join(name);
    if fs::read(&path).is_ok_and(|present| present == program) {
        return Ok(Installed::Unchanged);
    }
    fs::create_dir_all(bin_dir)?;
    atomic_file::replace(&path, &program, 0o755, Durability::PowerLoss)?;
    Ok(Installed::Written)
}

/// Gives the program `name` in `bin_dir` the name [`LOOPBACK`] too, if nothing has it. A link, so that it is exchanged with
/// the program and can be told from a plugin of others.
pub fn link_loopback(bin_dir: &Path, name: &str) -> io::Result<Installed> {
    match std::os::unix::fs::symlink(name, bin_dir.join(LOOPBACK)) {
        Ok(()) => Ok(Installed::Written),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Installed::Unchanged),
        Err(error) => Err(error),
    }
}

/// Removes what [`link_loopback`] made, and nothing of others.
pub fn unlink_loopback(bin_dir: &Path, name: &str) -> io::Result<()> {
    let path = bin_dir.join(LOOPBACK);
    match fs::read_link(&path) {
        Ok(target) if target == Path::new(name) => gone(fs::remove_file(path)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conflist() -> Conflist {
        Conflist {
            name: "muslin".to_owned(),
            data_dir: PathBuf::from("/var/lib/muslin/cni"),
            chained: vec![chained("portmap"), chained("sbr")],
        }
    }

    #[test]
    fn cni_15_the_configuration_appears_whole_is_left_alone_when_equal_and_goes_by_choice() {
        let folder = tempfile::tempdir().unwrap();
        let conf_dir = folder.path().join("net.d");
        assert_eq!(conflist().install(&conf_dir).unwrap(), Installed::Written);
        assert_eq!(conflist().install(&conf_dir).unwrap(), Installed::Unchanged);
        let names: Vec<_> =
            fs::read_dir(&conf_dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, [FILE_NAME], "nothing unfinished stays beside it");

        let list: Value = serde_json::from_slice(&fs::read(conf_dir.join(FILE_NAME)).unwrap()).unwrap();
        assert_eq!(list["cniVersion"], "1.0.0");
        assert_eq!(list["cniVersions"], json!(["1.0.0", "1.1.0"]));
        assert_eq!(list["plugins"][0]["type"], "muslin-cni");
        assert_eq!(list["plugins"][1]["type"], "portmap");
        assert_eq!(list["plugins"][1]["capabilities"], json!({ "portMappings": true }));
        assert_eq!(list["plugins"][2], json!({ "type": "sbr" }));

        remove(&conf_dir).unwrap();
        remove(&conf_dir).unwrap();
        assert_eq!(fs::read_dir(&conf_dir).unwrap().count(), 0);
    }

    #[test]
    fn cni_15_a_program_file_is_replaced_while_it_runs() {
        use std::io::{BufRead, BufReader, Write};
        use std::process::{Command, Stdio};

        let folder = tempfile::tempdir().unwrap();
        let program = |name: &str| [Path::new("/bin"), Path::new("/usr/bin")].map(|d| d.join(name));
        let cat = program("cat").into_iter().find(|path| path.exists()).unwrap();
        let other = program("true").into_iter().find(|path| path.exists()).unwrap();
        install_binary(&cat, folder.path(), "tool").unwrap();

        let mut running = Command::new(folder.path().join("tool"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        assert_eq!(install_binary(&other, folder.path(), "tool").unwrap(), Installed::Written);
        let mut input = running.stdin.take().unwrap();
        input.write_all(b"still here\n").unwrap();
        drop(input);
        let mut line = String::new();
        BufReader::new(running.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "still here\n");
        assert!(running.wait().unwrap().success());
        assert_eq!(fs::read(folder.path().join("tool")).unwrap(), fs::read(&other).unwrap());
    }
}
