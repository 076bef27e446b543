//! The largest packets, on links and on the way to others.

use super::{Findings, Severity};
use crate::commands::doctor::facts::{Facts, Link};

/// The least that IPv6 works with (RFC 8200 §5).
const IPV6_MINIMUM: u32 = 1_280;

pub(super) fn links(facts: &Facts, findings: &mut Findings) {
    let uplinks: Vec<&Link> = facts.links.iter().filter(|link| link.uplink).collect();
    for link in &uplinks {
        if facts.has_ipv6 && link.mtu < IPV6_MINIMUM {
            findings.add(
                Severity::Error,
                format!("{} is too narrow for IPv6", link.name),
                format!("MTU {} of {}, IPv6 needs {IPV6_MINIMUM}", link.mtu, link.name),
                format!("ip link set {} mtu {IPV6_MINIMUM}, or more", link.name),
            );
        }
        if let Some(pods) = facts.pod_mtu
            && pods > link.mtu
        {
            findings.add(
                Severity::Error,
                format!("pods send packets that {} cannot carry", link.name),
                format!("MTU {pods} of pods, {} of {}", link.mtu, link.name),
                format!(
                    "ip link set {} mtu {pods} (and the router's side), or restart the agent and then the pods, which take the uplink's MTU",
                    link.name
                ),
            );
        }
    }
    let narrow = uplinks.iter().min_by_key(|link| link.mtu);
    let wide = uplinks.iter().max_by_key(|link| link.mtu);
    if let (Some(narrow), Some(wide)) = (narrow, wide)
        && narrow.mtu < wide.mtu
    {
        findings.add(
            Severity::Note,
            "the uplinks carry packets of different sizes; pods go by the least of those with a default route",
            format!("MTU {} of {}, {} of {}", narrow.mtu, narrow.name, wide.mtu, wide.name),
            "",
        );
    }
}

pub(super) fn paths(facts: &Facts, findings: &mut Findings) {
    for path in &facts.paths {
        let Some(answered) = path.answered else { continue };
        let wanted = facts.pod_mtu.unwrap_or(path.link_mtu).min(path.link_mtu);
        if answered < wanted {
            findings.add(
                Severity::Error,
                format!("packets larger than {answered} octets vanish on the way to {}", path.whose),
                format!(
                    "{} ({}) answers packets of {answered} octets, not of {wanted}; MTU {} of {}",
                    path.address, path.whose, path.link_mtu, path.link
                ),
                format!(
                    "raise the MTU at the other end and between, or ip link set {} mtu {answered} on this one",
                    path.link
                ),
            );
        }
    }
}
