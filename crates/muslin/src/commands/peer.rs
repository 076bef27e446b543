//! `muslin peers NAME`: everything about one peer.

use std::time::Duration;

use comfy_table::Cell;
use muslin_bgp_speaker::session::MessageCounts;
use muslin_bgp_speaker::{FamilyStatus, NegotiatedStatus, PeerStatus, RestartStatus};

use super::output::{age, list, table};
use super::peers::remarks;

/// The page of a peer: what is wrong first.
pub(super) fn render(peer: &PeerStatus) -> String {
    let mut parts = vec![headline(peer)];
    let remarks = remarks(peer);
    if !remarks.is_empty() {
        parts.push(section("REMARKS", remarks));
    }
    if peer.established
        && let Some(error) = &peer.last_error
    {
        let ago = age(Duration::from_secs(error.seconds_ago));
        parts.push(section("LAST ERROR", vec![format!("{} ({ago} ago)", error.text)]));
    }
    if let Some(negotiated) = &peer.negotiated {
        parts.push(section("SESSION", session(negotiated)));
        parts.push(section("CAPABILITIES", capabilities(negotiated)));
    }
    parts.push(families(peer));
    if !peer.refused.is_empty() {
        let refused = peer.refused.iter().map(|(reason, count)| format!("{count} {reason}"));
        parts.push(section("REFUSED SINCE THE SESSION CAME UP", refused.collect()));
    }
    parts.push(messages(peer));
    parts.push(section("QUEUE", queue(peer)));
    parts.push(section("TIMERS", timers(peer)));
    parts.push(section("GRACEFUL RESTART", restart(&peer.graceful_restart)));
    parts.join("\n\n")
}

fn headline(peer: &PeerStatus) -> String {
    let at = match &peer.interface {
        Some(interface) => format!("{} on {interface}", peer.address),
        None => peer.address.to_string(),
    };
    let since = age(Duration::from_secs(peer.state_seconds));
    let range = peer.range.as_ref().map(|range| format!(", of the range {range}")).unwrap_or_default();
    format!(
        "{} at {at}: {} for {since}\n  our AS {}, the peer's is to be {}; wanted by {}{range}",
        peer.key, peer.state, peer.local_asn, peer.expected_asn, peer.cause
    )
}

fn section(title: &str, lines: Vec<String>) -> String {
    lines.into_iter().fold(title.to_owned(), |text, line| format!("{text}\n  {line}"))
}

fn session(negotiated: &NegotiatedStatus) -> Vec<String> {
    let kind = if negotiated.internal { "internal" } else { "external" };
    vec![
        format!("AS {} ({kind}), router id {}", negotiated.remote_asn, negotiated.remote_id),
        format!("{} to {}", negotiated.local_address, negotiated.remote_address),
        format!(
            "hold time {} s, keepalive every {} s, messages up to {} octets",
            negotiated.hold_seconds, negotiated.keepalive_seconds, negotiated.max_message
        ),
    ]
}

fn capabilities(negotiated: &NegotiatedStatus) -> Vec<String> {
    let capabilities = &negotiated.capabilities;
    [("in effect", &capabilities.in_effect), ("ours", &capabilities.ours), ("theirs", &capabilities.theirs)]
        .into_iter()
        .map(|(whose, words)| format!("{whose:9}  {}", words.join("; ")))
        .collect()
}

fn families(peer: &PeerStatus) -> String {
    let rows = peer.families.iter().map(|family| {
        [
            Cell::new(&family.family),
            Cell::new(family.received),
            Cell::new(family.accepted),
            Cell::new(family.rejected),
            Cell::new(family.advertised),
            Cell::new(end_of_rib(family)),
        ]
    });
    table(["FAMILY", "RECEIVED", "ACCEPTED", "REJECTED", "ADVERTISED", "END-OF-RIB"], rows)
}

fn end_of_rib(family: &FamilyStatus) -> &'static str {
    match (family.negotiated, family.end_of_rib_received, family.end_of_rib_sent) {
        (false, ..) if family.stale => "not in this session; stale routes kept",
        (false, ..) => "not in this session",
        (true, true, true) => "both ways",
        (true, true, false) => "received",
        (true, false, true) => "sent",
        (true, false, false) => "neither way",
    }
}

fn messages(peer: &PeerStatus) -> String {
    let row = |way: &str, counts: &MessageCounts, octets: u64| {
        [
            Cell::new(way),
            Cell::new(counts.open),
            Cell::new(counts.update),
            Cell::new(counts.keepalive),
            Cell::new(counts.refresh),
            Cell::new(counts.notification),
            Cell::new(octets),
        ]
    };
    let rows = [
        row("received", &peer.messages.received, peer.octets_received),
        row("sent", &peer.messages.sent, peer.octets_sent),
    ];
    let header = ["MESSAGES", "OPEN", "UPDATE", "KEEPALIVE", "REFRESH", "NOTIFICATION", "OCTETS"];
    let counters = &peer.messages;
    format!(
        "{}\nestablished {} times, lost {} times; {} UPDATEs with faulty attributes",
        table(header, rows),
        counters.established,
        counters.lost,
        peer.faulty_updates
    )
}

fn queue(peer: &PeerStatus) -> Vec<String> {
    let journal = match (peer.export.replaying, peer.export.journal_behind) {
        (true, _) => "being sent the table".to_owned(),
        (false, 0) => "up to date".to_owned(),
        (false, behind) => format!("{behind} segments of the journal behind"),
    };
    vec![format!("at most {} octets are on their way to the peer; {journal}", peer.octets_queued)]
}

fn timers(peer: &PeerStatus) -> Vec<String> {
    let timers = [
        ("hold timer", peer.timers.hold_seconds),
        ("next KEEPALIVE", peer.timers.keepalive_seconds),
        ("next attempt", peer.timers.next_attempt_seconds),
        ("stale routes go", peer.timers.retention_seconds),
    ];
    let running = timers.iter().filter_map(|(name, left)| Some(format!("{name} in {:.1} s", (*left)?)));
    vec![list(running)]
}

fn restart(restart: &RestartStatus) -> Vec<String> {
    let ours = match restart.offered_seconds {
        Some(seconds) => format!("we ask for {seconds} s"),
        None => "we do not ask for it".to_owned(),
    };
    let theirs = restart.peer.as_ref().map(|peer| {
        let restarted = if peer.restarted { ", has just restarted" } else { "" };
        let notification = if peer.over_notification { ", over NOTIFICATION too" } else { "" };
        format!(
            "the peer asks for {} s of {}{notification}{restarted}; forwarding kept: {}",
            peer.restart_seconds,
            list(&peer.families),
            list(&peer.forwarding_kept)
        )
    });
    let retained = (!restart.retained.is_empty())
        .then(|| format!("stale routes are kept of {}", list(&restart.retained)));
    [Some(ours), theirs, retained].into_iter().flatten().collect()
}
