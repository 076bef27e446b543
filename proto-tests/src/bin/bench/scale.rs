//! The agent of one node on a real API server that has thousands of nodes, each with a kubelet's heartbeat.

mod plane;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use muslin_netns::{Namespace, connect};
use muslin_proto_tests::daemon::Process;
use muslin_proto_tests::kernel::{Usage, await_many, resident_mib};
use muslin_proto_tests::muslin;
use serde_json::{Value, json};

use self::plane::{Api, Plane, access, eventually};
use crate::report::{Column, Row, Samples, Section};
use crate::start::{NODE, ROUTER, address, await_ready, block, router_manifests};

const COLUMNS: [Column; 6] = [
    Column { name: "ready", unit: "s" },
    Column { name: "from the API by then", unit: "MiB" },
    Column { name: "resident memory", unit: "MiB" },
    Column { name: "processor", unit: "s a minute" },
    Column { name: "from the API", unit: "KiB a minute" },
    Column { name: "requests", unit: "a minute" },
];
/// Connections that make nodes at the same time.
const HANDS: u32 = 4;
/// How often a kubelet tells of a node of which nothing has changed.
const HEARTBEAT: Duration = Duration::from_mins(5);
/// After a start there is more to tell than later.
const SETTLING: Duration = Duration::from_secs(5);
/// Beyond this an agent has failed.
const PATIENCE: Duration = Duration::from_mins(1);

/// How much is measured.
#[derive(Clone, Copy)]
pub(crate) struct Extent {
    pub(crate) sizes: [u32; 2],
    pub(crate) runs: usize,
    /// How long an agent is watched that has nothing to do.
    pub(crate) watched: Duration,
}

/// Why it cannot be measured here, if so.
pub(crate) fn lacks() -> Option<anyhow::Error> {
    plane::programs().err()
}

pub(crate) fn measure(extent: Extent) -> Result<Section> {
    let mut rows = Vec::new();
    for nodes in extent.sizes {
        rows.push(Row { name: format!("`muslin agent`, {nodes} nodes"), values: at(nodes, extent)? });
    }
    Ok(Section {
        title: "An agent on a large API server",
        method: format!(
            "A real kube-apiserver and etcd with so many Nodes, each of four to five kilobytes as kubelets write them, of which \
             each tells of itself every five minutes. One agent takes the cluster from the API, and a router as its peer \
             announces the blocks of all other nodes. Ready: from the start of the process until it says that it is \
             converged. {} s later begin {} s of which the figures for a minute are made: octets that reach the node's \
             interface, and requests that the server counts beside the heartbeats and more than without an agent. {} \
             repetitions on one server.",
            SETTLING.as_secs(),
            extent.watched.as_secs(),
            extent.runs
        ),
        columns: COLUMNS.to_vec(),
        rows,
        targets: vec![],
        notes: vec![
            "Every agent watches all Nodes, so a heartbeat reaches each of them; what it changes that nobody plans by is \
             dropped where it arrives."
                .to_owned(),
        ],
        plot: None,
    })
}

fn at(nodes: u32, extent: Extent) -> Result<Vec<Samples>> {
    let (node, router) = (Namespace::new("node")?, Namespace::new("router")?);
    connect(&node, "eth0", &router, "eth0")?;
    node.add_address("eth0", format!("{NODE}/24").parse()?)?;
    router.add_address("eth0", format!("{ROUTER}/24").parse()?)?;
    let plane = Plane::start(&router, ROUTER)?;
    eprintln!("{nodes} nodes are made");
    configure(&plane)?;
    make_nodes(&plane, nodes)?;
    let _peer = muslin::start_speaker(&router, &router_manifests(nodes))?;
    let without = requests_during(&plane, nodes, extent.watched)?;
    let mut values = vec![Samples::default(); COLUMNS.len()];
    for run in 1..=extent.runs {
        eprintln!("round {run} of {}: {nodes} nodes", extent.runs);
        let mut found = agent(&node, &plane, nodes, extent.watched)?;
        found[5] -= without;
        for (samples, value) in values.iter_mut().zip(found) {
            samples.push(value);
        }
    }
    Ok(values)
}

/// What the chart and an operator would bring.
fn configure(plane: &Plane) -> Result<()> {
    let mut api = plane.api()?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/crds");
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    for file in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        api.call("POST", definitions, "application/yaml", &fs::read_to_string(file?.path())?)?;
    }
    let namespace = json!({"metadata": {"name": "muslin-system"}});
    create(&mut api, "/api/v1/namespaces", &namespace)?;
    let ours = "/apis/muslin.dev/v1alpha1";
    let object = |kind: &str, name: &str, spec: Value| json!({"apiVersion": "muslin.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
    let defaults = object(
        "BGPConfiguration",
        "default",
        json!({"nodeMesh": {"enabled": false}, "clusterCIDRs": ["10.64.0.0/12"]}),
    );
    // They are served a moment after they are made.
    eventually("BGPConfiguration", || {
        create(&mut plane.api()?, &format!("{ours}/bgpconfigurations"), &defaults)
    })?;
    let router = object("BGPPeer", "router", json!({"peerAddress": ROUTER, "peerASN": 65000}));
    eventually("BGPPeer", || create(&mut plane.api()?, &format!("{ours}/bgppeers"), &router))
}

fn create(api: &mut Api, path: &str, object: &Value) -> Result<()> {
    api.call("POST", path, "application/json", &object.to_string()).map(drop)
}

fn make_nodes(plane: &Plane, nodes: u32) -> Result<()> {
    std::thread::scope(|scope| {
        let hands = (0..HANDS).map(|hand| {
            scope.spawn(move || -> Result<()> {
                let mut api = plane.api()?;
                for number in (hand..nodes).step_by(HANDS as usize) {
                    create(&mut api, "/api/v1/nodes", &kubelets_node(number))?;
                }
                Ok(())
            })
        });
        let hands: Vec<_> = hands.collect();
        hands.into_iter().try_for_each(|hand| hand.join().ok().context("a thread has panicked")?)
    })
}

/// A Node with all that a kubelet writes of it.
fn kubelets_node(number: u32) -> Value {
    let block = block(number);
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
            "name": format!("n{number}"),
            "labels": {
                "kubernetes.io/hostname": format!("n{number}"), "kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux",
                "topology.kubernetes.io/zone": format!("rack-{}", number / 40),
            },
        },
        "spec": {"podCIDR": block, "podCIDRs": [block]},
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": address(number)}, {"type": "Hostname", "address": format!("n{number}")},
            ],
            "conditions": conditions(0), "capacity": resources, "allocatable": resources, "images": images,
            "nodeInfo": {
                "machineID": format!("{number:032x}"), "systemUUID": format!("{number:032x}"), "bootID": format!("{number:032x}"),
                "kernelVersion": "6.12.0", "osImage": "Debian GNU/Linux 13", "containerRuntimeVersion": "containerd://2.1.0",
                "kubeletVersion": "v1.34.2", "kubeProxyVersion": "", "operatingSystem": "linux", "architecture": "amd64",
            },
        },
    })
}

/// Conditions as of so many seconds into a year.
fn conditions(second: u32) -> Value {
    let (minute, hour, day) = (second / 60, second / 3600, second / 86_400);
    let at = format!("2026-01-{:02}T{:02}:{:02}:{:02}Z", day + 1, hour % 24, minute % 60, second % 60);
    let condition = |name: &str, status: &str| {
        json!({
            "type": name, "status": status, "reason": format!("Kubelet{name}"), "message": "as the kubelet sees it",
            "lastHeartbeatTime": at, "lastTransitionTime": "2026-01-01T00:00:00Z",
        })
    };
    json!([
        condition("MemoryPressure", "False"),
        condition("DiskPressure", "False"),
        condition("PIDPressure", "False"),
        condition("Ready", "True"),
    ])
}

fn agent(node: &Namespace, plane: &Plane, nodes: u32, watched: Duration) -> Result<[f64; 6]> {
    let folder = Process::folder()?;
    let kubeconfig = folder.path().join("kubeconfig");
    fs::write(&kubeconfig, access(ROUTER))?;
    let socket = folder.path().join("muslin.sock");
    let mut command = Command::new(muslin::binary()?);
    command.args(["agent", "--node", "n0", "--log", "warn", "--kubeconfig"]).arg(&kubeconfig);
    command.arg("--last-known-good").arg(folder.path().join("last-known-good"));
    command.arg("--run-dir").arg(folder.path()).arg("--data-dir").arg(folder.path());
    command.arg("--cni-conf-dir").arg(folder.path().join("net.d"));
    let (at_first, begun) = (received(node)?, Instant::now());
    let mut agent = Process::start(node, folder, &mut command)?;
    await_ready(&mut agent, &socket, begun + PATIENCE)?;
    let ready = begun.elapsed().as_secs_f64();
    // What it says must be so.
    await_many(node, nodes - 1)?;
    let by_then = received(node)?;
    heartbeats(plane, nodes, SETTLING)?;
    let (settled, used) = (received(node)?, Usage::of(agent.id())?);
    let requests = requests_during(plane, nodes, watched)?;
    let minutes = watched.as_secs_f64() / 60.0;
    Ok([
        ready,
        (by_then - at_first) / 1024.0 / 1024.0,
        resident_mib(agent.id())?,
        (Usage::of(agent.id())?.cpu_seconds - used.cpu_seconds) / minutes,
        (received(node)? - settled) / 1024.0 / minutes,
        requests,
    ])
}

/// Requests a minute beside the heartbeats.
fn requests_during(plane: &Plane, nodes: u32, watched: Duration) -> Result<f64> {
    let before = requests(plane)?;
    let told = heartbeats(plane, nodes, watched)?;
    Ok((requests(plane)? - before - told) * 60.0 / watched.as_secs_f64())
}

/// Tells of nodes as often as their kubelets would in that time; returns how many.
fn heartbeats(plane: &Plane, nodes: u32, during: Duration) -> Result<f64> {
    let mut api = plane.api()?;
    let (begun, apart) = (Instant::now(), HEARTBEAT / nodes);
    let mut told = 0;
    while begun.elapsed() < during {
        let path = format!("/api/v1/nodes/n{}/status", told % nodes);
        // One that says what the last one said is no change, and nobody is told of it.
        let status = json!({"status": {"conditions": conditions(plane.later())}});
        api.call("PATCH", &path, "application/strategic-merge-patch+json", &status.to_string())?;
        told += 1;
        let next = begun + apart * told;
        std::thread::park_timeout(next.saturating_duration_since(Instant::now()));
    }
    Ok(told.into())
}

/// Octets that have reached the node's interface.
fn received(node: &Namespace) -> Result<f64> {
    let text = node.run(|| fs::read_to_string("/proc/thread-self/net/dev"))??;
    let counters = text.lines().find_map(|line| line.trim_start().strip_prefix("eth0:")).context("eth0")?;
    Ok(counters.split_whitespace().next().context("a counter")?.parse()?)
}

/// Requests that the server has answered.
fn requests(plane: &Plane) -> Result<f64> {
    let text = plane.api()?.call("GET", "/metrics", "", "")?;
    let counted = text.lines().filter(|line| line.starts_with("apiserver_request_total{"));
    let sum = counted
        .map(|line| line.rsplit(' ').next().unwrap_or_default().parse::<f64>())
        .sum::<Result<f64, _>>()?;
    ensure!(sum > 0.0, "the server counts no requests");
    Ok(sum)
}
