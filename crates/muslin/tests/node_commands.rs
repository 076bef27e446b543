//! The commands that prepare a node, on folders of their own.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

const MUSLIN: &str = env!("CARGO_BIN_EXE_muslin");
const PLUGIN: &str = env!("CARGO_BIN_EXE_muslin-cni");

/// A node's folders.
struct Node(TempDir);

impl Node {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn cni(&self, args: &[&str]) -> Output {
        let mut command = Command::new(MUSLIN);
        command.arg("cni").args(args).arg("--cni-bin-dir").arg(self.path("bin"));
        match args[0] {
            "install" => command.arg("--data-dir").arg(self.path("data")),
            _ => command.arg("--cni-conf-dir").arg(self.path("net.d")),
        };
        command.output().unwrap()
    }
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn cni_15_the_plugin_comes_whole_and_executable_and_goes_with_its_configuration() {
    let node = Node::new();
    let installed = node.cni(&["install"]);
    assert!(installed.status.success(), "{}", words(&installed));
    let plugin = node.path("bin/muslin-cni");
    assert_eq!(fs::read(&plugin).unwrap(), fs::read(PLUGIN).unwrap());
    assert_eq!(fs::metadata(&plugin).unwrap().permissions().mode() & 0o777, 0o755);
    assert!(!node.path("net.d").exists(), "the configuration is the agent's to write, when it is ready");
    assert!(words(&node.cni(&["install"])).contains("in place already"));

    fs::create_dir(node.path("net.d")).unwrap();
    fs::write(node.path("net.d/10-muslin.conflist"), "{}").unwrap();
    fs::write(node.path("net.d/05-other.conflist"), "{}").unwrap();
    fs::write(node.path("bin/other"), "").unwrap();
    for _ in 0..2 {
        let removed = node.cni(&["uninstall"]);
        assert!(removed.status.success(), "{}", words(&removed));
    }
    let left = |folder: &str| {
        let entries = fs::read_dir(node.path(folder)).unwrap().map(|entry| entry.unwrap().file_name());
        entries.collect::<Vec<_>>()
    };
    assert_eq!((left("bin"), left("net.d")), (vec!["other".into()], vec!["05-other.conflist".into()]));
}

/// containerd starts no pod on a node without a plugin of this name, and k3s and RKE2 bring none.
#[test]
fn a_node_without_a_loopback_plugin_gets_ours_and_one_that_has_one_keeps_it() {
    let node = Node::new();
    let loopback = node.path("bin/loopback");
    for words_of in ["is this plugin too", "in place already"] {
        let installed = node.cni(&["install"]);
        assert!(installed.status.success() && words(&installed).contains(words_of), "{}", words(&installed));
        assert_eq!(fs::read(&loopback).unwrap(), fs::read(PLUGIN).unwrap());
    }
    assert!(node.cni(&["uninstall"]).status.success());
    assert_eq!(fs::read_dir(node.path("bin")).unwrap().count(), 0, "a link that leads nowhere stays");

    fs::write(&loopback, "the reference plugin").unwrap();
    assert!(node.cni(&["install"]).status.success());
    assert!(node.cni(&["uninstall"]).status.success());
    assert_eq!(fs::read(&loopback).unwrap(), b"the reference plugin");
    assert!(!node.path("bin/muslin-cni").exists());
}

#[test]
fn a_plugin_that_has_written_a_newer_store_stays_when_the_agent_goes_back() {
    let node = Node::new();
    fs::create_dir(node.path("data")).unwrap();
    fs::write(node.path("data/ipam.json"), r#"{"version": 2, "somethingNew": true}"#).unwrap();
    fs::create_dir(node.path("bin")).unwrap();
    fs::write(node.path("bin/muslin-cni"), "a newer plugin").unwrap();
    let installed = node.cni(&["install"]);
    assert!(
        installed.status.success() && words(&installed).contains("stays: it is newer"),
        "{}",
        words(&installed)
    );
    assert_eq!(fs::read(node.path("bin/muslin-cni")).unwrap(), b"a newer plugin");

    fs::remove_file(node.path("bin/muslin-cni")).unwrap();
    assert!(node.cni(&["install"]).status.success());
    assert!(node.path("bin/muslin-cni").exists(), "without one that can read it, ours is better than none");
}

#[test]
fn a_plugin_that_is_not_there_is_named() {
    let node = Node::new();
    let refused = node.cni(&["install", "--plugin", "/nowhere/muslin-cni"]);
    assert!(
        !refused.status.success() && words(&refused).contains("/nowhere/muslin-cni"),
        "{}",
        words(&refused)
    );
    assert!(!node.path("bin/muslin-cni").exists());
}

#[test]
fn a_probe_of_a_daemon_that_is_not_there_fails_and_says_so() {
    let node = Node::new();
    for probe in ["live", "ready"] {
        let mut command = Command::new(MUSLIN);
        let output = command
            .args(["probe", probe, "--socket"])
            .arg(Path::new(&node.path("no.sock")))
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(words(&output).contains("no daemon answers here"), "{}", words(&output));
    }
}
