//! Peers that read slowly or not at all, and messages that are longer than others.

use std::time::Duration;

use muslin_bgp_packet::{Capability, Open};

use super::lone::*;
use crate::config::{OriginatedRoute, RouteSource, SpeakerConfig};
use crate::session::State;
use crate::speaker::Input;
use crate::speaker::egress::WINDOW;

/// A speaker that originates so many prefixes, each with a community of its own, so that nothing is packed.
fn originating(count: u32) -> SpeakerConfig {
    let route = |number: u32| {
        let prefix = format!("10.{}.{}.0/24", number >> 8 & 0xff, number & 0xff).parse().unwrap();
        OriginatedRoute { med: Some(number), ..OriginatedRoute::new(prefix, RouteSource::Static, "test") }
    };
    SpeakerConfig { originated: (0..count).map(route).collect(), ..config_with(open_session()) }
}

#[test]
fn fault_40_a_peer_that_does_not_read_holds_a_window_of_octets_and_no_more() {
    let mut lone = Lone::configured(originating(20_000));
    lone.stall();
    let conn = lone.establish();
    let held = lone.status().octets_queued;
    assert!((WINDOW / 2..WINDOW + 80_000).contains(&held), "{held} octets");
    lone.pass(Duration::from_secs(20));
    let grown = lone.status().octets_queued - held;
    assert!(grown < 100, "KEEPALIVEs only, not {grown} octets");
    assert_eq!(lone.state(), State::Established);
    assert!(!lone.is_closed(conn));
}

#[test]
fn fault_40_a_peer_that_reads_again_gets_the_rest_and_the_end_of_rib() {
    let mut lone = Lone::configured(originating(20_000));
    lone.stall();
    let conn = lone.establish();
    lone.resume();
    let updates = lone.kinds(conn).into_iter().filter(|kind| *kind == muslin_bgp_packet::MessageType::Update);
    assert_eq!(updates.count(), 20_000 + 2, "every route, and the ends of both families");
}

#[test]
fn octets_that_left_are_no_reason_to_ask_for_more_where_there_was_room() {
    let mut lone = Lone::new(open_session());
    let conn = lone.establish();
    lone.speaker.handle_input(lone.now, Input::Written { conn, octets: 19 });
    assert!(!lone.speaker.advance(lone.now), "a KEEPALIVE was all");
}

#[test]
fn rfc8654_long_messages_are_taken_when_both_sides_offered_them() {
    // Attributes that no one knows, optional and not transitive: 5000 octets in all.
    let attribute = [&[0x90, 99, 0x13, 0x7c][..], &[0; 4988]].concat();
    let body = [&[0, 0, 0x13, 0x80][..], &attribute].concat();
    let long = message(2, &body);
    for (offers, state) in [(true, State::Established), (false, State::Idle)] {
        let mut open: Open = peer_open();
        if offers {
            open.capabilities.push(Capability::ExtendedMessage);
        }
        let mut lone = Lone::new(open_session());
        let conn = lone.accept();
        lone.greet(conn, &open);
        lone.send(conn, &long);
        assert_eq!(lone.state(), state, "offered: {offers}");
    }
}
