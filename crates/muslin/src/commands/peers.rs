//! `muslin peers`

use std::process::ExitCode;
use std::time::Duration;

use comfy_table::Cell;
use muslin_bgp_speaker::PeerStatus;

use super::output::{age, print, table, verdict};
use crate::cli::QueryArgs;
use crate::client;

/// Prints every peer; fails when one that should be established is not.
pub(crate) async fn run(args: &QueryArgs) -> anyhow::Result<ExitCode> {
    let peers: Vec<PeerStatus> = client::get(&args.socket, "/v1/peers").await?;
    print(args.output, &peers, |peers| render(peers))?;
    let well = peers.iter().all(|peer| peer.established || peer.shut_down);
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A line a peer, then what is wrong with each, with its remedy.
pub(crate) fn render(peers: &[PeerStatus]) -> String {
    if peers.is_empty() {
        return "no peers".to_owned();
    }
    let rows = peers.iter().map(|peer| {
        let asn =
            peer.negotiated.as_ref().map_or_else(|| peer.expected_asn.clone(), |n| n.remote_asn.to_string());
        [
            Cell::new(&peer.key.0),
            Cell::new(peer.address),
            Cell::new(asn),
            verdict(peer.state, peer.established),
            Cell::new(age(Duration::from_secs(peer.state_seconds))),
            Cell::new(peer.messages.received.update),
            Cell::new(&peer.cause),
        ]
    });
    let mut text = table(["PEER", "ADDRESS", "AS", "STATE", "SINCE", "UPDATES", "CAUSE"], rows);
    for peer in peers {
        for line in remarks(peer) {
            text.extend(["\n", &*peer.key.0, ": ", &line]);
        }
    }
    text
}

/// What a person should know of a peer: why it is down, and what it lacks.
pub(crate) fn remarks(peer: &PeerStatus) -> Vec<String> {
    let mut lines = Vec::new();
    if peer.shut_down {
        lines.push("shut down by configuration or command".to_owned());
    } else if !peer.established
        && let Some(error) = &peer.last_error
    {
        let remedy = error.remedy.as_deref().map(|remedy| format!("; {remedy}")).unwrap_or_default();
        let ago = age(Duration::from_secs(error.seconds_ago));
        lines.push(format!("{} ({ago} ago){remedy}", error.text));
    }
    lines.extend(peer.notes.iter().map(ToString::to_string));
    lines
}
