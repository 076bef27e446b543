//! Nodes that have nobody but each other to get packets to each other's pods.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::cluster::{Cluster, eventually};
use crate::gate::nft;
use crate::http::same;
use crate::status;

/// The router on the link tells every node where the pods of all are, and would be another way to know.
const FILTER: &str = "apiVersion: muslin.dev/v1alpha1
kind: BGPFilter
metadata:
  name: nothing-back
spec:
  import:
  - action: Reject
";

/// It takes what comes by default routes, and would send it back to the link, to the right node.
const NO_DETOUR: &str = "table inet detour {
  chain forward {
    type filter hook forward priority 0
    iifname lan oifname lan drop
  }
}";

/// Until this is dropped the router is no way between nodes: what a node does not know is lost, and counted.
pub(crate) struct Alone<'a>(&'a Cluster);

impl<'a> Alone<'a> {
    pub(crate) fn begin(cluster: &'a Cluster) -> Result<Self> {
        let alone = Self(cluster);
        nft(&cluster.router, NO_DETOUR)?;
        cluster.kubectl.apply(FILTER)?;
        alone.filter_peers(&serde_json::json!(["nothing-back"]))?;
        for node in 0..cluster.nodes.len() {
            eventually(|| same("routes accepted of the router", &accepted(cluster, node)?, &0))?;
        }
        Ok(alone)
    }

    fn filter_peers(&self, filters: &Value) -> Result<()> {
        let Self(cluster) = self;
        let peers = cluster.kubectl.run(&["get", "bgppeers.muslin.dev", "--output=name"])?;
        let peers: Vec<&str> = peers.lines().collect();
        let patch = serde_json::json!({"spec": {"filters": filters}}).to_string();
        cluster.kubectl.run(&[&["patch"], &*peers, &["--type=merge", "--patch", &patch]].concat())?;
        Ok(())
    }
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        let undone =
            self.filter_peers(&Value::Null).and_then(|()| nft(&self.0.router, "delete table inet detour"));
        if let Err(error) = undone {
            eprintln!("the router is no way between nodes any more: {error:#}");
        }
    }
}

/// How many routes a node accepts of peers that are no nodes.
fn accepted(cluster: &Cluster, node: usize) -> Result<u64> {
    let said = status::agent(cluster, node)?;
    let peers = said["peers"].as_array().context("the agent has no peers")?;
    let others =
        peers.iter().filter(|peer| !peer["key"].as_str().is_some_and(|key| key.starts_with("node/")));
    let families = others.filter_map(|peer| peer["families"].as_array()).flatten();
    Ok(families.filter_map(|family| family["accepted"].as_u64()).sum())
}
