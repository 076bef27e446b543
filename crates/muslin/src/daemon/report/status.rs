//! The daemon's status as the resource has it. Pure.

use muslin_cluster::condition;
use muslin_cluster::resources::{BlockStatus, NodeNetworkStatusStatus, RouteCounts, SessionStatus};

use super::gate::Sight;
use crate::api::Status;

/// Most sessions in the resource.
const SESSIONS: usize = 100;

/// Most octets of a text in the resource.
const LONGEST: usize = 1024;

/// What the cluster is told.
pub(super) fn of(status: &Status, sight: &Sight) -> NodeNetworkStatusStatus {
    let mut sessions: Vec<_> = status.peers.iter().collect();
    sessions.sort_by(|a, b| (a.established, &a.key).cmp(&(b.established, &b.key)));
    let established = sessions.iter().filter(|peer| peer.established).count();
    let blocks =
        status.blocks.iter().map(|block| BlockStatus { cidr: block.block, allocated: block.allocated });
    NodeNetworkStatusStatus {
        version: status.version.clone(),
        asn: status.asn,
        router_id: status.router_id,
        established: format!("{established}/{}", sessions.len()),
        sessions: sessions
            .into_iter()
            .take(SESSIONS)
            .map(|peer| SessionStatus {
                peer: peer.key.0.to_string(),
                cause: peer.cause.clone(),
                address: peer.address,
                peer_asn: peer.negotiated.as_ref().map(|negotiated| negotiated.remote_asn),
                state: peer.state.to_string(),
                last_error: peer.last_error.as_ref().filter(|_| !peer.established).map(|error| {
                    cut(match &error.remedy {
                        Some(remedy) => format!("{}; {remedy}", error.text),
                        None => error.text.clone(),
                    })
                }),
            })
            .collect(),
        routes: RouteCounts {
            originated: count(status.originated),
            desired: count(status.kernel.desired),
            installed: count(status.kernel.installed),
        },
        blocks: blocks.collect(),
        conditions: vec![ready(status, sight), configuration(status)],
    }
}

fn ready(status: &Status, sight: &Sight) -> muslin_cluster::resources::Condition {
    if !status.faults.is_empty() {
        return condition("Ready", false, "NotCarriedOut", cut(status.faults.join("; ")));
    }
    if sight.converged {
        let message = "every session is up, and the kernel holds the routes".to_owned();
        return condition("Ready", true, "Converged", message);
    }
    let reason = if status.readiness.established { "RoutesMissing" } else { "SessionsDown" };
    condition("Ready", false, reason, cut(format!("waiting for {}", status.readiness.waiting_for.join("; "))))
}

fn configuration(status: &Status) -> muslin_cluster::resources::Condition {
    let problems: Vec<_> =
        status.problems.iter().take(10).map(|problem| format!("{problem} ({})", problem.effect)).collect();
    match problems.as_slice() {
        [] => condition("Accepted", true, "Accepted", "nothing is wrong with the configuration".to_owned()),
        some => condition("Accepted", false, "Problems", cut(some.join("\n"))),
    }
}

/// Whether only numbers differ, which nobody has to act on.
pub(super) fn differs_in_numbers(told: &NodeNetworkStatusStatus, now: &NodeNetworkStatusStatus) -> bool {
    let without = |status: &NodeNetworkStatusStatus| {
        let blocks =
            status.blocks.iter().map(|block| BlockStatus { allocated: 0, ..block.clone() }).collect();
        // A session that is down goes from one state to the other with every attempt.
        let mut sessions = status.sessions.clone();
        for session in sessions.iter_mut().filter(|session| session.state != "Established") {
            session.state.clear();
        }
        let mut conditions = status.conditions.clone();
        for condition in &mut conditions {
            condition.message.clear();
        }
        NodeNetworkStatusStatus {
            routes: RouteCounts::default(),
            blocks,
            sessions,
            conditions,
            ..status.clone()
        }
    };
    without(told) == without(now)
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(LONGEST));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_numbers_waits_and_a_change_of_sessions_does_not() {
        let session = |state: &str| SessionStatus {
            peer: "tor".to_owned(),
            cause: "BGPPeer tor".to_owned(),
            address: "10.0.0.1".parse().unwrap(),
            peer_asn: None,
            state: state.to_owned(),
            last_error: None,
        };
        let with = |state: &str, installed| NodeNetworkStatusStatus {
            sessions: vec![session(state)],
            routes: RouteCounts { installed, ..RouteCounts::default() },
            ..NodeNetworkStatusStatus::default()
        };
        assert!(differs_in_numbers(&with("Established", 1), &with("Established", 2)));
        assert!(differs_in_numbers(&with("Connect", 1), &with("Active", 1)));
        assert!(!differs_in_numbers(&with("Established", 1), &with("Active", 1)));
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(cut("é".repeat(1000)).len(), LONGEST);
    }
}
