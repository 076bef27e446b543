//! FRR: a peer group per kind of node, prefix lists both ways.

use muslin_bgp_speaker::Family;
use muslin_bgp_speaker::config::{Role, TtlMode};
use muslin_node_plan::{Members, NodeGroup, PrefixRange, RouterPlan};

use super::{Lines, Router, carrying, comment, families, head, of_family, own, password, told};

/// Equal paths that are used together.
const MAX_PATHS: u32 = 64;
/// FRR's own limit of peers from ranges, which a rack outgrows.
const LEAST_LISTEN_LIMIT: usize = 100;

pub(super) fn configuration(plan: &RouterPlan, router: &Router) -> String {
    let mut text = Lines(comment("!", &head(plan)));
    for family in families(plan) {
        let (word, digit) = words(family);
        prefix_list(&mut text, word, &format!("MUSLIN-IN{digit}"), of_family(&plan.accept, family));
        prefix_list(&mut text, word, &format!("MUSLIN-OUT{digit}"), of_family(&told(plan), family));
        prefix_list(&mut text, word, &format!("MUSLIN-OWN{digit}"), of_family(&own(plan), family));
        text.add(format_args!("route-map MUSLIN-OWN{digit} permit 10"));
        text.add(format_args!(" match {word} address prefix-list MUSLIN-OWN{digit}"));
        text.add("exit");
    }
    text.add(format_args!("router bgp {}", plan.asn));
    text.add(format_args!(" bgp router-id {}", plan.router_id));
    text.add(" bgp log-neighbor-changes");
    text.add(" no bgp default ipv4-unicast");
    text.add(" bgp bestpath as-path multipath-relax");
    let restart = plan.groups.iter().filter_map(|group| group.session.graceful_restart).max();
    if let Some(time) = restart {
        text.add(" bgp graceful-restart");
        text.add(format_args!(" bgp graceful-restart restart-time {}", time.as_secs()));
        text.add(" bgp graceful-restart preserve-fw-state");
    }
    let nodes: usize = plan.groups.iter().map(|group| group.nodes.len()).sum();
    text.add(format_args!(" bgp listen limit {}", (nodes * 2).clamp(LEAST_LISTEN_LIMIT, 5000)));
    for group in &plan.groups {
        transport(&mut text, group, router);
    }
    for family in families(plan) {
        let (_, digit) = words(family);
        text.add(format_args!(" address-family {} unicast", long(family)));
        for source in ["kernel", "static", "connected"] {
            text.add(format_args!("  redistribute {source} route-map MUSLIN-OWN{digit}"));
        }
        for group in carrying(plan, family) {
            carried(&mut text, group, digit);
        }
        text.add(format_args!("  maximum-paths {MAX_PATHS}"));
        text.add(" exit-address-family");
    }
    text.add("exit");
    text.0
}

/// The word of prefix lists, and what lists of the family are called by.
fn words(family: Family) -> (&'static str, char) {
    match family {
        Family::Ipv4Unicast => ("ip", '4'),
        Family::Ipv6Unicast => ("ipv6", '6'),
    }
}

fn long(family: Family) -> &'static str {
    match family {
        Family::Ipv4Unicast => "ipv4",
        Family::Ipv6Unicast => "ipv6",
    }
}

fn prefix_list<'a>(text: &mut Lines, word: &str, name: &str, ranges: impl Iterator<Item = &'a PrefixRange>) {
    let mut number = 0;
    let mut what = "";
    for range in ranges {
        if range.what != what {
            what = range.what;
            text.add(format_args!("! {what}"));
        }
        number += 5;
        // Without bounds a prefix list means the prefix itself, and `ge` has to be longer than it.
        let length = range.range.prefix_len();
        let ge = if range.min > length { format!(" ge {}", range.min) } else { String::new() };
        let le = if range.max > length { format!(" le {}", range.max) } else { String::new() };
        text.add(format_args!("{word} prefix-list {name} seq {number} permit {}{ge}{le}", range.range));
    }
    if number == 0 {
        text.add(format_args!("{word} prefix-list {name} seq 5 deny any"));
    }
}

fn transport(text: &mut Lines, group: &NodeGroup, router: &Router) {
    let (name, session) = (&group.name, &group.session);
    let mut say = |words: String| text.add(format_args!(" neighbor {name} {words}"));
    say("peer-group".to_owned());
    say(format!("remote-as {}", session.asn));
    say("description Muslin nodes".to_owned());
    match session.ttl {
        TtlMode::Direct => {}
        TtlMode::Multihop(_) if session.internal => {}
        TtlMode::Multihop(hops) => say(format!("ebgp-multihop {hops}")),
        TtlMode::Security(hops) => say(format!("ttl-security hops {hops}")),
    }
    if let Some(password) = password(group) {
        say(format!("password {password}"));
    }
    if session.extended_next_hop {
        say("capability extended-nexthop".to_owned());
    }
    if session.graceful_restart.is_none() {
        say("graceful-restart-disable".to_owned());
    }
    if let Some(role) = session.role {
        let strict = if role.strict { " strict-mode" } else { "" };
        say(format!("local-role {}{strict}", role_name(role.role)));
    }
    match &group.members {
        Members::Ranges(ranges) => {
            for range in ranges {
                text.add(format_args!(" bgp listen range {range} peer-group {name}"));
            }
        }
        Members::Each(nodes) => {
            for (node, address) in nodes {
                text.add(format_args!(" neighbor {address} peer-group {name}"));
                text.add(format_args!(" neighbor {address} description {node}"));
            }
        }
        Members::Links => {
            for interface in &router.interfaces {
                text.add(format_args!(" neighbor {interface} interface peer-group {name}"));
            }
        }
    }
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Provider => "provider",
        Role::RouteServer => "rs-server",
        Role::RouteServerClient => "rs-client",
        Role::Customer => "customer",
        Role::Peer => "peer",
    }
}

fn carried(text: &mut Lines, group: &NodeGroup, digit: char) {
    let mut say = |words: String| text.add(format_args!("  neighbor {} {words}", group.name));
    say("activate".to_owned());
    say(format!("prefix-list MUSLIN-IN{digit} in"));
    say(format!("prefix-list MUSLIN-OUT{digit} out"));
    say(format!("maximum-prefix {} 75 restart 1", group.max_prefixes));
    if group.session.internal {
        say("route-reflector-client".to_owned());
        // Of its own routes; without this they carry a next hop that only this router can reach.
        say("next-hop-self".to_owned());
    }
}
