//! A node whose kubelet is told other addresses while everything runs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context, Result, ensure};
use muslin_kubernetes_lab::pod::Pod;
use muslin_kubernetes_lab::poll::rest;
use muslin_lab::Dual;
use serde_json::Value;

use crate::cluster::{Cluster, FAMILIES, eventually};
use crate::disturb::CALM;
use crate::faults::{everybody_meets, node_blocks};
use crate::http::{PORT, client_address, same, seen_by_listener};
use crate::status;
use crate::traffic::Traffic;
use crate::truth::{self, cell};

/// Which node moves, by its place among them.
const NODE: usize = 2;
const NAME: &str = "n3";
/// Its link to the router.
const LINK: &str = "eth0";

pub(crate) fn moves_and_returns(cluster: &Cluster) -> Result<()> {
    let usual = cluster.nodes[NODE].2;
    // The same link has room for more.
    let other = Dual {
        v4: Ipv4Addr::from_bits(usual.v4.to_bits() + 10),
        v6: Ipv6Addr::from_bits(usual.v6.to_bits() + 0x10),
    };
    let pods = pods(cluster)?;
    let moved = moves(cluster, usual, other);
    // Whatever was found, others want the node where it was.
    let back = moves(cluster, other, usual);
    moved?;
    back?;
    same("pods of n3", &pods, &self::pods(cluster)?)
}

/// A node's pods: what tells each from an earlier one of the same name, and its addresses.
fn pods(cluster: &Cluster) -> Result<Vec<(String, Dual)>> {
    let pods = cluster.kubectl.pods("default", "set=web")?;
    let here = pods.into_iter().filter(|pod| pod.node == NAME);
    Ok(here.map(|pod| (pod.uid, pod.addresses)).collect())
}

/// Gives the node other addresses, awaits that all know it by them, and takes the former ones away under steady traffic.
fn moves(cluster: &Cluster, former: Dual, later: Dual) -> Result<()> {
    cluster.lab().renumber_node(NODE, later)?;
    eventually(|| is_at(cluster, later))?;
    let pods = everybody_meets(cluster)?;
    let on = |node: &str| pods.iter().find(|pod| pod.node == node).context("a node without a pod");
    let here = on(NAME)?;
    let traffic = [on("n1")?, on("n2")?].map(|there| Traffic::start(there, here));
    remove(cluster, former)?;
    eventually(|| has_left(cluster, former))?;
    reaches_outside(cluster, here, later)?;
    rest(CALM);
    is_at(cluster, later)?;
    for traffic in traffic {
        let sent = traffic?.finish()?;
        eprintln!("{sent} datagrams and their answers while n3's former addresses went, none lost");
    }
    Ok(())
}

/// The API, the agent, its status, and the router have these addresses of the node.
fn is_at(cluster: &Cluster, addresses: Dual) -> Result<()> {
    let wanted: Vec<IpAddr> = FAMILIES.map(|family| addresses.get(family)).into();
    let node = cluster.kubectl.json(&["get", "node", NAME])?;
    let told = node["status"]["addresses"].as_array().context("no addresses")?;
    let internal = told.iter().filter(|address| address["type"] == "InternalIP");
    let internal: Vec<IpAddr> =
        internal.filter_map(|address| address["address"].as_str()?.parse().ok()).collect();
    same("addresses of the Node", &internal, &wanted)?;

    let said = status::agent(cluster, NODE)?;
    let sessions = said["peers"].as_array().context("the agent has no peers")?;
    let local = |session: &Value| -> Option<IpAddr> {
        let local: SocketAddr = session["negotiated"]["localAddress"].as_str()?.parse().ok()?;
        (session["established"] == true).then_some(local.ip())
    };
    let mut locals: Vec<Option<IpAddr>> = sessions.iter().map(local).collect();
    locals.sort();
    same("where the agent's sessions are from", &locals, &wanted.iter().copied().map(Some).collect())?;
    let row = &truth::table(cluster, "nodenetworkstatuses.muslin.dev")?[NAME];
    for (heading, wanted) in
        [("ROUTER-ID", &*addresses.v4.to_string()), ("ESTABLISHED", "2/2"), ("READY", "True")]
    {
        same(format!("{heading} of {NAME}"), &cell(row, heading)?, &wanted)?;
    }

    status::established_with(cluster, NAME, addresses)?;
    let routes = status::best_routes(cluster)?;
    for (block, next_hop) in node_blocks(cluster, NAME)?.iter().zip(wanted) {
        let paths: Vec<&Value> = routes.iter().filter(|route| route["prefix"] == **block).collect();
        let hops: Vec<&Value> = paths.iter().map(|path| &path["nextHop"]).collect();
        same(format!("next hops of {block}"), &hops, &vec![&Value::String(next_hop.to_string())])?;
    }
    Ok(())
}

fn remove(cluster: &Cluster, addresses: Dual) -> Result<()> {
    let (_, network, _) = &cluster.nodes[NODE];
    for family in FAMILIES {
        let of_link = network.addresses(LINK)?;
        let own = of_link.into_iter().find(|own| own.addr() == addresses.get(family));
        network.remove_address(LINK, own.context("the node does not have its former address")?)?;
    }
    Ok(())
}

/// Nobody has anything to do with these addresses any more.
fn has_left(cluster: &Cluster, addresses: Dual) -> Result<()> {
    let status = status::router(cluster)?;
    let peers = status["peers"].as_array().context("the router has no peers")?;
    for address in FAMILIES.map(|family| addresses.get(family)) {
        let session = peers.iter().find(|peer| peer["address"] == address.to_string());
        ensure!(session.is_none(), "the router has still the session {session:?}");
    }
    Ok(())
}

/// A pod is known outside by its node's addresses, and reached from there by its own.
fn reaches_outside(cluster: &Cluster, pod: &Pod, node: Dual) -> Result<()> {
    for family in FAMILIES {
        let outside = cluster.outside_address.get(family);
        let to = (pod.addresses.get(family), PORT).into();
        same("the source outside", &client_address(&cluster.outside, to)?, &outside)?;
        let seen = seen_by_listener(&pod.network, &cluster.outside, outside)?;
        same("a pod of n3, as seen outside", &seen, &node.get(family))?;
    }
    Ok(())
}
