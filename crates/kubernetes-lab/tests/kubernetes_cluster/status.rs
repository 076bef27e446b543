//! What agents and a router of ours say of themselves.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use muslin_kubernetes_lab::poll;
use muslin_lab::Dual;
use serde_json::Value;

use crate::cluster::{Cluster, FAMILIES, PATIENCE};

/// Where a node has our commands, and its agent its socket.
const MUSLIN: &str = "/opt/muslin/muslin";
const SOCKET: &str = "/run/muslin/muslin.sock";

/// `muslin status` of a node's agent, whatever it is content with.
pub(crate) fn agent(cluster: &Cluster, node: usize) -> Result<Value> {
    let words = [MUSLIN, "status", "--socket", SOCKET, "--output", "json"];
    read(&cluster.lab().nodes()[node].run(&words)?)
}

/// `muslin status` of the router.
pub(crate) fn router(cluster: &Cluster) -> Result<Value> {
    ask_router(cluster, &["status"])
}

/// The best routes of the router, with their attributes.
pub(crate) fn best_routes(cluster: &Cluster) -> Result<Vec<Value>> {
    let said = ask_router(cluster, &["routes", "best"])?;
    Ok(said["bgp"][0]["routes"].as_array().context("the router has no list of routes")?.clone())
}

fn ask_router(cluster: &Cluster, words: &[&str]) -> Result<Value> {
    let muslin = std::env::var("MUSLIN_BIN").context("MUSLIN_BIN says where the program is")?;
    let mut command = Command::new(muslin);
    command.args(words).args(["--output", "json"]).envs(router_environment(cluster)?);
    read(&command.output()?)
}

fn router_environment(cluster: &Cluster) -> Result<Vec<(String, OsString)>> {
    let places = cluster.lab().places();
    let place = places.into_iter().find(|place| place.name == cluster.router.name());
    Ok(place.context("no router")?.environment)
}

/// The folder that a router of ours reads its resources from.
pub(crate) fn router_manifests(cluster: &Cluster) -> Result<PathBuf> {
    let environment = router_environment(cluster)?;
    let (_, socket) = environment.first().context("the router is none of ours")?;
    // It has a folder for what it is told, beside the one for its socket.
    let own = Path::new(socket).ancestors().nth(2).context("the socket is in no folder")?;
    Ok(own.join("state"))
}

/// An agent that began after `age` ago, once all its sessions are there with their routes and the kernel holds them; how
/// long it needed from its start.
pub(crate) fn converged(cluster: &Cluster, node: usize, age: impl Fn() -> Duration) -> Result<Duration> {
    let mut last = Value::Null;
    let needed = poll::until(PATIENCE, Duration::from_millis(50), || {
        last = agent(cluster, node).ok()?;
        let uptime = Duration::from_secs(last["uptimeSeconds"].as_u64()?);
        let is_new = uptime < age();
        (is_new && last["readiness"]["converged"] == true).then_some(uptime)
    });
    let name = &cluster.nodes[node].0;
    needed.with_context(|| format!("the new agent of {name} has not converged: {}", last["readiness"]))
}

/// The sessions that the router has with a node.
fn sessions(cluster: &Cluster, addresses: Dual) -> Result<Vec<Value>> {
    let addresses = FAMILIES.map(|family| addresses.get(family).to_string());
    let status = router(cluster)?;
    let peers = status["peers"].as_array().context("the router has no peers")?;
    let theirs = peers.iter().filter(|peer| addresses.iter().any(|address| peer["address"] == **address));
    Ok(theirs.cloned().collect())
}

/// Both sessions that the router has with a node, if they are established and no route of an earlier one is left.
pub(crate) fn established(cluster: &Cluster, node: usize) -> Result<Vec<Value>> {
    let (name, _, addresses) = &cluster.nodes[node];
    established_with(cluster, name, *addresses)
}

/// The same of a node that was not there from the start.
pub(crate) fn established_with(cluster: &Cluster, name: &str, addresses: Dual) -> Result<Vec<Value>> {
    let sessions = sessions(cluster, addresses)?;
    let fine = |peer: &&Value| {
        let kept = peer["gracefulRestart"]["retained"].as_array().map(Vec::len);
        peer["established"] == true && kept == Some(0)
    };
    ensure!(
        sessions.iter().filter(fine).count() == 2,
        "the router has these sessions with {name}: {sessions:?}"
    );
    Ok(sessions)
}

fn read(said: &Output) -> Result<Value> {
    let Ok(status) = serde_json::from_slice(&said.stdout) else {
        bail!("muslin status says: {}", String::from_utf8_lossy(&said.stderr))
    };
    Ok(status)
}
