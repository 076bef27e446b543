//! Capabilities as people read them.

use muslin_bgp_packet::frame::MAX_LENGTH;
use muslin_bgp_packet::{AddPathMode, AsWidth, Capability};

use super::Negotiated;

/// A capability in words: its name, then what it carries.
pub(crate) fn capability_in_words(capability: &Capability) -> String {
    match capability {
        Capability::Multiprotocol(family) => format!("multiprotocol {family}"),
        Capability::RouteRefresh => "route refresh".into(),
        Capability::ExtendedNextHop(tuples) => {
            let tuples =
                tuples.iter().map(|tuple| format!("{} over AFI {}", tuple.family, tuple.next_hop_afi));
            format!("extended next hop {}", joined(tuples))
        }
        Capability::ExtendedMessage => "extended message".into(),
        Capability::Role(role) => format!("role {role:?}"),
        Capability::GracefulRestart(restart) => {
            let families = restart.families.iter().map(|family| {
                let kept = if family.forwarding_kept { " (forwarding kept)" } else { "" };
                format!("{}{kept}", family.family)
            });
            let restarted = if restart.restarted { ", restarted" } else { "" };
            let notification = if restart.notification { ", over NOTIFICATION" } else { "" };
            let time = restart.restart_time;
            format!("graceful restart {time} s{restarted}{notification} {}", joined(families))
        }
        Capability::FourOctetAs(asn) => format!("4-octet AS {asn}"),
        Capability::AddPath(tuples) => {
            let tuples = tuples.iter().map(|tuple| {
                let mode = match tuple.mode {
                    AddPathMode::Receive => "receive",
                    AddPathMode::Send => "send",
                    AddPathMode::Both => "send and receive",
                };
                format!("{} {mode}", tuple.family)
            });
            format!("ADD-PATH {}", joined(tuples))
        }
        Capability::EnhancedRouteRefresh => "enhanced route refresh".into(),
        Capability::LongLivedGracefulRestart(families) => {
            let families = families.iter().map(|family| format!("{} {} s", family.family, family.stale_time));
            format!("long-lived graceful restart {}", joined(families))
        }
        // What a peer writes is escaped: it ends up on terminals.
        Capability::Fqdn { host, domain } => {
            format!("name {}.{}", host.escape_debug(), domain.escape_debug())
        }
        Capability::SoftwareVersion(version) => format!("software {}", version.escape_debug()),
        Capability::Unknown { code, value } => format!("unknown {code} ({} octets)", value.len()),
    }
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}

/// What a session's capabilities of both sides come to.
pub(crate) fn agreed_in_words(negotiated: &Negotiated) -> Vec<String> {
    let mut words: Vec<String> =
        negotiated.families().iter().map(|family| format!("multiprotocol {family}")).collect();
    let simple = [
        (negotiated.decode.attributes.as_width == AsWidth::Four, "4-octet AS"),
        (negotiated.refresh, "route refresh"),
        (negotiated.enhanced_refresh, "enhanced route refresh"),
        (negotiated.max_message > MAX_LENGTH, "extended message"),
    ];
    words.extend(simple.iter().filter(|(agreed, _)| *agreed).map(|(_, name)| (*name).to_owned()));
    let of_families = [
        (negotiated.decode.extended_next_hop, "extended next hop"),
        (negotiated.decode.add_path, "ADD-PATH received,"),
        (negotiated.add_path_send, "ADD-PATH sent,"),
    ];
    for (families, name) in of_families {
        words.extend(families.iter().map(|family| format!("{name} {family}")));
    }
    if let Some(restart) = &negotiated.graceful_restart {
        let families = joined(restart.families.iter().map(|family| family.to_string()));
        words.push(format!("graceful restart {} s {families}", restart.time.as_secs()).trim_end().to_owned());
    }
    words
}
