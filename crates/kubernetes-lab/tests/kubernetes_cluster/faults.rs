//! Faults of the network and of the control plane: what is wrong is put right, and nothing else is touched.

use std::collections::BTreeSet;
use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use ipnet::IpNet;
use muslin_kubernetes_lab::pod::Pod;
use muslin_kubernetes_lab::poll::rest;
use muslin_kubernetes_lab::{AGNHOST, NAMESPACE};
use muslin_lab::fabric::SERVICE_RANGE;
use muslin_lab::{Dual, Family};
use muslin_netns::{Route, RouteKind};
use nix::sys::signal::Signal;

use crate::cluster::{Cluster, FAMILIES, PATIENCE, eventually};
use crate::disturb::agents_ready;
use crate::http::{PORT, client_address, host_name, same};
use crate::pods::OUR_PROTOCOL;
use crate::services::{publish, ways, ways_to};
use crate::traffic::Traffic;

/// What a node learned.
pub(crate) fn learned(routes: &[Route]) -> BTreeSet<IpNet> {
    let ours = routes.iter().filter(|route| route.protocol == OUR_PROTOCOL);
    ours.filter(|route| route.kind == RouteKind::Unicast).map(|route| route.prefix).collect()
}

/// What the kernel tells of at once is put right in less.
const RESTORED: Duration = Duration::from_secs(1);

pub(crate) fn flushed_routes(cluster: &Cluster) -> Result<()> {
    let (name, namespace, _) = &cluster.nodes[0];
    let before = learned(&namespace.routes()?);
    ensure!(!before.is_empty(), "{name} has learned nothing");
    let back = |what: &str, gone: Instant| -> Result<()> {
        let back = namespace.await_routes(PATIENCE, |routes| learned(routes) == before)?;
        let needed = gone.elapsed();
        ensure!(back, "{name} has {:?} of {before:?}", learned(&namespace.routes()?));
        eprintln!("{what} are back after {needed:?}");
        ensure!(needed < RESTORED, "{what} came back after {needed:?}");
        Ok(())
    };
    let gone = Instant::now();
    for prefix in &before {
        // Those before it are coming back meanwhile.
        namespace.remove_route(*prefix)?;
    }
    back("deleted routes", gone)?;
    // And with the objects go all routes over them.
    let gone = Instant::now();
    let flushed = cluster.lab().nodes()[0].run(&["ip", "nexthop", "flush"])?;
    ensure!(flushed.status.success(), "{}", String::from_utf8_lossy(&flushed.stderr));
    back("flushed next hops and their routes", gone)?;
    let pods = cluster.one_per_node();
    for family in FAMILIES {
        let to = (pods[1].addresses.get(family), PORT).into();
        same("the source", &client_address(&pods[0].network, to)?, &pods[0].addresses.get(family))?;
    }
    Ok(())
}

/// Packets that passed nodes' links to the router.
struct Passed {
    received: u64,
    sent: u64,
}

impl Passed {
    /// Over the links of all nodes.
    fn so_far(cluster: &Cluster) -> Result<Self> {
        let mut all = Self { received: 0, sent: 0 };
        for node in cluster.lab().nodes() {
            let read = node.run(&["cat", "/proc/net/dev"])?;
            let text = String::from_utf8_lossy(&read.stdout).into_owned();
            let uplink =
                text.lines().filter_map(|line| line.trim().split_once(':')).find(|(name, _)| *name == "eth0");
            let (_, numbers) = uplink.with_context(|| format!("no eth0 in {text}"))?;
            let numbers: Vec<u64> = numbers.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
            // Eight numbers about what was received come first: octets, packets, …; then the same of what was sent.
            let [_, received, _, _, _, _, _, _, _, sent, ..] = numbers[..] else { bail!("too few: {text}") };
            all.received += received;
            all.sent += sent;
        }
        Ok(all)
    }
}

/// Of a pod's block, and of the Services' range.
pub(crate) fn unused_addresses(cluster: &Cluster) -> Result<()> {
    let pod = cluster.one_per_node()[0];
    let pods = cluster.kubectl.pods("default", "")?;
    let services = cluster.kubectl.json(&["get", "services", "--all-namespaces"])?.to_string();
    for family in FAMILIES {
        let used: BTreeSet<IpAddr> = pods.iter().map(|pod| pod.addresses.get(family)).collect();
        let unused = (200..250).map(|last| beside(pod.addresses.get(family), last));
        let unused = unused.into_iter().find(|address| !used.contains(address));
        ends_at_its_node(cluster, unused.context("every address is used")?)?;
        let service = SERVICE_RANGE.get(family);
        let unused = beside(service.addr(), 250);
        ensure!(!services.contains(&format!("\"{unused}\"")), "{unused} is a Service's");
        same("ways to the Services", &ways_to(cluster, service)?.len(), &cluster.nodes.len())?;
        ends_at_its_node(cluster, unused)?;
    }
    Ok(())
}

/// An address that differs from another one in its last octet, or its last two of IPv6.
fn beside(address: IpAddr, last: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            IpAddr::from([a, b, c, last])
        }
        IpAddr::V6(address) => {
            IpAddr::from(((u128::from(address) & !0xffff) | 0xff00 | u128::from(last)).to_be_bytes())
        }
    }
}

/// What is sent there from outside comes to a node, and goes no further.
fn ends_at_its_node(cluster: &Cluster, unused: IpAddr) -> Result<()> {
    const DATAGRAMS: u64 = 1000;
    let socket = cluster.outside.run(|| UdpSocket::bind((any(Family::of(unused)), 0)))??;
    let before = Passed::so_far(cluster)?;
    for number in 0..DATAGRAMS {
        // An answer that nobody is there is an error of a later call.
        drop(socket.send_to(b"?", (unused, 9)));
        if number % 50 == 0 {
            rest(Duration::from_millis(1));
        }
    }
    rest(Duration::from_millis(100));
    let after = Passed::so_far(cluster)?;
    let (came, left) = (after.received - before.received, after.sent - before.sent);
    // What nodes say otherwise is little in this time; a loop would be more than thirty of each.
    ensure!(came >= DATAGRAMS, "only {came} packets came to the nodes of {DATAGRAMS} to {unused}");
    ensure!(left < 10 * DATAGRAMS, "{left} packets left the nodes for {DATAGRAMS} to {unused}");
    Ok(())
}

fn any(family: Family) -> IpAddr {
    match family {
        Family::V4 => IpAddr::from([0; 4]),
        Family::V6 => IpAddr::from([0; 16]),
    }
}

/// The store is away for so long: several times as long as nodes may be silent.
const STORE_AWAY: Duration = Duration::from_secs(35);

pub(crate) fn store_dies(cluster: &Cluster) -> Result<()> {
    let pods = cluster.one_per_node();
    let traffic = Traffic::start(pods[0], pods[1])?;
    cluster.kubectl.apply(&deployment("stormy", 30))?;
    // In the middle of it.
    eventually(|| {
        ensure!(!cluster.kubectl.pods("default", "app=stormy")?.is_empty(), "no pod yet");
        Ok(())
    })?;
    let waiting =
        ["get", "pods", "--selector=app=stormy", "--field-selector=status.phase=Pending", "--output=name"];
    let pending = cluster.kubectl.run(&waiting)?.lines().count();
    ensure!(pending > 0, "every pod ran before the store died");
    cluster.lab().stop_store();
    let went_on = without_store(cluster);
    // Whatever was found, others want it back. Kubelets have told nothing for longer than a node may be silent.
    cluster.lab().start_store()?;
    cluster.lab().await_nodes()?;
    eprintln!("{pending} pods were pending; pods answered {} times", went_on?);
    cluster.lab().await_rollout("default", "deployment/stormy")?;
    let sent = traffic.finish()?;
    eprintln!("{sent} datagrams and their answers, none lost");
    unique_addresses(cluster)?;
    cluster.kubectl.run(&["delete", "deployment", "stormy", "--wait=false"])?;
    agents_ready(cluster)
}

/// Pods reach each other as ever while nothing can be written; how often they were asked.
fn without_store(cluster: &Cluster) -> Result<u32> {
    let (died, pods) = (Instant::now(), cluster.one_per_node());
    let mut asked = 0;
    while died.elapsed() < STORE_AWAY {
        for family in FAMILIES {
            let to = (pods[1].addresses.get(family), PORT).into();
            same("the source", &client_address(&pods[0].network, to)?, &pods[0].addresses.get(family))?;
        }
        asked += 1;
        rest(Duration::from_millis(500));
    }
    let write = ["annotate", "pod", &pods[0].name, "written=yes", "--request-timeout=2s"];
    ensure!(cluster.kubectl.run(&write).is_err(), "there is a store");
    eprintln!("no store for {:.0?}", died.elapsed());
    Ok(asked)
}

pub(crate) fn deployment(name: &str, replicas: u8) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
spec:
  replicas: {replicas}
  selector:
    matchLabels: {{app: {name}}}
  template:
    metadata:
      labels: {{app: {name}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: pause
        image: {AGNHOST}
        imagePullPolicy: Never
        args: [pause]
"
    )
}

/// No two pods of the cluster have one address.
pub(crate) fn unique_addresses(cluster: &Cluster) -> Result<()> {
    let pods = cluster.kubectl.pods("default", "")?;
    let mut seen = BTreeSet::new();
    for pod in &pods {
        for family in FAMILIES {
            let address = pod.addresses.get(family);
            ensure!(seen.insert(address), "{} of {} is another pod's as well", address, pod.name);
        }
    }
    Ok(())
}

/// A way to an endpoint that begins to end is gone in less, while another node has one that serves.
const WITHDRAWN: Duration = Duration::from_secs(1);

/// The route to an endpoint that has been ready for so long is relied on by the other nodes.
const ARRIVED: Duration = Duration::from_secs(3);

const LEAVING: &str = "apiVersion: v1
kind: Service
metadata:
  name: leaving
spec:
  type: LoadBalancer
  externalTrafficPolicy: Local
  selector: {app: leaving}
  ipFamilyPolicy: RequireDualStack
  ports: [{name: http, port: 80, targetPort: 8080}]
---
POD1
---
POD2
";

/// A pod that serves for a while after it was told to end.
fn leaving(node: &str) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata:
  name: leaving-{node}
  labels: {{app: leaving}}
spec:
  nodeName: {node}
  terminationGracePeriodSeconds: 60
  containers:
  - name: server
    image: {AGNHOST}
    imagePullPolicy: Never
    args: [netexec, --http-port=8080, --delay-shutdown=20]
    readinessProbe:
      httpGet: {{path: /healthz, port: 8080}}
      periodSeconds: 1"
    )
}

pub(crate) fn last_local_endpoint(cluster: &Cluster) -> Result<()> {
    let addresses = Dual { v4: "192.0.2.43".parse()?, v6: "2001:db8:2::43".parse()? };
    let kubectl = &cluster.kubectl;
    kubectl.apply(&LEAVING.replace("POD1", &leaving("n1")).replace("POD2", &leaving("n2")))?;
    publish(cluster, "leaving", addresses)?;
    kubectl.run(&["wait", "pod/leaving-n1", "pod/leaving-n2", "--for=condition=Ready", "--timeout=60s"])?;
    let prefixes = FAMILIES.map(|family| IpNet::from(addresses.get(family)));
    let await_ways = |count: usize| -> Result<()> {
        let there = cluster.router.await_routes(PATIENCE, |routes| {
            prefixes.iter().all(|prefix| {
                let route = routes.iter().filter(|route| route.prefix == *prefix);
                route.map(|route| route.next_hops.len()).sum::<usize>() == count
            })
        })?;
        let found = FAMILIES.map(|family| ways(cluster, addresses.get(family)));
        ensure!(there, "the router has the ways {found:?}, not {count}");
        Ok(())
    };
    let ends = |node: usize| -> Result<IpAddr> {
        let name = format!("leaving-n{node}");
        let pod = kubectl.json(&["get", "pod", &name])?;
        kubectl.run(&["delete", "pod", &name, "--wait=false"])?;
        Ok(pod["status"]["podIP"].as_str().context("no address")?.parse()?)
    };
    await_ways(2)?;
    // Of this time nobody is told: it is for routes that routers keep to themselves.
    rest(ARRIVED);
    let first = ends(2)?;
    let told = Instant::now();
    await_ways(1)?;
    let needed = told.elapsed();
    eprintln!("the way to an endpoint that ends is withdrawn after {needed:?}");
    ensure!(needed < WITHDRAWN, "the way to an endpoint that ends was withdrawn after {needed:?}");
    // The endpoint is there for longer than its route.
    host_name(&cluster.nodes[1].1, (first, PORT).into()).context("the pod ended before its route went")?;
    // The last one of all is led to for as long as it serves.
    let last = ends(1)?;
    eventually(|| {
        let pod =
            kubectl.json(&["get", "endpointslices", "--selector=kubernetes.io/service-name=leaving"])?;
        ensure!(pod.to_string().matches("\"terminating\":true").count() >= 2, "no endpoint is said to end");
        Ok(())
    })?;
    for family in FAMILIES {
        let name = host_name(&cluster.outside, (addresses.get(family), 80).into())?;
        ensure!(name.starts_with("leaving-"), "{name} answers");
    }
    host_name(&cluster.nodes[0].1, (last, PORT).into()).context("the pod has ended already")?;
    await_ways(0)?;
    kubectl.run(&["delete", "service", "leaving"])?;
    Ok(())
}

pub(crate) fn node_deleted_alive(cluster: &Cluster) -> Result<()> {
    let before = cluster.kubectl.pods("default", "app=web")?;
    let on_n3 = || before.iter().filter(|pod| pod.node == "n3");
    let before_blocks = node_blocks(cluster, "n3")?;
    cluster.kubectl.run(&["delete", "node", "n3"])?;
    let lost: Vec<IpAddr> =
        on_n3().flat_map(|pod| FAMILIES.map(|family| pod.addresses.get(family))).collect();
    ensure!(!lost.is_empty(), "n3 has no pods");
    for (name, namespace, _) in &cluster.nodes[..2] {
        let gone = namespace.await_routes(PATIENCE, |routes| {
            !learned(routes)
                .iter()
                .any(|prefix| prefix.prefix_len() > 0 && lost.iter().any(|address| prefix.contains(address)))
        })?;
        ensure!(gone, "{name} still has routes to the pods of a node that is not there");
    }
    // It comes back with other blocks than those that its agent, its plugin and everybody else know.
    let blocks = ["10.244.200.0/24", "fd44:0:0:c8::/64"];
    ensure!(!before_blocks.iter().any(|block| blocks.contains(&block.as_str())), "n3 had {blocks:?} before");
    let [first, _] = blocks;
    let node = serde_json::json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n3"},
        "spec": {"podCIDR": first, "podCIDRs": blocks}});
    cluster.kubectl.apply(&node.to_string())?;
    // A kubelet registers when it starts.
    cluster.lab().nodes()[2].signal("kubelet", Signal::SIGKILL)?;
    cluster.lab().await_nodes()?;
    same("blocks of n3", &node_blocks(cluster, "n3")?, &blocks.map(ToOwned::to_owned).to_vec())?;
    node_works(cluster)?;
    // Nobody is led to what it had.
    for (name, namespace, _) in cluster.nodes.iter().filter(|(name, ..)| name != "n3") {
        let gone = namespace.await_routes(PATIENCE, |routes| {
            !learned(routes).iter().any(|prefix| before_blocks.contains(&prefix.to_string()))
        })?;
        ensure!(gone, "{name} still has a route to {before_blocks:?}, which n3 had before");
    }
    Ok(())
}

pub(crate) fn node_blocks(cluster: &Cluster, node: &str) -> Result<Vec<String>> {
    let node = cluster.kubectl.json(&["get", "node", node])?;
    let blocks = node["spec"]["podCIDRs"].as_array().context("no blocks")?;
    Ok(blocks.iter().filter_map(|block| block.as_str()).map(ToOwned::to_owned).collect())
}

/// New pods on the third node have addresses of its blocks, and everybody reaches them.
pub(crate) fn node_works(cluster: &Cluster) -> Result<()> {
    let on_n3 = ["delete", "pods", "--field-selector=spec.nodeName=n3", "--force", "--grace-period=0"];
    cluster.kubectl.run(&on_n3)?;
    let pods = everybody_meets(cluster)?;
    let blocks = node_blocks(cluster, "n3")?;
    let blocks: Vec<IpNet> = blocks.iter().map(|block| block.parse()).collect::<Result<_, _>>()?;
    for pod in pods.iter().filter(|pod| pod.node == "n3") {
        for address in FAMILIES.map(|family| pod.addresses.get(family)) {
            ensure!(
                blocks.iter().any(|block| block.contains(&address)),
                "{address} is of none of {blocks:?}"
            );
        }
    }
    unique_addresses(cluster)
}

/// The pods of now reach each other across nodes by their own addresses.
pub(crate) fn everybody_meets(cluster: &Cluster) -> Result<Vec<Pod>> {
    for set in ["daemonset/web", "daemonset/second"] {
        cluster.lab().await_rollout("default", set)?;
    }
    cluster.lab().await_rollout(NAMESPACE, "daemonset/muslin")?;
    let pods = cluster.kubectl.pods("default", "app=web")?;
    let nodes = cluster.lab().nodes().len();
    same("pods", &pods.len(), &(2 * nodes))?;
    for a in &pods {
        for b in pods.iter().filter(|b| b.node != a.node) {
            for &family in cluster.families {
                let to = (b.addresses.get(family), PORT).into();
                let seen = eventually(|| client_address(&a.network, to))?;
                same("the source", &seen, &a.addresses.get(family))?;
            }
        }
    }
    Ok(pods)
}
