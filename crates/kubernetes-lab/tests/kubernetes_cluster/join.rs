//! A node that joins the others, and leaves for good.

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use muslin_kubernetes_lab::NAMESPACE;
use muslin_lab::{Dual, Family};
use muslin_netns::{Namespace, Route};

use crate::cluster::{Cluster, FAMILIES, PATIENCE, eventually};
use crate::faults::{everybody_meets, learned, node_blocks, unique_addresses};
use crate::http::{PORT, client_address, same, seen_by_listener};
use crate::leave;
use crate::status;

/// The name of the node; its link is not there before it is.
const NAME: &str = "n4";

pub(crate) fn joins_and_leaves(cluster: &Cluster) -> Result<()> {
    cluster.lab().add_node(NAME)?;
    let seen = joins(cluster).and_then(|blocks| deleted(cluster, blocks));
    // Whatever was found, others want the three nodes.
    let gone = goes(cluster);
    let blocks = seen?;
    gone?;
    // An agent that nobody knows goes on as before: routers hear of its end by the end of the machine.
    none_has(nodes(cluster).chain([&cluster.router]), &blocks)
}

/// The networks of the nodes of before.
fn nodes(cluster: &Cluster) -> impl Iterator<Item = &Namespace> {
    cluster.nodes.iter().map(|(_, namespace, _)| namespace)
}

/// The node's blocks, once it is one of the cluster's in every respect.
fn joins(cluster: &Cluster) -> Result<Vec<IpNet>> {
    let kubectl = &cluster.kubectl;
    let (manifests, address, network) = {
        let lab = cluster.lab();
        let node = lab.nodes().last().context("no node was added")?;
        (lab.fabric().bgp_manifests(), node.address(), node.namespace().clone())
    };
    kubectl.apply(&manifests)?;
    kubectl.run(&["wait", &format!("node/{NAME}"), "--for=create", "--timeout=60s"])?;
    cluster.lab().await_nodes()?;
    cluster.lab().await_rollout(NAMESPACE, "daemonset/muslin")?;
    let agent = leave::agent(cluster, NAME)?;
    ensure!(!agent.is_empty(), "{NAME} has no agent");
    kubectl.run(&["wait", &agent, "--namespace", NAMESPACE, "--for=condition=Ready", "--timeout=60s"])?;
    eventually(|| status::established_with(cluster, NAME, address))?;

    let blocks = blocks_of(cluster, NAME)?;
    same("blocks", &blocks.len(), &FAMILIES.len())?;
    for (name, namespace, _) in &cluster.nodes {
        awaits(namespace, &blocks, |routes| learned(routes).into_iter().collect())?;
        let others = blocks_of(cluster, name)?;
        awaits(&network, &others, |routes| learned(routes).into_iter().collect())?;
    }
    awaits(&cluster.router, &blocks, |routes| towards(routes, address))?;
    meets_everybody(cluster, address)?;
    Ok(blocks)
}

fn blocks_of(cluster: &Cluster, node: &str) -> Result<Vec<IpNet>> {
    node_blocks(cluster, node)?.iter().map(|block| Ok(block.parse()?)).collect()
}

/// Waits until a kernel has routes to all of these.
fn awaits(at: &Namespace, blocks: &[IpNet], has: impl Fn(&[Route]) -> Vec<IpNet> + Sync) -> Result<()> {
    let there = at.await_routes(PATIENCE, |routes| {
        let found = has(routes);
        blocks.iter().all(|block| found.contains(block))
    })?;
    ensure!(there, "{} has routes to {:?}, not to all of {blocks:?}", at.name(), has(&at.routes()?));
    Ok(())
}

/// What a router reaches by a node.
fn towards(routes: &[Route], node: Dual) -> Vec<IpNet> {
    let by_it = routes.iter().filter(|route| {
        // Of IPv6 a router may name the node by its link-local address.
        let by_its_address = |gateway| gateway == node.get(Family::of(gateway)) || gateway.is_ipv6();
        route.next_hops.iter().any(|hop| hop.gateway.is_some_and(by_its_address))
    });
    by_it.map(|route| route.prefix).collect()
}

/// The new node's pods and those of all nodes see each other's addresses, and outside sees the pods'.
fn meets_everybody(cluster: &Cluster, address: Dual) -> Result<()> {
    let pods = everybody_meets(cluster)?;
    unique_addresses(cluster)?;
    let here: Vec<_> = pods.iter().filter(|pod| pod.node == NAME).collect();
    same(format!("pods on {NAME}"), &here.len(), &2)?;
    for pod in &here {
        for family in FAMILIES {
            let to = (pod.addresses.get(family), PORT).into();
            for beside in here.iter().filter(|beside| beside.name != pod.name) {
                let seen = client_address(&beside.network, to)?;
                same("the source on the node", &seen, &beside.addresses.get(family))?;
            }
            let outside = cluster.outside_address.get(family);
            same("the source outside", &client_address(&cluster.outside, to)?, &outside)?;
            let seen = seen_by_listener(&pod.network, &cluster.outside, outside)?;
            same(format!("a pod of {NAME}, as seen outside"), &seen, &address.get(family))?;
        }
    }
    Ok(())
}

/// Deletes the node while it runs; its blocks, once no node has a route to them.
fn deleted(cluster: &Cluster, blocks: Vec<IpNet>) -> Result<Vec<IpNet>> {
    cluster.kubectl.run(&["delete", "node", NAME])?;
    none_has(nodes(cluster), &blocks)?;
    Ok(blocks)
}

/// No kernel leads to the blocks, nor to a part of them.
fn none_has<'a>(kernels: impl Iterator<Item = &'a Namespace>, blocks: &[IpNet]) -> Result<()> {
    for namespace in kernels {
        let within = |routes: &[Route]| -> Vec<IpNet> {
            let prefixes = routes.iter().map(|route| route.prefix);
            prefixes.filter(|prefix| blocks.iter().any(|block| block.contains(prefix))).collect()
        };
        let gone = namespace.await_routes(PATIENCE, |routes| within(routes).is_empty())?;
        ensure!(gone, "{} has still routes to {:?}", namespace.name(), within(&namespace.routes()?));
    }
    Ok(())
}

/// Takes the machine's power and link, and what the API still knows of it.
fn goes(cluster: &Cluster) -> Result<()> {
    let kubectl = &cluster.kubectl;
    cluster.lab().remove_node()?;
    kubectl.run(&["delete", "node", NAME, "--ignore-not-found"])?;
    // That they have ended, nobody is left to tell.
    let pods = format!("--field-selector=spec.nodeName={NAME}");
    kubectl.run(&["delete", "pods", "--all-namespaces", &pods, "--force", "--grace-period=0"])?;
    let peers = FAMILIES.map(|family| format!("{NAME}-tor-{}", family.name().to_lowercase()));
    let [v4, v6] = &peers;
    kubectl.run(&["delete", "bgppeers.muslin.dev", v4, v6, "--ignore-not-found"])?;
    let status = format!("nodenetworkstatuses.muslin.dev/{NAME}");
    kubectl.run(&["wait", &status, "--for=delete", "--timeout=60s"])?;
    let links = cluster.router.links()?;
    ensure!(!links.iter().any(|link| link.name == NAME), "the router still has a link to {NAME}");
    cluster.lab().await_nodes()?;
    same("nodes", &cluster.lab().nodes().len(), &cluster.nodes.len())
}
