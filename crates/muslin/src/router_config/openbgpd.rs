//! OpenBGPD: a group per kind of node, prefix sets both ways.

use muslin_bgp_speaker::Family;
use muslin_bgp_speaker::config::{Role, TtlMode};
use muslin_node_plan::{Members, NodeGroup, PrefixRange, RouterPlan};

use super::{Lines, Release, Router, Unsupported, comment, head, own, password, told};

/// The first version in which a role is a word of its own, and IPv4 routes may have IPv6 next hops.
const ROLE_BY_ITSELF: Release = Release(8, 3);

pub(super) fn configuration(plan: &RouterPlan, router: &Router) -> Result<String, Unsupported> {
    let old = router.release.is_some_and(|release| release < ROLE_BY_ITSELF);
    let lacks = |what, remedy| Unsupported::Lacks { daemon: "OpenBGPD", what, remedy };
    if plan.groups.iter().any(|group| group.members == Members::Links) {
        return Err(lacks("neighbours by interface", "give the BGPPeer the router's address, `peerAddress`"));
    }
    if old && plan.groups.iter().any(|group| group.session.extended_next_hop) {
        return Err(lacks(
            "IPv6 next hops for IPv4 routes (RFC 8950) before 8.3",
            "use a session per family",
        ));
    }
    let mut text = Lines(comment("#", &head(plan)));
    text.add("# This file must not be readable by others: chmod 600.");
    text.add(format_args!("AS {}", plan.asn));
    text.add(format_args!("router-id {}", plan.router_id));
    if let Some(port) = plan.groups.iter().map(|group| group.session.port).find(|port| *port != 179) {
        text.add(format_args!("listen on 0.0.0.0 port {port}\nlisten on :: port {port}"));
    }
    if !own(plan).is_empty() {
        text.add("# What this router has and nodes take. Write those lines that are true of it:");
        for range in own(plan) {
            text.add(format_args!("# network {}", range.range));
        }
    }
    prefix_set(&mut text, "muslin-in", &plan.accept);
    prefix_set(&mut text, "muslin-out", &told(plan));
    for group in &plan.groups {
        neighbours(&mut text, group, old);
    }
    for group in &plan.groups {
        let name = &group.name;
        for (way, set, ranges) in [("from", "in", &plan.accept), ("to", "out", &told(plan))] {
            text.add(format_args!("deny {way} group \"{name}\""));
            if !ranges.is_empty() {
                text.add(format_args!("allow {way} group \"{name}\" prefix-set muslin-{set}"));
            }
        }
    }
    Ok(text.0)
}

fn prefix_set(text: &mut Lines, name: &str, ranges: &[PrefixRange]) {
    if ranges.is_empty() {
        return;
    }
    text.add(format_args!("prefix-set {name} {{"));
    for PrefixRange { range, min, max, what } in ranges {
        text.add(format_args!("\t# {what}"));
        if min == max && *min == range.prefix_len() {
            text.add(format_args!("\t{range}"));
        } else {
            text.add(format_args!("\t{range} prefixlen {min} - {max}"));
        }
    }
    text.add("}");
}

fn neighbours(text: &mut Lines, group: &NodeGroup, old: bool) {
    let session = &group.session;
    text.add(format_args!("group \"{}\" {{", group.name));
    text.add(format_args!("\tremote-as {}", session.asn));
    for (family, name) in [(Family::Ipv4Unicast, "IPv4"), (Family::Ipv6Unicast, "IPv6")] {
        let what = if session.families.contains(&family) { "unicast" } else { "none" };
        text.add(format_args!("\tannounce {name} {what}"));
    }
    if session.extended_next_hop {
        text.add("\tannounce extended nexthop yes");
    }
    let restart = if session.graceful_restart.is_some() { "yes" } else { "no" };
    text.add(format_args!("\tannounce restart {restart}"));
    match session.ttl {
        TtlMode::Direct => {}
        TtlMode::Multihop(_) if session.internal => {}
        TtlMode::Multihop(hops) => text.add(format_args!("\tmultihop {hops}")),
        TtlMode::Security(_) => text.add("\tttl-security yes"),
    }
    if let Some(password) = password(group) {
        text.add(format_args!("\ttcp md5sig password \"{password}\""));
    }
    if let Some(role) = session.role {
        let name = role_name(role.role);
        match (old, role.strict) {
            // Up to version 8.2 one line says both.
            (true, false) => text.add(format_args!("\tannounce policy {name}")),
            (true, true) => text.add(format_args!("\tannounce policy {name} enforce")),
            (false, false) => text.add(format_args!("\trole {name}\n\tannounce policy yes")),
            (false, true) => text.add(format_args!("\trole {name}\n\tannounce policy enforce")),
        }
    }
    if session.internal {
        text.add("\troute-reflector");
    }
    text.add(format_args!("\tmax-prefix {} restart 1", group.max_prefixes));
    let members = signed_members(group);
    if members != group.members {
        text.add("# It cannot sign for whoever comes from a range: write this anew when a node comes.");
    }
    match &members {
        Members::Ranges(ranges) => {
            for range in ranges {
                text.add(format_args!("\tneighbor {range} {{ descr \"{}\" }}", group.name));
            }
        }
        Members::Each(nodes) => {
            for (node, address) in nodes {
                text.add(format_args!("\tneighbor {address} {{ descr \"{node}\" }}"));
            }
        }
        // Refused above.
        Members::Links => {}
    }
    text.add("}");
}

/// Who belongs to a group: by name where there is a password.
fn signed_members(group: &NodeGroup) -> Members {
    match &group.members {
        Members::Ranges(_) if group.session.password.is_some() => group.by_name(),
        members => members.clone(),
    }
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Provider => "provider",
        Role::RouteServer => "rs",
        Role::RouteServerClient => "rs-client",
        Role::Customer => "customer",
        Role::Peer => "peer",
    }
}
