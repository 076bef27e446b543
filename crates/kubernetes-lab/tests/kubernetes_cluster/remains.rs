//! What can be found of the product, on a node and in the API, while it is installed and after.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use muslin_kubernetes_lab::Node;

use crate::cluster::Cluster;
use crate::http::same;
use crate::settings;

/// A command of a node, and which lines of its answer tell of us.
struct Probe {
    words: &'static [&'static str],
    is_ours: fn(&str) -> bool,
}

const PROBES: [Probe; 8] = [
    Probe { words: &["ip", "-N", "-4", "route", "show", "table", "all"], is_ours: is_our_route },
    Probe { words: &["ip", "-N", "-6", "route", "show", "table", "all"], is_ours: is_our_route },
    Probe { words: &["ip", "nexthop"], is_ours: |_| true },
    Probe { words: &["nft", "list", "tables"], is_ours: |line| line.contains("muslin") },
    Probe {
        words: &["ip", "-brief", "link"],
        is_ours: |line| !line.starts_with("lo ") && !line.starts_with("eth0"),
    },
    Probe { words: &["find", "/var/lib", "/run", "-maxdepth", "1", "-name", "muslin"], is_ours: |_| true },
    Probe { words: &["ls", "/etc/cni/net.d"], is_ours: |name| name.contains("muslin") },
    // containerd's plugin `loopback` is ours on nodes that have none.
    Probe { words: &["ls", "/opt/cni/bin"], is_ours: |name| name.contains("muslin") || name == "loopback" },
];

/// The kernel's and the administrator's protocols, and that of router advertisements; of other programs there are none.
const OTHERS: [&str; 6] = ["1", "2", "3", "4", "9", "ra"];

fn is_our_route(line: &str) -> bool {
    let mut words = line.split_whitespace().skip_while(|word| *word != "proto").skip(1);
    words.next().is_some_and(|protocol| !OTHERS.contains(&protocol))
}

/// What each probe finds on a node.
pub(crate) fn look(node: &Node) -> Result<Vec<(String, Vec<String>)>> {
    let mut all = Vec::new();
    for Probe { words, is_ours } in PROBES {
        let probe = words.join(" ");
        let said = node.run(words)?;
        ensure!(said.status.success(), "'{probe}' fails: {}", String::from_utf8_lossy(&said.stderr));
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        all.push((probe, text.lines().filter(|line| is_ours(line)).map(ToOwned::to_owned).collect()));
    }
    Ok(all)
}

/// That nothing is left, neither on nodes nor in the API.
pub(crate) fn none(cluster: &Cluster) -> Result<()> {
    for node in cluster.lab().nodes() {
        for (probe, left) in look(node)? {
            ensure!(left.is_empty(), "'{probe}' on {} finds:\n{}", node.name(), left.join("\n"));
        }
    }
    same("objects of ours in the API", &in_the_api(cluster)?, &vec![])
}

/// Objects of no namespace that the chart makes, but for the definitions.
const KINDS: &str = "clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings,namespaces";

/// Those of ours, each as `kind/name`.
pub(crate) fn in_the_api(cluster: &Cluster) -> Result<Vec<String>> {
    let all = cluster.kubectl.run(&["get", KINDS, "--output=name"])?;
    Ok(all.lines().filter(|name| name.contains("muslin")).map(ToOwned::to_owned).collect())
}

/// The page that people uninstall by.
pub(crate) const PAGE: &str = include_str!("../../../../deploy/README.md");

/// That what stays is what the page says, no more and no less.
pub(crate) fn are_those_of_the_page(cluster: &Cluster) -> Result<()> {
    let (_, section) = PAGE.split_once("## Uninstall").unwrap_or_default();
    let section = section.split("\n## ").next().unwrap_or_default();
    let documented: BTreeSet<String> =
        section.split('`').filter(|word| word.starts_with("net.")).map(ToOwned::to_owned).collect();
    let (_, node, _) = &cluster.nodes[0];
    same(
        "settings that stay changed",
        &settings::changed(&cluster.untouched, &settings::read(node)?),
        &documented,
    )?;
    ensure!(
        section.contains("the condition `NetworkUnavailable`"),
        "the page does not tell of the condition"
    );
    let path = "jsonpath={.items[*].status.conditions[?(@.type=='NetworkUnavailable')].status}";
    let said = cluster.kubectl.run(&["get", "nodes", "--output", path])?;
    same(
        "NetworkUnavailable of nodes",
        &said.split_whitespace().collect(),
        &vec!["False"; cluster.nodes.len()],
    )
}
