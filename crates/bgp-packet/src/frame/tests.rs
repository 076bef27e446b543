use super::*;

fn header(length: u16, kind: u8) -> BytesMut {
    let mut octets = BytesMut::from(&MARKER[..]);
    octets.put_u16(length);
    octets.put_u8(kind);
    octets
}

fn refusal(octets: &BytesMut, max: usize) -> (u8, u8, Vec<u8>) {
    let notification = next_frame(&mut octets.clone(), max).unwrap_err();
    (notification.code, notification.subcode, notification.data.to_vec())
}

#[test]
fn rfc4271_1_a_wrong_marker_is_refused() {
    for bit in 0..128 {
        let mut octets = header(19, 4);
        octets[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(refusal(&octets, MAX_LENGTH), (1, 1, vec![]));
    }
}

#[test]
fn rfc4271_2_lengths_out_of_bounds_are_refused_before_the_body_arrives() {
    for length in [0, 18, 4097, 65535] {
        assert_eq!(refusal(&header(length, 2), MAX_LENGTH), (1, 2, length.to_be_bytes().to_vec()));
    }
    assert_eq!(next_frame(&mut header(4097, 2), MAX_EXTENDED_LENGTH), Ok(None));
}

#[test]
fn rfc8654_open_and_keepalive_stay_short_with_extended_messages() {
    assert_eq!(refusal(&header(4097, 1), MAX_EXTENDED_LENGTH).1, 2);
    assert_eq!(refusal(&header(20, 4), MAX_EXTENDED_LENGTH).1, 2);
}

#[test]
fn rfc4271_3_each_type_has_its_shortest_length() {
    for (kind, shortest) in [(1, 29), (2, 23), (3, 21), (4, 19), (5, 23)] {
        assert_eq!(refusal(&header(shortest - 1, kind), MAX_LENGTH).1, 2);
        assert!(next_frame(&mut header(shortest, kind), MAX_LENGTH).is_ok());
    }
}

#[test]
fn rfc4271_4_an_unknown_type_is_refused_and_named() {
    for kind in [0, 6, 99, 255] {
        assert_eq!(refusal(&header(19, kind), MAX_LENGTH), (1, 3, vec![kind]));
    }
}

#[test]
fn rfc4271_14_single_octets_and_whole_trains_give_the_same_messages() {
    let mut train = BytesMut::new();
    for subcode in 0..200 {
        Notification::new(6, subcode).encode(&mut train);
        encode_keepalive(&mut train);
    }
    let mut at_once = train.clone();
    let mut all = Vec::new();
    while let Some(frame) = next_frame(&mut at_once, MAX_LENGTH).unwrap() {
        all.push(frame);
    }
    assert_eq!((all.len(), at_once.len()), (400, 0));

    let (mut dribble, mut one_by_one) = (BytesMut::new(), Vec::new());
    for octet in train {
        dribble.put_u8(octet);
        one_by_one.extend(next_frame(&mut dribble, MAX_LENGTH).unwrap());
    }
    assert_eq!(one_by_one, all);
}

#[test]
fn a_refused_stream_is_left_as_it_is() {
    let mut octets = header(18, 4);
    let before = octets.clone();
    let _ = next_frame(&mut octets, MAX_LENGTH).unwrap_err();
    assert_eq!(octets, before);
}
