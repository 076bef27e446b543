//! A node takes no pods before its routes are there.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use muslin_kubernetes_lab::AGNHOST;
use muslin_netns::{Namespace, Route};
use serde_json::Value;

use crate::cluster::{Cluster, FAMILIES, PATIENCE, eventually};
use crate::faults::{node_blocks, node_works};
use crate::http::{PORT, host_name, same};
use crate::power::began_fresh;
use crate::status;

/// With this the lab's kubelets register, as the documentation has it.
const TAINT: &str = "muslin.dev/agent-not-ready";
/// What the API itself makes of the condition.
const TAINT_OF_CONDITION: &str = "node.kubernetes.io/network-unavailable";

/// No BGP passes between the router and a node.
struct Silence<'a>(&'a Namespace);

impl<'a> Silence<'a> {
    fn begin(router: &'a Namespace, link: &str) -> Result<Self> {
        let rules = format!(
            "table inet silence {{
  chain input {{
    type filter hook input priority 0
    iifname {link} tcp dport 179 drop
    iifname {link} tcp sport 179 drop
  }}
}}"
        );
        nft(router, &rules)?;
        Ok(Self(router))
    }

    fn end(&self) -> Result<()> {
        nft(self.0, "delete table inet silence")
    }
}

pub(crate) fn nft(at: &Namespace, rules: &str) -> Result<()> {
    let mut child = at.spawn(Command::new("nft").arg(rules))?;
    ensure!(child.wait()?.success(), "nft refused: {rules}");
    Ok(())
}

fn taints(node: &Value) -> Vec<&str> {
    let taints = node["spec"]["taints"].as_array().map(Vec::as_slice).unwrap_or_default();
    taints.iter().filter_map(|taint| taint["key"].as_str()).collect()
}

fn network_unavailable(node: &Value) -> Option<(&str, &str)> {
    let condition =
        node["status"]["conditions"].as_array()?.iter().find(|it| it["type"] == "NetworkUnavailable")?;
    Some((condition["status"].as_str()?, condition["reason"].as_str()?))
}

/// A pod that goes where it may, which is the third node or none.
fn waiting() -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata:
  name: waiting
spec:
  nodeSelector: {{kubernetes.io/hostname: n3}}
  terminationGracePeriodSeconds: 0
  containers:
  - name: server
    image: {AGNHOST}
    imagePullPolicy: Never
    args: [netexec, --http-port=8080]
"
    )
}

/// When the first ADD of a node returned: the runtime keeps what each of them answered.
fn first_add(disk: &Path) -> Result<SystemTime> {
    let mut times = Vec::new();
    for entry in fs::read_dir(disk.join("lib/cni/results"))? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("muslin-") {
            times.push(entry.metadata()?.modified()?);
        }
    }
    times.into_iter().min().context("no ADD of ours has returned")
}

/// A machine with an empty disk comes in the place of the third node while its router does not speak to it.
pub(crate) fn new_machine(cluster: &Cluster) -> Result<()> {
    let kubectl = &cluster.kubectl;
    kubectl.run(&["delete", "node", "n3"])?;
    let silence = Silence::begin(&cluster.router, "n3")?;
    cluster.lab().replace_node(2)?;
    kubectl.run(&["wait", "node/n3", "--for=create", "--timeout=60s"])?;
    kubectl.apply(&waiting())?;
    // The agent runs, and has looked: what it says is what keeps pods away.
    eventually(|| {
        let node = kubectl.json(&["get", "node", "n3"])?;
        let said = network_unavailable(&node);
        same("NetworkUnavailable of n3", &said, &Some(("True", "RoutesMissing")))?;
        let taints = taints(&node);
        ensure!(
            taints.contains(&TAINT) && taints.contains(&TAINT_OF_CONDITION),
            "n3 has the taints {taints:?}"
        );
        Ok(())
    })?;
    let refused = "--for=jsonpath={.status.conditions[?(@.type=='PodScheduled')].reason}=Unschedulable";
    kubectl.run(&["wait", "pod/waiting", refused, "--timeout=60s"])?;
    ensure!(
        !status::agent(cluster, 2)?["readiness"]["converged"].as_bool().unwrap_or(true),
        "n3 is ready in silence"
    );

    // A node's first pod is announced with its block, before its ADD returns.
    let blocks: Vec<IpNet> = eventually(|| {
        let blocks = node_blocks(cluster, "n3")?;
        same("blocks of n3", &blocks.len(), &FAMILIES.len())?;
        Ok(blocks.iter().map(|block| block.parse()).collect::<Result<_, _>>()?)
    })?;
    let announced =
        |routes: &[Route]| blocks.iter().all(|block| routes.iter().any(|route| route.prefix == *block));
    ensure!(!announced(&cluster.router.routes()?), "the router knows the blocks in silence");
    let seen = std::thread::scope(|scope| {
        let seen = scope.spawn(|| {
            let seen = cluster.router.await_routes(PATIENCE, announced)?;
            ensure!(seen, "the router has no routes to {blocks:?}");
            #[expect(clippy::disallowed_methods, reason = "compared with the time of a file")]
            Ok(SystemTime::now())
        });
        silence.end()?;
        seen.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    eventually(|| {
        let node = kubectl.json(&["get", "node", "n3"])?;
        let taints = taints(&node);
        ensure!(
            !taints.contains(&TAINT) && !taints.contains(&TAINT_OF_CONDITION),
            "n3 has the taints {taints:?}"
        );
        same("NetworkUnavailable of n3", &network_unavailable(&node), &Some(("False", "RoutesInstalled")))
    })?;
    let said = status::agent(cluster, 2)?;
    ensure!(said["readiness"]["converged"] == true, "n3 takes pods, and is not ready: {}", said["readiness"]);
    began_fresh(cluster, 2)?;
    kubectl.run(&["wait", "pod/waiting", "--for=condition=Ready", "--timeout=60s"])?;
    let returned = first_add(cluster.lab().nodes()[2].folder())?;
    let before =
        returned.duration_since(seen).context("the first pod's ADD returned before it was announced")?;
    eprintln!("the first pod was announced {before:?} before its ADD returned");
    let waited = kubectl.pods("default", "")?.into_iter().find(|pod| pod.name == "waiting");
    let waited = waited.context("the pod that waited does not run")?;
    for family in FAMILIES {
        let to = (waited.addresses.get(family), PORT).into();
        eventually(|| host_name(&cluster.outside, to))?;
    }
    kubectl.run(&["delete", "pod", "waiting"])?;
    cluster.lab().await_nodes()?;
    node_works(cluster)
}
