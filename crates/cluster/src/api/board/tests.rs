use super::*;
use crate::resources::SessionStatus;

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

fn seen(generation: i64, status: BgpPeerStatus) -> Seen {
    Seen { uid: "1".to_owned(), generation: Some(generation), status }
}

/// What is said of the one object, after it has settled.
fn said(board: &mut Board, now: Instant) -> BgpPeerStatus {
    board.object(now, tor(), seen(1, BgpPeerStatus::default()));
    let mut verdicts = board.verdicts(now + SETTLE);
    assert_eq!(verdicts.len(), 1, "{verdicts:?}");
    verdicts.remove(0).status
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
    board.object(now, tor(), seen(1, BgpPeerStatus::default()));
    assert_eq!(board.verdicts(now), []);
    assert_eq!(board.poll_timeout(now), Some(now + SETTLE));
    let first = board.verdicts(now + SETTLE).remove(0).status;
    board.object(now, tor(), seen(1, first.clone()));
    assert_eq!(board.verdicts(now + SETTLE), [], "it is written");
    let later = now + SETTLE;
    board.object(later, tor(), seen(2, first));
    assert_eq!(board.verdicts(later), []);
    let observed = board.verdicts(later + SETTLE).remove(0).status.conditions[0].observed_generation;
    assert_eq!(observed, Some(2));
}

#[test]
fn a_session_that_comes_up_is_said_at_once_and_is_no_event() {
    let (mut board, now) = (Board::default(), Instant::now());
    board.node(now, "n1".into(), &node(&[session("tor", "Connect")], &[]));
    let before = said(&mut board, now);
    let later = now + SETTLE;
    board.object(later, tor(), seen(1, before));
    assert!(board.node(now, "n1".into(), &node(&[session("tor", "Established")], &[])));
    let verdict = board.verdicts(later).remove(0);
    assert_eq!((verdict.status.sessions.as_deref(), verdict.news), (Some("1/1"), None));
}

#[test]
fn a_refusal_is_news_once_and_so_is_its_end() {
    let (mut board, now) = (Board::default(), Instant::now());
    board.node(now, "n1".into(), &node(&[], &[problem("BGPPeer tor", Effect::Refused)]));
    board.object(now, tor(), seen(1, BgpPeerStatus::default()));
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
