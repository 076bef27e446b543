//! A pod, attached by the real plugin.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::io::Write;
use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use ipnet::IpNet;
use muslin_netns::Namespace;

use crate::daemon::PATIENCE;

/// The kernel's table of addresses that are the machine's own.
const LOCAL: u32 = 255;

/// Attaches a pod to a node whose agent has this folder; returns the name of the node's side of its link.
pub fn attach(node: &Namespace, pod: &Namespace, folder: &Path) -> String {
    let result: serde_json::Value = serde_json::from_slice(&call("ADD", node, pod, folder)).unwrap();
    result["interfaces"][0]["name"].as_str().unwrap().to_owned()
}

/// Takes it away again.
pub fn detach(node: &Namespace, pod: &Namespace, folder: &Path) {
    call("DEL", node, pod, folder);
}

/// The addresses that a pod was given, IPv4 first, once it is reached by them. The kernel makes an IPv6 address its own
/// in a work queue, after whoever added it was answered.
pub fn addresses(pod: &Namespace) -> Vec<IpAddr> {
    let given = pod.addresses("eth0").unwrap().into_iter();
    let mut given: Vec<IpNet> = given.filter(|net| net.prefix_len() == net.max_prefix_len()).collect();
    given.sort();
    let own = pod.await_routes(PATIENCE, |routes| {
        given.iter().all(|net| routes.iter().any(|route| route.table == LOCAL && route.prefix == *net))
    });
    assert!(own.unwrap(), "{given:?} do not become local");
    given.into_iter().map(|net| net.addr()).collect()
}

fn call(command: &str, node: &Namespace, pod: &Namespace, folder: &Path) -> Vec<u8> {
    let mut plugin = Command::new(env!("CARGO_BIN_EXE_muslin-cni"));
    plugin.env_clear().env("CNI_COMMAND", command).env("CNI_PATH", "/opt/cni/bin");
    plugin.env("CNI_CONTAINERID", pod.name()).env("CNI_IFNAME", "eth0").env("CNI_NETNS", pod.path());
    plugin.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut running = node.spawn(&mut plugin).unwrap();
    let config = serde_json::json!({
        "cniVersion": "1.1.0", "name": "muslin", "type": "muslin-cni", "dataDir": folder,
    });
    running.stdin.take().unwrap().write_all(config.to_string().as_bytes()).unwrap();
    let ended = running.wait_with_output().unwrap();
    assert!(ended.status.success(), "{command}: {}", String::from_utf8_lossy(&ended.stdout));
    ended.stdout
}
