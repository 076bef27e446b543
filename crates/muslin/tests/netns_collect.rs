//! `muslin collect` and `muslin watch` on real daemons.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/bundle.rs"]
mod bundle;
#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/world.rs"]
mod world;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bundle::unpack;
use daemon::{Daemon, MUSLIN};
use muslin_netns::{Namespace, connect};
use serde_json::Value;
use world::World;

const PATIENCE: Duration = Duration::from_secs(30);
const PASSWORD: &str = "correct-horse-battery";
/// The same in base64, as the API has it.
const ENCODED: &str = "Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5";
const MANIFESTS: &str = "
apiVersion: muslin.dev/v1alpha1
kind: BGPConfiguration
metadata: {name: default}
spec: {asn: 64512}
---
apiVersion: v1
kind: Node
metadata: {name: n1}
spec: {podCIDRs: [10.244.1.0/24]}
status: {addresses: [{type: InternalIP, address: 172.30.1.2}]}
---
apiVersion: muslin.dev/v1alpha1
kind: BGPPeer
metadata: {name: tor}
spec:
  peerAddress: 172.30.1.1
  peerASN: 65000
  password: {secretKeyRef: {name: bgp, key: password}}
---
apiVersion: v1
kind: Secret
metadata:
  name: bgp
  namespace: muslin-system
  annotations: {kubectl.kubernetes.io/last-applied-configuration: '{\"stringData\": {\"password\": \"correct-horse-battery\"}}'}
stringData: {password: correct-horse-battery}
";

#[test]
fn a_bundle_has_what_helps_and_a_password_is_nowhere_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["state", "run", "record", "net.d"] {
        fs::create_dir(path(name)).unwrap();
    }
    fs::write(path("state/bgp.yaml"), MANIFESTS).unwrap();
    // Somebody wrote the password into a file of another kind.
    fs::write(
        path("net.d/10-other.conf"),
        format!(r#"{{"type": "x", "note": "use {PASSWORD} or {ENCODED}"}}"#),
    )
    .unwrap();
    let (node, router) = (Namespace::new("n1").unwrap(), Namespace::new("tor").unwrap());
    connect(&node, "eth0", &router, "n1").unwrap();
    router.add_address("n1", "172.30.1.1/24".parse().unwrap()).unwrap();
    node.add_address("eth0", "172.30.1.2/24".parse().unwrap()).unwrap();
    let record = path("record").display().to_string();
    let args = ["agent", "--node", "n1", "--record", &record];
    let agent = Daemon::start(&node, &path("run"), &args, &path("state"));
    let deadline = Instant::now() + PATIENCE;
    // It answers before it has its first plan, which nothing tells of.
    while agent.json(&["peers"])[0]["key"] != "tor" {
        assert!(Instant::now() < deadline, "the password was not taken: {}", agent.text(&["status"]));
        std::thread::park_timeout(Duration::from_millis(20));
    }

    let bundle = path("bundle.tar.gz");
    let mut command = Command::new(MUSLIN);
    command.args(["collect", "--no-probes", "--file"]).arg(&bundle).arg("--socket").arg(&agent.socket);
    command.arg("--state").arg(path("state")).arg("--record").arg(path("record"));
    command.arg("--cni-conf-dir").arg(path("net.d")).arg("--data-dir").arg(path("run"));
    let output = node.run(|| command.output()).unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), bundle.display().to_string());

    let files = unpack(&bundle);
    for name in [
        "about.json",
        "doctor.json",
        "kernel.json",
        "daemon/status.json",
        "daemon/peers.json",
        "daemon/plan.json",
        "daemon/routes-best.json",
        "daemon/routes-kernel.json",
        "node/network.json",
        "cni/10-other.conf",
        "configuration/bgp.yaml",
    ] {
        assert!(files.contains_key(&format!("muslin/{name}")), "no {name}: {:?} {said}", files.keys());
    }
    assert!(files.keys().any(|name| name.starts_with("muslin/record/")), "{:?}", files.keys());
    for (name, octets) in &files {
        for secret in [PASSWORD, ENCODED] {
            let found = octets.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{name} has {secret}");
        }
    }
    let configuration = String::from_utf8_lossy(&files["muslin/configuration/bgp.yaml"]).into_owned();
    assert!(
        configuration.contains("peerASN: 65000") && configuration.contains("REDACTED"),
        "{configuration}"
    );
}

#[test]
fn without_a_daemon_the_node_is_collected_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let node = Namespace::new("n1").unwrap();
    let bundle = folder.path().join("bundle.tar.gz");
    let mut command = Command::new(MUSLIN);
    command.args(["collect", "--no-probes", "--socket", "/nowhere/muslin.sock", "--file"]).arg(&bundle);
    let output = node.run(|| command.output()).unwrap().unwrap();
    assert!(output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("daemon/status.json is not in it: /nowhere/muslin.sock: no daemon"), "{said}");
    assert!(unpack(&bundle).contains_key("muslin/doctor.json"));
}

#[test]
fn watch_tells_programs_the_state_and_every_change_of_a_route() {
    let world = World::start();
    let mut command = Command::new(MUSLIN);
    command.args(["watch", "--output", "json", "--socket"]).arg(&world.n1().socket).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    assert!(lines.by_ref().take(64).any(|line| line["status"]["node"] == "n1"));
    world.n1().ask(&["peer", "shutdown", "tor-1-ipv4"]);
    let is_gone = |line: &Value| {
        line["route"]["prefix"] == "10.244.2.0/24" && line["route"]["routes"] == Value::Array(Vec::new())
    };
    assert!(lines.take(512).any(|line| is_gone(&line)), "the route goes with its session");
    child.kill().unwrap();
    child.wait().unwrap();
}
