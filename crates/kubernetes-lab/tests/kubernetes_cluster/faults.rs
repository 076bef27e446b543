//! Faults of the network and of the control plane: what is wrong is put right, and nothing else is touched.

use std::collections::BTreeSet;
use std::io::Read;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use ipnet::IpNet;
use muslin_kubernetes_lab::pod::Pod;
use muslin_kubernetes_lab::poll::rest;
use muslin_kubernetes_lab::{AGNHOST, NAMESPACE};
use muslin_lab::{Dual, Family};
use muslin_netns::{Namespace, Route, RouteKind};
use nix::sys::signal::Signal;

use crate::cluster::{Cluster, FAMILIES, PATIENCE, eventually};
use crate::http::{PORT, client_address, host_name, same};
use crate::pods::OUR_PROTOCOL;
use crate::services::{publish, ways};

/// What a node learned.
pub(crate) fn learned(routes: &[Route]) -> BTreeSet<IpNet> {
    let ours = routes.iter().filter(|route| route.protocol == OUR_PROTOCOL);
    ours.filter(|route| route.kind == RouteKind::Unicast).map(|route| route.prefix).collect()
}

pub(crate) fn flushed_routes(cluster: &Cluster) -> Result<()> {
    let (name, namespace, _) = &cluster.nodes[0];
    let before = learned(&namespace.routes()?);
    ensure!(!before.is_empty(), "{name} has learned nothing");
    let back = || -> Result<()> {
        let back = namespace.await_routes(PATIENCE, |routes| learned(routes) == before)?;
        ensure!(back, "{name} has {:?} of {before:?}", learned(&namespace.routes()?));
        Ok(())
    };
    for prefix in &before {
        // Those before it are coming back meanwhile.
        namespace.remove_route(*prefix)?;
    }
    back()?;
    // And with the objects go all routes over them.
    let flushed = cluster.lab().nodes()[0].run(&["ip", "nexthop", "flush"])?;
    ensure!(flushed.status.success(), "{}", String::from_utf8_lossy(&flushed.stderr));
    back()?;
    let pods = cluster.one_per_node();
    for family in FAMILIES {
        let to = (pods[1].addresses.get(family), PORT).into();
        same("the source", &client_address(&pods[0].network, to)?, &pods[0].addresses.get(family))?;
    }
    Ok(())
}

/// How many packets a node has sent over its link to the router.
fn sent(cluster: &Cluster, node: usize) -> Result<u64> {
    let read = cluster.lab().nodes()[node].run(&["cat", "/proc/net/dev"])?;
    let text = String::from_utf8_lossy(&read.stdout).into_owned();
    let uplink =
        text.lines().filter_map(|line| line.trim().split_once(':')).find(|(name, _)| *name == "eth0");
    let (_, numbers) = uplink.with_context(|| format!("no eth0 in {text}"))?;
    // Eight numbers about what was received come first: octets, packets, ….
    Ok(numbers.split_whitespace().nth(9).context("too few numbers")?.parse()?)
}

pub(crate) fn unused_addresses(cluster: &Cluster) -> Result<()> {
    const DATAGRAMS: u64 = 100;
    let pod = cluster.one_per_node()[0];
    let used: BTreeSet<IpAddr> = cluster
        .kubectl
        .pods("default", "")?
        .iter()
        .flat_map(|pod| FAMILIES.map(|f| pod.addresses.get(f)))
        .collect();
    for family in FAMILIES {
        // Of the same block, and nobody's.
        let unused = (200..250)
            .map(|last| match pod.addresses.get(family) {
                IpAddr::V4(address) => {
                    let [a, b, c, _] = address.octets();
                    IpAddr::from([a, b, c, last])
                }
                IpAddr::V6(address) => {
                    IpAddr::from(((u128::from(address) & !0xffff) | 0xff00 | u128::from(last)).to_be_bytes())
                }
            })
            .find(|address| !used.contains(address));
        let unused = unused.context("every address is used")?;
        let socket = cluster.outside.run(|| UdpSocket::bind((any(family), 0)))??;
        let before = sent(cluster, 0)?;
        for _ in 0..DATAGRAMS {
            // An answer that nobody is there is an error of a later call.
            drop(socket.send_to(b"?", (unused, 9)));
        }
        let after = sent(cluster, 0)?;
        // The agents' own words and the kubelet's are few in this time; a loop would be sixty-four of each.
        ensure!(
            after - before < 10 * DATAGRAMS,
            "{} packets left n1 for {DATAGRAMS} to {unused}",
            after - before
        );
    }
    Ok(())
}

fn any(family: Family) -> IpAddr {
    match family {
        Family::V4 => IpAddr::from([0; 4]),
        Family::V6 => IpAddr::from([0; 16]),
    }
}

pub(crate) fn store_dies(cluster: &Cluster) -> Result<()> {
    let manifest = deployment("stormy", 30);
    cluster.kubectl.apply(&manifest)?;
    // In the middle of it.
    eventually(|| {
        ensure!(!cluster.kubectl.pods("default", "app=stormy")?.is_empty(), "no pod yet");
        Ok(())
    })?;
    let pods = cluster.one_per_node();
    cluster.lab().stop_store();
    for family in FAMILIES {
        let to = (pods[1].addresses.get(family), PORT).into();
        same("the source", &client_address(&pods[0].network, to)?, &pods[0].addresses.get(family))?;
    }
    cluster.lab().start_store()?;
    cluster.lab().await_rollout("default", "deployment/stormy")?;
    unique_addresses(cluster)?;
    cluster.kubectl.run(&["delete", "deployment", "stormy", "--wait=false"])?;
    Ok(())
}

fn deployment(name: &str, replicas: u8) -> String {
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

/// From a pod, with everything that a pod may do with its own interface.
pub(crate) fn hostile_pod(cluster: &Cluster) -> Result<()> {
    let [pod, victim, other] = cluster.one_per_node()[..] else { bail!("three nodes have three pods") };
    let gateway: IpAddr = [169, 254, 1, 1].into();
    for (name, _, node) in &cluster.nodes {
        for to in [node.v4.into(), node.v6.into(), gateway] {
            let said = pod.network.run(|| greeting((to, 179).into()))?;
            ensure!(said.is_none(), "{} was let in by {to} port 179 of {name}", pod.name);
        }
    }
    for family in FAMILIES {
        let spoofed = other.addresses.get(family);
        pod.network.add_address("eth0", spoofed.into())?;
        let received = received_from(&pod.network, spoofed, &victim.network, victim.addresses.get(family));
        pod.network.remove_address("eth0", spoofed.into())?;
        ensure!(!received?, "{} was believed to be {}", pod.name, other.name);
        let own = pod.addresses.get(family);
        ensure!(
            received_from(&pod.network, own, &victim.network, victim.addresses.get(family))?,
            "{} is not heard by its own address any more",
            pod.name
        );
    }
    Ok(())
}

/// How much a server says to somebody who says nothing; nothing if it does not open.
fn greeting(to: SocketAddr) -> Option<usize> {
    let patience = Duration::from_millis(500);
    let mut stream = TcpStream::connect_timeout(&to, patience).ok()?;
    stream.set_read_timeout(Some(patience)).ok()?;
    // Silence and a reset are no words.
    Some(stream.read(&mut [0; 64]).unwrap_or(0))
}

/// Whether a datagram arrives.
fn received_from(from: &Namespace, source: IpAddr, at: &Namespace, address: IpAddr) -> Result<bool> {
    let receiver = at.run(|| UdpSocket::bind((address, 0)))??;
    receiver.set_read_timeout(Some(Duration::from_secs(1)))?;
    let to = receiver.local_addr()?;
    // An IPv6 address is tentative for a moment, unless it is anycast or the link has no detection.
    let sender = eventually(|| Ok(from.run(|| UdpSocket::bind((source, 0)))??))?;
    sender.send_to(b"!", to)?;
    Ok(receiver.recv_from(&mut [0; 8]).is_ok())
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
            for family in FAMILIES {
                let to = (b.addresses.get(family), PORT).into();
                let seen = eventually(|| client_address(&a.network, to))?;
                same("the source", &seen, &a.addresses.get(family))?;
            }
        }
    }
    Ok(pods)
}
