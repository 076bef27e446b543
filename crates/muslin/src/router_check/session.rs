//! The session: whether it stands, and what both sides agreed on.

use muslin_bgp_speaker::Family;
use muslin_bgp_speaker::config::SentPaths;

use super::{Finding, Subject};

/// From how much of its limit a peer is near it, in percent.
const NEAR: u64 = 75;

/// For how long a loss is news, in seconds.
const RECENT: u64 = 900;

pub(super) fn findings(subject: &Subject<'_>) -> Vec<Finding> {
    let status = subject.status;
    if status.shut_down {
        let said = "it is shut down here".to_owned();
        return vec![subject.advice("shut-down", said, "`muslin peer start` takes that back")];
    }
    if !status.established {
        return vec![down(subject)];
    }
    let mut found = Vec::new();
    families(subject, &mut found);
    capabilities(subject, &mut found);
    limits(subject, &mut found);
    if let Some(loss) = status.last_loss.as_ref().filter(|loss| loss.seconds_ago < RECENT) {
        let remedy = loss.remedy.clone().unwrap_or("look into the router's log".into());
        let said = format!("the session was lost {} s ago: {}", loss.seconds_ago, loss.text);
        found.push(subject.advice("session-lost", said, remedy));
    }
    found
}

fn down(subject: &Subject<'_>) -> Finding {
    let load = "load what `muslin router-config` writes into the router";
    match &subject.status.last_error {
        Some(error) => {
            let remedy = match &error.remedy {
                Some(remedy) => format!("{remedy}; or {load}"),
                None => load.to_owned(),
            };
            subject.problem("session-down", format!("there is no session: {}", error.text), remedy)
        }
        None => {
            subject.problem("session-down", format!("there is no session: {}", subject.status.state), load)
        }
    }
}

fn families(subject: &Subject<'_>, found: &mut Vec<Finding>) {
    for family in &subject.status.families {
        let name = &family.family;
        if !family.negotiated {
            found.push(subject.problem(
                "family-missing",
                format!("the router does not offer {name}"),
                format!("activate {name} for the nodes on the router, or leave it out of `families`"),
            ));
        } else if !family.end_of_rib_received && subject.status.state_seconds > 30 {
            found.push(subject.advice(
                "end-of-rib-missing",
                format!("the router has not said that it sent all {name} routes"),
                "see whether it is still starting, or switch graceful restart on there",
            ));
        }
        if family.stale {
            found.push(subject.advice(
                "stale-routes",
                format!("{name} routes of the session before are still in use"),
                "they go with the router's End-of-RIB, or when the restart time is over",
            ));
        }
    }
}

fn capabilities(subject: &Subject<'_>, found: &mut Vec<Finding>) {
    let Some(negotiated) = &subject.status.negotiated else { return };
    let restart = &subject.status.graceful_restart;
    // A helper names no family, and yet a time.
    if restart.offered_seconds.is_some()
        && restart.peer.as_ref().is_none_or(|peer| peer.restart_seconds == 0 && peer.families.is_empty())
    {
        found.push(subject.problem(
            "no-graceful-restart",
            "the router does not take part in graceful restart: it drops the node's routes whenever the agent restarts"
                .to_owned(),
            "switch it on there (FRR: `bgp graceful-restart`, BIRD: `graceful restart on`), or off in the BGPPeer",
        ));
    } else if let Some(peer) = &restart.peer {
        let kept = |name: &String| peer.families.contains(name);
        let lost: Vec<&String> = subject
            .status
            .families
            .iter()
            .filter(|family| family.negotiated)
            .map(|family| &family.family)
            .filter(|name| !kept(name))
            .collect();
        if !lost.is_empty() && !peer.families.is_empty() {
            let names: Vec<&str> = lost.iter().map(|name| name.as_str()).collect();
            found.push(subject.advice(
                "graceful-restart-partly",
                format!("the router keeps no {} routes over a restart", names.join(", ")),
                "switch graceful restart on for every family there",
            ));
        }
    }
    let in_effect =
        |words: &str| negotiated.capabilities.in_effect.iter().any(|name| name.starts_with(words));
    if !in_effect("route refresh") {
        found.push(subject.advice(
            "no-route-refresh",
            "the router cannot send its routes again (RFC 2918): a changed policy needs a reset".to_owned(),
            "switch route refresh on there",
        ));
    }
    if !negotiated.four_octet_as {
        found.push(subject.advice(
            "no-four-octet-as",
            "the router knows no AS numbers beyond 65535 (RFC 6793)".to_owned(),
            "switch them on there",
        ));
    }
    if negotiated.hold_seconds == 0 {
        found.push(subject.problem(
            "no-hold-timer",
            "there is no hold timer: a router that hangs is never noticed".to_owned(),
            "set a hold time on the router, 90 seconds is usual",
        ));
    }
    let Some(wanted) = subject.wanted else { return };
    if wanted.extended_next_hop
        && wanted.families.contains(&Family::Ipv4Unicast)
        && !in_effect("extended next hop")
    {
        found.push(subject.problem(
            "no-extended-next-hop",
            "the router takes no IPv6 next hops for IPv4 routes (RFC 8950)".to_owned(),
            "switch it on there (FRR: `capability extended-nexthop`, BIRD: `extended next hop on`)",
        ));
    }
    if wanted.add_path.send != SentPaths::One && !in_effect("ADD-PATH sent") {
        found.push(
            subject.advice(
                "no-add-path",
                "the router takes one path of a prefix only, though the node offers several (RFC 7911)"
                    .to_owned(),
                "let it receive ADD-PATH, or leave `addPath.send` out",
            ),
        );
    }
}

fn limits(subject: &Subject<'_>, found: &mut Vec<Finding>) {
    for family in &subject.status.families {
        let Some(limit) = family.limit.filter(|limit| *limit > 0) else { continue };
        let share = u64::from(family.received) * 100 / u64::from(limit);
        if share >= NEAR {
            found.push(subject.problem(
                "limit-near",
                format!("it has {} of at most {limit} {} routes", family.received, family.family),
                "filter on the router, or raise `maxPrefixes` of the BGPPeer: beyond it the session ends",
            ));
        }
    }
}
