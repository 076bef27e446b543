//! `kubectl muslin peers`: the sessions of all nodes.

use anyhow::bail;
use muslin_cluster::resources::SessionStatus;
use muslin_cluster::{Snapshot, nearest, peer_of_cause};
use serde::Serialize;

use crate::cli::PeersArgs;
use crate::output;

/// A session of a node.
#[derive(Debug, Serialize)]
pub(crate) struct Session {
    node: String,
    #[serde(flatten)]
    session: SessionStatus,
}

pub(crate) fn of(snapshot: &Snapshot, args: &PeersArgs) -> anyhow::Result<Vec<Session>> {
    if let Some(node) = args.node.as_deref() {
        known_node(snapshot, node)?;
    }
    let nodes =
        snapshot.nodes.iter().filter(|(name, _)| args.node.as_ref().is_none_or(|wanted| **wanted == ***name));
    let all = nodes.flat_map(|(node, told)| {
        told.sessions.iter().map(|session| Session { node: node.to_string(), session: session.clone() })
    });
    let mut all: Vec<_> = all.collect();
    if let Some(peer) = args.peer.as_deref() {
        let is_it = |session: &Session| {
            session.session.peer == peer || peer_of_cause(&session.session.cause) == Some(peer)
        };
        if !all.iter().any(is_it) && !snapshot.state.bgp_peers.contains_key(peer) {
            let known = all.iter().map(|session| session.session.peer.as_str());
            let known = known.chain(snapshot.state.bgp_peers.keys().map(|name| &**name));
            bail!("there is no peer {peer}{}", meant(peer, known));
        }
        all.retain(is_it);
    }
    all.retain(|session| !args.down || session.session.state != "Established");
    all.sort_by(|a, b| (&a.node, &a.session.peer).cmp(&(&b.node, &b.session.peer)));
    Ok(all)
}

/// Refuses the name of a node that nobody knows.
pub(crate) fn known_node(snapshot: &Snapshot, node: &str) -> anyhow::Result<()> {
    if snapshot.state.nodes.contains_key(node) {
        return Ok(());
    }
    bail!("there is no Node {node}{}", meant(node, snapshot.state.nodes.keys().map(|name| &**name)))
}

/// The name that was probably meant, as the end of a sentence.
pub(crate) fn meant<'a>(asked: &str, known: impl Iterator<Item = &'a str>) -> String {
    nearest(asked, &known.collect::<Vec<_>>())
        .map(|name| format!("; did you mean `{name}`?"))
        .unwrap_or_default()
}

pub(crate) fn table(sessions: &[Session]) -> String {
    let header =
        ["NODE", "PEER", "ADDRESS", "ASN", "STATE", "SINCE", "RECEIVED", "ACCEPTED", "SENT", "LAST ERROR"];
    output::table(
        header,
        sessions.iter().map(|Session { node, session }| {
            [
                node.clone(),
                session.peer.clone(),
                session.address.map(|address| address.to_string()).unwrap_or_default(),
                session.peer_asn.map(|asn| asn.to_string()).unwrap_or_default(),
                session.state.clone(),
                session.since.as_ref().map(|since| since.0.to_string()).unwrap_or_default(),
                session.received.to_string(),
                session.accepted.to_string(),
                session.advertised.to_string(),
                session.last_error.clone().unwrap_or_default(),
            ]
        }),
    )
}
