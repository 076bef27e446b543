//! Nodes on one link, which speak with each other without being asked to.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use muslin_lab::Family;
use muslin_netns::Namespace;
use serde_json::Value;

use crate::alone::Alone;
use crate::cluster::{Cluster, eventually};
use crate::disturb;
use crate::faults::node_blocks;
use crate::http::same;
use crate::pods::{self, OUR_PROTOCOL};
use crate::services::whose;
use crate::status;
use crate::traffic::Traffic;
use crate::truth::{cell, rows_agree, table};

/// What a session between nodes is there for, as its cause says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The link that both are on.
    Link,
    /// The label of this node.
    Label(String),
}

/// The sessions of each node with others, by the names of their peers.
pub(crate) type Sessions = BTreeMap<String, BTreeMap<String, Reason>>;

/// What each node is to have where these reflect for all others.
pub(crate) fn wanted(cluster: &Cluster, reflectors: &[&str]) -> Sessions {
    let reflects = |name: &str| reflectors.contains(&name);
    let reason = |node: &str, other: &str| match (reflects(node), reflects(other)) {
        (_, true) => Some(Reason::Label(other.to_owned())),
        (true, false) => Some(Reason::Label(node.to_owned())),
        (false, false) => reflectors.is_empty().then_some(Reason::Link),
    };
    let names = || cluster.nodes.iter().map(|(name, ..)| name);
    let of = |node: &String| {
        let mut sessions = BTreeMap::new();
        for other in names().filter(|other| *other != node) {
            let Some(reason) = reason(node, other) else { continue };
            for family in cluster.families {
                let peer = format!("node/{other}/{}", family.name().to_lowercase());
                sessions.insert(peer, reason.clone());
            }
        }
        sessions
    };
    names().map(|node| (node.clone(), of(node))).collect()
}

/// What every agent has, if no session is down.
pub(crate) fn sessions(cluster: &Cluster) -> Result<Sessions> {
    let mut all = Sessions::new();
    for (index, (name, ..)) in cluster.nodes.iter().enumerate() {
        let said = status::agent(cluster, index)?;
        let peers = said["peers"].as_array().context("the agent has no peers")?;
        let down: Vec<_> = peers.iter().filter(|peer| peer["established"] != true).collect();
        ensure!(down.is_empty(), "{name} has sessions that are down: {down:?}");
        all.insert(name.clone(), read(peers, "key"));
    }
    Ok(all)
}

/// What the API tells of the same.
pub(crate) fn told(cluster: &Cluster) -> Result<Sessions> {
    let list = cluster.kubectl.json(&["get", "nodenetworkstatuses.muslin.dev"])?;
    let mut all = Sessions::new();
    for node in list["items"].as_array().context("no list")? {
        let name = node["metadata"]["name"].as_str().context("no name")?;
        let sessions = node["status"]["sessions"].as_array().context("no sessions are told")?;
        let down: Vec<_> = sessions.iter().filter(|session| session["state"] != "Established").collect();
        ensure!(down.is_empty(), "of {name} sessions are told that are down: {down:?}");
        all.insert(name.to_owned(), read(sessions, "peer"));
    }
    Ok(all)
}

/// Those with nodes, of a list of all.
fn read(sessions: &[Value], name: &str) -> BTreeMap<String, Reason> {
    let read = |session: &Value| {
        let peer = session[name].as_str().filter(|peer| peer.starts_with("node/"))?;
        let words: Vec<&str> = session["cause"].as_str()?.split_whitespace().collect();
        let label = words.windows(3).find(|words| words[1..] == ["label", LABEL]);
        let reason = label.map_or(Reason::Link, |words| Reason::Label(words[0].to_owned()));
        Some((peer.to_owned(), reason))
    };
    sessions.iter().filter_map(read).collect()
}

/// With it a node reflects for others.
pub(crate) const LABEL: &str = "muslin.dev/route-reflector";
/// Kinds of resources of which none is needed.
const RESOURCES: &str = "bgppeers.muslin.dev,bgpconfigurations.muslin.dev";

pub(crate) fn without_resources(cluster: &Cluster) -> Result<()> {
    let pods = cluster.one_per_node();
    let traffic = Traffic::start(pods[0], pods[1])?;
    let back = Traffic::start(pods[2], pods[3])?;
    cluster.kubectl.run(&["delete", RESOURCES, "--all"])?;
    let alone = is_a_mesh(cluster);
    // Whatever was found, others want to get outside.
    cluster.lab().lead_outside()?;
    alone?;
    let sent = traffic.finish()? + back.finish()?;
    eprintln!("{sent} datagrams and their answers, none lost");
    eventually(|| pods::routes_are_learned(cluster))
}

fn is_a_mesh(cluster: &Cluster) -> Result<()> {
    let wanted = wanted(cluster, &[]);
    eventually(|| same("sessions", &sessions(cluster)?, &wanted))?;
    eventually(|| same("sessions that are told", &told(cluster)?, &wanted))?;
    eventually(|| rows_agree(cluster))?;
    for (name, row) in table(cluster, "nodenetworkstatuses.muslin.dev")? {
        same(format!("READY of {name}"), &cell(&row, "READY")?, &"True")?;
    }
    straight(cluster)
}

/// Every node leads to another's pods by that node itself, and their packets get there.
pub(crate) fn straight(cluster: &Cluster) -> Result<()> {
    for (owner, ..) in &cluster.nodes {
        for block in node_blocks(cluster, owner)? {
            let block: IpNet = block.parse()?;
            for (name, namespace, _) in cluster.nodes.iter().filter(|(name, ..)| name != owner) {
                let routes = namespace.routes()?;
                let mut ours = routes.iter().filter(|route| route.prefix == block);
                let route = ours.next().with_context(|| format!("{name} has no route to {block}"))?;
                same(format!("{name}: protocol of {block}"), &route.protocol, &OUR_PROTOCOL)?;
                let gateways = route.next_hops.iter().filter_map(|hop| hop.gateway);
                let by = gateways.map(|gateway| whose(cluster, gateway)).collect::<Result<Vec<_>>>()?;
                same(format!("{name}: the way to {block}"), &by, &vec![owner.clone()])?;
            }
        }
    }
    pods::across_nodes(cluster)
}

pub(crate) fn kill_agent(cluster: &Cluster) -> Result<()> {
    let _alone = Alone::begin(cluster)?;
    disturb::kill_agent(cluster)
}

/// On nodes and pods, and in what is told of them; each node has an identifier of its own, whatever its addresses are.
pub(crate) fn families(cluster: &Cluster) -> Result<()> {
    let wanted: BTreeSet<Family> = cluster.families.iter().copied().collect();
    let of = |found: &[IpAddr]| found.iter().copied().map(Family::of).collect::<BTreeSet<_>>();
    let nodes = cluster.nodes.iter().map(|(_, namespace, _)| namespace);
    for host in nodes.chain(cluster.web.iter().map(|pod| &pod.network)) {
        let found = addresses_of(host)?;
        same(format!("families of {}, which has {found:?}", host.name()), &of(&found), &wanted)?;
    }
    let told = cluster.kubectl.run(&[
        "get",
        "nodes,pods,services,endpointslices.discovery.k8s.io",
        "--all-namespaces",
        "--output",
        "jsonpath={..podCIDRs[*]} {..status.addresses[?(@.type=='InternalIP')].address} {..podIPs[*].ip} \
         {..clusterIPs[*]} {..endpoints[*].addresses[*]}",
    ])?;
    let parts = told.split_whitespace().filter_map(|word| word.split('/').next());
    let told: Vec<IpAddr> = parts.map(str::parse).collect::<Result<_, _>>()?;
    ensure!(told.len() > 4 * cluster.nodes.len(), "only {told:?} are told");
    same(format!("families of what is told, {told:?}"), &of(&told), &wanted)?;

    let mut identifiers = BTreeSet::new();
    for (name, row) in table(cluster, "nodenetworkstatuses.muslin.dev")? {
        let identifier: Ipv4Addr = cell(&row, "ROUTER-ID")?.parse()?;
        ensure!(!identifier.is_unspecified(), "{name} has no BGP identifier");
        identifiers.insert(identifier);
    }
    same("identifiers of their own", &identifiers.len(), &cluster.nodes.len())
}

/// Its addresses but those of the loopback interface, and what it has routes to.
fn addresses_of(host: &Namespace) -> Result<Vec<IpAddr>> {
    let mut found = Vec::new();
    for link in host.links()?.iter().filter(|link| link.name != "lo") {
        found.extend(host.addresses(&link.name)?.iter().map(IpNet::addr));
    }
    found.extend(host.routes()?.iter().map(|route| route.prefix.addr()));
    found.retain(|address| !address.is_loopback());
    Ok(found)
}
