use super::*;
use proptest::prelude::*;

fn ipv4(octets: &[u8]) -> Vec<Ipv4Net> {
    NlriField::check(octets, PathIds::Absent).unwrap().iter().map(|nlri| nlri.prefix).collect()
}

#[test]
fn rfc4271_19_host_bits_are_masked_and_the_default_route_is_a_prefix() {
    let prefixes = ipv4(&[0, 9, 10, 0xFF, 32, 1, 2, 3, 4, 20, 10, 1, 0xFF]);
    let expected: Vec<Ipv4Net> = ["0.0.0.0/0", "10.128.0.0/9", "1.2.3.4/32", "10.1.240.0/20"]
        .map(|text| text.parse().unwrap())
        .to_vec();
    assert_eq!(prefixes, expected);
}

#[test]
fn a4_27_no_length_beyond_the_family_is_accepted() {
    for length in 33..=255 {
        let field = [length, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17];
        let error = NlriField::<Ipv4Net>::check(&field, PathIds::Absent).unwrap_err();
        assert_eq!((error.offset, error.reason), (0, "the length is greater than the family allows"));
    }
    for length in 129..=255 {
        assert!(NlriField::<Ipv6Net>::check(&[length; 40], PathIds::Absent).is_err());
    }
}

#[test]
fn rfc7606_7_a_cut_prefix_is_an_error_at_its_start() {
    let whole = [8, 10, 24, 192, 0, 2];
    for (cut, offset) in [(1, 0), (3, 2), (4, 2), (5, 2)] {
        let error = NlriField::<Ipv4Net>::check(&whole[..cut], PathIds::Absent).unwrap_err();
        assert_eq!((error.offset, error.reason), (offset, "the prefix is not complete"));
    }
}

#[test]
fn rfc7911_1_a_path_id_precedes_each_prefix_and_may_be_zero() {
    let octets = [0, 0, 0, 0, 8, 10, 0, 0, 1, 0, 8, 10];
    let field = NlriField::<Ipv4Net>::check(&octets, PathIds::Present).unwrap();
    let ids: Vec<_> = field.iter().map(|nlri| nlri.path_id).collect();
    assert_eq!(ids, [Some(0), Some(256)]);
    for cut in [1, 3, 4, 5, 7, 10, 11] {
        assert!(NlriField::<Ipv4Net>::check(&octets[..cut], PathIds::Present).is_err(), "{cut}");
    }
}

fn check_octets<P: Prefix>(octets: &[u8], path_ids: PathIds) {
    if let Ok(field) = NlriField::<P>::check(octets, path_ids) {
        assert_eq!(field.iter().count(), field.len());
        let mut again = BytesMut::new();
        for nlri in field {
            nlri.write(&mut again);
        }
        let reread = NlriField::<P>::check(&again, path_ids).unwrap();
        assert!(field.iter().eq(reread.iter()));
        assert_eq!(again.len(), field.iter().map(Nlri::written).sum::<usize>());
    }
}

proptest! {
    #[test]
    fn any_octets_are_refused_or_iterated_to_their_end(
        octets in proptest::collection::vec(prop_oneof![3 => 0_u8..34, 1 => any::<u8>()], 0..64)
    ) {
        for path_ids in [PathIds::Absent, PathIds::Present] {
            check_octets::<Ipv4Net>(&octets, path_ids);
            check_octets::<Ipv6Net>(&octets, path_ids);
        }
    }

    #[test]
    fn written_prefixes_are_read_back(
        prefixes in proptest::collection::vec((any::<u128>(), 0_u8..=128, any::<u32>()), 0..40),
        with_ids in any::<bool>(),
    ) {
        let nlri: Vec<Nlri<Ipv6Net>> = prefixes.into_iter().map(|(bits, length, id)| Nlri {
            prefix: Ipv6Net::new(bits.into(), length).unwrap().trunc(),
            path_id: with_ids.then_some(id),
        }).collect();
        let mut wire = BytesMut::new();
        for nlri in &nlri {
            nlri.write(&mut wire);
        }
        let path_ids = if with_ids { PathIds::Present } else { PathIds::Absent };
        let field = NlriField::<Ipv6Net>::check(&wire, path_ids).unwrap();
        prop_assert_eq!(field.iter().collect::<Vec<_>>(), nlri);
    }
}
