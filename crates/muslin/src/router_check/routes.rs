//! What the router announces, and what it keeps to itself.

use std::collections::BTreeMap;

use ipnet::IpNet;
use muslin_bgp_speaker::rib::RouteState;

use super::{Finding, Subject, few};

pub(super) fn findings(subject: &Subject<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    refused(subject, &mut found);
    unreachable(subject, &mut found);
    default_route(subject, &mut found);
    blocks(subject, &mut found);
    own(subject, &mut found);
    found
}

/// What it announces and should not, by reason.
fn refused(subject: &Subject<'_>, found: &mut Vec<Finding>) {
    let mut by_reason: BTreeMap<&str, Vec<IpNet>> = BTreeMap::new();
    let own_asn = subject.status.local_asn.to_string();
    for route in subject.received.iter().filter(|route| route.state == RouteState::Refused) {
        let reason = route.refusal.as_deref().unwrap_or("policy");
        let foreign = !route.as_path.split([' ', ',', '{', '}']).any(|asn| asn == own_asn);
        let reason = if reason == "own-block" && foreign { "own-block-hijacked" } else { reason };
        by_reason.entry(reason).or_default().push(route.prefix);
    }
    for (reason, prefixes) in by_reason {
        let (what, remedy) = words(reason);
        let said = format!("it announces {}: {what}", few(&prefixes));
        let name = format!("announces-{reason}");
        let finding = match reason {
            // A router that sends a node's routes back shows that it took them.
            "own-block" | "own-as" | "own-originator" | "own-cluster" => subject.advice(&name, said, remedy),
            _ => subject.problem(&name, said, remedy),
        };
        found.push(finding);
    }
}

/// What is wrong with routes that are refused for a reason, and what to do about it.
fn words(reason: &str) -> (&'static str, &'static str) {
    match reason {
        "not-allowed" => (
            "nodes take pods of other nodes, and what `import.cidrs` names",
            "filter it on the router, or name it in BGPConfiguration `.spec.import.cidrs`",
        ),
        "default-route" => (
            "nodes take no default route",
            "filter it on the router, or set BGPConfiguration `.spec.import.defaultRoute: Accept`",
        ),
        "martian" => ("nobody routes those addresses", "filter it on the router: something is wrong there"),
        "own-block" => {
            ("that is this node's own", "let the router not send routes back to where they are from")
        }
        "own-block-hijacked" => (
            "those are this node's pods, and another router says that they are elsewhere",
            "find who announces it, and filter pods' ranges from everyone but their nodes",
        ),
        "own-address" | "protected" => {
            ("that leads to the node itself, to its links or to the API server", "filter it on the router")
        }
        "service-range" => (
            "Services are reached through nodes, not learned by them",
            "filter Service ranges towards nodes on the router",
        ),
        "foreign-block" => (
            "pods of another node, and not from there",
            "find who announces it, and take pods' ranges from their nodes only",
        ),
        "own-as" => (
            "this node's AS stands in the path more often than is allowed",
            "let the router replace it, or set `allowedOwnAS` of the BGPPeer",
        ),
        "next-hop" | "pod-next-hop" => {
            ("its next hop is no router", "let the router name itself as next hop")
        }
        "route-leak" => ("it leaked (RFC 9234)", "correct the roles on the router"),
        "prefix-limit" => ("that is more than it may", "filter on the router, or raise `maxPrefixes`"),
        "own-originator" | "own-cluster" => {
            ("it came back by reflection", "nothing, if there are several reflectors")
        }
        _ => ("a policy of the node refuses it", "filter it on the router, or change the BGPFilter"),
    }
}

fn unreachable(subject: &Subject<'_>, found: &mut Vec<Finding>) {
    let lost = subject.received.iter().filter(|route| route.state == RouteState::Unreachable);
    let lost: Vec<_> = lost.map(|route| (route.prefix, route.next_hop)).collect();
    let Some((_, Some(next_hop))) = lost.first() else { return };
    let prefixes: Vec<IpNet> = lost.iter().map(|(prefix, _)| *prefix).collect();
    found.push(subject.problem(
        "next-hop-unreachable",
        format!("it announces {} over {next_hop}, to which this node has no way", few(&prefixes)),
        "let the router name itself as next hop (`next-hop-self`), or give the node a route to it",
    ));
}

fn default_route(subject: &Subject<'_>, found: &mut Vec<Finding>) {
    if !subject.guard.allow_default {
        return;
    }
    for default in ["0.0.0.0/0", "::/0"].into_iter().filter_map(|text| text.parse::<IpNet>().ok()) {
        if subject.carries(default) && !subject.known.contains(&default) {
            found.push(subject.problem(
                "default-route-missing",
                format!("it does not announce {default}, which this node would take"),
                "let the router announce it (FRR: `default-originate`), or take `import.defaultRoute: Accept` back",
            ));
        }
    }
}

/// Pods of other nodes that nobody told of.
fn blocks(subject: &Subject<'_>, found: &mut Vec<Finding>) {
    let owned = subject.guard.owned_blocks.iter().map(|owned| owned.block);
    let missing: Vec<IpNet> =
        owned.filter(|block| subject.carries(*block) && !subject.known.contains(block)).collect();
    if !missing.is_empty() {
        found.push(subject.problem(
            "pods-missing",
            format!("it does not announce {}: pods of other nodes, which are not known from anywhere else", few(&missing)),
            "let the router accept them from their nodes and pass them on; where nodes share an AS, without a check \
             for the receiver's AS in the path",
        ));
    }
}

/// Whether the node tells the router of anything.
fn own(subject: &Subject<'_>, found: &mut Vec<Finding>) {
    for family in subject.status.families.iter().filter(|family| family.negotiated && family.end_of_rib_sent)
    {
        let is_v4 = family.family.starts_with("ipv4");
        let some = subject.originated.iter().any(|prefix| prefix.addr().is_ipv4() == is_v4);
        if some && family.advertised == 0 {
            found.push(subject.problem(
                "nothing-announced",
                format!("it is told of no {} route, though this node has some", family.family),
                "see `muslin explain PREFIX` for the policy that keeps them back",
            ));
        }
    }
}
