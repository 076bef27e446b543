//! Pods among themselves, with their node and with the world.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use muslin_kubernetes_lab::AGNHOST;
use muslin_kubernetes_lab::pod::Pod;
use muslin_lab::RouterKind;
use muslin_netns::{Namespace, RouteKind};

use crate::cluster::{Cluster, FAMILIES, eventually};
use crate::http::{PORT, UDP_PORT, client_address, get, host_name, same, seen_by_listener, udp_host_name};
use crate::ledger;
use crate::traffic::Traffic;

/// Ports of the container beside the server in each pod: of HTTP, and of UDP.
const BESIDE: (u16, u16) = (8090, 8091);
/// What our routes carry in the kernel.
pub(crate) const OUR_PROTOCOL: u8 = 77;

/// Each container asks the other one.
pub(crate) fn localhost(cluster: &Cluster) -> Result<()> {
    let server = (PORT, UDP_PORT);
    for pod in &cluster.web {
        for address in ["127.0.0.1", "::1"] {
            for ((asking, _), (http, udp)) in [(server, BESIDE), (BESIDE, server)] {
                for (protocol, port) in [("http", http), ("udp", udp)] {
                    // The process of the container connects, not we from its namespace.
                    let path = format!(
                        "/dial?host={address}&port={port}&protocol={protocol}&request=hostname&tries=1"
                    );
                    let answer = get(&pod.network, SocketAddr::new(address.parse()?, asking), &path)?;
                    let wanted = format!(r#"{{"responses":["{}"]}}"#, pod.name);
                    same(format!("{asking} asks {port} on {address}"), &answer, &wanted)?;
                }
            }
        }
    }
    Ok(())
}

pub(crate) fn one_node(cluster: &Cluster) -> Result<()> {
    meet(cluster, |a, b| a.node == b.node)
}

pub(crate) fn across_nodes(cluster: &Cluster) -> Result<()> {
    meet(cluster, |a, b| a.node != b.node)
}

/// Every pair that is chosen, by TCP and UDP, in both families, with the source address kept.
fn meet(cluster: &Cluster, chosen: impl Fn(&Pod, &Pod) -> bool) -> Result<()> {
    let mut pairs = 0;
    for a in &cluster.web {
        for b in cluster.web.iter().filter(|b| b.name != a.name && chosen(a, b)) {
            for &family in cluster.families {
                let (from, to) = (a.addresses.get(family), b.addresses.get(family));
                same("the source", &client_address(&a.network, (to, PORT).into())?, &from)?;
                same("who answers", &udp_host_name(&a.network, (to, UDP_PORT).into())?, &b.name)?;
            }
            pairs += 1;
        }
    }
    ensure!(pairs >= 6, "only {pairs} pairs of pods");
    Ok(())
}

pub(crate) fn routes_are_learned(cluster: &Cluster) -> Result<()> {
    let mut learned = 0;
    for (name, namespace, _) in &cluster.nodes {
        for route in namespace.routes()?.iter().filter(|route| route.kind == RouteKind::Unicast) {
            let to_pods = cluster.web.iter().filter(|pod| pod.node != *name);
            let to_pods =
                to_pods.flat_map(|pod| cluster.families.iter().map(|family| pod.addresses.get(*family)));
            let is_default = route.prefix.prefix_len() == 0;
            if is_default || !to_pods.into_iter().any(|address| route.prefix.contains(&address)) {
                continue;
            }
            same(format!("{name}: protocol of {}", route.prefix), &route.protocol, &OUR_PROTOCOL)?;
            learned += 1;
        }
    }
    let blocks = cluster.families.len() * cluster.nodes.len();
    ensure!(
        learned >= blocks * (cluster.nodes.len() - 1),
        "nodes hold only {learned} routes to others' pods"
    );
    let mut known = 0;
    for route in cluster.router.routes()? {
        let pods = cluster
            .web
            .iter()
            .flat_map(|pod| cluster.families.iter().map(|family| pod.addresses.get(*family)));
        if pods.into_iter().any(|address| route.prefix.contains(&address)) {
            let what = format!("the router's protocol of {}", route.prefix);
            same(what, &route.protocol, &protocol(cluster.router_kind))?;
            known += 1;
        }
    }
    ensure!(known >= blocks, "the router holds only {known} routes to pods");
    Ok(())
}

/// What a router's routes carry in its kernel.
fn protocol(router: RouterKind) -> u8 {
    match router {
        RouterKind::Muslin => OUR_PROTOCOL,
        RouterKind::Bird => 12,
        RouterKind::Frr => 186,
    }
}

/// Octets that one node's link carries in the middle of the test.
const NARROW: u32 = 1400;

pub(crate) fn large_requests(cluster: &Cluster) -> Result<()> {
    let pods = cluster.one_per_node();
    everybody_echoes(&pods)?;
    let narrow = NarrowLink::begin(cluster, 1, NARROW)?;
    everybody_echoes(&pods)?;
    // Nobody had to guess: what a packet may measure was told the pods on both sides.
    for (from, to) in [(pods[0], pods[1]), (pods[1], pods[0])] {
        for family in FAMILIES {
            let known = route_of(&from.network, to.addresses.get(family))?;
            ensure!(known.contains(&format!("mtu {NARROW}")), "{} knows of {}: {known}", from.name, to.name);
        }
    }
    drop(narrow);
    everybody_echoes(&pods)
}

fn everybody_echoes(pods: &[&Pod]) -> Result<()> {
    let word = "muslin".repeat(10_000);
    for a in pods {
        for b in pods {
            for family in FAMILIES {
                let to = (b.addresses.get(family), PORT).into();
                let answer = get(&a.network, to, &format!("/echo?msg={word}"))?;
                ensure!(answer.contains(&word), "{} octets came back of {}", answer.len(), word.len());
            }
        }
    }
    Ok(())
}

/// A node's link to the router that carries less, until this is dropped.
struct NarrowLink<'a> {
    ends: Vec<(&'a Namespace, &'a str, u32)>,
}

impl<'a> NarrowLink<'a> {
    fn begin(cluster: &'a Cluster, node: usize, mtu: u32) -> Result<Self> {
        let (name, namespace, _) = &cluster.nodes[node];
        let mut narrow = Self { ends: Vec::new() };
        for (end, link) in [(namespace, "eth0"), (&cluster.router, name)] {
            let links = end.links()?;
            let found = links.iter().find(|found| found.name == link).context("no such link")?;
            narrow.ends.push((end, link, found.mtu));
            end.set_mtu(link, mtu)?;
        }
        Ok(narrow)
    }
}

impl Drop for NarrowLink<'_> {
    fn drop(&mut self) {
        for (end, link, mtu) in &self.ends {
            if let Err(error) = end.set_mtu(link, *mtu) {
                eprintln!("{link} of {} stays narrow: {error}", end.name());
            }
        }
    }
}

/// What a kernel knows of the way to an address.
fn route_of(from: &Namespace, to: IpAddr) -> Result<String> {
    let mut ask = Command::new("ip");
    ask.args(["route", "get", &to.to_string()]).stdout(Stdio::piped());
    let answer = from.spawn(&mut ask)?.wait_with_output()?;
    ensure!(answer.status.success(), "ip route get {to} in {} ends with {}", from.name(), answer.status);
    Ok(String::from_utf8_lossy(&answer.stdout).into_owned())
}

pub(crate) fn egress(cluster: &Cluster) -> Result<()> {
    for pod in &cluster.web {
        let (name, _, addresses) =
            cluster.nodes.iter().find(|(name, ..)| *name == pod.node).context("the pod's node")?;
        for &family in cluster.families {
            let outside = cluster.outside_address.get(family);
            let seen = seen_by_listener(&pod.network, &cluster.outside, outside)?;
            same(format!("a pod of {name}, as seen outside"), &seen, &addresses.get(family))?;
            for (node, namespace, addresses) in &cluster.nodes {
                let seen = seen_by_listener(&pod.network, namespace, addresses.get(family))?;
                same(format!("{}, as seen by {node}", pod.name), &seen, &pod.addresses.get(family))?;
            }
        }
    }
    Ok(())
}

/// Nobody translates what comes from there.
pub(crate) fn from_outside(cluster: &Cluster) -> Result<()> {
    for pod in &cluster.web {
        for &family in cluster.families {
            let to = (pod.addresses.get(family), PORT).into();
            let seen = client_address(&cluster.outside, to)?;
            same("the source outside", &seen, &cluster.outside_address.get(family))?;
        }
    }
    Ok(())
}

pub(crate) fn host_network(cluster: &Cluster) -> Result<()> {
    cluster.kubectl.apply(&format!(
        "apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: host
spec:
  selector:
    matchLabels: {{app: host}}
  template:
    metadata:
      labels: {{app: host}}
    spec:
      hostNetwork: true
      terminationGracePeriodSeconds: 0
      containers:
      - name: server
        image: {AGNHOST}
        imagePullPolicy: Never
        args: [netexec, --http-port=18080, --udp-port=18081]
        readinessProbe:
          httpGet: {{path: /healthz, port: 18080}}
          periodSeconds: 1
"
    ))?;
    cluster.kubectl.run(&["rollout", "status", "daemonset/host", "--timeout=120s"])?;
    let hosts = cluster.kubectl.pods("default", "app=host")?;
    same("pods on the hosts' network", &hosts.len(), &cluster.nodes.len())?;
    for host in &hosts {
        for pod in &cluster.web {
            for family in FAMILIES {
                host_name(&host.network, (pod.addresses.get(family), PORT).into())?;
                host_name(&pod.network, (host.addresses.get(family), 18080).into())?;
            }
        }
    }
    cluster.kubectl.run(&["delete", "daemonset", "host"])?;
    Ok(())
}

pub(crate) fn host_port(cluster: &Cluster) -> Result<()> {
    let node = &cluster.nodes[1];
    cluster.kubectl.apply(&format!(
        "apiVersion: v1
kind: Pod
metadata:
  name: host-port
spec:
  nodeName: {}
  terminationGracePeriodSeconds: 0
  containers:
  - name: server
    image: {AGNHOST}
    imagePullPolicy: Never
    args: [netexec, --http-port=8080]
    ports:
    - {{containerPort: 8080, hostPort: 18888}}
",
        node.0
    ))?;
    cluster.kubectl.run(&["wait", "pod/host-port", "--for=condition=Ready", "--timeout=60s"])?;
    for family in FAMILIES {
        let to = (node.2.get(family), 18888).into();
        same("who answers", &eventually(|| host_name(&cluster.outside, to))?, &"host-port".to_owned())?;
        for pod in cluster.one_per_node() {
            same("who answers", &host_name(&pod.network, to)?, &"host-port".to_owned())?;
        }
    }
    cluster.kubectl.run(&["delete", "pod", "host-port"])?;
    Ok(())
}

pub(crate) fn churn(cluster: &Cluster) -> Result<()> {
    // Those of the tests before.
    eventually(|| same("pods that end", &ending(cluster)?, &0))?;
    let before = addresses_in_use(cluster)?;
    let leases = ledger::leases(cluster)?;
    let announced = cluster.router.routes()?;
    let pods = cluster.one_per_node();
    let traffic = Traffic::start(pods[0], pods[1])?;
    for round in 1..=4 {
        // A Deployment of its own each time: scaled up again, it may still say of the last fifty that they are ready.
        let deployment = format!("deployment/churn-{round}");
        cluster.kubectl.apply(&fifty_pods(&format!("churn-{round}")))?;
        cluster.kubectl.run(&["rollout", "status", &deployment, "--timeout=180s"])?;
        let pods = cluster.kubectl.pods("default", "app=churn")?;
        same("pods that run", &pods.len(), &50)?;
        let addresses: BTreeSet<_> =
            pods.iter().flat_map(|pod| FAMILIES.map(|family| pod.addresses.get(family))).collect();
        same("different addresses", &addresses.len(), &(2 * pods.len()))?;
        let leased = leases.iter().sum::<usize>() + addresses.len();
        same("leases while they run", &ledger::leases(cluster)?.iter().sum(), &leased)?;
        // Nodes announce their blocks, whatever is in them.
        same("the router's routes", &cluster.router.routes()?, &announced)?;
        cluster.kubectl.run(&["delete", &deployment])?;
        let gone = ["wait", "pod", "--selector=app=churn", "--for=delete", "--timeout=180s"];
        cluster.kubectl.run(&gone)?;
        same("the router's routes", &cluster.router.routes()?, &announced)?;
    }
    let sent = traffic.finish()?;
    eprintln!("{sent} datagrams and their answers, none lost");
    eventually(|| same("routes to pods", &addresses_in_use(cluster)?, &before))?;
    // A lease without a pod would be seen by nobody until the block is used up.
    eventually(|| same("leases", &ledger::leases(cluster)?, &leases))
}

fn ending(cluster: &Cluster) -> Result<usize> {
    let pods = cluster.kubectl.json(&["get", "pods", "--all-namespaces"])?;
    let pods = pods["items"].as_array().context("there is no list of pods")?;
    Ok(pods.iter().filter(|pod| !pod["metadata"]["deletionTimestamp"].is_null()).count())
}

fn fifty_pods(name: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
spec:
  replicas: 50
  selector:
    matchLabels: {{app: churn}}
  template:
    metadata:
      labels: {{app: churn}}
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

/// How many routes to single addresses each node has.
fn addresses_in_use(cluster: &Cluster) -> Result<Vec<usize>> {
    let single = |(_, namespace, _): &(_, Namespace, _)| {
        let routes = namespace.routes()?;
        let single = routes.iter().filter(|route| {
            route.kind == RouteKind::Unicast && route.prefix.prefix_len() == route.prefix.max_prefix_len()
        });
        Ok(single.count())
    };
    cluster.nodes.iter().map(single).collect()
}
