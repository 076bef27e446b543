//! `kubectl muslin routes`: what is announced, by whom, and because of what.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use muslin_cluster::Snapshot;
use muslin_node_plan::announced;
use serde::Serialize;

use crate::cli::RoutesArgs;
use crate::output;
use crate::peers::known_node;

/// A prefix.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Route {
    prefix: IpNet,
    /// The nodes that announce it.
    nodes: Vec<String>,
    /// Those of them that have an established session to announce it on.
    connected: usize,
    /// The objects and fields that ask for it.
    causes: BTreeSet<String>,
    /// Why other nodes do not announce it, with the nodes.
    withheld: BTreeMap<String, Vec<String>>,
}

pub(crate) fn of(snapshot: &Snapshot, args: &RoutesArgs) -> anyhow::Result<Vec<Route>> {
    if let Some(node) = args.node.as_deref() {
        known_node(snapshot, node)?;
    }
    let mut routes = all(snapshot);
    if let Some(node) = &args.node {
        routes.retain(|route| route.nodes.contains(node));
    }
    if args.withheld {
        routes.retain(|route| route.nodes.is_empty());
    } else {
        routes.retain(|route| !route.nodes.is_empty());
    }
    Ok(routes)
}

/// Every prefix that an object asks for.
fn all(snapshot: &Snapshot) -> Vec<Route> {
    let mut routes: BTreeMap<IpNet, Route> = BTreeMap::new();
    let empty = |prefix| Route {
        prefix,
        nodes: Vec::new(),
        connected: 0,
        causes: BTreeSet::new(),
        withheld: BTreeMap::new(),
    };
    for (node, announced) in announced(&snapshot.state) {
        let sessions = snapshot.nodes.get(&node).map(|told| told.sessions.as_slice()).unwrap_or_default();
        let connected = sessions.iter().any(|session| session.state == "Established");
        for originated in announced.originated {
            let route = routes.entry(originated.prefix).or_insert_with(|| empty(originated.prefix));
            route.nodes.push(node.to_string());
            route.connected += usize::from(connected);
            route.causes.insert(originated.cause.to_string());
        }
        for withheld in announced.withheld {
            let route = routes.entry(withheld.prefix).or_insert_with(|| empty(withheld.prefix));
            route.causes.insert(withheld.cause.to_string());
            let nodes = route.withheld.entry(withheld.reason.to_string()).or_default();
            if nodes.last().is_none_or(|last| **last != *node) {
                nodes.push(node.to_string());
            }
        }
    }
    routes.into_values().collect()
}

/// Most names in a cell.
const NAMED: usize = 3;

/// A few names, and how many more there are.
pub(crate) fn few(names: &[String]) -> String {
    match names.len().saturating_sub(NAMED) {
        0 => names.join(","),
        more => format!("{},+{more}", names[..NAMED].join(",")),
    }
}

pub(crate) fn table(routes: &[Route]) -> String {
    output::table(
        ["PREFIX", "NODES", "CONNECTED", "CAUSE", "WITHHELD"],
        routes.iter().map(|route| {
            let causes: Vec<_> = route.causes.iter().cloned().collect();
            let withheld: Vec<_> =
                route.withheld.iter().map(|(reason, nodes)| format!("{}: {reason}", few(nodes))).collect();
            [
                route.prefix.to_string(),
                few(&route.nodes),
                format!("{}/{}", route.connected, route.nodes.len()),
                few(&causes),
                withheld.join("; "),
            ]
        }),
    )
}
