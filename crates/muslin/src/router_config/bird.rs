//! BIRD 2 and 3: a template per kind of node, a protocol per range, node or interface.

use muslin_bgp_speaker::Family;
use muslin_bgp_speaker::config::{Role, TtlMode};
use muslin_node_plan::{Members, NodeGroup, PrefixRange, RouterPlan};

use super::{Lines, Router, carrying, comment, families, head, of_family, own, password, told};

/// Equal paths that are used together.
const MAX_PATHS: u32 = 64;

pub(super) fn configuration(plan: &RouterPlan, router: &Router) -> String {
    let mut text = Lines(comment("#", &head(plan)));
    text.add("log syslog all;");
    text.add(format_args!("router id {};", plan.router_id));
    text.add("protocol device {}");
    text.add("protocol direct { ipv4; ipv6; }");
    for family in families(plan) {
        let name = word(family);
        // Without this, internal peers are told the next hop of its own routes, which only this router can reach.
        let reflects = carrying(plan, family).any(|group| group.session.internal);
        let own_first = "if source != RTS_BGP then dest = RTD_UNREACHABLE; # by way of this router";
        let before = if reflects { own_first } else { "" };
        filter(&mut text, &format!("muslin_in_{name}"), "", of_family(&plan.accept, family));
        filter(&mut text, &format!("muslin_out_{name}"), before, of_family(&told(plan), family));
        filter(&mut text, &format!("muslin_own_{name}"), "", of_family(&own(plan), family));
        text.add(
            "# `learn`: what others put into the kernel, such as the default route, can be told to nodes.",
        );
        text.add(format_args!(
            "protocol kernel muslin_kernel_{name} {{ persist; learn; merge paths on limit {MAX_PATHS}; \
             {name} {{ import filter muslin_own_{name}; export where source = RTS_BGP; }}; }}"
        ));
    }
    for group in &plan.groups {
        template(&mut text, plan, group);
        protocols(&mut text, group, router);
    }
    text.0
}

fn word(family: Family) -> &'static str {
    match family {
        Family::Ipv4Unicast => "ipv4",
        Family::Ipv6Unicast => "ipv6",
    }
}

/// A filter that accepts these ranges, after `before`.
fn filter<'a>(text: &mut Lines, name: &str, before: &str, ranges: impl Iterator<Item = &'a PrefixRange>) {
    text.add(format_args!("filter {name} {{"));
    if !before.is_empty() {
        text.add(format_args!("  {before}"));
    }
    for range in ranges {
        let PrefixRange { range, min, max, what } = range;
        text.add(format_args!("  if net ~ [ {range}{{{min},{max}}} ] then accept; # {what}"));
    }
    text.add("  reject;");
    text.add("}");
}

fn template(text: &mut Lines, plan: &RouterPlan, group: &NodeGroup) {
    let session = &group.session;
    text.add(format_args!("template bgp {} {{", group.name));
    let port = if session.port == 179 { String::new() } else { format!(" port {}", session.port) };
    text.add(format_args!("  local{port} as {};", plan.asn));
    match session.ttl {
        TtlMode::Direct if session.internal => {}
        TtlMode::Direct => text.add("  direct;"),
        TtlMode::Multihop(hops) => text.add(format_args!("  multihop {hops};")),
        TtlMode::Security(1) => text.add("  direct; ttl security on;"),
        TtlMode::Security(hops) => text.add(format_args!("  multihop {hops}; ttl security on;")),
    }
    if let Some(password) = password(group) {
        text.add(format_args!("  password \"{password}\";"));
    }
    match session.graceful_restart {
        Some(time) => {
            text.add(format_args!("  graceful restart on; graceful restart time {};", time.as_secs()));
        }
        None => text.add("  graceful restart off;"),
    }
    if let Some(role) = session.role {
        let strict = if role.strict { " require roles on;" } else { "" };
        text.add(format_args!("  local role {};{strict}", role_name(role.role)));
    }
    if session.internal {
        text.add("  rr client;");
    }
    for family in &session.families {
        let name = word(*family);
        let over_ipv6 = session.extended_next_hop && *family == Family::Ipv4Unicast;
        let next_hop = if over_ipv6 { " extended next hop on;" } else { "" };
        text.add(format_args!(
            "  {name} {{ import filter muslin_in_{name}; export filter muslin_out_{name}; \
             import limit {} action restart;{next_hop} }};",
            group.max_prefixes
        ));
    }
    text.add("}");
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Provider => "provider",
        Role::RouteServer => "rs_server",
        Role::RouteServerClient => "rs_client",
        Role::Customer => "customer",
        Role::Peer => "peer",
    }
}

fn protocols(text: &mut Lines, group: &NodeGroup, router: &Router) {
    let (name, asn) = (&group.name, group.session.asn);
    match &group.members {
        Members::Ranges(ranges) => {
            for (number, range) in (1..).zip(ranges) {
                text.add(format_args!(
                    "protocol bgp {name}_range_{number} from {name} {{ neighbor range {range} as {asn}; \
                     dynamic name \"{name}_{number}_\"; }}"
                ));
            }
        }
        Members::Each(nodes) => {
            for (number, (node, address)) in (1..).zip(nodes) {
                text.add(format_args!(
                    "protocol bgp {name}_{number} from {name} {{ description \"{node}\"; neighbor {address} as {asn}; }}"
                ));
            }
        }
        Members::Links => {
            for (number, interface) in (1..).zip(&router.interfaces) {
                text.add(format_args!(
                    "protocol bgp {name}_{number} from {name} {{ neighbor range fe80::/10 as {asn}; \
                     interface \"{interface}\"; dynamic name \"{name}_{number}_\"; }}"
                ));
            }
            let named: Vec<_> = router.interfaces.iter().map(|name| format!("\"{name}\"")).collect();
            text.add("# Nodes find this router by its advertisements.");
            text.add(format_args!(
                "protocol radv {{ interface {} {{ max ra interval 10; }}; }}",
                named.join(", ")
            ));
        }
    }
}
