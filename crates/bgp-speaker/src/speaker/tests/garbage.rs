//! A peer that sends anything at all.

use proptest::prelude::*;

use super::lone::*;
use crate::session::State;

/// Octets that look like messages: a valid header before any body, or a valid message with octets changed.
fn message_like() -> impl Strategy<Value = Vec<u8>> {
    let body = proptest::collection::vec(any::<u8>(), 0..200);
    let framed = (0_u8..8, body).prop_map(|(kind, body)| message(kind, &body));
    let valid = prop_oneof![
        Just(open_octets(&peer_open())),
        Just(keepalive()),
        Just(empty_update()),
        Just(message(2, &[0, 0, 0, 11, 0x40, 1, 1, 0, 0x40, 2, 0, 0x40, 3, 4, 10, 0, 0, 9, 24, 10, 1, 1])),
        Just(message(3, &[6, 2, 3, b'b', b'y', b'e'])),
        Just(message(5, &[0, 1, 0, 1])),
    ];
    let flips = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
    let mutated = (valid, flips).prop_map(|(mut octets, flips)| {
        for (position, value) in flips {
            let position = position.index(octets.len());
            octets[position] = value;
        }
        octets
    });
    prop_oneof![1 => framed, 3 => mutated]
}

proptest! {
    #[test]
    fn fault_48_garbage_ends_in_a_notification_or_nothing_and_the_speaker_goes_on(
        established in any::<bool>(),
        messages in proptest::collection::vec(message_like(), 1..6),
        chunk in 1_usize..64,
    ) {
        let mut lone = Lone::new(open_session());
        let conn = if established { lone.establish() } else { lone.accept() };
        for octets in messages.concat().chunks(chunk) {
            lone.send(conn, octets);
        }
        if lone.is_closed(conn) {
            // A NOTIFICATION of the peer's is not answered; everything else is, exactly once and last.
            let frames = lone.frames(conn);
            let notifications = frames.iter().filter(|frame| frame.kind == muslin_bgp_packet::MessageType::Notification);
            prop_assert!(notifications.count() <= 1);
        }
        // The peer may come to its senses.
        lone.pass(std::time::Duration::from_mins(5));
        let conn = lone.accept();
        lone.greet(conn, &peer_open());
        prop_assert_eq!(lone.state(), State::Established);
    }
}
