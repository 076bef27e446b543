use proptest::prelude::*;

use super::*;

fn encoded(message: Message) -> Vec<u8> {
    let mut octets = Vec::new();
    message.encode(&mut octets);
    octets
}

fn any_message() -> impl Strategy<Value = Message> {
    let solicitation =
        any::<Option<HardwareAddress>>().prop_map(|source| Message::Solicitation(Solicitation { source }));
    let advertisement =
        (any::<(u8, u8, u16, u32, u32)>(), any::<Option<HardwareAddress>>(), any::<Option<u32>>()).prop_map(
            |((hop_limit, flags, lifetime, reachable, retransmit), source, mtu)| {
                Message::Advertisement(Advertisement {
                    hop_limit,
                    flags,
                    lifetime,
                    reachable,
                    retransmit,
                    source,
                    mtu,
                })
            },
        );
    prop_oneof![solicitation, advertisement]
}

proptest! {
    #[test]
    fn what_is_written_is_read(message in any_message()) {
        prop_assert_eq!(Message::parse(&encoded(message)), Ok(message));
    }

    #[test]
    fn parsing_is_total(octets in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = Message::parse(&octets);
    }

    /// Mutations of valid messages reach deeper than noise.
    #[test]
    fn parsing_is_total_near_valid_messages(
        message in any_message(),
        position in any::<prop::sample::Index>(),
        octet in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut octets = encoded(message);
        let position = position.index(octets.len());
        octets[position] = octet;
        octets.truncate(cut.index(octets.len() + 1));
        if let Ok(read) = Message::parse(&octets) {
            prop_assert_eq!(Message::parse(&encoded(read)), Ok(read));
        }
    }

    #[test]
    fn options_that_nobody_knows_are_passed_over(
        message in any_message(),
        kind in (6_u8..=255),
        units in 1_u8..4,
    ) {
        let mut octets = encoded(message);
        octets.extend([kind, units]);
        octets.resize(octets.len() + usize::from(units) * 8 - 2, 0xaa);
        prop_assert_eq!(Message::parse(&octets), Ok(message));
    }
}

#[test]
fn an_advertisement_has_the_octets_of_rfc_4861() {
    let advertisement = Advertisement {
        lifetime: 0x1234,
        mtu: Some(1500),
        source: Some([2, 0, 0, 0, 0, 1]),
        ..Advertisement::default()
    };
    assert_eq!(
        encoded(Message::Advertisement(advertisement)),
        [
            134, 0, 0, 0, 0, 0, 0x12, 0x34, 0, 0, 0, 0, 0, 0, 0, 0, // fixed part
            1, 1, 2, 0, 0, 0, 0, 1, // source link-layer address
            5, 1, 0, 0, 0, 0, 5, 0xdc, // MTU
        ],
    );
    assert_eq!(encoded(Message::Solicitation(Solicitation::default())), [133, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn what_is_invalid_is_refused_with_the_reason() {
    let mut zero_option = encoded(Message::Advertisement(Advertisement::default()));
    zero_option.extend([5, 0, 0, 0, 0, 0, 0, 0]);
    let mut long_option = encoded(Message::Solicitation(Solicitation::default()));
    long_option.extend([1, 2, 0, 0, 0, 0, 0, 0]);
    let cases: [(&[u8], Malformed); 6] = [
        (&[134, 0, 0], Malformed::Short(3)),
        (&[134, 0, 0, 0, 0, 0, 0, 0], Malformed::Short(8)),
        (&[135, 0, 0, 0, 0, 0, 0, 0], Malformed::Type(135)),
        (&[133, 1, 0, 0, 0, 0, 0, 0], Malformed::Code(1)),
        (&zero_option, Malformed::OptionLength(16)),
        (&long_option, Malformed::OptionLength(8)),
    ];
    for (octets, wrong) in cases {
        assert_eq!(Message::parse(octets), Err(wrong));
    }
}
