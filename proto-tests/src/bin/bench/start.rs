//! S8, start: how soon an agent is ready whose cluster is large, how big it is then, and what an endpoint costs that flaps.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write as _};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use muslin_netns::{Namespace, connect};
use muslin_proto_tests::daemon::Process;
use muslin_proto_tests::kernel::{Usage, await_many, resident_mib};
use muslin_proto_tests::muslin;

use crate::report::{Column, Row, Samples, Section, Target};

const COLUMNS: [Column; 5] = [
    Column { name: "ready", unit: "s" },
    Column { name: "processor", unit: "s" },
    Column { name: "resident memory", unit: "MiB" },
    Column { name: "peak memory", unit: "MiB" },
    Column { name: "processor while an endpoint flaps", unit: "of a core" },
];
pub(crate) const ROUTER: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 1);
pub(crate) const NODE: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 2);
/// An endpoint comes and goes so often, for so long.
const FLAP: Duration = Duration::from_millis(10);
const FLAPS: u32 = 500;
/// Beyond this an agent has failed.
const PATIENCE: Duration = Duration::from_mins(1);

/// A cluster's size.
#[derive(Clone, Copy)]
struct Size {
    name: &'static str,
    nodes: u32,
    services: u32,
    /// Most seconds until it is ready.
    ready: Option<f64>,
    /// Most resident memory in MiB.
    resident: f64,
}

const LARGE: Size = Size {
    name: "5,000 nodes, 10,000 Services",
    nodes: 5000,
    services: 10_000,
    ready: Some(2.0),
    resident: 60.0,
};
const USUAL: Size =
    Size { name: "100 nodes, 200 Services", nodes: 100, services: 200, ready: None, resident: 20.0 };

pub(crate) fn measure(runs: usize) -> Result<Section> {
    let sizes = [LARGE, USUAL];
    let mut rows = sizes.map(|size| Row {
        name: format!("`muslin agent`, {}", size.name),
        values: vec![Samples::default(); COLUMNS.len()],
    });
    for run in 1..=runs {
        for (size, row) in sizes.iter().zip(&mut rows) {
            eprintln!("round {run} of {runs}: {}", size.name);
            let values = start(*size).with_context(|| size.name)?;
            for (samples, value) in row.values.iter_mut().zip(values) {
                samples.push(value);
            }
        }
    }
    let mut targets = Vec::new();
    for (size, row) in sizes.iter().zip(&rows) {
        let worst = |column: usize| row.values[column].largest().context("no run");
        if let Some(limit) = size.ready {
            let statement = format!("{}: ready within {limit} s, at worst", size.name);
            targets.push(Target { statement, found: worst(0)?, limit });
        }
        let statement = format!("{}: resident below {} MiB, at worst", size.name, size.resident);
        targets.push(Target { statement, found: worst(2)?, limit: size.resident });
        let statement = format!("{}: less than a core while an endpoint flaps, at worst", size.name);
        targets.push(Target { statement, found: worst(4)?, limit: 1.0 });
    }
    Ok(Section {
        title: "S8: the start of an agent",
        method: format!(
            "A folder with a Node for every node, a Service of type LoadBalancer with an EndpointSlice for every Service (one \
             in a hundred has its endpoint on this node and is announced by it alone), and one router as the peer, which \
             announces the blocks of all other nodes. From the start of the process until it says that it is converged: the \
             session stands, all routes have been exchanged and are in the kernel, pods may come. Then the only endpoint \
             of a Service that is announced comes and goes 100 times a second for 5 s. {runs} repetitions."
        ),
        columns: COLUMNS.to_vec(),
        rows: rows.into(),
        targets,
        notes: vec![],
        plot: None,
    })
}

fn start(size: Size) -> Result<[f64; 5]> {
    let started = Started::new(size.nodes, size.services)?;
    let [ready, processor, resident, peak] = started.costs;
    Ok([ready, processor, resident, peak, flap(&started.agent)?])
}

/// An agent that is ready, and its peer. Processes end before their namespaces.
pub(crate) struct Started {
    agent: Process,
    _peer: Process,
    _hosts: [Namespace; 2],
    /// Seconds until it was ready, of processor time by then, resident and peak memory in MiB.
    pub(crate) costs: [f64; 4],
}

impl Started {
    pub(crate) fn new(nodes: u32, services: u32) -> Result<Self> {
        let (node, router) = (Namespace::new("node")?, Namespace::new("router")?);
        connect(&node, "eth0", &router, "eth0")?;
        node.add_address("eth0", format!("{NODE}/24").parse()?)?;
        router.add_address("eth0", format!("{ROUTER}/24").parse()?)?;
        let peer = muslin::start_speaker(&router, &router_manifests(nodes))?;

        let folder = Process::folder()?;
        let state = folder.path().join("state");
        fs::create_dir(&state)?;
        fs::write(state.join("cluster.yaml"), cluster(nodes))?;
        fs::write(state.join("services.yaml"), self::services(services))?;
        let socket = folder.path().join("muslin.sock");
        let mut command = Command::new(muslin::binary()?);
        command.args(["agent", "--node", "n0", "--log", "warn", "--state"]).arg(&state);
        command.arg("--run-dir").arg(folder.path()).arg("--data-dir").arg(folder.path());
        command.arg("--cni-conf-dir").arg(folder.path().join("net.d"));
        let begun = Instant::now();
        let mut agent = Process::start(&node, folder, &mut command)?;
        await_ready(&mut agent, &socket, begun + PATIENCE)?;
        let ready = begun.elapsed().as_secs_f64();
        // What it says must be so.
        await_many(&node, nodes - 1)?;
        let usage = Usage::of(agent.id())?;
        let costs = [ready, usage.cpu_seconds, resident_mib(agent.id())?, usage.peak_mib];
        Ok(Self { agent, _peer: peer, _hosts: [node, router], costs })
    }
}

/// The share of a core that the agent takes while an endpoint comes and goes.
fn flap(agent: &Process) -> Result<f64> {
    let state = agent.path("state");
    let (new, flapping) = (state.join("flapping.new"), state.join("flapping.yaml"));
    let before = Usage::of(agent.id())?.cpu_seconds;
    let begun = Instant::now();
    for number in 1..=FLAPS {
        // Written beside and renamed: nobody reads half a file.
        fs::write(&new, flapping_service(number % 2 == 0))?;
        fs::rename(&new, &flapping)?;
        let next = begun + number * FLAP;
        std::thread::park_timeout(next.saturating_duration_since(Instant::now()));
    }
    Ok((Usage::of(agent.id())?.cpu_seconds - before) / begun.elapsed().as_secs_f64())
}

/// Waits for the word of the agent itself, as a probe of its container does.
pub(crate) fn await_ready(agent: &mut Process, socket: &Path, deadline: Instant) -> Result<()> {
    let mut stream = loop {
        if let Ok(stream) = UnixStream::connect(socket) {
            break stream;
        }
        agent.check()?;
        ensure!(Instant::now() < deadline, "there is no socket:\n{}", agent.log()?);
        std::thread::park_timeout(Duration::from_millis(1));
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    let question =
        "GET /v1/ready?wait=converged&timeout=60 HTTP/1.0\r\nHost: muslin\r\nConnection: close\r\n\r\n";
    stream.write_all(question.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.split(' ').nth(1) == Some("200"), "it is not ready: {answer}");
    Ok(())
}

/// The block of a node, and its address, which are somewhere behind the router for all but the first.
pub(crate) fn block(number: u32) -> String {
    format!("{}/26", Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 64, 0, 0)) + (number << 6)))
}

pub(crate) fn address(number: u32) -> Ipv4Addr {
    if number == 0 { NODE } else { Ipv4Addr::from(u32::from(Ipv4Addr::new(172, 31, 0, 0)) + number) }
}

fn cluster(nodes: u32) -> String {
    let mut text = format!(
        "apiVersion: muslin.dev/v1alpha1\nkind: BGPConfiguration\nmetadata: {{name: default}}\n\
         spec: {{nodeMesh: {{enabled: false}}, clusterCIDRs: [10.64.0.0/12], \
         serviceLoadBalancerIPs: [{{cidr: 198.18.0.0/15}}]}}\n---\napiVersion: muslin.dev/v1alpha1\nkind: BGPPeer\n\
         metadata: {{name: router}}\nspec: {{peerAddress: {ROUTER}, peerASN: 65000}}\n"
    );
    for number in 0..nodes {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "---\napiVersion: v1\nkind: Node\nmetadata: {{name: n{number}}}\nspec: {{podCIDRs: [{}]}}\n\
             status: {{addresses: [{{type: InternalIP, address: {}}}]}}\n",
            block(number),
            address(number)
        );
    }
    text
}

fn services(services: u32) -> String {
    let node = |number| if number % 100 == 0 { 0 } else { 1 + number % 97 };
    (0..services).map(|number| service(number, node(number), true)).collect()
}

/// A Service of this node beside all others.
fn flapping_service(ready: bool) -> String {
    service(LARGE.services, 0, ready)
}

/// A Service with an endpoint on a node.
fn service(number: u32, node: u32, ready: bool) -> String {
    let (high, low) = (number / 250, number % 250 + 1);
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: s{number}, namespace: default}}\n\
             spec: {{type: LoadBalancer, externalTrafficPolicy: Local, clusterIPs: [10.96.{high}.{low}], \
             ports: [{{port: 80}}]}}\nstatus: {{loadBalancer: {{ingress: [{{ip: 198.18.{high}.{low}}}]}}}}\n---\n\
             apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: s{number}, namespace: default, \
             labels: {{kubernetes.io/service-name: s{number}}}}}\naddressType: IPv4\n\
             endpoints: [{{addresses: [10.64.0.{low}], nodeName: n{node}, conditions: {{ready: {ready}}}}}]\n\
             ports: [{{port: 80}}]\n"
    )
}

pub(crate) fn router_manifests(nodes: u32) -> String {
    let blocks: Vec<String> = (1..nodes).map(|number| format!("{{cidr: {}}}", block(number))).collect();
    format!(
        "apiVersion: muslin.dev/v1alpha1\nkind: BGPConfiguration\nmetadata: {{name: default}}\n\
         spec: {{asn: 65000, routerID: {ROUTER}, originate: [{}]}}\n---\n\
         apiVersion: muslin.dev/v1alpha1\nkind: BGPFilter\nmetadata: {{name: all}}\n\
         spec: {{import: [{{action: Accept}}], export: [{{action: Accept}}]}}\n---\n\
         apiVersion: muslin.dev/v1alpha1\nkind: BGPPeer\nmetadata: {{name: n0}}\n\
         spec: {{peerAddress: {NODE}, peerASN: 64512, filters: [all]}}\n",
        blocks.join(", ")
    )
}
