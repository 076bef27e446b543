//! Hold time, keepalives and pauses between attempts, in virtual time.

use std::time::Duration;

use muslin_bgp_packet::{MessageType, Open};

use super::lone::*;
use crate::config::{ConnectMode, SessionConfig};
use crate::session::State;
use crate::speaker::Input;

fn established_with_hold(hold_time: u16) -> (Lone, crate::session::ConnId) {
    let mut lone = Lone::new(open_session());
    let conn = lone.accept();
    lone.greet(conn, &Open { hold_time, ..peer_open() });
    lone.frames(conn);
    (lone, conn)
}

#[test]
fn rfc4271_8_silence_is_answered_by_4_0_after_the_smaller_hold_time() {
    let (mut lone, conn) = established_with_hold(9);
    assert_eq!(lone.status().negotiated.unwrap().hold_seconds, 9);
    lone.pass(Duration::from_millis(8_999));
    assert_eq!(lone.state(), State::Established);
    lone.pass(Duration::from_secs(1));
    assert_eq!(lone.refused_with(conn), (4, 0, "".into()));
}

#[test]
fn rfc4271_8_a_peer_that_never_sends_its_open_is_given_up_within_the_hold_time() {
    for (hold_time, wait) in [(3, 15), (60, 60), (0, 240), (600, 240)] {
        let session = SessionConfig { hold_time: Duration::from_secs(hold_time), ..open_session() };
        let mut lone = Lone::new(session);
        let conn = lone.accept();
        lone.pass(Duration::from_millis(wait * 1000 - 1));
        assert_eq!(lone.state(), State::OpenSent, "hold time {hold_time}");
        lone.pass(Duration::from_secs(1));
        assert_eq!(lone.refused_with(conn), (4, 0, "".into()), "hold time {hold_time}");
    }
}

#[test]
fn rfc4271_8_keepalives_leave_three_times_a_hold_time() {
    let (mut lone, conn) = established_with_hold(9);
    for _ in 0..20 {
        lone.pass(Duration::from_secs(3));
        lone.send(conn, &keepalive());
    }
    let kinds = lone.kinds(conn);
    assert!(kinds.iter().all(|kind| *kind == MessageType::Keepalive));
    // RFC 4271 §10: jitter makes them up to a quarter more.
    assert!((20..=28).contains(&kinds.len()), "{} in a minute", kinds.len());
}

#[test]
fn rfc4271_8_a_hold_time_of_zero_needs_no_keepalives() {
    let (mut lone, conn) = established_with_hold(0);
    lone.pass(Duration::from_hours(24));
    assert_eq!(lone.state(), State::Established);
    assert_eq!(lone.kinds(conn), []);
}

/// Found by fuzzing: the peer said that its hold time is zero, and vanished before its first KEEPALIVE.
#[test]
fn fault_11_a_hold_time_of_zero_does_not_keep_a_place_for_a_peer_that_vanished_in_its_greeting() {
    let mut lone = Lone::new(open_session());
    let conn = lone.accept();
    lone.send(conn, &open_octets(&Open { hold_time: 0, ..peer_open() }));
    assert_eq!(lone.state(), State::OpenConfirm);
    lone.pass(Duration::from_mins(5));
    assert_eq!(lone.refused_with(conn), (4, 0, "".into()));
    lone.establish();
    assert_eq!(lone.state(), State::Established);
}

#[test]
fn rfc4271_9_half_a_message_does_not_feed_the_hold_timer() {
    let (mut lone, conn) = established_with_hold(9);
    lone.pass(Duration::from_secs(5));
    lone.send(conn, &empty_update()[..20]);
    lone.pass(Duration::from_millis(4_500));
    assert_eq!(lone.refused_with(conn), (4, 0, "".into()));
}

#[test]
fn whole_messages_feed_the_hold_timer() {
    let (mut lone, conn) = established_with_hold(9);
    for octets in [keepalive(), empty_update(), message(5, &[0, 1, 0, 1])] {
        lone.pass(Duration::from_secs(7));
        lone.send(conn, &octets);
    }
    lone.pass(Duration::from_secs(7));
    assert_eq!(lone.state(), State::Established);
}

#[test]
fn the_first_attempt_is_immediate_and_the_next_ones_follow_soon() {
    let mut lone = Lone::new(open_session());
    assert_eq!(lone.dials.len(), 1);
    lone.refuse_dial();
    lone.pass(Duration::from_millis(250));
    assert_eq!(lone.dials.len(), 2);
    assert_eq!(lone.state(), State::Connect);
}

#[test]
fn an_attempt_that_nobody_answers_is_given_up_and_repeated() {
    let mut lone = Lone::new(open_session());
    let first = lone.dials[0];
    lone.pass(Duration::from_millis(5_300));
    assert!(lone.is_closed(first));
    assert_eq!(lone.dials.len(), 2);
    let error = lone.status().last_error.unwrap();
    assert!(error.remedy.unwrap().contains("MD5"), "a wrong key looks like silence");
}

#[test]
fn why_a_session_ended_is_known_while_later_attempts_fail() {
    let mut lone = Lone::new(open_session());
    let conn = lone.answer_dial();
    lone.greet(conn, &peer_open());
    // RFC 9003: Cease, Administrative Shutdown, a text with its length.
    lone.send(conn, &message(3, b"\x06\x02\x14rack 7 moves at noon"));
    let attempts = lone.dials.len();
    while lone.dials.len() == attempts {
        lone.pass(Duration::from_millis(100));
    }
    lone.refuse_dial();
    let status = lone.status();
    assert!(status.last_error.unwrap().text.contains("refused"));
    assert!(status.last_loss.unwrap().text.contains("rack 7 moves at noon"));
}

#[test]
fn fault_13_pauses_grow_over_short_sessions_and_shrink_after_a_long_one() {
    let mut lone = Lone::new(open_session());
    let mut pauses = Vec::new();
    for _ in 0..12 {
        let conn = lone.answer_dial();
        lone.greet(conn, &peer_open());
        assert_eq!(lone.state(), State::Established);
        lone.hang_up(conn);
        let (dials, began) = (lone.dials.len(), lone.now);
        while lone.dials.len() == dials {
            lone.pass(Duration::from_millis(10));
        }
        pauses.push(lone.now - began);
    }
    assert!(pauses[0] <= Duration::from_millis(200), "{pauses:?}");
    assert!(pauses[11] >= Duration::from_millis(3_700), "{pauses:?}");

    let conn = lone.answer_dial();
    lone.greet(conn, &peer_open());
    lone.pass(Duration::from_secs(31));
    lone.hang_up(conn);
    let dials = lone.dials.len();
    lone.pass(Duration::from_millis(250));
    assert_eq!(lone.dials.len(), dials + 1, "a session that lasted is forgiven");
}

#[test]
fn fault_13_a_peer_that_breaks_the_protocol_is_kept_out_for_longer_each_time() {
    let mut lone = Lone::new(SessionConfig { connect: ConnectMode::Passive, ..open_session() });
    let mut refused = 0;
    for _ in 0..1000 {
        let conn = lone.accept();
        lone.send(conn, &keepalive());
        let (code, subcode, _) = lone.refused_with(conn);
        refused += usize::from((code, subcode) == (6, 5));
        lone.pass(Duration::from_millis(100));
    }
    assert!(refused > 900, "{refused} of 1000 were not even looked at");
    assert_eq!(lone.state(), State::Idle);
    lone.pass(Duration::from_secs(5));
    lone.establish();
    assert_eq!(lone.state(), State::Established);
}

#[test]
fn a_passive_peer_is_never_dialed() {
    let mut lone = Lone::new(SessionConfig { connect: ConnectMode::Passive, ..open_session() });
    lone.pass(Duration::from_mins(10));
    assert_eq!(lone.dials, []);
    assert_eq!(lone.state(), State::Active);
}

#[test]
fn fault_12_a_hold_timer_does_not_expire_over_octets_that_wait_for_us() {
    let (mut lone, conn) = established_with_hold(9);
    lone.pass(Duration::from_millis(8_900));
    for _ in 0..10 {
        lone.input(Input::Waiting { conn });
        lone.pass(Duration::from_millis(900));
    }
    assert_eq!(lone.state(), State::Established);
    lone.send(conn, &empty_update()[..20]);
    lone.pass(Duration::from_millis(1_100));
    assert_eq!(lone.refused_with(conn), (4, 0, "".into()), "half a message was all that waited");
}

#[test]
fn a_hold_timer_runs_from_when_a_message_came_not_from_when_it_was_taken_in() {
    let (mut lone, conn) = established_with_hold(9);
    lone.pass(Duration::from_secs(3));
    lone.send(conn, &keepalive());
    lone.input(Input::Silent { conn, time: Duration::from_millis(2_900) });
    lone.pass(Duration::from_secs(6));
    assert_eq!(lone.state(), State::Established);
    lone.pass(Duration::from_millis(200));
    assert_eq!(lone.refused_with(conn), (4, 0, "".into()));
}

/// KEEPALIVEs of a minute, with the pause that is configured and the hold time that the peer offers.
fn keepalives_a_minute(keepalive: Option<Duration>, hold_time: u16) -> usize {
    let mut lone = Lone::new(SessionConfig { keepalive, ..open_session() });
    let conn = lone.accept();
    lone.greet(conn, &Open { hold_time, ..peer_open() });
    lone.frames(conn);
    for _ in 0..60 {
        lone.pass(Duration::from_secs(1));
        lone.send(conn, &self::keepalive());
    }
    lone.kinds(conn).len()
}

#[test]
fn rfc4271_8_keepalives_come_as_often_as_configured_and_never_twice_a_second() {
    let a_second = Some(Duration::from_secs(1));
    for hold_time in [3, 9, 90] {
        assert!((59..=60).contains(&keepalives_a_minute(a_second, hold_time)), "hold time {hold_time}");
    }
    assert!((6..=8).contains(&keepalives_a_minute(Some(Duration::from_secs(10)), 90)));
    assert!((2..=3).contains(&keepalives_a_minute(None, 90)));
    let third_of_nine = keepalives_a_minute(Some(Duration::from_secs(10)), 9);
    assert!((20..=28).contains(&third_of_nine), "the peer's shorter hold time counts: {third_of_nine}");
}

#[test]
fn another_keepalive_time_is_taken_up_by_the_running_session() {
    let mut lone = Lone::new(open_session());
    let conn = lone.establish();
    lone.configure(config_with(SessionConfig { keepalive: Some(Duration::from_secs(2)), ..open_session() }));
    assert_eq!(lone.state(), State::Established);
    assert!((lone.status().negotiated.unwrap().keepalive_seconds - 2.0).abs() < f64::EPSILON);
    lone.pass(Duration::from_secs(3));
    lone.frames(conn);
    lone.pass(Duration::from_secs(20));
    assert!((9..=14).contains(&lone.kinds(conn).len()));
}
