//! The addresses that a node has given out, as its plugin keeps them.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::cluster::Cluster;

/// In what is a node's `/var/lib`.
const FILE: &str = "lib/muslin/cni/ipam.json";

/// What the file says.
pub(crate) struct Ledger {
    /// The boot of the machine that its times count from.
    pub(crate) boot: String,
    /// Addresses that somebody has.
    pub(crate) leases: BTreeSet<IpAddr>,
}

/// A node's ledger, which is replaced as a whole.
pub(crate) fn read(cluster: &Cluster, node: usize) -> Result<Ledger> {
    let path = cluster.lab().nodes()[node].folder().join(FILE);
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let file: Value = serde_json::from_str(&text)?;
    let leases = file["ledger"]["leases"].as_object().context("the ledger has no leases")?;
    Ok(Ledger {
        boot: file["boot_id"].as_str().context("the ledger has no boot")?.to_owned(),
        leases: leases.keys().map(|address| address.parse()).collect::<Result<_, _>>()?,
    })
}

/// How many addresses each node has given out.
pub(crate) fn leases(cluster: &Cluster) -> Result<Vec<usize>> {
    (0..cluster.nodes.len()).map(|node| Ok(read(cluster, node)?.leases.len())).collect()
}

/// How many pods of a node have a network of their own.
pub(crate) fn pods_with_networks(cluster: &Cluster, node: &str) -> Result<usize> {
    let on = format!("--field-selector=spec.nodeName={node},status.phase=Running");
    let found = cluster.kubectl.json(&["get", "pods", "--all-namespaces", &on])?;
    let pods = found["items"].as_array().context("there is no list of pods")?;
    Ok(pods.iter().filter(|pod| pod["spec"]["hostNetwork"] != true).count())
}
