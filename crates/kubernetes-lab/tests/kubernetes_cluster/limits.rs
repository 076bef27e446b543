//! What the reference plugins do that are called after ours.

use anyhow::{Context, Result, ensure};
use muslin_kubernetes_lab::AGNHOST;
use serde_json::Value;

use crate::cluster::{Cluster, FAMILIES, eventually};
use crate::http::{PORT, host_name, same};

/// Octets a second: eight megabits.
const RATE: u64 = 1_000_000;

/// The shapers of a node's interfaces, by their rate in octets a second.
fn shapers(cluster: &Cluster, node: usize) -> Result<Vec<u64>> {
    let output = cluster.lab().nodes()[node].run(&["tc", "-json", "qdisc", "show"])?;
    ensure!(output.status.success(), "tc: {}", String::from_utf8_lossy(&output.stderr));
    let found: Vec<Value> = serde_json::from_slice(&output.stdout)?;
    let shapers = found.iter().filter(|qdisc| qdisc["kind"] == "tbf");
    Ok(shapers.filter_map(|qdisc| qdisc["options"]["rate"].as_u64()).collect())
}

pub(crate) fn bandwidth(cluster: &Cluster) -> Result<()> {
    same("shapers before", &shapers(cluster, 1)?.len(), &0)?;
    let (node, _, _) = &cluster.nodes[1];
    cluster.kubectl.apply(&format!(
        "apiVersion: v1
kind: Pod
metadata:
  name: limited
  labels: {{app: limited}}
  annotations:
    kubernetes.io/ingress-bandwidth: 8M
    kubernetes.io/egress-bandwidth: 8M
spec:
  nodeName: {node}
  terminationGracePeriodSeconds: 0
  containers:
  - name: server
    image: {AGNHOST}
    imagePullPolicy: Never
    args: [netexec, --http-port=8080]
    ports: [{{containerPort: 8080, hostPort: 18889}}]
"
    ))?;
    cluster.kubectl.run(&["wait", "pod/limited", "--for=condition=Ready", "--timeout=60s"])?;
    // One for each way, and the pod is reached as ever, by hostPort too: both plugins were called.
    same("shapers", &shapers(cluster, 1)?, &vec![RATE; 2])?;
    let pod =
        cluster.kubectl.pods("default", "app=limited")?.into_iter().next().context("the limited pod")?;
    let from = &cluster.one_per_node()[0].network;
    for family in FAMILIES {
        for (addresses, port) in [(pod.addresses, PORT), (cluster.nodes[1].2, 18889)] {
            let to = (addresses.get(family), port).into();
            same("who answers", &eventually(|| host_name(from, to))?, &pod.name)?;
        }
    }
    cluster.kubectl.run(&["delete", "pod", "limited"])?;
    eventually(|| same("shapers after", &shapers(cluster, 1)?.len(), &0))
}
