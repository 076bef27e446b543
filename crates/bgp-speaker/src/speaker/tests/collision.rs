//! Two connections with one peer (RFC 4271 §6.8, RFC 6286 §2.3, RFC 4724 §4.2).

use std::net::Ipv4Addr;
use std::time::Duration;

use muslin_bgp_packet::{Capability, Family, GracefulFamily, GracefulRestart, MessageType, Open};

use super::lone::*;
use super::routes::{announce, kernel};
use crate::config::SessionConfig;
use crate::session::{ConnId, State};

const COLLISION: (u8, u8) = (6, 7);

/// A speaker with one dialed and one accepted connection, both before the peer's OPEN.
fn two_connections() -> (Lone, ConnId, ConnId) {
    let mut lone = Lone::new(open_session());
    let accepted = lone.accept();
    let dialed = lone.answer_dial();
    (lone, dialed, accepted)
}

fn open_of(id: Ipv4Addr) -> Vec<u8> {
    open_octets(&peer_open_with(PEER_AS, id))
}

fn code_of(lone: &mut Lone, conn: ConnId) -> (u8, u8) {
    let (code, subcode, _) = lone.refused_with(conn);
    (code, subcode)
}

#[test]
fn rfc4271_12_the_connection_of_the_higher_identifier_stays_whichever_open_comes_first() {
    for (id, ours_stays) in [(LOWER_ID, true), (HIGHER_ID, false)] {
        for dialed_first in [true, false] {
            let (mut lone, dialed, accepted) = two_connections();
            let order = if dialed_first { [dialed, accepted] } else { [accepted, dialed] };
            for conn in order {
                lone.send(conn, &open_of(id));
            }
            let (winner, loser) = if ours_stays { (dialed, accepted) } else { (accepted, dialed) };
            assert_eq!(
                lone.is_closed(loser),
                ours_stays || !dialed_first,
                "the peer may have established it"
            );
            lone.send(winner, &keepalive());
            assert_eq!(code_of(&mut lone, loser), COLLISION, "id {id}, dialed first: {dialed_first}");
            assert_eq!(lone.state(), State::Established);
            assert!(!lone.is_closed(winner));
            assert!(lone.status().last_error.is_none(), "a collision is no error");
        }
    }
}

#[test]
fn rfc4271_12_equal_identifiers_are_decided_by_the_as() {
    let (mut lone, dialed, accepted) = two_connections();
    for conn in [dialed, accepted] {
        lone.send(conn, &open_octets(&peer_open_with(PEER_AS, OUR_ID)));
    }
    lone.send(accepted, &keepalive());
    assert_eq!(code_of(&mut lone, dialed), COLLISION, "AS 65002 is above AS 65001 (RFC 6286 §2.3)");
    assert!(!lone.is_closed(accepted));
}

#[test]
fn rfc4271_12_of_two_connections_of_the_peer_the_newer_open_stays_if_its_identifier_is_higher() {
    for (id, newer_stays) in [(HIGHER_ID, true), (LOWER_ID, false)] {
        let mut lone = Lone::new(open_session());
        let (first, second) = (lone.accept(), lone.accept());
        lone.send(first, &open_of(id));
        lone.send(second, &open_of(id));
        let loser = if newer_stays { first } else { second };
        assert_eq!(code_of(&mut lone, loser), COLLISION, "id {id}");
    }
}

#[test]
fn rfc4271_12_an_established_session_wins_and_is_not_disturbed() {
    let mut lone = Lone::new(open_session());
    let established = lone.establish();
    lone.pass(Duration::from_secs(10));
    for id in [LOWER_ID, HIGHER_ID] {
        let second = lone.accept();
        lone.send(second, &open_of(id));
        assert_eq!(code_of(&mut lone, second), COLLISION);
    }
    lone.send(established, &empty_update());
    assert_eq!(lone.state(), State::Established);
    assert_eq!(lone.status().messages.lost, 0);
}

#[test]
fn an_attempt_of_ours_ends_when_the_peers_connection_is_established() {
    let mut lone = Lone::new(open_session());
    lone.establish();
    let attempt = lone.dials[0];
    assert!(lone.is_closed(attempt) && lone.frames(attempt).is_empty());
}

#[test]
fn both_connections_lost_to_a_collision_are_followed_by_another_attempt() {
    let (mut lone, dialed, accepted) = two_connections();
    lone.send(dialed, &open_of(LOWER_ID));
    lone.send(accepted, &open_of(LOWER_ID));
    lone.send(dialed, &message(3, &[6, 7]));
    assert!(lone.is_closed(dialed));
    assert_eq!(lone.dials.len(), 1, "not at once: the peer may hold a connection that we know nothing of");
    lone.pass(Duration::from_millis(250));
    assert_eq!(lone.dials.len(), 2);
}

#[test]
fn connections_that_stay_silent_do_not_pile_up() {
    let mut lone = Lone::new(open_session());
    let connections: Vec<_> = (0..10).map(|_| lone.accept()).collect();
    let open = connections.iter().filter(|conn| !lone.is_closed(**conn)).count();
    assert_eq!(open, 4);
    assert_eq!(code_of(&mut lone, connections[0]), (6, 8));
    let last = connections[9];
    lone.greet(last, &peer_open());
    assert_eq!(lone.state(), State::Established);
}

fn graceful_open() -> Open {
    let mut open = peer_open();
    let families = vec![GracefulFamily { family: Family::Ipv4Unicast.into(), forwarding_kept: true }];
    let restart = GracefulRestart { restart_time: 30, families, ..GracefulRestart::default() };
    open.capabilities.push(Capability::GracefulRestart(restart));
    open
}

#[test]
fn rfc4724_3_a_restarted_peer_replaces_its_half_open_connection() {
    let mut lone = Lone::new(open_session());
    let old = lone.accept();
    lone.greet(old, &graceful_open());
    lone.pass(Duration::from_secs(10));
    lone.frames(old);
    let new = lone.accept();
    lone.greet(new, &graceful_open());
    assert_eq!(lone.state(), State::Established);
    assert!(lone.is_closed(old) && !lone.is_closed(new));
    assert!(lone.frames(old).iter().all(|frame| frame.kind != MessageType::Notification));
}

#[test]
fn rfc4724_3_two_connections_of_one_start_are_a_collision_and_no_restart() {
    let mut lone = Lone::new(open_session());
    let first = lone.accept();
    lone.greet(first, &graceful_open());
    let second = lone.accept();
    lone.send(second, &open_octets(&graceful_open()));
    assert_eq!(code_of(&mut lone, second), COLLISION);
    assert!(!lone.is_closed(first));
}

#[test]
fn rfc4724_routes_of_a_graceful_peer_are_retained_for_its_restart_time() {
    let mut lone = Lone::new(open_session());
    let conn = lone.accept();
    lone.greet(conn, &graceful_open());
    lone.hang_up(conn);
    assert!(lone.status().timers.retention_seconds.is_some_and(|left| (29.0..=30.0).contains(&left)));
    lone.pass(Duration::from_secs(31));
    assert_eq!(lone.status().timers.retention_seconds, None);
    let expired = crate::speaker::SpeakerEvent::RetentionExpired { peer: lone.status().key };
    assert!(lone.events.contains(&expired));
}

#[test]
fn rfc4724_without_our_offer_nothing_is_retained() {
    let mut lone = Lone::new(SessionConfig { graceful_restart: None, ..open_session() });
    let conn = lone.accept();
    lone.greet(conn, &graceful_open());
    lone.hang_up(conn);
    assert_eq!(lone.status().timers.retention_seconds, None);
}

/// A speaker that keeps a stale route of a peer with the higher identifier, and has established the
/// connection that it dialed while the peer's own waits for its OPEN: dialed, accepted.
fn established_beside_an_open_one() -> (Lone, ConnId, ConnId) {
    let mut lone = Lone::new(open_session());
    let before = lone.accept();
    lone.greet(before, &of_higher_id());
    lone.send(before, &announce([[10, 1, 1]]));
    assert_eq!(kernel(&mut lone).len(), 1);
    lone.hang_up(before);
    lone.pass(Duration::from_millis(300));
    let accepted = lone.accept();
    let dialed = lone.answer_dial();
    lone.greet(dialed, &of_higher_id());
    assert_eq!(lone.state(), State::Established);
    assert!(!lone.is_closed(accepted), "the peer may prefer it");
    (lone, dialed, accepted)
}

fn of_higher_id() -> Open {
    Open { id: HIGHER_ID, ..graceful_open() }
}

#[test]
fn rfc4724_2_a_peer_that_chooses_the_other_connection_is_no_second_loss() {
    for way in ["says so", "answers first", "resets before its words arrive"] {
        let (mut lone, dialed, accepted) = established_beside_an_open_one();
        lone.send(accepted, &open_octets(&of_higher_id()));
        assert_eq!(lone.kinds(accepted), [MessageType::Open], "the peer chooses");
        match way {
            "says so" => lone.send(dialed, &message(3, &[6, 7])),
            "answers first" => lone.send(accepted, &keepalive()),
            _ => lone.hang_up(dialed),
        }
        if way == "answers first" {
            assert_eq!(code_of(&mut lone, dialed), COLLISION);
        } else {
            lone.send(accepted, &keepalive());
        }
        assert_eq!(lone.kinds(accepted)[0], MessageType::Keepalive);
        assert_eq!(lone.state(), State::Established);
        assert_eq!(kernel(&mut lone), [], "the stale route stays");
        lone.send(accepted, &empty_update());
        assert_eq!(kernel(&mut lone).len(), 1, "until the End-of-RIB");
    }
}

#[test]
fn rfc4724_2_a_reset_that_overtakes_the_open_on_the_chosen_connection_is_no_second_loss() {
    for accepted_late in [false, true] {
        let (mut lone, dialed, mut accepted) = established_beside_an_open_one();
        if accepted_late {
            lone.hang_up(accepted);
            accepted = lone.accept();
        }
        lone.hang_up(dialed);
        lone.send(accepted, &open_octets(&of_higher_id()));
        lone.send(accepted, &keepalive());
        assert_eq!(lone.state(), State::Established);
        assert_eq!(kernel(&mut lone), [], "the stale route stays");
    }
}

#[test]
fn rfc4724_2_the_connection_that_the_peer_established_stays_though_its_open_came_on_the_other() {
    let mut lone = Lone::new(open_session());
    let accepted = lone.accept();
    let dialed = lone.answer_dial();
    lone.send(dialed, &open_octets(&of_higher_id()));
    lone.send(accepted, &open_octets(&of_higher_id()));
    // The peer got our KEEPALIVE on the one before our OPEN on the other, and closes that one.
    lone.send(accepted, &message(3, &[6, 7]));
    lone.send(dialed, &keepalive());
    assert_eq!(lone.state(), State::Established);
    assert!(!lone.is_closed(dialed));
    assert!(lone.status().last_error.is_none(), "a collision is no error");
}

#[test]
fn rfc4271_12_the_end_of_a_connection_that_the_peer_passed_over_is_no_error() {
    let mut lone = Lone::new(open_session());
    let accepted = lone.accept();
    let dialed = lone.answer_dial();
    lone.send(dialed, &open_octets(&of_higher_id()));
    lone.send(accepted, &open_octets(&of_higher_id()));
    lone.hang_up(dialed);
    lone.send(accepted, &keepalive());
    assert_eq!(lone.state(), State::Established);
    assert!(lone.status().last_error.is_none());
}

#[test]
fn rfc4271_12_a_peer_that_does_not_choose_keeps_the_established_connection() {
    let (mut lone, dialed, accepted) = established_beside_an_open_one();
    lone.send(accepted, &open_octets(&of_higher_id()));
    lone.pass(Duration::from_secs(6));
    assert_eq!(code_of(&mut lone, accepted), COLLISION);
    assert!(!lone.is_closed(dialed));
    assert_eq!(lone.status().messages.lost, 1);
}
