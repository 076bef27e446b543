use super::*;
use crate::resources::{AdvertisementStatus, SessionStatus};
use serde_json::json;

fn session(peer: &str, state: &str) -> SessionStatus {
    SessionStatus {
        peer: peer.to_owned(),
        cause: format!("BGPPeer {peer}"),
        address: Some("10.0.0.1".parse().unwrap()),
        peer_asn: None,
        state: state.to_owned(),
        since: None,
        received: 0,
        accepted: 0,
        advertised: 0,
        last_error: (state != "Established").then(|| "connection refused; start the peer".to_owned()),
    }
}

fn problem(object: &str, effect: Effect) -> ProblemStatus {
    ProblemStatus {
        object: object.to_owned(),
        field: ".spec.password".to_owned(),
        message: "there is no Secret muslin-system/tor".to_owned(),
        remedy: "make the Secret".to_owned(),
        effect,
    }
}

fn node(sessions: &[SessionStatus], problems: &[ProblemStatus]) -> NodeNetworkStatusStatus {
    NodeNetworkStatusStatus {
        sessions: sessions.to_vec(),
        problems: problems.to_vec(),
        ..NodeNetworkStatusStatus::default()
    }
}

fn tor() -> ObjectRef {
    ObjectRef::new(Kind::BgpPeer, "tor")
}

fn seen(generation: i64, status: ObjectStatus) -> Seen {
    let asked = Asked::of(&json!({"peerAddress": "10.0.0.1"}));
    Seen { uid: "1".to_owned(), version: "1".to_owned(), generation: Some(generation), asked, status }
}

/// Of a peer of which nothing was told yet.
fn untold() -> ObjectStatus {
    ObjectStatus::Peer(BgpPeerStatus::default())
}

/// The same as of a peer.
fn peer(status: ObjectStatus) -> BgpPeerStatus {
    match status {
        ObjectStatus::Peer(status) => status,
        other => panic!("{other:?}"),
    }
}

/// What is said of the one object, after it has settled.
fn said(board: &mut Board, now: Instant) -> BgpPeerStatus {
    board.object(now, tor(), seen(1, untold()));
    let mut verdicts = board.verdicts(now + SETTLE);
    assert_eq!(verdicts.len(), 1, "{verdicts:?}");
    peer(verdicts.remove(0).status)
}

fn words(status: &BgpPeerStatus, kind: &str) -> (String, String, String) {
    let found = status.conditions.iter().find(|condition| condition.kind == kind).unwrap();
    (found.status.clone(), found.reason.clone(), found.message.clone())
}

#[test]
fn the_sessions_of_all_nodes_are_counted_together_and_the_reason_of_one_that_is_down_is_given() {
    let (mut board, now) = (Board::default(), Instant::now());
    board.node(now, "n1".into(), &node(&[session("tor", "Established"), session("other", "Idle")], &[]));
    board.node(now, "n2".into(), &node(&[session("tor", "Connect")], &[]));
    let status = said(&mut board, now);
    assert_eq!(status.sessions.as_deref(), Some("1/2"));
    let (holds, reason, message) = words(&status, "Established");
    assert_eq!((holds.as_str(), reason.as_str()), ("False", "SomeDown"));
    assert_eq!(
        message,
        "1 of 2 sessions are down\nn2: 10.0.0.1 is in Connect: connection refused; start the peer"
    );
    assert_eq!(words(&status, "Accepted").0, "True");
}

#[test]
fn an_object_that_nodes_refuse_is_not_accepted_and_the_remedy_stands_there() {
    let (mut board, now) = (Board::default(), Instant::now());
    board.node(now, "n1".into(), &node(&[], &[problem("BGPPeer tor", Effect::Refused)]));
    board.node(now, "n2".into(), &node(&[], &[problem("BGPPeer other", Effect::Refused)]));
    let (holds, reason, message) = words(&said(&mut board, now), "Accepted");
    assert_eq!((holds.as_str(), reason.as_str()), ("False", "RefusedInPart"));
    assert_eq!(
        message,
        "on n1: .spec.password: there is no Secret muslin-system/tor; make the Secret (not applied)"
    );
    board.node(now, "n2".into(), &node(&[], &[problem("BGPPeer tor", Effect::Refused)]));
    assert_eq!(words(&said(&mut board, now), "Accepted").1, "Refused");
}

#[test]
fn advice_does_not_refuse() {
    let (mut board, now) = (Board::default(), Instant::now());
    board.node(now, "n1".into(), &node(&[], &[problem("BGPPeer tor", Effect::Advice)]));
    let (holds, reason, _) = words(&said(&mut board, now), "Accepted");
    assert_eq!((holds.as_str(), reason.as_str()), ("True", "AcceptedWithAdvice"));
}

#[test]
fn nothing_is_said_of_a_change_before_nodes_have_looked_at_it() {
    let (mut board, now) = (Board::default(), Instant::now());
    board.node(now, "n1".into(), &node(&[session("tor", "Established")], &[]));
    board.object(now, tor(), seen(1, untold()));
    assert_eq!(board.verdicts(now), []);
    assert_eq!(board.poll_timeout(now), Some(now + SETTLE));
    let first = board.verdicts(now + SETTLE).remove(0).status;
    board.object(now, tor(), seen(1, first.clone()));
    assert_eq!(board.verdicts(now + SETTLE), [], "it is written");
    let later = now + SETTLE;
    board.object(later, tor(), seen(2, first));
    assert_eq!(board.verdicts(later), []);
    let observed = board.verdicts(later + SETTLE).remove(0).status.conditions()[0].observed_generation;
    assert_eq!(observed, Some(2));
}

#[test]
fn a_session_that_comes_up_is_said_at_once_and_is_no_event() {
    let (mut board, now) = (Board::default(), Instant::now());
    board.node(now, "n1".into(), &node(&[session("tor", "Connect")], &[]));
    let before = said(&mut board, now);
    let later = now + SETTLE;
    board.object(later, tor(), seen(1, ObjectStatus::Peer(before)));
    assert!(board.node(now, "n1".into(), &node(&[session("tor", "Established")], &[])));
    let verdict = board.verdicts(later).remove(0);
    assert_eq!((verdict.status.sessions(), verdict.news), (Some("1/1"), None));
}

#[test]
fn a_refusal_is_news_once_and_so_is_its_end() {
    let (mut board, now) = (Board::default(), Instant::now());
    board.node(now, "n1".into(), &node(&[], &[problem("BGPPeer tor", Effect::Refused)]));
    board.object(now, tor(), seen(1, untold()));
    let later = now + SETTLE;
    let refused = board.verdicts(later).remove(0);
    assert_eq!(refused.news.as_ref().map(|news| news.status.as_str()), Some("False"));
    board.object(later, tor(), seen(1, refused.status));
    board.node(
        now,
        "n1".into(),
        &node(&[session("tor", "Connect")], &[problem("BGPPeer tor", Effect::Refused)]),
    );
    assert_eq!(board.verdicts(later).remove(0).news, None);
    board.node(now, "n1".into(), &node(&[], &[]));
    let taken = board.verdicts(later).remove(0).news;
    assert_eq!(taken.map(|news| news.status), Some("True".to_owned()));
}

#[test]
fn sessions_of_an_agent_that_tells_nothing_any_more_are_not_known() {
    let (mut board, now) = (Board::default(), Instant::now());
    let beat = |minute: i64| {
        let heartbeat = k8s_openapi::jiff::Timestamp::from_second(minute * 60).ok().map(Time);
        NodeNetworkStatusStatus { heartbeat, ..node(&[session("tor", "Established")], &[]) }
    };
    let at = |minute: u64| now + Duration::from_mins(minute);
    let after = |board: &mut Board, minute| words(&said(board, at(minute)), "Established");
    board.node(now, "n1".into(), &beat(0));
    board.node(now, "n2".into(), &beat(0));
    board.node(now, "old".into(), &node(&[session("tor", "Established")], &[]));
    assert_eq!(board.poll_timeout(now), Some(at(3)));
    assert_eq!(after(&mut board, 2).0, "True");
    assert!(!board.node(at(2), "n1".into(), &beat(2)), "it says nothing new");
    // A watch that begins anew tells what was told before.
    assert!(!board.node(at(2), "n2".into(), &beat(0)));
    let (status, reason, message) = after(&mut board, 4);
    assert_eq!((status.as_str(), reason.as_str()), ("Unknown", "AgentSilent"));
    assert_eq!(message, format!("1 of 3 sessions are not known\nn2: {SILENT}"));
    assert_eq!(said(&mut board, at(4)).sessions.as_deref(), Some("2/3"));
    assert!(board.node(at(5), "n2".into(), &beat(5)), "it is back");
    assert_eq!(after(&mut board, 4).0, "True");
}

#[test]
fn what_others_say_of_an_object_is_no_reason_to_write() {
    let (mut board, now) = (Board::default(), Instant::now());
    board.node(now, "n1".into(), &node(&[session("tor", "Established")], &[]));
    let mut written = ObjectStatus::Peer(said(&mut board, now));
    written.conditions_mut().push(condition("example.com/Audited", true, "Audited", String::new()));
    board.object(now, tor(), seen(1, written));
    assert_eq!(board.verdicts(now + SETTLE), []);
}

#[test]
fn the_columns_of_an_advertisement_count_nodes_and_routes_and_leave_silent_nodes_out() {
    let (mut board, now) = (Board::default(), Instant::now());
    let telling = |routes: &[(&str, u64)], second: i64| NodeNetworkStatusStatus {
        heartbeat: k8s_openapi::jiff::Timestamp::from_second(second).ok().map(Time),
        advertisements: routes
            .iter()
            .map(|(name, routes)| AdvertisementStatus { name: (*name).to_owned(), routes: *routes })
            .collect(),
        ..NodeNetworkStatusStatus::default()
    };
    let of = ObjectRef::new(Kind::RouteAdvertisement, "both");
    let asked = Asked::of(&json!({"advertisements": [
        {"advertisementType": "PodCIDR"},
        {"advertisementType": "Service", "service": {"addresses": ["LoadBalancerIP"]}},
    ]}));
    let status = ObjectStatus::Advertisement(RouteAdvertisementStatus::default());
    board.object(now, of, Seen { asked, ..seen(1, status) });
    board.node(now, "n1".into(), &telling(&[("both", 3), ("other", 7)], 0));
    board.node(now, "n2".into(), &telling(&[("both", 2)], 0));
    board.node(now, "n3".into(), &telling(&[("both", 0)], 0));
    let columns = |board: &Board, at| match board.verdicts(at).remove(0).status {
        ObjectStatus::Advertisement(status) => (status.announces, status.nodes, status.routes),
        other => panic!("{other:?}"),
    };
    let announces = Some("PodCIDR,Service".to_owned());
    assert_eq!(columns(&board, now + SETTLE), (announces.clone(), 2, 5));
    let later = now + Duration::from_mins(4);
    board.node(later, "n2".into(), &telling(&[("both", 2)], 240));
    assert_eq!(columns(&board, later), (announces, 1, 2));
}
