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
use crate::traffic::Traffic;

pub(crate) fn joins_and_leaves(cluster: &Cluster) -> Result<()> {
    comes_and_goes(cluster, joins)
}

/// On the link that all share a node is one of the mesh without a resource, and nobody else loses a packet over that.
pub(crate) fn joins_mesh_and_leaves(cluster: &Cluster) -> Result<()> {
    let pods = cluster.one_per_node();
    let traffic = Traffic::start(pods[0], pods[1])?;
    comes_and_goes(cluster, |cluster, name| {
        let blocks = is_learned(cluster, name)?;
        everybody_meets(cluster)?;
        Ok(blocks)
    })?;
    let sent = traffic.finish()?;
    eprintln!("{sent} datagrams and their answers between other nodes, none lost");
    Ok(())
}

/// Adds a node and takes it away for good; what it does meanwhile tells its blocks.
fn comes_and_goes(cluster: &Cluster, joins: impl FnOnce(&Cluster, &str) -> Result<Vec<IpNet>>) -> Result<()> {
    // The router's link to it, if it has one, is not there before it is.
    let name = &format!("n{}", cluster.nodes.len() + 1);
    cluster.lab().add_node(name)?;
    let seen = joins(cluster, name).and_then(|blocks| deleted(cluster, name, blocks));
    // Whatever was found, others want the nodes of before.
    let gone = goes(cluster, name);
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
fn joins(cluster: &Cluster, name: &str) -> Result<Vec<IpNet>> {
    let (manifests, address) = {
        let lab = cluster.lab();
        let node = lab.nodes().last().context("no node was added")?;
        (lab.fabric().bgp_manifests(), node.address())
    };
    cluster.kubectl.apply(&manifests)?;
    let blocks = is_learned(cluster, name)?;
    eventually(|| status::established_with(cluster, name, address))?;
    awaits(&cluster.router, &blocks, |routes| towards(routes, address))?;
    meets_everybody(cluster, name, address)?;
    Ok(blocks)
}

/// Waits until the node is ready and has an agent; its blocks, once all nodes have routes to them, and it to theirs.
fn is_learned(cluster: &Cluster, name: &str) -> Result<Vec<IpNet>> {
    let kubectl = &cluster.kubectl;
    kubectl.run(&["wait", &format!("node/{name}"), "--for=create", "--timeout=60s"])?;
    cluster.lab().await_nodes()?;
    cluster.lab().await_rollout(NAMESPACE, "daemonset/muslin")?;
    let agent = leave::agent(cluster, name)?;
    ensure!(!agent.is_empty(), "{name} has no agent");
    kubectl.run(&["wait", &agent, "--namespace", NAMESPACE, "--for=condition=Ready", "--timeout=60s"])?;

    let network = cluster.lab().nodes().last().context("no node was added")?.namespace().clone();
    let blocks = blocks_of(cluster, name)?;
    same("blocks", &blocks.len(), &cluster.families.len())?;
    for (other, namespace, _) in &cluster.nodes {
        awaits(namespace, &blocks, |routes| learned(routes).into_iter().collect())?;
        let others = blocks_of(cluster, other)?;
        awaits(&network, &others, |routes| learned(routes).into_iter().collect())?;
    }
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
fn meets_everybody(cluster: &Cluster, name: &str, address: Dual) -> Result<()> {
    let pods = everybody_meets(cluster)?;
    unique_addresses(cluster)?;
    let here: Vec<_> = pods.iter().filter(|pod| pod.node == name).collect();
    same(format!("pods on {name}"), &here.len(), &2)?;
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
            same(format!("a pod of {name}, as seen outside"), &seen, &address.get(family))?;
        }
    }
    Ok(())
}

/// Deletes the node while it runs; its blocks, once no node has a route to them.
fn deleted(cluster: &Cluster, name: &str, blocks: Vec<IpNet>) -> Result<Vec<IpNet>> {
    cluster.kubectl.run(&["delete", "node", name])?;
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
fn goes(cluster: &Cluster, name: &str) -> Result<()> {
    let kubectl = &cluster.kubectl;
    cluster.lab().remove_node()?;
    kubectl.run(&["delete", "node", name, "--ignore-not-found"])?;
    // That they have ended, nobody is left to tell.
    let pods = format!("--field-selector=spec.nodeName={name}");
    kubectl.run(&["delete", "pods", "--all-namespaces", &pods, "--force", "--grace-period=0"])?;
    let peers = FAMILIES.map(|family| format!("{name}-tor-{}", family.name().to_lowercase()));
    let [v4, v6] = &peers;
    kubectl.run(&["delete", "bgppeers.muslin.dev", v4, v6, "--ignore-not-found"])?;
    let status = format!("nodenetworkstatuses.muslin.dev/{name}");
    kubectl.run(&["wait", &status, "--for=delete", "--timeout=60s"])?;
    let links = cluster.router.links()?;
    ensure!(!links.iter().any(|link| link.name == name), "the router still has a link to {name}");
    cluster.lab().await_nodes()?;
    same("nodes", &cluster.lab().nodes().len(), &cluster.nodes.len())
}
