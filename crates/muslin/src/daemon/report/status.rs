//! The daemon's status as the resource has it. Pure.

use std::time::{Duration, SystemTime};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use muslin_bgp_speaker::PeerStatus;
use muslin_cluster::resources::{
    AdvertisementStatus, BlockStatus, NodeNetworkStatusStatus, ProblemStatus, RouteCounts, SessionStatus,
};
use muslin_cluster::{condition, peer_of_cause};
use muslin_node_plan::AwaitedPeer;

use super::gate::Sight;
use crate::api::Status;

/// Most sessions in the resource.
const SESSIONS: usize = 100;

/// The state of RFC 4271 in which routes are exchanged.
const ESTABLISHED: &str = "Established";

/// Most advertisements in the resource.
const ADVERTISEMENTS: usize = 100;

/// Most octets of a text in the resource.
const LONGEST: usize = 1024;

/// Most problems in the resource.
const PROBLEMS: usize = 32;

/// The state of a peer whose address is not known.
const AWAITED: &str = "Awaited";

/// What the cluster is told at `now`.
pub(super) fn of(status: &Status, sight: &Sight, now: SystemTime) -> NodeNetworkStatusStatus {
    let mut sessions: Vec<_> = status.peers.iter().map(|peer| session(peer, now)).collect();
    sessions.extend(status.awaited.iter().map(awaited));
    let up = |session: &SessionStatus| session.state == ESTABLISHED;
    // Those that a `BGPPeer` asks for are counted in its own status, so a mesh must not displace them.
    sessions
        .sort_by_key(|session| (up(session), peer_of_cause(&session.cause).is_none(), session.peer.clone()));
    let established = sessions.iter().filter(|session| up(session)).count();
    let all = sessions.len();
    sessions.truncate(SESSIONS);
    let blocks =
        status.blocks.iter().map(|block| BlockStatus { cidr: block.block, allocated: block.allocated });
    NodeNetworkStatusStatus {
        version: status.version.clone(),
        heartbeat: None,
        asn: status.asn,
        router_id: status.router_id,
        established: format!("{established}/{all}"),
        sessions,
        routes: RouteCounts {
            originated: count(status.originated),
            desired: count(status.kernel.desired),
            installed: count(status.kernel.installed),
        },
        advertisements: status
            .advertisements
            .iter()
            .take(ADVERTISEMENTS)
            .map(|(name, routes)| AdvertisementStatus { name: name.clone(), routes: count(*routes) })
            .collect(),
        blocks: blocks.collect(),
        problems: problems(status),
        conditions: vec![ready(status, sight), configuration(status)],
    }
}

/// The time of writing, in whole seconds.
pub(super) fn heartbeat(now: SystemTime) -> Option<Time> {
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    (SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).try_into().ok().map(Time)
}

fn session(peer: &PeerStatus, now: SystemTime) -> SessionStatus {
    let since = now.checked_sub(Duration::from_secs(peer.state_seconds)).filter(|_| peer.established);
    let sum = |of: fn(&muslin_bgp_speaker::FamilyStatus) -> u32| {
        peer.families.iter().map(|family| u64::from(of(family))).sum()
    };
    SessionStatus {
        peer: peer.key.0.to_string(),
        cause: peer.cause.clone(),
        address: Some(peer.address),
        peer_asn: peer.negotiated.as_ref().map(|negotiated| negotiated.remote_asn),
        state: if peer.established { ESTABLISHED.to_owned() } else { peer.state.to_string() },
        since: since.and_then(|since| Some(Time(since.try_into().ok()?))),
        received: sum(|family| family.received),
        accepted: sum(|family| family.accepted),
        advertised: sum(|family| family.advertised),
        last_error: peer.last_error.as_ref().filter(|_| !peer.established).map(|error| {
            cut(match &error.remedy {
                Some(remedy) => format!("{}; {remedy}", error.text),
                None => error.text.clone(),
            })
        }),
    }
}

fn awaited(peer: &AwaitedPeer) -> SessionStatus {
    SessionStatus {
        peer: peer.name.to_string(),
        cause: peer.cause.to_string(),
        address: None,
        peer_asn: None,
        state: AWAITED.to_owned(),
        since: None,
        received: 0,
        accepted: 0,
        advertised: 0,
        last_error: Some(cut(format!("{}; {}", peer.reason, peer.remedy))),
    }
}

/// Those that change what is done come first.
fn problems(status: &Status) -> Vec<ProblemStatus> {
    let mut problems: Vec<_> = status
        .problems
        .iter()
        .map(|problem| ProblemStatus {
            object: problem.object.clone(),
            field: cut(problem.field.clone()),
            message: cut(problem.message.clone()),
            remedy: cut(problem.remedy.clone()),
            effect: problem.effect,
        })
        .collect();
    problems.sort_by_key(|problem| problem.effect == muslin_cluster::Effect::Advice);
    problems.truncate(PROBLEMS);
    problems
}

/// Keeps the times of sessions that go on: they are reckoned anew each time, and whole seconds jump.
pub(super) fn keep_times(told: &NodeNetworkStatusStatus, now: &mut NodeNetworkStatusStatus) {
    for session in &mut now.sessions {
        let before = told.sessions.iter().find(|before| before.peer == session.peer);
        if let (Some(Time(then)), Some(Time(since))) =
            (before.and_then(|before| before.since.as_ref()), &session.since)
            && then.duration_since(*since).unsigned_abs() < Duration::from_secs(3)
        {
            session.since = Some(Time(*then));
        }
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
        for session in &mut sessions {
            (session.received, session.accepted, session.advertised) = (0, 0, 0);
            if !matches!(session.state.as_str(), ESTABLISHED | AWAITED) {
                session.state.clear();
            }
        }
        let mut advertisements = status.advertisements.clone();
        for advertisement in &mut advertisements {
            // That there is one at all is more than a number.
            advertisement.routes = advertisement.routes.min(1);
        }
        let mut conditions = status.conditions.clone();
        for condition in &mut conditions {
            condition.message.clear();
        }
        NodeNetworkStatusStatus {
            routes: RouteCounts::default(),
            advertisements,
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
            address: Some("10.0.0.1".parse().unwrap()),
            peer_asn: None,
            state: state.to_owned(),
            since: None,
            received: 0,
            accepted: 0,
            advertised: 0,
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
        let announcing = |routes: &[u64]| NodeNetworkStatusStatus {
            advertisements: routes
                .iter()
                .map(|routes| AdvertisementStatus { name: "pods".to_owned(), routes: *routes })
                .collect(),
            ..NodeNetworkStatusStatus::default()
        };
        assert!(differs_in_numbers(&announcing(&[2]), &announcing(&[3])));
        assert!(!differs_in_numbers(&announcing(&[1]), &announcing(&[])));
    }

    #[test]
    fn the_time_of_a_session_that_goes_on_does_not_jump_and_a_new_one_has_its_own() {
        let at = |seconds| Some(Time(jiff(seconds)));
        let with = |since| NodeNetworkStatusStatus {
            sessions: vec![SessionStatus { since, ..awaited(&waiting()) }],
            ..NodeNetworkStatusStatus::default()
        };
        for (now, kept) in [(101, 100), (99, 100), (200, 200)] {
            let mut status = with(at(now));
            keep_times(&with(at(100)), &mut status);
            assert_eq!(status.sessions[0].since, at(kept));
        }
    }

    fn jiff(seconds: i64) -> k8s_openapi::jiff::Timestamp {
        k8s_openapi::jiff::Timestamp::from_second(seconds).unwrap()
    }

    fn waiting() -> AwaitedPeer {
        AwaitedPeer {
            name: "tor/eth0".into(),
            interface: None,
            expected: true,
            reason: "waiting for a router advertisement on eth0".to_owned(),
            remedy: "switch it on".to_owned(),
            cause: "BGPPeer tor .spec.interface".into(),
        }
    }

    #[test]
    fn a_kernel_setting_that_cannot_be_changed_is_why_a_node_is_not_ready() {
        let fault = "net.ipv4.ip_forward is 0 and cannot be made 1: sysctl -w net.ipv4.ip_forward=1";
        let status: Status = serde_json::from_value(serde_json::json!({
            "version": "0.1.0", "node": "n1", "asn": 64512, "routerId": "192.0.2.1", "uptimeSeconds": 60,
            "readiness": {"serving": true, "established": true, "converged": true, "waitingFor": []},
            "drain": null, "problems": [], "faults": [fault], "notes": [], "peers": [], "originated": 1,
            "kernel": muslin_route_programmer::Status::default(), "blocks": [],
        }))
        .unwrap();
        let told = of(&status, &Sight::of(&status), SystemTime::UNIX_EPOCH);
        let ready = told.conditions.iter().find(|condition| condition.kind == "Ready").unwrap();
        assert_eq!((ready.status.as_str(), ready.message.as_str()), ("False", fault));
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(cut("é".repeat(1000)).len(), LONGEST);
    }
}
