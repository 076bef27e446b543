//! Disturbances: the cluster must work while they last and after them.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use ipnet::IpNet;
use muslin_kubernetes_lab::poll::rest;
use muslin_kubernetes_lab::{AGNHOST, NAMESPACE, STATIC_PODS};
use muslin_lab::Dual;
use muslin_netns::RouteKind;
use nix::sys::signal::Signal;

use crate::cluster::{Cluster, FAMILIES, eventually};
use crate::http::{PORT, client_address, host_name, same};
use crate::services::{publish, service, ways};
use crate::status;
use crate::traffic::Traffic;

/// The agents' pods.
pub(crate) const AGENTS: &str = "app.kubernetes.io/name=muslin";
/// An agent that is started again has its sessions and routes in less.
const RECONVERGED: Duration = Duration::from_secs(10);
/// Packets flow so long before and after a disturbance.
pub(crate) const CALM: Duration = Duration::from_secs(2);

pub(crate) fn kill_agent(cluster: &Cluster) -> Result<()> {
    let pods = cluster.one_per_node();
    let traffic = Traffic::start(pods[0], pods[1])?;
    let back = Traffic::start(pods[2], pods[0])?;
    rest(CALM);
    let before = restarts(cluster, "n1")?;
    let killed = kill_agent_of(cluster, 0)?;
    // When the kubelet starts the container again is its own affair; how long the agent needs then is ours.
    let needed = status::converged(cluster, 0, || killed.elapsed())?;
    ensure!(needed < RECONVERGED, "the new agent needed {needed:?}");
    eventually(|| {
        let restarts = restarts(cluster, "n1")?;
        ensure!(restarts > before, "the agent of n1 was started {restarts} times again, as before");
        Ok(())
    })?;
    agents_ready(cluster)?;
    rest(CALM);
    let sent = traffic.finish()? + back.finish()?;
    eprintln!("{sent} datagrams and their answers, none lost");
    Ok(())
}

/// Kills a node's agent; when that was.
pub(crate) fn kill_agent_of(cluster: &Cluster, node: usize) -> Result<Instant> {
    // An agent is older than the time since then, or it is the new one.
    let killed = Instant::now();
    cluster.lab().nodes()[node].signal("muslin", Signal::SIGKILL)?;
    Ok(killed)
}

pub(crate) fn restarts(cluster: &Cluster, node: &str) -> Result<u64> {
    let pods = cluster.kubectl.json(&["get", "pods", "--namespace", NAMESPACE, "--selector", AGENTS])?;
    let pods = pods["items"].as_array().cloned().unwrap_or_default();
    let pod = pods.iter().find(|pod| pod["spec"]["nodeName"] == node).context("no agent")?;
    Ok(pod["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap_or_default())
}

pub(crate) fn agents_ready(cluster: &Cluster) -> Result<()> {
    let wait = [
        "wait",
        "pod",
        "--namespace",
        NAMESPACE,
        "--selector",
        AGENTS,
        "--for=condition=Ready",
        "--timeout=120s",
    ];
    cluster.kubectl.run(&wait)?;
    Ok(())
}

pub(crate) fn roll(cluster: &Cluster) -> Result<()> {
    let pods = cluster.one_per_node();
    let traffic = Traffic::start(pods[0], pods[1])?;
    let back = Traffic::start(pods[1], pods[2])?;
    rest(CALM);
    cluster.kubectl.run(&["rollout", "restart", "daemonset/muslin", "--namespace", NAMESPACE])?;
    cluster.lab().await_rollout(NAMESPACE, "daemonset/muslin")?;
    rest(CALM);
    let sent = traffic.finish()? + back.finish()?;
    eprintln!("{sent} datagrams and their answers, none lost");
    Ok(())
}

/// Beyond the time for which a router keeps routes of an agent that was killed, unless a new one announces them: 120 s.
const AWAY: Duration = Duration::from_secs(130);
/// An agent writes what it knows to its disk every five seconds: what is newer, the next one does not know without the API
/// server.
const KEPT: Duration = Duration::from_secs(6);

pub(crate) fn api_server_away(cluster: &Cluster) -> Result<()> {
    let balanced = Dual { v4: "192.0.2.25".parse()?, v6: "2001:db8:2::25".parse()? };
    cluster.kubectl.apply(&service("steady", "app: web", "  type: LoadBalancer\n"))?;
    publish(cluster, "steady", balanced)?;
    let all = cluster.nodes.len();
    eventually(|| is_announced(cluster, balanced, all))?;
    let pods = cluster.one_per_node();
    let traffic = Traffic::start(pods[1], pods[2])?;
    rest(KEPT);
    cluster.lab().stop_api_server();
    let went_on = goes_on_without(cluster, balanced);
    // Whatever was found, others want it back. Kubelets have told nothing for longer than a node may be silent.
    cluster.lab().start_api_server()?;
    cluster.lab().await_nodes()?;
    went_on?;
    let sent = traffic.finish()?;
    eprintln!("{sent} datagrams and their answers, none lost");
    // A kubelet tells of such a pod when it looks at it next, and how it is when it does so again: each may take a
    // minute and a half.
    let known = format!("pod/static-{}", cluster.nodes[0].0);
    for told in ["--for=create", "--for=condition=Ready"] {
        cluster.kubectl.run(&["wait", &known, told, "--timeout=120s"])?;
    }
    eventually(|| {
        let found = cluster.kubectl.pods("default", "app=static")?;
        let found = found.first().context("the API server does not know the pod that was made without it")?;
        let to = (found.addresses.v4, PORT).into();
        host_name(&pods[1].network, to)
    })?;
    fs::remove_file(static_pods(cluster, 0).join("static.yaml"))?;
    cluster.kubectl.run(&["delete", "service", "steady"])?;
    agents_ready(cluster)
}

/// Everything that has to go on without the API server, for longer than an agent's routes outlive it.
fn goes_on_without(cluster: &Cluster, balanced: Dual) -> Result<()> {
    let stopped = Instant::now();
    // A start without the API server, with what was last known, while pods come and go elsewhere.
    let killed = kill_agent_of(cluster, 1)?;
    let all = cluster.nodes.len();
    let enough = AtomicBool::new(false);
    let (made, looked) = thread::scope(|scope| {
        let watch = scope.spawn(|| -> Result<u32> {
            let mut looked = 0;
            while !enough.load(Ordering::Relaxed) {
                // What the killed agent announced is the last choice until the new one has announced it.
                is_announced(cluster, balanced, all - 1)
                    .with_context(|| format!("{:.1?} after the agent was killed", killed.elapsed()))?;
                looked += 1;
                rest(LOOK);
            }
            Ok(looked)
        });
        let made = pods_come_and_go(cluster, killed, || is_announced(cluster, balanced, all));
        enough.store(true, Ordering::Relaxed);
        let Ok(looked) = watch.join() else { bail!("the watching thread panicked") };
        Ok::<_, anyhow::Error>((made?, looked?))
    })?;
    fs::write(static_pods(cluster, 0).join("static.yaml"), of_the_node("static"))?;
    let pods = cluster.one_per_node();
    for family in FAMILIES {
        for (a, b) in [(0, 1), (1, 2), (2, 0)] {
            let to = (pods[b].addresses.get(family), PORT).into();
            same("the source", &client_address(&pods[a].network, to)?, &pods[a].addresses.get(family))?;
        }
    }
    let away = stopped.elapsed();
    eprintln!(
        "no API server for {away:.0?}: {made} pods came and went, {looked} looks at the router's routes"
    );
    Ok(())
}

/// Between two looks at the router's routes.
const LOOK: Duration = Duration::from_millis(200);

/// The router has a way to the pods of each node, and to a Service by as many nodes as it must.
fn is_announced(cluster: &Cluster, balanced: Dual, nodes: usize) -> Result<()> {
    let routes = cluster.router.routes()?;
    for (family, length) in FAMILIES.into_iter().zip([24, 64]) {
        for pod in cluster.one_per_node() {
            let block = IpNet::new(pod.addresses.get(family), length)?.trunc();
            let there = routes.iter().any(|route| route.prefix == block);
            ensure!(there, "the router has no route to {block} of {}", pod.node);
        }
        let ways = ways(cluster, balanced.get(family))?;
        ensure!(ways.len() >= nodes, "of the ways to a Service by {} only {ways:?} are there", family.name());
    }
    Ok(())
}

/// The agent that was killed is back, and pods come and go on every node until the router would have lost patience; how
/// many.
fn pods_come_and_go(
    cluster: &Cluster,
    killed: Instant,
    all_is_there: impl Fn() -> Result<()>,
) -> Result<u32> {
    comes_and_goes(cluster, 0, 0)?;
    status::converged(cluster, 1, || killed.elapsed())?;
    for session in eventually(|| status::established(cluster, 1))? {
        let peer = &session["gracefulRestart"]["peer"];
        ensure!(peer["restarted"] == true, "the router was not told of a restart: {peer}");
        let since = Duration::from_secs(session["stateSeconds"].as_u64().context("no age of a session")?);
        ensure!(since < killed.elapsed(), "the session is older than the agent: {session}");
    }
    eventually(&all_is_there)?;
    let mut made = 1;
    // The new agent's node takes pods as well.
    for node in (0..cluster.nodes.len()).cycle().skip(1) {
        comes_and_goes(cluster, node, made)?;
        all_is_there()?;
        made += 1;
        if killed.elapsed() > AWAY {
            break;
        }
    }
    Ok(made)
}

/// A pod that a kubelet knows without the API server.
fn of_the_node(name: &str) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata:
  name: {name}
  labels: {{app: static}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: server
    image: {AGNHOST}
    imagePullPolicy: Never
    args: [netexec, --http-port=8080]
"
    )
}

/// Where a node's kubelet finds pods without the API server.
fn static_pods(cluster: &Cluster, node: usize) -> PathBuf {
    cluster.lab().nodes()[node].folder().join("lib").join(STATIC_PODS.trim_start_matches("/var/lib/"))
}

/// A pod of a node's own is made, answers a pod of the next node, and is removed.
fn comes_and_goes(cluster: &Cluster, node: usize, number: u32) -> Result<()> {
    // Never the one before: a kubelet lets a container that comes again wait for longer each time.
    let name = format!("static-{number}");
    let file = static_pods(cluster, node).join(format!("{name}.yaml"));
    let before = single_routes(cluster, node)?;
    fs::write(&file, of_the_node(&name))?;
    let new = eventually(|| {
        let now = single_routes(cluster, node)?;
        let new: Vec<IpAddr> = now.difference(&before).copied().collect();
        ensure!(new.len() == 2, "no pod was added on {} without the API server", cluster.nodes[node].0);
        Ok(new)
    })?;
    let asks = cluster.one_per_node()[(node + 1) % cluster.nodes.len()];
    for address in new {
        eventually(|| host_name(&asks.network, (address, PORT).into())).context(name.clone())?;
    }
    fs::remove_file(file)?;
    eventually(|| same("addresses of pods", &single_routes(cluster, node)?, &before))
}

/// Addresses of the pods that a node has routes to.
fn single_routes(cluster: &Cluster, node: usize) -> Result<BTreeSet<IpAddr>> {
    let routes = cluster.nodes[node].1.routes()?;
    let to_pods = routes.iter().filter(|route| route.kind == RouteKind::Unicast).map(|route| route.prefix);
    let single = to_pods.filter(|prefix| prefix.prefix_len() == prefix.max_prefix_len());
    Ok(single.map(|prefix| prefix.addr()).collect())
}
