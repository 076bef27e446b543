//! The agent of one node on a real API server that has thousands of nodes, which kwok keeps as kubelets do.

mod counters;
mod nodes;
mod plane;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use muslin_kubernetes_lab::poll::rest;
use muslin_kubernetes_lab::{KUBERNETES, Programs, Progress};
use muslin_netns::{Namespace, connect};
use muslin_proto_tests::daemon::Process;
use muslin_proto_tests::kernel::{Usage, await_many, resident_mib};
use muslin_proto_tests::muslin;
use serde_json::{Value, json};

use self::counters::{Rates, rates};
use self::nodes::{HEARTBEAT, MEASURED, Nodes, RENEWAL};
use self::plane::{Api, Client, Plane, access, eventually};
use crate::report::{Column, Row, Samples, Section};
use crate::start::{NODE, ROUTER, await_ready, router_manifests};

/// What each repetition finds.
const REPEATED: [Column; 7] = [
    Column { name: "ready", unit: "s" },
    Column { name: "from the API by then", unit: "MiB" },
    Column { name: "resident memory", unit: "MiB" },
    Column { name: "processor", unit: "s a minute" },
    Column { name: "from the API", unit: "KiB a minute" },
    Column { name: "API server's processor without it", unit: "s a minute" },
    Column { name: "API server's processor with it", unit: "s a minute" },
];
/// What is watched for longer: it happens every few minutes. And what it comes to where every node has an agent.
const ONCE: [Column; 3] = [
    Column { name: "requests", unit: "a minute" },
    Column { name: "computed: requests of all agents", unit: "a second" },
    Column { name: "computed: from the API to all agents", unit: "MiB a second" },
];
/// Whose Lease it is to tell of what belongs to no node: one agent of thousands, and not the one that is measured.
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
const LEASE: &str = "muslin-status";
const HOLDER: &str = "n1";
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
    /// How long it is watched once, to see what it asks.
    pub(crate) asking: Duration,
}

/// Why it cannot be measured here, if so.
pub(crate) fn lacks() -> Option<anyhow::Error> {
    programs().err()
}

/// Kubernetes, which other tests build, and kwok, which is built here: nothing else wants it.
fn programs() -> Result<(Programs, PathBuf)> {
    let programs = Programs::built()?;
    let kwok = programs.kwok(Progress::Shown)?;
    Ok((programs, kwok))
}

pub(crate) fn measure(extent: Extent) -> Result<Section> {
    let (programs, kwok) = programs()?;
    let (mut rows, mut notes) = (Vec::new(), vec![]);
    for nodes in extent.sizes {
        let found = at(&programs, &kwok, nodes, extent)?;
        notes.push(found.note(nodes));
        rows.push(Row { name: format!("`muslin agent`, {nodes} nodes"), values: found.values });
    }
    notes.push(
        "Every agent watches all Nodes, so a heartbeat reaches each of them; what it changes that nobody plans by is \
         dropped where it arrives. The renewal of a Lease reaches none."
            .to_owned(),
    );
    notes.push(
        "What is computed is what one agent asks and is sent, times the number of nodes. Not in it: one agent, whose Lease \
         it is, tells how the objects are that belong to no node; all others together ask for that Lease less than three \
         times a second."
            .to_owned(),
    );
    Ok(Section {
        title: "An agent on a large API server",
        method: format!(
            "A real kube-apiserver {KUBERNETES} and etcd with so many Nodes, which {} keeps as kubelets do by default: it tells \
             of each every {} minutes, and renews its Lease of {} s every {} s. One agent takes the cluster from the API, and \
             a router as its peer announces the blocks of all other nodes; all of it is on the same cores. Ready: from the \
             start of the process until it says that it is converged. {} s later begin {} s of which the figures for a minute \
             are made: octets that reach the node's interface, and the server's processor time, for which it was watched as \
             long before the agent started. {} repetitions on one server. Then another agent is watched for {} s: the \
             requests of it that the server counts, which are what it writes and the watches that it begins anew.",
            kwok.file_name().unwrap_or_default().display(),
            HEARTBEAT.as_secs() / 60,
            4 * RENEWAL.as_secs(),
            RENEWAL.as_secs(),
            SETTLING.as_secs(),
            extent.watched.as_secs(),
            extent.runs,
            extent.asking.as_secs()
        ),
        columns: [&REPEATED[..], &ONCE].concat(),
        rows,
        targets: vec![],
        notes,
        plot: None,
    })
}

/// What was found with one number of nodes.
struct Found {
    values: Vec<Samples>,
    /// Octets of a Node.
    size: u32,
    /// Of all nodes, without the agent.
    heartbeats: Samples,
    renewals: Samples,
    /// Seconds of processor time that an agent takes a minute while no node tells anything.
    silent: f64,
}

impl Found {
    /// What the nodes did, for the doubtful.
    fn note(&self, nodes: u32) -> String {
        let median = |samples: &Samples| samples.median().unwrap_or_default();
        format!(
            "{nodes} nodes: each has {:.1} kB as JSON. Of {:.0} heartbeats and {:.0} renewals of Leases that are due in a \
             minute, the server counted {:.0} and {:.0}. While no node tells anything, the agent takes {:.3} s of processor \
             time a minute.",
            f64::from(self.size) / 1000.0,
            due(nodes, HEARTBEAT),
            due(nodes, RENEWAL),
            median(&self.heartbeats),
            median(&self.renewals),
            self.silent
        )
    }
}

/// How often a minute something happens that each node does so often.
fn due(nodes: u32, every: Duration) -> f64 {
    f64::from(nodes) * 60.0 / every.as_secs_f64()
}

fn at(programs: &Programs, kwok: &Path, nodes: u32, extent: Extent) -> Result<Found> {
    let (node, router) = (Namespace::new("node")?, Namespace::new("router")?);
    connect(&node, "eth0", &router, "eth0")?;
    node.add_address("eth0", format!("{NODE}/24").parse()?)?;
    router.add_address("eth0", format!("{ROUTER}/24").parse()?)?;
    let plane = Plane::start(programs, &router, ROUTER)?;
    eprintln!("{nodes} nodes are made");
    configure(&plane)?;
    let kept = Nodes::start(kwok, &router, ROUTER, &plane, nodes)?;
    let _peer = muslin::start_speaker(&router, &router_manifests(nodes))?;
    let values = vec![Samples::default(); REPEATED.len()];
    let (heartbeats, renewals) = (Samples::default(), Samples::default());
    let mut found = Found { values, size: kept.size, heartbeats, renewals, silent: f64::NAN };
    for run in 1..=extent.runs {
        eprintln!("round {run} of {}: {nodes} nodes", extent.runs);
        let without = rates(&plane, extent.watched)?;
        found.heartbeats.push(without.heartbeats);
        found.renewals.push(without.renewals);
        for (samples, value) in
            found.values.iter_mut().zip(measured(&node, &plane, nodes, &without, extent.watched)?)
        {
            samples.push(value);
        }
    }
    let agent = Agent::start(&node, nodes)?;
    rest(SETTLING);
    found.values.extend(asked(&node, &plane, nodes, extent.asking)?.map(|value| Samples::from_iter([value])));
    // Last, for what comes after it is more than usual.
    found.silent = kept.silent(|| agent.processor(extent.watched))?;
    Ok(found)
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
    let agents = json!({
        "metadata": {"name": "agents"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:serviceaccounts:muslin-system"}],
    });
    create(&mut api, "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", &agents)?;
    create(&mut api, LEASES, &json!({"metadata": {"name": LEASE}, "spec": {"holderIdentity": HOLDER}}))?;
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

/// An agent that is ready.
struct Agent {
    process: Process,
    /// Seconds from its start.
    ready: f64,
    /// Octets from the API by then.
    octets: f64,
}

impl Agent {
    fn start(node: &Namespace, nodes: u32) -> Result<Self> {
        let folder = Process::folder()?;
        let kubeconfig = folder.path().join("kubeconfig");
        fs::write(&kubeconfig, access(ROUTER, Client::Agent))?;
        let socket = folder.path().join("muslin.sock");
        let mut command = Command::new(muslin::binary()?);
        command.args(["agent", "--node", MEASURED, "--log", "warn", "--kubeconfig"]).arg(&kubeconfig);
        command.arg("--last-known-good").arg(folder.path().join("last-known-good"));
        command.arg("--run-dir").arg(folder.path()).arg("--data-dir").arg(folder.path());
        command.arg("--cni-conf-dir").arg(folder.path().join("net.d"));
        let (at_first, begun) = (received(node)?, Instant::now());
        let mut process = Process::start(node, folder, &mut command)?;
        await_ready(&mut process, &socket, begun + PATIENCE)?;
        let ready = begun.elapsed().as_secs_f64();
        // What it says must be so.
        await_many(node, nodes - 1)?;
        Ok(Self { process, ready, octets: received(node)? - at_first })
    }

    /// Seconds of processor time a minute.
    fn processor(&self, watched: Duration) -> Result<f64> {
        let used = Usage::of(self.process.id())?;
        rest(watched);
        let more = Usage::of(self.process.id())?.cpu_seconds - used.cpu_seconds;
        Ok(more * 60.0 / watched.as_secs_f64())
    }
}

/// What one agent takes, in the order of the columns that repetitions fill.
fn measured(
    node: &Namespace,
    plane: &Plane,
    nodes: u32,
    without: &Rates,
    watched: Duration,
) -> Result<[f64; REPEATED.len()]> {
    let agent = Agent::start(node, nodes)?;
    rest(SETTLING);
    let (settled, used) = (received(node)?, Usage::of(agent.process.id())?);
    let begun = Instant::now();
    let with = rates(plane, watched)?;
    let minutes = begun.elapsed().as_secs_f64() / 60.0;
    let used = Usage::of(agent.process.id())?.cpu_seconds - used.cpu_seconds;
    Ok([
        agent.ready,
        agent.octets / 1024.0 / 1024.0,
        resident_mib(agent.process.id())?,
        used / minutes,
        (received(node)? - settled) / 1024.0 / minutes,
        without.processor,
        with.processor,
    ])
}

/// What an agent asks for as long as it runs, and what all of them do, in the order of the columns.
fn asked(node: &Namespace, plane: &Plane, nodes: u32, watched: Duration) -> Result<[f64; ONCE.len()]> {
    let (before, begun) = (received(node)?, Instant::now());
    let requests = rates(plane, watched)?.agents;
    let octets = (received(node)? - before) / begun.elapsed().as_secs_f64();
    let lease: Value =
        serde_json::from_str(&plane.api()?.call("GET", &format!("{LEASES}/{LEASE}"), "", "")?)?;
    ensure!(lease["spec"]["holderIdentity"] == HOLDER, "the agent has taken the Lease: {lease}");
    let all = f64::from(nodes);
    Ok([requests, requests * all / 60.0, octets * all / 1024.0 / 1024.0])
}

/// Octets that have reached the node's interface.
fn received(node: &Namespace) -> Result<f64> {
    let text = node.run(|| fs::read_to_string("/proc/thread-self/net/dev"))??;
    let counters = text.lines().find_map(|line| line.trim_start().strip_prefix("eth0:")).context("eth0")?;
    Ok(counters.split_whitespace().next().context("a counter")?.parse()?)
}
