//! A node that loses its power, and boots.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use muslin_netns::Namespace;
use serde_json::Value;

use crate::cluster::{Cluster, FAMILIES, eventually};
use crate::disturb::agents_ready;
use crate::faults::unique_addresses;
use crate::http::{PORT, client_address, same};
use crate::status;
use crate::traffic::Traffic;

/// A port that nobody listens on: what answers there is the kernel alone.
const NOBODY: u16 = 1;

/// Whether anything of a node answers: a refusal is an answer.
fn answers(cluster: &Cluster, from: &Namespace, node: usize) -> Result<bool> {
    let mut answered = false;
    for family in FAMILIES {
        let to = (cluster.nodes[node].2.get(family), NOBODY).into();
        let knock = || TcpStream::connect_timeout(&to, Duration::from_millis(500));
        answered |= match from.run(knock)? {
            Ok(_) => true,
            Err(error) => error.kind() == ErrorKind::ConnectionRefused,
        };
    }
    Ok(answered)
}

/// Takes a node's power, and sees that it is gone from the network with all that its kernel had.
pub(crate) fn kill(cluster: &Cluster, node: usize) -> Result<()> {
    let name = &cluster.nodes[node].0;
    ensure!(answers(cluster, &cluster.router, node)?, "{name} does not answer although it is alive");
    cluster.lab().node_mut(node).context("no such node")?.kill()?;
    for from in [&cluster.router, &cluster.outside] {
        ensure!(!answers(cluster, from, node)?, "{name} answers {} without power", from.name());
    }
    Ok(())
}

fn boot_id(cluster: &Cluster, node: usize) -> Result<String> {
    let read = cluster.lab().nodes()[node].run(&["cat", "/proc/sys/kernel/random/boot_id"])?;
    Ok(String::from_utf8_lossy(&read.stdout).trim().to_owned())
}

/// The agent of a node that has booted claims nothing of a time before.
pub(crate) fn began_fresh(cluster: &Cluster, node: usize) -> Result<()> {
    let name = &cluster.nodes[node].0;
    for session in eventually(|| status::established(cluster, node))? {
        let peer = &session["gracefulRestart"]["peer"];
        ensure!(peer["restarted"] == false, "after a boot {name} says that it has merely restarted: {peer}");
        same(format!("what {name} says that it kept"), &peer["forwardingKept"], &Value::Array(vec![]))?;
    }
    Ok(())
}

pub(crate) fn power_failure(cluster: &Cluster) -> Result<()> {
    let pods = cluster.one_per_node();
    let traffic = Traffic::start(pods[0], pods[1])?;
    let lost = pods[2].addresses;
    let boot = boot_id(cluster, 2)?;
    kill(cluster, 2)?;
    cluster.kubectl.run(&["wait", "node/n3", "--for=condition=Ready=Unknown", "--timeout=60s"])?;
    cluster.lab().node_mut(2).context("a third node")?.power_on()?;
    let now = boot_id(cluster, 2)?;
    ensure!(boot != now, "the machine does not know that it has booted");
    began_fresh(cluster, 2)?;
    cluster.kubectl.run(&["wait", "node/n3", "--for=condition=Ready", "--timeout=120s"])?;
    let sent = traffic.finish()?;
    eprintln!("{sent} datagrams and their answers between other nodes, none lost");
    eventually(|| {
        let node = cluster.kubectl.json(&["get", "node", "n3"])?;
        same("the API's boot of n3", &node["status"]["nodeInfo"]["bootID"], &Value::String(now.clone()))
    })?;
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
    for set in ["daemonset/web", "daemonset/second"] {
        cluster.lab().await_rollout("default", set)?;
    }
    unique_addresses(cluster)?;
    // What the addresses were given to before the power failure is not there to hold them.
    let ledger = crate::ledger::read(cluster, 2)?;
    same("the boot that the ledger counts from", &ledger.boot, &now)?;
    eventually(|| {
        let pods = crate::ledger::pods_with_networks(cluster, "n3")?;
        same("leases of n3", &crate::ledger::read(cluster, 2)?.leases.len(), &(2 * pods))
    })?;
    agents_ready(cluster)
}
