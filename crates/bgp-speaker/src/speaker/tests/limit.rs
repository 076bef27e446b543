//! Prefix limits: the warning, and what happens beyond them.

use std::time::Duration;

use muslin_bgp_packet::{Capability, MessageType};

use super::lone::*;
use super::routes::{announce, kernel};
use crate::config::{OverLimit, PeerKey, PrefixLimit, SessionConfig};
use crate::session::{ConnId, State};
use crate::speaker::{Command, SpeakerEvent};

fn limited(over: OverLimit) -> SessionConfig {
    SessionConfig { max_prefixes: Some(PrefixLimit { over, ..PrefixLimit::new(4) }), ..open_session() }
}

fn send_prefixes(lone: &mut Lone, conn: ConnId, numbers: std::ops::RangeInclusive<u8>) {
    lone.send(conn, &announce(numbers.map(|number| [10, 1, number])));
}

/// What was said of the limit: the warning as `true`, what was beyond as `false`.
fn said(lone: &Lone) -> Vec<bool> {
    let near = |event: &SpeakerEvent| match event {
        SpeakerEvent::PrefixLimitNear { .. } => Some(true),
        SpeakerEvent::PrefixLimitExceeded { .. } => Some(false),
        _ => None,
    };
    lone.events.iter().filter_map(near).collect()
}

#[test]
fn fault_16_more_prefixes_than_allowed_are_answered_by_6_1_and_a_pause() {
    let mut lone = Lone::new(SessionConfig { max_prefixes: Some(PrefixLimit::new(3)), ..open_session() });
    let conn = lone.establish();
    lone.send(conn, &announce([[10, 1, 1], [10, 1, 2], [10, 1, 3]]));
    assert_eq!(lone.state(), State::Established);
    lone.send(conn, &announce([[10, 1, 4]]));
    let (code, subcode, _) = lone.refused_with(conn);
    assert_eq!((code, subcode), (6, 1));
    assert_eq!(kernel(&mut lone), [], "nothing of it stays");
    assert!(lone.status().last_error.unwrap().text.contains("more than 3"));
    lone.pass(Duration::from_secs(59));
    assert_eq!(lone.state(), State::Idle);
    lone.pass(Duration::from_secs(2));
    assert_eq!(lone.state(), State::Connect);
}

#[test]
fn fault_16_a_warning_is_given_once_a_session_at_its_share_of_the_limit() {
    let mut lone = Lone::new(limited(OverLimit::Warn));
    let conn = lone.establish();
    send_prefixes(&mut lone, conn, 1..=2);
    assert!(said(&lone).is_empty());
    send_prefixes(&mut lone, conn, 3..=3);
    send_prefixes(&mut lone, conn, 4..=4);
    assert_eq!(said(&lone), [true]);
    assert!(
        lone.status().notes.iter().any(|note| note.contains("4 of 4 prefixes")),
        "{:?}",
        lone.status().notes
    );
    lone.hang_up(conn);
    let conn = lone.establish();
    send_prefixes(&mut lone, conn, 1..=4);
    assert_eq!(said(&lone), [true, true], "another session is another warning");
}

#[test]
fn fault_16_a_limit_that_only_warns_refuses_nothing() {
    let mut lone = Lone::new(limited(OverLimit::Warn));
    let conn = lone.establish();
    send_prefixes(&mut lone, conn, 1..=9);
    send_prefixes(&mut lone, conn, 10..=20);
    assert_eq!(lone.state(), State::Established);
    assert_eq!(kernel(&mut lone).len(), 20);
    assert_eq!(said(&lone), [false]);
}

#[test]
fn fault_16_the_surplus_is_refused_with_its_reason_and_the_rest_is_used() {
    let mut lone = Lone::new(limited(OverLimit::Discard));
    let conn = lone.establish();
    send_prefixes(&mut lone, conn, 1..=9);
    send_prefixes(&mut lone, conn, 1..=4);
    assert_eq!(lone.state(), State::Established);
    assert_eq!(kernel(&mut lone).len(), 4);
    let status = lone.status();
    assert_eq!(status.refused["prefix-limit"], 5);
    assert_eq!((status.families[0].received, status.families[0].limit), (4, Some(4)));
    assert!(status.notes.iter().any(|note| note.contains("refused")), "{:?}", status.notes);
    assert_eq!(said(&lone), [false]);
}

#[test]
fn a_limit_that_discards_and_is_raised_asks_for_what_was_not_kept() {
    let mut lone = Lone::new(limited(OverLimit::Discard));
    let conn = lone.establish();
    send_prefixes(&mut lone, conn, 1..=9);
    lone.frames(conn);
    let raised = PrefixLimit { over: OverLimit::Discard, ..PrefixLimit::new(100) };
    lone.configure(config_with(SessionConfig { max_prefixes: Some(raised), ..open_session() }));
    assert!(lone.kinds(conn).contains(&MessageType::RouteRefresh));
    send_prefixes(&mut lone, conn, 1..=9);
    assert_eq!(kernel(&mut lone).len(), 9);
    assert_eq!(lone.status().messages.established, 1);
}

#[test]
fn fault_16_a_peer_that_is_to_stay_down_stays_down_until_it_is_reset() {
    let mut lone = Lone::new(limited(OverLimit::Shutdown));
    let conn = lone.establish();
    send_prefixes(&mut lone, conn, 1..=5);
    assert_eq!(lone.refused_with(conn).1, 1);
    lone.pass(Duration::from_hours(24));
    assert_eq!(lone.state(), State::Idle);
    assert!(lone.status().last_error.unwrap().text.contains("stays down until it is reset"));
    let refused = lone.accept();
    assert_eq!(lone.refused_with(refused).1, 5, "and is not let in");
    lone.command(Command::Reset { peer: PeerKey::new("10.0.0.9"), text: "".into() });
    assert_eq!(lone.state(), State::Connect);
}

#[test]
fn fault_16_a_limit_that_changes_lets_the_peer_in_again() {
    for over in [OverLimit::Shutdown, OverLimit::default()] {
        let mut lone = Lone::new(limited(over));
        let conn = lone.establish();
        send_prefixes(&mut lone, conn, 1..=5);
        assert!(lone.is_closed(conn));
        let raised = Some(PrefixLimit { over, ..PrefixLimit::new(5) });
        lone.configure(config_with(SessionConfig { max_prefixes: raised, ..open_session() }));
        let conn = lone.establish();
        send_prefixes(&mut lone, conn, 1..=5);
        assert_eq!(lone.state(), State::Established);
    }
}

#[test]
fn a_limit_that_is_lowered_below_what_a_peer_has_is_exceeded_at_once() {
    let mut lone = Lone::new(limited(OverLimit::default()));
    let conn = lone.establish();
    send_prefixes(&mut lone, conn, 1..=4);
    let lowered = Some(PrefixLimit::new(2));
    lone.configure(config_with(SessionConfig { max_prefixes: lowered, ..open_session() }));
    let (code, subcode, _) = lone.refused_with(conn);
    assert_eq!((code, subcode), (6, 1));
}

#[test]
fn fault_16_a_peer_that_comes_back_with_too_many_is_kept_out_for_longer_each_time() {
    let mut lone = Lone::new(limited(OverLimit::Restart(Duration::from_mins(1))));
    let mut pauses = Vec::new();
    for _ in 0..9 {
        let conn = lone.establish();
        send_prefixes(&mut lone, conn, 1..=5);
        assert!(lone.is_closed(conn));
        let began = lone.now;
        while lone.state() == State::Idle {
            lone.pass(Duration::from_secs(10));
        }
        pauses.push((lone.now - began).as_secs() / 60);
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 64, 64]);
}

#[test]
fn fault_16_paths_of_one_prefix_count_each() {
    let session = SessionConfig {
        add_path: crate::config::AddPathConfig { receive: true, ..Default::default() },
        ..limited(OverLimit::Discard)
    };
    let mut lone = Lone::new(session);
    let conn = lone.accept();
    let mut open = peer_open();
    open.capabilities.push(Capability::AddPath(vec![muslin_bgp_packet::AddPathFamily {
        family: muslin_bgp_packet::Family::Ipv4Unicast.into(),
        mode: muslin_bgp_packet::AddPathMode::Send,
    }]));
    lone.greet(conn, &open);
    let mut body =
        vec![0, 0, 0, 20, 0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xea, 0x40, 3, 4, 10, 0, 0, 9];
    body.extend((1..=6).flat_map(|path| [0, 0, 0, path, 24, 10, 1, 1]));
    lone.send(conn, &message(2, &body));
    assert_eq!(lone.status().families[0].received, 4);
    assert_eq!(lone.status().refused["prefix-limit"], 2);
}
