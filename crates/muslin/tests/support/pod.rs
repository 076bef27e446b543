//! A pod, attached by the real plugin.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use muslin_netns::Namespace;

/// Attaches a pod to a node whose agent has this folder; returns the name of the node's side of its link.
pub fn attach(node: &Namespace, pod: &Namespace, folder: &Path) -> String {
    let mut plugin = Command::new(env!("CARGO_BIN_EXE_muslin-cni"));
    plugin.env_clear().env("CNI_COMMAND", "ADD").env("CNI_PATH", "/opt/cni/bin");
    plugin.env("CNI_CONTAINERID", pod.name()).env("CNI_IFNAME", "eth0").env("CNI_NETNS", pod.path());
    plugin.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut running = node.spawn(&mut plugin).unwrap();
    let config = serde_json::json!({
        "cniVersion": "1.1.0", "name": "muslin", "type": "muslin-cni", "dataDir": folder,
    });
    running.stdin.take().unwrap().write_all(config.to_string().as_bytes()).unwrap();
    let ended = running.wait_with_output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stdout));
    let result: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
    result["interfaces"][0]["name"].as_str().unwrap().to_owned()
}
