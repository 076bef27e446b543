//! Disturbances: the cluster must work while they last and after them.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use muslin_kubernetes_lab::poll::rest;
use muslin_kubernetes_lab::{AGNHOST, NAMESPACE, STATIC_PODS};
use nix::sys::signal::Signal;

use crate::cluster::{Cluster, FAMILIES, eventually};
use crate::http::{PORT, client_address, host_name, same};
use crate::traffic::Traffic;

/// The agents' pods.
pub(crate) const AGENTS: &str = "app.kubernetes.io/name=muslin";
/// Packets flow so long before and after a disturbance.
pub(crate) const CALM: Duration = Duration::from_secs(2);

pub(crate) fn kill_agent(cluster: &Cluster) -> Result<()> {
    let pods = cluster.one_per_node();
    let traffic = Traffic::start(pods[0], pods[1])?;
    let back = Traffic::start(pods[2], pods[0])?;
    rest(CALM);
    cluster.lab().nodes()[0].signal("muslin", Signal::SIGKILL)?;
    // The kubelet's back-off before it starts the container again has no event; that it did has.
    eventually(|| {
        let restarts = restarts(cluster, "n1")?;
        ensure!(restarts > 0, "the agent of n1 was not started again");
        Ok(())
    })?;
    agents_ready(cluster)?;
    rest(CALM);
    let sent = traffic.finish()? + back.finish()?;
    eprintln!("{sent} datagrams and their answers, none lost");
    Ok(())
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

pub(crate) fn api_server_away(cluster: &Cluster) -> Result<()> {
    let pods = cluster.one_per_node();
    let folder =
        cluster.lab().nodes()[0].folder().join("lib").join(STATIC_PODS.trim_start_matches("/var/lib/"));
    let manifest = format!(
        "apiVersion: v1
kind: Pod
metadata:
  name: static
  labels: {{app: static}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: server
    image: {AGNHOST}
    imagePullPolicy: Never
    args: [netexec, --http-port=8080]
"
    );
    let traffic = Traffic::start(pods[1], pods[2])?;
    cluster.lab().stop_api_server();
    // A start without the API server, with what was last known.
    cluster.lab().nodes()[1].signal("muslin", Signal::SIGKILL)?;
    let before = single_routes(cluster)?;
    for _ in 0..2 {
        fs::write(folder.join("static.yaml"), &manifest)?;
        eventually(|| {
            ensure!(single_routes(cluster)? > before, "no pod was added without the API server");
            Ok(())
        })?;
        fs::remove_file(folder.join("static.yaml"))?;
        eventually(|| same("routes to pods", &single_routes(cluster)?, &before))?;
    }
    fs::write(folder.join("static.yaml"), &manifest)?;
    for family in FAMILIES {
        for (a, b) in [(0, 1), (1, 2), (2, 0)] {
            let to = (pods[b].addresses.get(family), PORT).into();
            same("the source", &client_address(&pods[a].network, to)?, &pods[a].addresses.get(family))?;
        }
    }
    cluster.lab().start_api_server()?;
    let sent = traffic.finish()?;
    eprintln!("{sent} datagrams and their answers, none lost");
    eventually(|| {
        let found = cluster.kubectl.pods("default", "app=static")?;
        let found = found.first().context("the API server does not know the pod that was made without it")?;
        let to = (found.addresses.v4, PORT).into();
        host_name(&pods[1].network, to)
    })?;
    fs::remove_file(folder.join("static.yaml"))?;
    agents_ready(cluster)
}

/// How many pods the first node has routes to.
fn single_routes(cluster: &Cluster) -> Result<usize> {
    let routes = cluster.nodes[0].1.routes()?;
    Ok(routes.iter().filter(|route| route.prefix.prefix_len() == route.prefix.max_prefix_len()).count())
}

pub(crate) fn power_failure(cluster: &Cluster) -> Result<()> {
    let pods = cluster.one_per_node();
    let traffic = Traffic::start(pods[0], pods[1])?;
    let lost = pods[2].addresses;
    cluster.lab().node_mut(2).context("a third node")?.kill();
    cluster.kubectl.run(&["wait", "node/n3", "--for=condition=Ready=Unknown", "--timeout=60s"])?;
    cluster.lab().node_mut(2).context("a third node")?.power_on()?;
    cluster.kubectl.run(&["wait", "node/n3", "--for=condition=Ready", "--timeout=120s"])?;
    let sent = traffic.finish()?;
    eprintln!("{sent} datagrams and their answers between other nodes, none lost");
    let again = eventually(|| {
        let found = cluster.kubectl.pods("default", "set=web")?;
        found.into_iter().find(|pod| pod.node == "n3" && pod.addresses != lost).context("no new pod on n3")
    })?;
    for family in FAMILIES {
        for pod in &pods[..2] {
            let to = (again.addresses.get(family), PORT).into();
            let seen = eventually(|| client_address(&pod.network, to))?;
            same("the source", &seen, &pod.addresses.get(family))?;
        }
    }
    agents_ready(cluster)
}
