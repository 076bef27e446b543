//! `muslin peers`

use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Duration;

use comfy_table::Cell;
use muslin_bgp_speaker::{FamilyStatus, PeerStatus};

use super::output::{age, list, print, table, verdict};
use super::{live, peer};
use crate::cli::PeersArgs;
use crate::client;

/// Prints every peer, or all of one; fails when one that should be established is not.
pub(crate) async fn run(args: &PeersArgs) -> anyhow::Result<ExitCode> {
    let (socket, output) = (&args.query.socket, args.query.output);
    let well = match &args.peer {
        Some(name) if args.watch => {
            let path = client::path(&["v1", "watch", "peers", name]);
            return live::states(socket, &path, output, peer::render).await;
        }
        Some(name) => {
            let one: PeerStatus = client::get(socket, &client::path(&["v1", "peers", name])).await?;
            print(output, &one, peer::render)?;
            is_well(&one)
        }
        None if args.watch => {
            return live::states(socket, "/v1/watch/peers", output, |peers: &Vec<_>| render(peers)).await;
        }
        None => {
            let peers: Vec<PeerStatus> = client::get(socket, "/v1/peers").await?;
            print(output, &peers, |peers| render(peers))?;
            peers.iter().all(is_well)
        }
    };
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn is_well(peer: &PeerStatus) -> bool {
    peer.established || peer.shut_down
}

/// A line a peer, then what is wrong with each, with its remedy.
pub(crate) fn render(peers: &[PeerStatus]) -> String {
    let mut text = lines(peers);
    for peer in peers {
        for line in remarks(peer).into_iter().chain(refused(peer)) {
            text.extend(["\n", &*peer.key.0, ": ", &line]);
        }
    }
    text
}

/// A line a peer, then how many of its routes were refused.
pub(super) fn render_without_remarks(peers: &[PeerStatus]) -> String {
    let refused = peers.iter().filter_map(|peer| Some(format!("\n{}: {}", peer.key, refused(peer)?)));
    lines(peers) + &refused.collect::<String>()
}

fn lines(peers: &[PeerStatus]) -> String {
    if peers.is_empty() {
        return "no peers".to_owned();
    }
    let rows = peers.iter().map(|peer| {
        let asn =
            peer.negotiated.as_ref().map_or_else(|| peer.expected_asn.clone(), |n| n.remote_asn.to_string());
        [
            Cell::new(&peer.key.0),
            Cell::new(address(peer)),
            Cell::new(asn),
            verdict(peer.state, peer.established),
            Cell::new(age(Duration::from_secs(peer.state_seconds))),
            Cell::new(sum(peer, |family| family.accepted)),
            Cell::new(sum(peer, |family| family.rejected)),
            Cell::new(sum(peer, |family| family.advertised)),
            Cell::new(&peer.cause),
        ]
    });
    table(["PEER", "ADDRESS", "AS", "STATE", "SINCE", "ACCEPTED", "REJECTED", "SENT", "CAUSE"], rows)
}

fn sum(peer: &PeerStatus, count: impl Fn(&FamilyStatus) -> u32) -> u32 {
    peer.families.iter().map(count).sum()
}

/// Its address; a link-local one with the interface that gives it a meaning.
fn address(peer: &PeerStatus) -> String {
    let link_local = match peer.address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    match peer.interface.as_deref().filter(|_| link_local) {
        Some(interface) => format!("{}%{interface}", peer.address),
        None => peer.address.to_string(),
    }
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
        if let Some(loss) = peer.last_loss.as_ref().filter(|loss| loss.text != error.text) {
            let ago = age(Duration::from_secs(loss.seconds_ago));
            lines.push(format!("the last session ended {ago} ago: {}", loss.text));
        }
    }
    lines.extend(peer.notes.iter().map(ToString::to_string));
    lines
}

/// How many routes of the peer were refused, by reason.
fn refused(peer: &PeerStatus) -> Option<String> {
    let reasons = peer.refused.iter().map(|(reason, count)| format!("{reason} {count}"));
    let look = format!("(see `muslin routes received --rejected --peer {}`)", peer.key);
    (!peer.refused.is_empty()).then(|| format!("refused: {} {look}", list(reasons)))
}
