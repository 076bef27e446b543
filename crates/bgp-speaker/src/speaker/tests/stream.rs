//! Framing, state and teardown: what single messages do to a session.

use std::time::Duration;

use muslin_bgp_packet::{AfiSafi, Family, MessageType, RefreshSubtype, RouteRefresh};

use super::lone::*;
use crate::config::PeerKey;
use crate::session::State;
use crate::speaker::{Command, SpeakerEvent};

#[test]
fn rfc4271_1_a_wrong_marker_is_answered_by_1_1() {
    let mut lone = Lone::new(open_session());
    let conn = lone.establish();
    let mut octets = keepalive();
    octets[7] = 0xfe;
    lone.send(conn, &octets);
    assert_eq!(lone.refused_with(conn), (1, 1, "".into()));
}

#[test]
fn rfc4271_2_an_impossible_length_is_answered_by_1_2_without_waiting_for_the_body() {
    for length in [0_u16, 18, 4097, 65535] {
        let mut lone = Lone::new(open_session());
        let conn = lone.establish();
        let mut header = message(2, &[]);
        header[16..18].copy_from_slice(&length.to_be_bytes());
        lone.send(conn, &header);
        let (code, subcode, data) = lone.refused_with(conn);
        assert_eq!((code, subcode, &data[..]), (1, 2, &length.to_be_bytes()[..]), "length {length}");
    }
}

#[test]
fn rfc4271_3_each_type_has_its_own_least_length() {
    for (kind, body) in [(1, 9), (2, 3), (3, 1), (4, 1)] {
        let mut lone = Lone::new(open_session());
        let conn = lone.establish();
        lone.send(conn, &message(kind, &vec![0; body]));
        let (code, subcode, _) = lone.refused_with(conn);
        assert_eq!((code, subcode), (1, 2), "type {kind} with {body} octets");
    }
}

#[test]
fn rfc4271_4_an_unknown_type_is_answered_by_1_3() {
    for kind in [0, 6, 99, 255] {
        let mut lone = Lone::new(open_session());
        let conn = lone.establish();
        lone.send(conn, &message(kind, &[]));
        assert_eq!(lone.refused_with(conn), (1, 3, vec![kind].into()));
    }
}

#[test]
fn rfc4271_11_a_message_out_of_turn_is_answered_by_5_and_the_state_of_rfc_6608() {
    let early: [&[u8]; 3] = [&keepalive(), &empty_update(), &message(5, &[0, 1, 0, 1])];
    for octets in early {
        let mut lone = Lone::new(open_session());
        let conn = lone.accept();
        lone.send(conn, octets);
        assert_eq!(lone.refused_with(conn), (5, 1, vec![octets[18]].into()), "OpenSent");
    }
    for octets in [empty_update(), open_octets(&peer_open())] {
        let mut lone = Lone::new(open_session());
        let conn = lone.accept();
        lone.send(conn, &open_octets(&peer_open()));
        lone.send(conn, &octets);
        assert_eq!(lone.refused_with(conn), (5, 2, vec![octets[18]].into()), "OpenConfirm");
    }
    let mut lone = Lone::new(open_session());
    let conn = lone.establish();
    lone.send(conn, &open_octets(&peer_open()));
    assert_eq!(lone.refused_with(conn), (5, 3, vec![1].into()), "Established");
}

#[test]
fn rfc4271_14_octets_may_come_one_by_one_or_all_at_once() {
    let mut everything = open_octets(&peer_open());
    everything.extend(keepalive());
    for _ in 0..200 {
        everything.extend(empty_update());
    }
    for chunk in [1, 7, everything.len()] {
        let mut lone = Lone::new(open_session());
        let conn = lone.accept();
        for octets in everything.chunks(chunk) {
            lone.send(conn, octets);
        }
        assert_eq!(lone.state(), State::Established, "chunks of {chunk}");
        assert_eq!(lone.status().messages.received.update, 200, "chunks of {chunk}");
    }
}

#[test]
fn rfc4271_13_a_stranger_is_not_looked_at() {
    let mut lone = Lone::new(open_session());
    let stranger = "192.0.2.1:40000".parse().unwrap();
    assert!(!lone.speaker.admits(stranger));
    let conn = lone.accept_from(stranger.ip());
    assert!(lone.is_closed(conn) && lone.frames(conn).is_empty());
    assert!(lone.speaker.admits("10.0.0.9:1".parse().unwrap()));
}

#[test]
fn a_peer_that_closes_without_a_word_is_tried_again_and_shown_with_the_reason() {
    let mut lone = Lone::new(open_session());
    let conn = lone.establish();
    lone.hang_up(conn);
    let dials = lone.dials.len();
    let error = lone.status().last_error.unwrap();
    assert!(error.text.contains("without a NOTIFICATION"), "{error:?}");
    assert!(error.remedy.is_some());
    lone.pass(Duration::from_millis(250));
    assert_eq!(lone.dials.len(), dials + 1);
}

#[test]
fn a_notification_ends_the_session_and_is_shown_in_words() {
    let mut lone = Lone::new(open_session());
    let conn = lone.establish();
    lone.frames(conn);
    lone.send(conn, &message(3, &[6, 4]));
    assert!(lone.is_closed(conn));
    assert!(lone.frames(conn).is_empty(), "a NOTIFICATION is never answered (RFC 4271 §6.4)");
    let error = lone.status().last_error.unwrap();
    assert!(error.text.contains("6/4"), "{error:?}");
}

#[test]
fn rfc9003_1_texts_of_every_shape_end_the_session_and_nothing_else() {
    let text = |length: u8, text: &[u8]| message(3, &[&[6, 2, length], text].concat());
    let cases = [
        (text(6, "caf\u{e9} ".as_bytes()), "café"),
        (text(2, &[0xff, 0xfe]), "6/2"),
        (text(200, b"short"), "6/2"),
        (text(0, b""), "6/2"),
        (message(3, &[6, 2]), "6/2"),
        (text(5, b"\x1b[31m"), "\\u{1b}[31m"),
    ];
    for (octets, shown) in cases {
        let mut lone = Lone::new(open_session());
        let conn = lone.establish();
        lone.send(conn, &octets);
        assert!(lone.is_closed(conn));
        let error = lone.status().last_error.unwrap().text;
        assert!(error.contains(shown) && !error.contains('\x1b'), "{error}");
    }
}

#[test]
fn rfc4486_1_commands_end_the_session_with_their_subcode_and_text() {
    let peer = PeerKey::new("10.0.0.9");
    let mut lone = Lone::new(open_session());
    let conn = lone.establish();
    lone.command(Command::Reset { peer: peer.clone(), text: "new cable".into() });
    let notification = lone.refusal(conn);
    assert_eq!((notification.code, notification.subcode), (6, 4));
    assert_eq!(notification.communication(), Some("new cable"));
    assert_eq!(lone.state(), State::Connect, "a reset session is tried again at once");

    let conn = lone.answer_dial();
    lone.greet(conn, &peer_open());
    lone.command(Command::Shutdown { peer: peer.clone(), text: "night".into() });
    assert_eq!(lone.refusal(conn).communication(), Some("night"));
    assert_eq!(lone.state(), State::Idle);
    let refused = lone.accept();
    assert_eq!(lone.refused_with(refused), (6, 5, "".into()), "in Idle connections are refused");
    lone.command(Command::Start { peer });
    assert_eq!(lone.state(), State::Connect);
}

#[test]
fn rfc2918_unknown_families_and_subtypes_are_ignored() {
    let mut lone = Lone::new(open_session());
    let conn = lone.establish();
    let unknown = AfiSafi { afi: 25, safi: 70 };
    lone.send(conn, &refresh(RouteRefresh { afi_safi: unknown, subtype: RefreshSubtype::Request }));
    let subtype = RefreshSubtype::Unknown(9);
    lone.send(conn, &refresh(RouteRefresh { afi_safi: Family::Ipv4Unicast.into(), subtype }));
    assert_eq!(lone.state(), State::Established);
}

#[test]
fn a_refresh_is_asked_for_every_negotiated_family() {
    let mut lone = Lone::new(open_session());
    let conn = lone.establish();
    lone.frames(conn);
    lone.command(Command::Refresh { peer: PeerKey::new("10.0.0.9") });
    let frames = lone.frames(conn);
    let asked: Vec<_> =
        frames.iter().map(|frame| RouteRefresh::decode(&frame.body).unwrap().afi_safi).collect();
    assert_eq!(asked, [Family::Ipv4Unicast.afi_safi(), Family::Ipv6Unicast.afi_safi()]);
    assert!(frames.iter().all(|frame| frame.kind == MessageType::RouteRefresh));
}

#[test]
fn sessions_tell_when_they_come_and_go() {
    let mut lone = Lone::new(open_session());
    let conn = lone.establish();
    let peer = PeerKey::new("10.0.0.9");
    assert_eq!(lone.events, [SpeakerEvent::SessionUp { peer: peer.clone(), asn: PEER_AS.0 }]);
    lone.events.clear();
    lone.hang_up(conn);
    assert!(
        matches!(&lone.events[..], [SpeakerEvent::SessionDown { peer: down, remedy: Some(_), .. }] if *down == peer)
    );
}
