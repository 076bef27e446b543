//! `kubectl muslin status`: every node on one screen.

use std::fmt::Write;

use muslin_cluster::Snapshot;
use muslin_cluster::resources::{Condition, ObjectStatus};
use serde::Serialize;

use crate::output;

/// The cluster on one screen.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Status {
    /// What is wrong, each a sentence with the object first.
    problems: Vec<String>,
    /// Every Node, also one that nothing is known of.
    nodes: Vec<NodeLine>,
    /// The `BGPPeer`s.
    peers: Vec<PeerLine>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct NodeLine {
    name: String,
    /// `True`, `False`, or `Unknown` where no agent has told anything.
    ready: String,
    reason: String,
    asn: Option<u32>,
    established: String,
    originated: u64,
    installed: u64,
    version: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PeerLine {
    name: String,
    established: String,
    accepted: String,
}

fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.kind == kind)
}

pub(crate) fn of(snapshot: &Snapshot) -> Status {
    let mut problems: Vec<_> = snapshot.state.problems.iter().map(ToString::to_string).collect();
    for (of, told) in &snapshot.objects {
        let wrong = told.conditions().iter().filter(|condition| condition.status == "False");
        problems.extend(wrong.map(|condition| sentence(&of.to_string(), condition)));
    }
    let mut nodes = Vec::new();
    for name in snapshot.state.nodes.keys() {
        let Some(told) = snapshot.nodes.get(name) else {
            problems.push(format!(
                "Node {name}: its agent has told nothing; see `kubectl -n {} get pods -o wide`",
                muslin_cluster::DEFAULT_NAMESPACE
            ));
            nodes.push(NodeLine::unknown(name));
            continue;
        };
        let ready = find(&told.conditions, "Ready");
        problems.extend(
            ready
                .filter(|ready| ready.status == "False")
                .map(|ready| sentence(&format!("Node {name}"), ready)),
        );
        nodes.push(NodeLine {
            name: name.to_string(),
            ready: ready.map_or_else(|| "Unknown".to_owned(), |ready| ready.status.clone()),
            reason: ready.map(|ready| ready.reason.clone()).unwrap_or_default(),
            asn: told.asn,
            established: told.established.clone(),
            originated: told.routes.originated,
            installed: told.routes.installed,
            version: told.version.clone(),
        });
    }
    let peers = snapshot.state.bgp_peers.keys().map(|name| {
        let of = muslin_cluster::ObjectRef::new(muslin_cluster::Kind::BgpPeer, name.clone());
        let told = snapshot.objects.get(&of);
        let accepted = told.and_then(|told| find(told.conditions(), "Accepted"));
        PeerLine {
            name: name.to_string(),
            established: told.and_then(ObjectStatus::sessions).unwrap_or_default().to_owned(),
            accepted: accepted.map(|accepted| accepted.status.clone()).unwrap_or_default(),
        }
    });
    let peers = peers.collect();
    Status { problems, nodes, peers }
}

fn sentence(object: &str, condition: &Condition) -> String {
    format!("{object}: {} ({})", condition.message.replace('\n', "; "), condition.reason)
}

impl NodeLine {
    fn unknown(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ready: "Unknown".to_owned(),
            reason: "NoAgent".to_owned(),
            asn: None,
            established: String::new(),
            originated: 0,
            installed: 0,
            version: String::new(),
        }
    }
}

pub(crate) fn table(status: &Status) -> String {
    let mut text = String::new();
    for problem in &status.problems {
        let _ = writeln!(text, "! {problem}");
    }
    if !status.problems.is_empty() {
        text.push('\n');
    }
    let header = ["NODE", "READY", "REASON", "ASN", "ESTABLISHED", "ORIGINATED", "INSTALLED", "VERSION"];
    let rows = status.nodes.iter().map(|node| {
        [
            node.name.clone(),
            node.ready.clone(),
            node.reason.clone(),
            node.asn.map(|asn| asn.to_string()).unwrap_or_default(),
            node.established.clone(),
            node.originated.to_string(),
            node.installed.to_string(),
            node.version.clone(),
        ]
    });
    text.push_str(&output::table(header, rows));
    if !status.peers.is_empty() {
        let rows = status
            .peers
            .iter()
            .map(|peer| [peer.name.clone(), peer.established.clone(), peer.accepted.clone()]);
        let _ = write!(text, "\n\n{}", output::table(["BGPPEER", "ESTABLISHED", "ACCEPTED"], rows));
    }
    text
}
