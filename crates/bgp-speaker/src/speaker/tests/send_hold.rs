//! A peer that takes nothing of what it is sent (RFC 9687).

use std::time::Duration;

use muslin_bgp_packet::Open;

use super::lone::*;
use super::routes::originating;
use crate::config::{SessionConfig, SpeakerConfig};
use crate::session::{ConnId, State};
use crate::speaker::Input;

const MINUTE: Duration = Duration::from_mins(1);

/// A session that agreed on this hold time, with a peer that sends KEEPALIVEs and reads nothing.
fn stuck(session: SessionConfig, hold_time: u16) -> (Lone, ConnId) {
    let prefixes: Vec<_> = (0..200).map(|third| format!("192.0.{third}.0/24")).collect();
    let prefixes: Vec<_> = prefixes.iter().map(String::as_str).collect();
    let SpeakerConfig { originated, .. } = originating(&prefixes);
    let mut lone = Lone::configured(SpeakerConfig { originated, ..config_with(session) });
    lone.stall();
    let conn = lone.accept();
    lone.greet(conn, &Open { hold_time, ..peer_open() });
    (lone, conn)
}

fn alive(lone: &mut Lone, conn: ConnId, time: Duration) {
    let end = lone.now + time;
    while lone.now < end && !lone.is_closed(conn) {
        lone.send(conn, &keepalive());
        lone.pass(Duration::from_secs(10));
    }
}

#[test]
fn fault_40_a_peer_that_takes_nothing_for_eight_minutes_is_told_8_0_and_closed() {
    let (mut lone, conn) = stuck(open_session(), 90);
    alive(&mut lone, conn, 7 * MINUTE + 50 * Duration::from_secs(1));
    assert_eq!(lone.state(), State::Established);
    alive(&mut lone, conn, MINUTE);
    assert_eq!(lone.refused_with(conn), (8, 0, "".into()));
    let error = lone.status().last_error.unwrap();
    assert!(error.text.contains("took nothing") && error.remedy.is_some(), "{error:?}");
}

#[test]
fn fault_40_twice_the_hold_time_counts_if_that_is_longer() {
    let session = SessionConfig { hold_time: 10 * MINUTE, ..open_session() };
    let (mut lone, conn) = stuck(session, 600);
    alive(&mut lone, conn, 19 * MINUTE);
    assert_eq!(lone.state(), State::Established);
    alive(&mut lone, conn, 2 * MINUTE);
    assert_eq!(lone.refused_with(conn).0, 8);
}

#[test]
fn fault_40_the_time_can_be_configured_and_changes_under_a_running_session() {
    let session = SessionConfig { send_hold: Some(2 * MINUTE), ..open_session() };
    let (mut lone, conn) = stuck(session, 90);
    alive(&mut lone, conn, MINUTE);
    let longer = SessionConfig { send_hold: Some(3 * MINUTE), ..open_session() };
    let mut config = lone.speaker.config().clone();
    config.peers[0].session = longer.into();
    lone.configure(config);
    assert_eq!(lone.state(), State::Established);
    alive(&mut lone, conn, 3 * MINUTE);
    assert_eq!(lone.refused_with(conn).0, 8);
}

#[test]
fn fault_40_a_peer_that_takes_a_little_now_and_then_is_slow_but_not_stuck() {
    let (mut lone, conn) = stuck(open_session(), 90);
    for _ in 0..10 {
        alive(&mut lone, conn, 5 * MINUTE);
        lone.input(Input::Written { conn, octets: 1 });
    }
    assert_eq!(lone.state(), State::Established);
}

#[test]
fn fault_40_who_has_taken_everything_can_be_silent_for_ever() {
    let (mut lone, conn) = stuck(open_session(), 0);
    lone.resume();
    alive(&mut lone, conn, 60 * MINUTE);
    assert_eq!(lone.state(), State::Established);
}

#[test]
fn fault_40_without_a_hold_time_the_timer_runs_all_the_same() {
    let (mut lone, conn) = stuck(open_session(), 0);
    lone.pass(9 * MINUTE);
    assert_eq!(lone.refused_with(conn).0, 8);
}

#[test]
fn a_thousand_refused_connections_leave_the_window_of_the_session_open() {
    let mut lone = Lone::configured(originating(&["192.0.2.0/24"]));
    let conn = lone.establish();
    lone.stall();
    for _ in 0..3000 {
        let other = lone.accept();
        lone.send(other, &open_octets(&peer_open()));
        assert!(lone.is_closed(other));
        lone.frames(other);
    }
    lone.frames(conn);
    assert!(lone.status().octets_queued < 1000, "{}", lone.status().octets_queued);
}

#[test]
fn the_socket_gives_up_a_little_later_unless_told_otherwise() {
    let timeout = |session: SessionConfig| {
        let mut lone = Lone::new(session);
        let conn = lone.accept();
        lone.tuned[&conn].user_timeout
    };
    let later = Duration::from_secs(10);
    assert_eq!(timeout(open_session()), 8 * MINUTE + later);
    assert_eq!(timeout(SessionConfig { send_hold: Some(2 * MINUTE), ..open_session() }), 2 * MINUTE + later);
    let own = SessionConfig { tcp_user_timeout: Some(MINUTE), ..open_session() };
    assert_eq!(timeout(own), MINUTE);
}
