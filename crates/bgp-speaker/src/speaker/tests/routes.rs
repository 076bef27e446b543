//! Routes through sessions: what a peer is sent, again when it asks, and what becomes of what it announced.

use std::time::Duration;

use ipnet::IpNet;
use muslin_bgp_packet::{
    Capability, DecodeContext, Family, FamilySet, GracefulFamily, GracefulRestart, Open, PeerKind,
    RefreshSubtype, RouteRefresh, UpdateView,
};

use super::lone::*;
use crate::config::{OriginatedRoute, PeerKey, Policy, RouteSource, SessionConfig, SpeakerConfig};
use crate::rib::{FibChange, RouteFilter};
use crate::session::ConnId;
use crate::speaker::{Answer, Command, Query, SpeakerEvent};

pub(super) fn originating(prefixes: &[&str]) -> SpeakerConfig {
    let route = |prefix: &&str| OriginatedRoute::new(prefix.parse().unwrap(), RouteSource::Static, "test");
    SpeakerConfig { originated: prefixes.iter().map(route).collect(), ..config_with(open_session()) }
}

/// IPv4 prefixes announced on a connection since the last look; an empty UPDATE is `"end"`.
pub(super) fn announced(lone: &mut Lone, conn: ConnId) -> Vec<String> {
    let context = DecodeContext::new(PeerKind::External, FamilySet::ALL);
    let mut prefixes = Vec::new();
    for frame in lone.frames(conn) {
        if frame.kind != muslin_bgp_packet::MessageType::Update {
            continue;
        }
        let view = UpdateView::parse(context, &frame.body).unwrap();
        if view.end_of_rib() == Some(Family::Ipv4Unicast.into()) {
            prefixes.push("end".to_owned());
        }
        prefixes.extend(view.announced().iter().map(|nlri| nlri.prefix.to_string()));
        prefixes.extend(view.withdrawn().iter().map(|nlri| format!("-{}", nlri.prefix)));
    }
    prefixes
}

/// An UPDATE of the peer's that announces prefixes of 24 bits.
pub(super) fn announce(prefixes: impl IntoIterator<Item = [u8; 3]>) -> Vec<u8> {
    let path = [2, 1, 0, 0, 0xfd, 0xea];
    let mut body = vec![0, 0, 0, 20];
    body.extend([0x40, 1, 1, 0]);
    body.extend([0x40, 2, path.len() as u8]);
    body.extend(path);
    body.extend([0x40, 3, 4, 10, 0, 0, 9]);
    body.extend(prefixes.into_iter().flat_map(|[a, b, c]| [24, a, b, c]));
    message(2, &body)
}

fn withdraw(prefix: [u8; 3]) -> Vec<u8> {
    message(2, &[0, 4, 24, prefix[0], prefix[1], prefix[2], 0, 0])
}

pub(super) fn kernel(lone: &mut Lone) -> Vec<FibChange> {
    let mut changes = Vec::new();
    lone.speaker.fib_changes(usize::MAX >> 1, &mut changes);
    changes
}

pub(super) fn net(prefix: &str) -> IpNet {
    prefix.parse().unwrap()
}

#[test]
fn rfc4724_1_the_end_of_rib_follows_the_first_dump_even_if_that_is_empty() {
    for prefixes in [&["192.0.2.0/24", "198.51.100.0/24"][..], &[]] {
        let mut lone = Lone::configured(originating(prefixes));
        let conn = lone.establish();
        let mut sent = announced(&mut lone, conn);
        assert_eq!(sent.pop().as_deref(), Some("end"));
        sent.sort();
        assert_eq!(sent, prefixes);
    }
}

#[test]
fn rfc2918_1_a_request_brings_everything_again_with_the_policy_of_now() {
    let mut lone = Lone::configured(originating(&["192.0.2.0/24"]));
    let conn = lone.establish();
    announced(&mut lone, conn);
    let request = RouteRefresh { afi_safi: Family::Ipv4Unicast.into(), subtype: RefreshSubtype::Request };
    lone.send(conn, &refresh(request));
    assert!(announced(&mut lone, conn).contains(&"192.0.2.0/24".to_owned()));
    lone.command(Command::Resend { peer: PeerKey::new("10.0.0.9") });
    assert!(announced(&mut lone, conn).contains(&"192.0.2.0/24".to_owned()), "an operator may ask as well");
}

#[test]
fn a_policy_that_changes_withdraws_and_announces_under_the_running_session() {
    let mut lone = Lone::configured(originating(&["192.0.2.0/24"]));
    let conn = lone.establish();
    announced(&mut lone, conn);
    let mut closed = originating(&["192.0.2.0/24"]);
    closed.peers[0].session.export = Policy::reject_all("closed").into();
    lone.configure(closed);
    assert_eq!(announced(&mut lone, conn), ["-192.0.2.0/24"]);
    lone.configure(originating(&["192.0.2.0/24", "198.51.100.0/24"]));
    let mut sent = announced(&mut lone, conn);
    sent.sort();
    assert_eq!(sent, ["192.0.2.0/24", "198.51.100.0/24"]);
    assert_eq!(lone.status().messages.established, 1);
}

#[test]
fn routes_of_a_peer_go_to_the_kernel_and_leave_with_it() {
    let mut lone = Lone::new(open_session());
    let conn = lone.establish();
    lone.send(conn, &announce([[10, 1, 1], [10, 1, 2]]));
    assert_eq!(kernel(&mut lone).len(), 2);
    let family = &lone.status().families[0];
    assert_eq!((family.received, family.accepted), (2, 2));
    lone.send(conn, &withdraw([10, 1, 1]));
    assert_eq!(kernel(&mut lone), [FibChange { prefix: net("10.1.1.0/24"), route: None }]);
    lone.hang_up(conn);
    assert_eq!(kernel(&mut lone), [FibChange { prefix: net("10.1.2.0/24"), route: None }]);
}

#[test]
fn routes_can_be_asked_for_by_the_peers_name() {
    let mut lone = Lone::configured(originating(&["192.0.2.0/24"]));
    let conn = lone.establish();
    lone.send(conn, &announce([[10, 1, 1]]));
    let (peer, filter) = (PeerKey::new("10.0.0.9"), RouteFilter::default());
    let routes = |query| match lone.speaker.query(&query) {
        Answer::Routes(page) => page.routes.len(),
        other => panic!("{other:?}"),
    };
    assert_eq!(routes(Query::LocRib(filter.clone())), 2);
    assert_eq!(routes(Query::AdjRibIn { peer: peer.clone(), filter: filter.clone() }), 1);
    assert_eq!(routes(Query::AdjRibOut { peer, filter: filter.clone() }), 1);
    let explanation = lone.speaker.query(&Query::Explain(net("10.1.1.0/24")));
    assert!(matches!(explanation, Answer::Explanation(Some(_))));
    let nobody = Query::AdjRibIn { peer: PeerKey::new("nobody"), filter };
    assert!(matches!(lone.speaker.query(&nobody), Answer::NoSuchPeer(_)));
}

#[test]
fn an_update_that_cannot_be_read_ends_the_session_with_its_exact_notification() {
    let mut lone = Lone::new(open_session());
    let conn = lone.establish();
    lone.send(conn, &message(2, &[0, 200, 0, 0]));
    let (code, subcode, _) = lone.refused_with(conn);
    assert_eq!((code, subcode), (3, 1), "withdrawn routes beyond the message");
}

fn graceful_open(kept: bool) -> Open {
    let mut open = peer_open();
    let families = vec![GracefulFamily { family: Family::Ipv4Unicast.into(), forwarding_kept: kept }];
    let restart = GracefulRestart { restart_time: 30, families, ..GracefulRestart::default() };
    open.capabilities.push(Capability::GracefulRestart(restart));
    open
}

/// A speaker with two routes of a graceful peer whose connection just broke.
fn bereft() -> Lone {
    let mut lone = Lone::new(open_session());
    let conn = lone.accept();
    lone.greet(conn, &graceful_open(false));
    lone.send(conn, &announce([[10, 1, 1], [10, 1, 2]]));
    lone.send(conn, &empty_update());
    assert_eq!(kernel(&mut lone).len(), 2);
    lone.hang_up(conn);
    assert_eq!(kernel(&mut lone), [], "RFC 4724 §4.2: routes stay while the peer restarts");
    lone
}

#[test]
fn rfc4724_2_what_a_returned_peer_does_not_repeat_is_swept_at_its_end_of_rib() {
    let mut lone = bereft();
    let conn = lone.accept();
    lone.greet(conn, &graceful_open(true));
    lone.send(conn, &announce([[10, 1, 1]]));
    assert_eq!(kernel(&mut lone), []);
    lone.send(conn, &empty_update());
    assert_eq!(kernel(&mut lone), [FibChange { prefix: net("10.1.2.0/24"), route: None }]);
}

#[test]
fn rfc4724_2_a_peer_that_did_not_keep_forwarding_loses_its_routes_at_its_open() {
    let mut lone = bereft();
    let conn = lone.accept();
    lone.greet(conn, &graceful_open(false));
    assert_eq!(kernel(&mut lone).len(), 2);
}

#[test]
fn rfc4724_2_a_peer_that_stays_away_loses_its_routes_after_its_restart_time() {
    let mut lone = bereft();
    lone.pass(Duration::from_secs(29));
    assert_eq!(kernel(&mut lone), []);
    lone.pass(Duration::from_secs(2));
    assert_eq!(kernel(&mut lone).len(), 2);
}

#[test]
fn a_notification_withdraws_at_once_even_from_a_graceful_peer() {
    let mut lone = Lone::new(open_session());
    let conn = lone.accept();
    lone.greet(conn, &graceful_open(true));
    lone.send(conn, &announce([[10, 1, 1]]));
    kernel(&mut lone);
    lone.send(conn, &message(3, &[6, 3]));
    assert_eq!(kernel(&mut lone).len(), 1, "RFC 4724 §4: without the N bit a NOTIFICATION is the end");
}

#[test]
fn the_first_picture_is_complete_at_the_end_of_rib_of_every_family() {
    let mut lone = Lone::new(SessionConfig { families: vec![Family::Ipv4Unicast], ..open_session() });
    let conn = lone.accept();
    lone.greet(conn, &graceful_open(true));
    lone.pass(Duration::from_secs(5));
    assert!(!lone.speaker.is_synced());
    lone.send(conn, &empty_update());
    lone.pass(Duration::ZERO);
    assert!(lone.speaker.is_synced());
    assert!(lone.events.contains(&SpeakerEvent::Synced));
}

#[test]
fn a_peer_that_is_gone_does_not_hold_up_the_first_picture() {
    let mut lone = Lone::new(open_session());
    lone.pass(Duration::from_secs(29));
    assert!(!lone.speaker.is_synced());
    lone.pass(Duration::from_secs(2));
    assert!(lone.speaker.is_synced());
}

#[test]
fn a_peer_that_need_not_mark_the_end_is_complete_when_it_is_quiet() {
    let mut lone = Lone::new(open_session());
    let conn = lone.establish();
    for number in 0..5 {
        lone.pass(Duration::from_millis(800));
        lone.send(conn, &announce([[10, 1, number]]));
        assert!(!lone.status().families[0].end_of_rib_received, "it still sends");
    }
    lone.pass(Duration::from_secs(3));
    assert!(lone.status().families.iter().all(|family| family.end_of_rib_received));
    assert!(lone.speaker.is_synced());
}
