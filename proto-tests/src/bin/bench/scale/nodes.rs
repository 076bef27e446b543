//! The nodes of a large cluster: made here as kubelets register them, and kept by kwok as kubelets keep theirs.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use muslin_kubernetes_lab::poll::rest;
use muslin_netns::Namespace;
use muslin_proto_tests::daemon::Process;
use serde_json::{Value, json};

use super::plane::{Client, Plane, access};
use crate::start::{address, block};

/// The node whose agent is measured: by its name the last that would stand for what only one agent does.
pub(super) const MEASURED: &str = "node";
/// What kwok does to Nodes, and how often.
const CONFIGURATION: &str = include_str!("kwok.yaml");
/// How often a kubelet tells of a node of which nothing has changed, as the configuration has it.
pub(super) const HEARTBEAT: Duration = Duration::from_mins(5);
/// How often it renews the Lease of its node, likewise.
pub(super) const RENEWAL: Duration = Duration::from_secs(10);
/// Connections that make nodes at the same time.
const HANDS: u32 = 4;
/// How long kwok may take until it keeps all nodes.
const PATIENCE: Duration = Duration::from_mins(5);
/// Octets of a Node by a kubelet, as JSON. Fewer would flatter the agent.
const REAL_SIZE: std::ops::Range<u32> = 4000..6000;

/// All nodes, until it is dropped.
pub(super) struct Nodes {
    kwok: Process,
    /// Octets of one, as JSON.
    pub(super) size: u32,
}

impl Nodes {
    /// Makes nodes, and waits until kwok keeps all of them.
    pub(super) fn start(
        kwok: &Path,
        host: &Namespace,
        at: Ipv4Addr,
        plane: &Plane,
        nodes: u32,
    ) -> Result<Self> {
        make(plane, nodes)?;
        let folder = Process::folder()?;
        let (kubeconfig, configuration) = (folder.path().join("kubeconfig"), folder.path().join("kwok.yaml"));
        fs::write(&kubeconfig, access(at, Client::Load))?;
        fs::write(&configuration, CONFIGURATION)?;
        let mut command = Command::new(kwok);
        command.args(["--v", "WARN", "--kubeconfig"]).arg(&kubeconfig).arg("--config").arg(&configuration);
        // Neither its caches nor its settings are those of whoever measures.
        command.env("HOME", folder.path());
        let mut kwok = Process::start(host, folder, &mut command)?;
        let deadline = Instant::now() + PATIENCE;
        while ready(plane)? < nodes as usize {
            kwok.check().context("kwok")?;
            ensure!(Instant::now() < deadline, "kwok does not keep {nodes} nodes:\n{}", kwok.log()?);
            rest(Duration::from_secs(1));
        }
        let size = plane.api()?.call("GET", "/api/v1/nodes/n1", "", "")?.len().try_into()?;
        ensure!(REAL_SIZE.contains(&size), "a Node has {size} octets, and one by a kubelet {REAL_SIZE:?}");
        Ok(Self { kwok, size })
    }

    /// Does something while no node tells anything. What is overdue then comes at once.
    pub(super) fn silent<T>(&self, act: impl FnOnce() -> Result<T>) -> Result<T> {
        self.kwok.freeze()?;
        let done = act();
        self.kwok.thaw()?;
        done
    }
}

/// How many nodes are ready, and have a Lease.
fn ready(plane: &Plane) -> Result<usize> {
    let mut api = plane.api()?;
    // From the server's memory, which is quick.
    let mut items = |path: &str| -> Result<Vec<Value>> {
        let mut list: Value = serde_json::from_str(&api.call("GET", path, "", "")?)?;
        Ok(list["items"].as_array_mut().map(std::mem::take).unwrap_or_default())
    };
    let nodes = items("/api/v1/nodes?resourceVersion=0")?;
    let leases =
        items("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases?resourceVersion=0")?.len();
    let is_ready = |node: &&Value| {
        let conditions = node["status"]["conditions"].as_array();
        conditions.is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"))
    };
    Ok(nodes.iter().filter(is_ready).count().min(leases))
}

fn make(plane: &Plane, nodes: u32) -> Result<()> {
    std::thread::scope(|scope| {
        let hands = (0..HANDS).map(|hand| {
            scope.spawn(move || -> Result<()> {
                let mut api = plane.api()?;
                for number in (hand..nodes).step_by(HANDS as usize) {
                    api.call("POST", "/api/v1/nodes", "application/json", &registered(number).to_string())?;
                }
                Ok(())
            })
        });
        let hands: Vec<_> = hands.collect();
        hands.into_iter().try_for_each(|hand| hand.join().ok().context("a thread has panicked")?)
    })
}

/// A Node with all that a kubelet writes of it when it starts but what changes later, with a block for pods, and with what
/// its agent says.
fn registered(number: u32) -> Value {
    let block = block(number);
    let name = if number == 0 { MEASURED.to_owned() } else { format!("n{number}") };
    let images: Vec<_> = (0..12)
        .map(|image| {
            let digest = format!("registry.example/team/image-{image}@sha256:{number:064x}");
            json!({"names": [digest, format!("registry.example/team/image-{image}:v1.2.3")], "sizeBytes": 123_456_789})
        })
        .collect();
    let resources =
        json!({"cpu": "64", "memory": "263855800Ki", "pods": "110", "ephemeral-storage": "921600Mi"});
    json!({
        "metadata": {
            "name": name,
            "labels": {
                "kubernetes.io/hostname": name, "kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux",
                "topology.kubernetes.io/zone": format!("rack-{}", number / 40),
            },
        },
        "spec": {"podCIDR": block, "podCIDRs": [block]},
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": address(number)}, {"type": "Hostname", "address": name},
            ],
            "capacity": resources, "allocatable": resources, "images": images,
            "conditions": [{
                "type": "NetworkUnavailable", "status": "False", "reason": "RoutesInstalled",
                "message": "every session is up, and the kernel holds the routes",
                "lastHeartbeatTime": "2026-01-01T00:00:00Z", "lastTransitionTime": "2026-01-01T00:00:00Z",
            }],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
            "nodeInfo": {
                "machineID": format!("{number:032x}"), "systemUUID": format!("{number:032x}"), "bootID": format!("{number:032x}"),
                "kernelVersion": "6.12.0", "osImage": "Debian GNU/Linux 13", "containerRuntimeVersion": "containerd://2.1.0",
                "kubeletVersion": "v1.34.2", "kubeProxyVersion": "", "operatingSystem": "linux", "architecture": "amd64",
            },
        },
    })
}
