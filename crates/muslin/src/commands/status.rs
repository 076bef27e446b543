//! `muslin status`: one screen, problems first.

use std::process::ExitCode;
use std::time::Duration;

use comfy_table::Cell;
use muslin_bgp_speaker::net::CollectorState;
use muslin_route_programmer::{ClashEffect, Refused};

use super::output::{age, list, print, table, verdict};
use super::{live, peers};
use crate::api::Status;
use crate::cli::StatusArgs;
use crate::client;

/// Prints the status; fails when the daemon has not converged or something is wrong.
pub(crate) async fn run(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    if args.watch {
        return live::states(&args.query.socket, "/v1/watch/status", args.query.output, render).await;
    }
    let status: Status = client::get(&args.query.socket, "/v1/status").await?;
    print(args.query.output, &status, render)?;
    let well = status.readiness.converged && problems(&status).is_empty();
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(super) fn render(status: &Status) -> String {
    let problems = problems(status);
    let mut parts = Vec::new();
    if !problems.is_empty() {
        parts.push(format!("PROBLEMS\n{}", problems.join("\n")));
    }
    parts.push(headline(status));
    if let Some(drain) = &status.drain {
        parts.push(format!("DRAIN\n{}; {}", super::drain::words(drain), super::drain::way_back(drain.cause)));
    }
    let awaited = status.awaited.iter().map(|peer| format!("\n{peer}"));
    parts.push(format!(
        "PEERS\n{}{}",
        peers::render_without_remarks(&status.peers),
        awaited.collect::<String>()
    ));
    parts.push(format!("ROUTES\n{}", routes(status)));
    if !status.collectors.is_empty() {
        parts.push(format!("COLLECTORS\n{}", collectors(status)));
    }
    if !status.blocks.is_empty() {
        parts.push(format!("ADDRESSES\n{}", addresses(status)));
    }
    let notes = notes(status);
    if !notes.is_empty() {
        parts.push(format!("NOTES\n{}", notes.join("\n")));
    }
    parts.join("\n\n")
}

/// What a person has to look at, each with its remedy where one is known: the worst first.
pub(super) fn problems(status: &Status) -> Vec<String> {
    let down = status.peers.iter().filter(|peer| !peer.established && !peer.shut_down);
    let sessions = down.flat_map(|peer| {
        let mut lines = peers::remarks(peer);
        if lines.is_empty() {
            lines.push(format!(
                "no session yet ({}); is the peer there, and does it know our address?",
                peer.state
            ));
        }
        lines.into_iter().map(|line| format!("peer {}: {line}", peer.key)).collect::<Vec<_>>()
    });
    let manifests = status.problems.iter().map(ToString::to_string);
    let refusals = status.kernel.refusals.iter().map(|refused| {
        let what = match &refused.subject {
            Refused::Route(prefix) => format!("the route to {prefix}"),
            Refused::NextHop(hop) => match hop.gateway {
                Some(gateway) => format!("the next hop {gateway}"),
                None => "a next hop on a link".to_owned(),
            },
            Refused::Group(members) => format!("a group of {members} next hops"),
        };
        let (why, routes) = (&refused.refusal, refused.routes);
        format!(
            "kernel: it refused {what}: {why}; {routes} routes are missing until the link or its addresses change (`ip -d route`, `ip nexthop`)"
        )
    });
    let clashes = status.kernel.clashes.iter().filter(|clash| clash.effect != ClashEffect::OursPreferred).map(|clash| {
        let effect = match clash.effect {
            ClashEffect::OursBlocked => "keeps ours out",
            ClashEffect::TheirsPreferred => "is used instead of ours",
            ClashEffect::OursPreferred => "is not used",
        };
        format!(
            "kernel: a route of another program to {} (protocol {}, metric {}) {effect}; remove it: ip route del {} proto {} metric {}",
            clash.prefix, clash.protocol, clash.metric, clash.prefix, clash.protocol, clash.metric
        )
    });
    let full = status.blocks.iter().filter(|block| block.free == 0 && block.allocated > 0).map(|block| {
        format!(
            "addresses: none is free in {} ({} rest), so pods that want one do not start; give the node another block",
            block.block, block.resting
        )
    });
    let faults = status.faults.iter().cloned();
    manifests.chain(faults).chain(sessions).chain(refusals).chain(clashes).chain(full).collect()
}

/// What is worth knowing, also of peers that are up or are meant to be down.
fn notes(status: &Status) -> Vec<String> {
    let quiet = status.peers.iter().filter(|peer| peer.established || peer.shut_down);
    let of_peers = quiet.flat_map(|peer| {
        let lines = peers::remarks(peer);
        lines.into_iter().map(|line| format!("peer {}: {line}", peer.key)).collect::<Vec<_>>()
    });
    status.notes.iter().cloned().chain(of_peers).collect()
}

fn headline(status: &Status) -> String {
    let who = status.node.as_ref().map_or_else(|| "speaker".to_owned(), |node| format!("node {node}"));
    let identity = match (status.asn, status.router_id) {
        (Some(asn), Some(id)) => format!("AS {asn}, router id {id}, "),
        _ => String::new(),
    };
    let state = match &status.readiness {
        readiness if readiness.converged => "converged".to_owned(),
        readiness => format!("waiting for {}", list(&readiness.waiting_for)),
    };
    let up = age(Duration::from_secs(status.uptime_seconds));
    format!("{who}: {identity}up {up}, muslin {}: {state}", status.version)
}

fn routes(status: &Status) -> String {
    let kernel = &status.kernel;
    let agreement = if kernel.agreement { "kernel agrees" } else { "kernel DISAGREES" };
    format!(
        "{} originated, {} wanted in the kernel, {} installed, {} on their way: {agreement}",
        status.originated, kernel.desired, kernel.installed, kernel.pending
    )
}

fn collectors(status: &Status) -> String {
    let rows = status.collectors.iter().map(|collector| {
        [
            Cell::new(collector.address),
            verdict(format!("{:?}", collector.state), collector.state == CollectorState::Live),
            Cell::new(collector.octets),
            Cell::new(&collector.cause),
            Cell::new(collector.last_error.as_deref().unwrap_or("-")),
        ]
    });
    table(["BMP COLLECTOR", "STATE", "OCTETS", "CAUSE", "LAST ERROR"], rows)
}

fn addresses(status: &Status) -> String {
    let rows = status.blocks.iter().map(|block| {
        [Cell::new(block.block), Cell::new(block.allocated), Cell::new(block.resting), Cell::new(block.free)]
    });
    table(["BLOCK", "PODS", "RESTING", "FREE"], rows)
}

#[cfg(test)]
mod tests;
