//! Two builds of the product on one cluster: the one that it was installed with, and the one that the lab itself runs.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use muslin_kubernetes_lab::{AGNHOST, OTHER_BUILD};
use muslin_lab::Dual;

use crate::cluster::{Cluster, FAMILIES, eventually};
use crate::http::{PORT, client_address, same};
use crate::ledger;
use crate::release;
use crate::traffic::Traffic;

/// What runs on a node, and what the lab gave it of its own build.
const AGENT: [&str; 2] = ["/proc/$(pgrep -x -o muslin)/exe", "/opt/muslin/muslin"];
const PLUGIN: [&str; 2] = ["/opt/cni/bin/muslin-cni", "/opt/muslin/muslin-cni"];

/// Of which build a node's agent or plugin is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Build {
    Installed,
    Other,
}

fn build(cluster: &Cluster, node: usize, [running, other]: [&str; 2]) -> Result<Build> {
    let compare = format!("cmp --silent {running} {other}");
    let output = cluster.lab().nodes()[node].run(&["sh", "-c", &compare])?;
    match output.status.code() {
        Some(0) => Ok(Build::Other),
        Some(1) => Ok(Build::Installed),
        _ => bail!("{compare}: {}", String::from_utf8_lossy(&output.stderr)),
    }
}

fn builds(cluster: &Cluster, node: usize, agent: Build, plugin: Build) -> Result<()> {
    let name = &cluster.nodes[node].0;
    same(format!("the agent of {name}"), &build(cluster, node, AGENT)?, &agent)?;
    same(format!("the plugin of {name}"), &build(cluster, node, PLUGIN)?, &plugin)
}

fn pod(name: &str, node: &str) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata:
  name: {name}
  labels: {{app: {name}}}
spec:
  nodeName: {node}
  terminationGracePeriodSeconds: 0
  containers:
  - name: server
    image: {AGNHOST}
    imagePullPolicy: Never
    args: [netexec, --http-port=8080]
"
    )
}

/// Adds a pod, which the pods of all nodes then reach.
fn comes(cluster: &Cluster, name: &str, node: usize) -> Result<()> {
    cluster.kubectl.apply(&pod(name, &cluster.nodes[node].0))?;
    cluster.kubectl.run(&["wait", &format!("pod/{name}"), "--for=condition=Ready", "--timeout=60s"])?;
    let found = cluster.kubectl.pods("default", &format!("app={name}"))?;
    let addresses = found.first().with_context(|| format!("{name} does not run"))?.addresses;
    for from in cluster.one_per_node() {
        for family in FAMILIES {
            let to = (addresses.get(family), PORT).into();
            let seen = eventually(|| client_address(&from.network, to))?;
            same("the source", &seen, &from.addresses.get(family))?;
        }
    }
    Ok(())
}

/// Deletes a pod, after which its node has given out these addresses and no others.
fn goes(cluster: &Cluster, name: &str, node: usize, leases: &ledger::Ledger) -> Result<()> {
    cluster.kubectl.run(&["delete", "pod", name])?;
    eventually(|| {
        let left = ledger::read(cluster, node)?.leases;
        same(format!("addresses of {}", cluster.nodes[node].0), &left, &leases.leases)
    })
}

/// The addresses of the pods of before, by what tells them from others of their names.
fn addresses(cluster: &Cluster) -> Result<BTreeMap<String, Dual>> {
    let pods = cluster.kubectl.pods("default", "app=web")?;
    Ok(pods.into_iter().map(|pod| (pod.uid, pod.addresses)).collect())
}

pub(crate) fn upgrade(cluster: &Cluster) -> Result<()> {
    cluster.lab().add_other_build()?;
    for node in 0..cluster.nodes.len() {
        builds(cluster, node, Build::Installed, Build::Installed)?;
    }
    let before = addresses(cluster)?;
    let leases = ledger::read(cluster, 1)?;
    comes(cluster, "older", 1)?;
    let pods = cluster.one_per_node();
    let traffic = Traffic::start(pods[0], pods[1])?;
    let back = Traffic::start(pods[1], pods[2])?;
    beside_the_old_agent(cluster)?;

    release::upgrade(cluster, &[&format!("image.tag={OTHER_BUILD}")])?;
    for node in 0..cluster.nodes.len() {
        builds(cluster, node, Build::Other, Build::Other)?;
    }
    ensure!(addresses(cluster)? == before, "pods have changed: {:?}, were {before:?}", addresses(cluster)?);
    goes(cluster, "older", 1, &leases)?;
    comes(cluster, "newer", 1)?;
    goes(cluster, "newer", 1, &leases)?;
    let sent = traffic.finish()? + back.finish()?;
    eprintln!("{sent} datagrams and their answers, none lost");
    Ok(())
}

/// Between the two steps of a node's upgrade the plugin is new and the agent is not.
fn beside_the_old_agent(cluster: &Cluster) -> Result<()> {
    let leases = ledger::read(cluster, 0)?;
    // As the first container of an upgraded pod does.
    let installed = cluster.lab().nodes()[0].run(&["/opt/muslin/muslin", "cni", "install"])?;
    ensure!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
    builds(cluster, 0, Build::Installed, Build::Other)?;
    comes(cluster, "between", 0)?;
    goes(cluster, "between", 0, &leases)?;
    builds(cluster, 0, Build::Installed, Build::Other)
}
