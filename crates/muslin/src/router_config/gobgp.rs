//! GoBGP: peer groups, and global policies by neighbour set, for it has no policies of ordinary neighbours.

use muslin_bgp_speaker::Family;
use muslin_bgp_speaker::config::TtlMode;
use muslin_node_plan::{Members, NodeGroup, PrefixRange, RouterPlan};

use super::{Lines, Release, Router, Unsupported, comment, families, head, of_family, password, told};

/// The first version that tells nodes of one AS of each other's routes, and signs for ranges (TCP-MD5).
const OLDEST: Release = Release(4, 0);

pub(super) fn configuration(plan: &RouterPlan, router: &Router) -> Result<String, Unsupported> {
    if plan.groups.iter().any(|group| group.session.role.is_some_and(|role| role.strict)) {
        return Err(Unsupported::Lacks {
            daemon: "GoBGP",
            what: "roles (RFC 9234)",
            remedy: "take `strictRole` out of the BGPPeer",
        });
    }
    if router.release.is_some_and(|release| release < OLDEST) {
        return Err(Unsupported::Lacks {
            daemon: "GoBGP before 4.0",
            what: "way to tell nodes of one AS of each other",
            remedy: "take a later one",
        });
    }
    if plan.groups.iter().any(is_secured_over_ipv6) {
        return Err(Unsupported::Lacks {
            daemon: "GoBGP",
            what: "`ttlSecurity` for nodes that connect over IPv6",
            remedy: "take it out of the BGPPeer with the IPv6 address, or carry both families over IPv4",
        });
    }
    let mut text = Lines(comment("#", &head(plan)));
    text.add(
        "# GoBGP has no routes of its own: `gobgp global rib add PREFIX nexthop ADDRESS` tells nodes of one,",
    );
    text.add("# and its zebra part puts what nodes announce into the kernel.");
    text.add("[global.config]");
    text.add(format_args!("as = {}", plan.asn));
    text.add(format_args!("router-id = \"{}\"", plan.router_id));
    if let Some(port) = plan.groups.iter().map(|group| group.session.port).find(|port| *port != 179) {
        text.add(format_args!("port = {port}"));
    }
    text.add("[global.use-multiple-paths.config]\nenabled = true");
    text.add("[global.apply-policy.config]");
    text.add("import-policy-list = [\"muslin-in\"]\nexport-policy-list = [\"muslin-out\"]");
    text.add("default-import-policy = \"accept-route\"\ndefault-export-policy = \"accept-route\"");
    neighbour_set(&mut text, plan);
    for family in families(plan) {
        prefix_set(&mut text, &set("in", family), of_family(&plan.accept, family));
        prefix_set(&mut text, &set("out", family), of_family(&told(plan), family));
    }
    policy(&mut text, plan, "in");
    policy(&mut text, plan, "out");
    for group in &plan.groups {
        peer_group(&mut text, group);
        members(&mut text, group, router);
    }
    Ok(text.0)
}

/// Such a node's connection is accepted by nobody: seen with GoBGP 4.8.
fn is_secured_over_ipv6(group: &NodeGroup) -> bool {
    let over_ipv6 = match &group.members {
        Members::Ranges(ranges) => ranges.iter().any(|range| range.addr().is_ipv6()),
        Members::Each(nodes) => nodes.iter().any(|(_, address)| address.is_ipv6()),
        Members::Links => false,
    };
    over_ipv6 && matches!(group.session.ttl, TtlMode::Security(_))
}

fn set(direction: &str, family: Family) -> String {
    format!("muslin-{direction}-{}", word(family))
}

fn word(family: Family) -> &'static str {
    match family {
        Family::Ipv4Unicast => "ipv4",
        Family::Ipv6Unicast => "ipv6",
    }
}

/// All nodes: link-local ones by their range, for the set knows no interfaces.
fn neighbour_set(text: &mut Lines, plan: &RouterPlan) {
    let mut who: Vec<String> = Vec::new();
    for group in &plan.groups {
        match &group.members {
            Members::Ranges(ranges) => who.extend(ranges.iter().map(ToString::to_string)),
            Members::Each(nodes) => who.extend(nodes.iter().map(|(_, address)| address.to_string())),
            Members::Links => who.push("fe80::/10".to_owned()),
        }
    }
    let who: Vec<String> = who.iter().map(|who| format!("\"{who}\"")).collect();
    text.add("[[defined-sets.neighbor-sets]]\nneighbor-set-name = \"muslin-nodes\"");
    text.add(format_args!("neighbor-info-list = [{}]", who.join(", ")));
}

fn prefix_set<'a>(text: &mut Lines, name: &str, ranges: impl Iterator<Item = &'a PrefixRange>) {
    text.add(format_args!("[[defined-sets.prefix-sets]]\nprefix-set-name = \"{name}\""));
    for range in ranges {
        text.add("[[defined-sets.prefix-sets.prefix-list]]");
        text.add(format_args!("ip-prefix = \"{}\" # {}", range.range, range.what));
        text.add(format_args!("masklength-range = \"{}..{}\"", range.min, range.max));
    }
}

/// What a set of the direction has is accepted; the rest from or to nodes is not; others are left alone.
fn policy(text: &mut Lines, plan: &RouterPlan, direction: &str) {
    let lists = if direction == "in" { plan.accept.clone() } else { told(plan) };
    text.add(format_args!("[[policy-definitions]]\nname = \"muslin-{direction}\""));
    let nodes =
        "[policy-definitions.statements.conditions.match-neighbor-set]\nneighbor-set = \"muslin-nodes\"";
    let so = "[policy-definitions.statements.actions]\nroute-disposition";
    for family in families(plan).into_iter().filter(|family| of_family(&lists, *family).next().is_some()) {
        let set = set(direction, family);
        text.add(format_args!("[[policy-definitions.statements]]\nname = \"{set}\""));
        text.add(nodes);
        text.add("[policy-definitions.statements.conditions.match-prefix-set]");
        text.add(format_args!("prefix-set = \"{set}\""));
        text.add(format_args!("{so} = \"accept-route\""));
    }
    text.add(format_args!("[[policy-definitions.statements]]\nname = \"muslin-{direction}-rest\""));
    text.add(nodes);
    text.add(format_args!("{so} = \"reject-route\""));
}

fn peer_group(text: &mut Lines, group: &NodeGroup) {
    let (name, session) = (&group.name, &group.session);
    text.add(format_args!("[[peer-groups]]\n[peer-groups.config]\npeer-group-name = \"{name}\""));
    text.add(format_args!("peer-as = {}", session.asn));
    if let Some(password) = password(group) {
        text.add(format_args!("auth-password = \"{password}\""));
    }
    if !session.internal {
        text.add("# Nodes of one AS would not be told of each other: their own AS stands in the path.");
        text.add("[peer-groups.as-path-options.config]\nreplace-peer-as = true");
    }
    match session.ttl {
        TtlMode::Direct => {}
        TtlMode::Multihop(hops) => {
            text.add(format_args!(
                "[peer-groups.ebgp-multihop.config]\nenabled = true\nmultihop-ttl = {hops}"
            ));
        }
        TtlMode::Security(hops) => {
            let least = 256 - u16::from(hops.max(1));
            text.add(format_args!("[peer-groups.ttl-security.config]\nenabled = true\nttl-min = {least}"));
        }
    }
    if let Some(time) = session.graceful_restart {
        text.add("[peer-groups.graceful-restart.config]\nenabled = true");
        text.add(format_args!("restart-time = {}", time.as_secs()));
    }
    if session.internal {
        text.add("[peer-groups.route-reflector.config]\nroute-reflector-client = true");
    }
    for family in &session.families {
        text.add("[[peer-groups.afi-safis]]\n[peer-groups.afi-safis.config]");
        text.add(format_args!("afi-safi-name = \"{}-unicast\"", word(*family)));
        if session.graceful_restart.is_some() {
            text.add("[peer-groups.afi-safis.mp-graceful-restart.config]\nenabled = true");
        }
        text.add("[peer-groups.afi-safis.prefix-limit.config]");
        text.add(format_args!("max-prefixes = {}\nshutdown-threshold-pct = 75", group.max_prefixes));
    }
}

fn members(text: &mut Lines, group: &NodeGroup, router: &Router) {
    let name = &group.name;
    match &group.members {
        Members::Ranges(ranges) => {
            for range in ranges {
                text.add("[[dynamic-neighbors]]\n[dynamic-neighbors.config]");
                text.add(format_args!("prefix = \"{range}\"\npeer-group = \"{name}\""));
            }
        }
        Members::Each(nodes) => {
            for (node, address) in nodes {
                text.add("[[neighbors]]\n[neighbors.config]");
                text.add(format_args!(
                    "neighbor-address = \"{address}\"\ndescription = \"{node}\"\npeer-group = \"{name}\""
                ));
            }
        }
        Members::Links => {
            text.add(
                "# Nodes find this router by router advertisements, which GoBGP does not send: radvd does.",
            );
            for interface in &router.interfaces {
                text.add("[[neighbors]]\n[neighbors.config]");
                text.add(format_args!("neighbor-interface = \"{interface}\"\npeer-group = \"{name}\""));
            }
        }
    }
}
