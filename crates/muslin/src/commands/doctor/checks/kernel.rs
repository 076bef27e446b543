//! The kernel and its settings.

use muslin_pod_network::host::sysctl_name;

use super::{Findings, Severity};
use crate::commands::doctor::facts::{Facts, Link};

/// The first release with next-hop objects of both families as we use them.
const NEXT_HOP_OBJECTS: (u32, u32) = (5, 3);
/// Until here the kernel's IPv6 table refused routes beyond `max_size`.
const ROUTE_LIMIT_ENDS: (u32, u32) = (6, 3);
/// That limit where nobody raised it.
const DEFAULT_ROUTE_LIMIT: u64 = 4_096;

pub(super) fn release(facts: &Facts, findings: &mut Findings) {
    let release = version(&facts.kernel_release);
    let evidence = format!("kernel {}", facts.kernel_release);
    if facts.next_hop_objects == Some(false) || release.is_some_and(|release| release < NEXT_HOP_OBJECTS) {
        findings.add(
            Severity::Note,
            "the kernel has no next-hop objects: equal-cost routes are rewritten one by one when a link is lost",
            &*evidence,
            "Linux 5.3 or later changes them all at once",
        );
    }
    let limit = number(facts, "ipv6/route/max_size");
    if let (Some(release), Some(limit)) = (release, limit)
        && release < ROUTE_LIMIT_ENDS
        && limit <= DEFAULT_ROUTE_LIMIT
    {
        findings.add(
            Severity::Warning,
            format!("the kernel refuses IPv6 routes beyond {limit}"),
            format!("{evidence}, net.ipv6.route.max_size = {limit}"),
            "sysctl -w net.ipv6.route.max_size=1048576, and the same in /etc/sysctl.d; Linux 6.3 has no such limit",
        );
    }
}

pub(super) fn forwarding(facts: &Facts, findings: &mut Findings) {
    let mut off = |setting: &str, what: String, more: &str| {
        if facts.settings.get(setting).is_some_and(|value| value == "0") {
            let name = sysctl_name(setting);
            let fix = format!("sysctl -w {name}=1{more}");
            findings.add(Severity::Error, what, format!("{name} = 0"), fix);
        }
    };
    let kept =
        "; the agent keeps it so if it can (`muslin status`): look in /etc/sysctl.d for who takes it back";
    let what = |family: &str| format!("the node does not forward {family}: packets of its pods go nowhere");
    off("ipv4/ip_forward", what("IPv4"), kept);
    if facts.has_ipv6 {
        off("ipv6/conf/all/forwarding", what("IPv6"), kept);
    }
    for link in uplinks(facts) {
        let name = &link.name;
        if facts.settings.get("ipv4/ip_forward").is_some_and(|value| value != "0") {
            let what = format!("IPv4 packets that come in by {name} are not forwarded to pods");
            off(&format!("ipv4/conf/{name}/forwarding"), what, ", and the same in /etc/sysctl.d");
        }
    }
    if facts.settings.get("ipv6/conf/all/disable_ipv6").is_some_and(|value| value == "1") {
        findings.add(
            Severity::Note,
            "IPv6 is switched off: pods with IPv6 addresses cannot be reached, and unnumbered peers are not found",
            "net.ipv6.conf.all.disable_ipv6 = 1",
            "",
        );
    }
}

/// The kernel takes the larger of `all` and the link's own value (ip-sysctl.rst).
pub(super) fn reverse_path_filter(facts: &Facts, findings: &mut Findings) {
    let of = |link: &str| number(facts, &format!("ipv4/conf/{link}/rp_filter"));
    for link in uplinks(facts) {
        let (Some(all), Some(own)) = (of("all"), of(&link.name)) else { continue };
        if all.max(own) == 1 {
            let name = &link.name;
            findings.add(
                Severity::Warning,
                format!("{name} filters strictly by reverse path: an answer that comes in by another link than the best way back is dropped"),
                format!("net.ipv4.conf.all.rp_filter = {all}, net.ipv4.conf.{name}.rp_filter = {own}"),
                format!("sysctl -w net.ipv4.conf.{name}.rp_filter=2, and the same in /etc/sysctl.d"),
            );
        }
    }
}

/// A forwarding host ignores router advertisements unless `accept_ra` is 2.
pub(super) fn router_advertisements(facts: &Facts, findings: &mut Findings) {
    if number(facts, "ipv6/conf/all/forwarding").is_none_or(|forwarding| forwarding == 0) {
        return;
    }
    for link in uplinks(facts) {
        let setting = format!("ipv6/conf/{}/accept_ra", link.name);
        if number(facts, &setting) == Some(1) {
            let name = sysctl_name(&setting);
            findings.add(
                Severity::Warning,
                format!(
                    "{} forwards and so ignores router advertisements: a default route that came by one expires",
                    link.name
                ),
                format!("{name} = 1, net.ipv6.conf.all.forwarding is on"),
                format!("sysctl -w {name}=2 if the link takes its default route from advertisements, 0 if not"),
            );
        }
    }
}

pub(super) fn multipath_hash(facts: &Facts, findings: &mut Findings) {
    for family in ["ipv4", "ipv6"] {
        let setting = format!("{family}/fib_multipath_hash_policy");
        if number(facts, &setting) == Some(0) {
            let name = sysctl_name(&setting);
            findings.add(
                Severity::Warning,
                format!("all flows between two {family} hosts take one of several equal paths"),
                format!("{name} = 0"),
                format!("sysctl -w {name}=1, and the same in /etc/sysctl.d"),
            );
        }
    }
}

pub(super) fn connection_tracking(facts: &Facts, findings: &mut Findings) {
    let (Some(count), Some(max)) =
        (number(facts, "netfilter/nf_conntrack_count"), number(facts, "netfilter/nf_conntrack_max"))
    else {
        return;
    };
    // At the limit the kernel drops the first packet of every new connection.
    if max > 0 && count >= max - max / 10 {
        findings.add(
            Severity::Warning,
            "connection tracking is nearly full: new connections are dropped when it is",
            format!("net.netfilter.nf_conntrack_count = {count} of {max}"),
            format!("sysctl -w net.netfilter.nf_conntrack_max={}, and find who opens so many", max * 2),
        );
    }
}

fn uplinks(facts: &Facts) -> impl Iterator<Item = &Link> {
    facts.links.iter().filter(|link| link.uplink)
}

fn number(facts: &Facts, setting: &str) -> Option<u64> {
    facts.settings.get(setting)?.parse().ok()
}

/// Major and minor of a release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}
