//! Routes packed into messages.

use bytes::BytesMut;
use ipnet::{Ipv4Net, Ipv6Net};
use muslin_bgp_packet::frame::{MAX_EXTENDED_LENGTH, MAX_LENGTH, next_frame};
use muslin_bgp_packet::{FamilyNlri, NextHop, Nlri, Prefix, TooLong, UpdateEncoder, UpdateView};

use crate::octets::*;

fn attributes() -> Vec<u8> {
    [origin(), as_path()].concat()
}

fn ipv4(count: u32) -> Vec<Nlri<Ipv4Net>> {
    (0..count).map(|n| Nlri::new(Ipv4Net::new((0x0A00_0000 + (n << 8)).into(), 24).unwrap())).collect()
}

fn ipv6(count: u32) -> Vec<Nlri<Ipv6Net>> {
    let base = 0x2001_0DB8_u128 << 96;
    (0..count).map(|n| Nlri::new(Ipv6Net::new((base + (u128::from(n) << 64)).into(), 64).unwrap())).collect()
}

/// The bodies of the messages, each of at most `max` octets.
fn bodies(mut wire: BytesMut, max: usize) -> Vec<bytes::Bytes> {
    let mut bodies = Vec::new();
    while let Some(frame) = next_frame(&mut wire, max).unwrap() {
        bodies.push(frame.body);
    }
    assert!(wire.is_empty());
    bodies
}

fn announce<P: Prefix>(max: usize, next_hop: &str, routes: &[Nlri<P>]) -> Vec<bytes::Bytes> {
    let mut wire = BytesMut::new();
    let next_hop = NextHop::new(next_hop.parse().unwrap());
    UpdateEncoder::new(max).announce(&mut wire, &attributes(), &next_hop, routes.iter().copied()).unwrap();
    bodies(wire, max)
}

#[test]
fn ipv4_routes_fill_messages_to_the_last_prefix() {
    let routes = ipv4(5000);
    for (max, expected) in [(MAX_LENGTH, 5), (MAX_EXTENDED_LENGTH, 1)] {
        let bodies = announce(max, "192.0.2.1", &routes);
        assert_eq!(bodies.len(), expected);
        let read: Vec<_> = bodies
            .iter()
            .flat_map(|body| {
                UpdateView::parse(session(EXTERNAL), body).unwrap().announced().iter().collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(read, routes);
        let free = max - 19 - bodies[0].len();
        assert!(expected == 1 || free < 4, "{free} octets are free");
    }
}

#[test]
fn ipv6_routes_fill_messages_to_the_last_prefix() {
    let routes = ipv6(1000);
    let bodies = announce(MAX_LENGTH, "2001:db8::1", &routes);
    assert_eq!(bodies.len(), 3);
    assert!(MAX_LENGTH - 19 - bodies[0].len() < 9);
    let mut read = Vec::new();
    for body in &bodies {
        let view = UpdateView::parse(session(EXTERNAL), body).unwrap();
        let FamilyNlri::Ipv6(field) = view.mp_reach().unwrap().nlri else { panic!("another family") };
        read.extend(field);
    }
    assert_eq!(read, routes);
}

#[test]
fn withdrawals_are_packed_in_both_families() {
    let mut wire = BytesMut::new();
    let encoder = UpdateEncoder::new(MAX_LENGTH);
    let (routes4, routes6) = (ipv4(2000), ipv6(1000));
    encoder.withdraw(&mut wire, routes4.clone());
    encoder.withdraw(&mut wire, routes6.clone());
    let (mut read4, mut read6) = (Vec::new(), Vec::new());
    let bodies = bodies(wire, MAX_LENGTH);
    assert_eq!(bodies.len(), 2 + 3);
    for body in &bodies {
        let view = UpdateView::parse(session(EXTERNAL), body).unwrap();
        assert_eq!(view.end_of_rib(), None);
        read4.extend(view.withdrawn());
        if let Some(FamilyNlri::Ipv6(field)) = view.mp_unreach().map(|unreach| unreach.nlri) {
            read6.extend(field);
        }
    }
    assert_eq!((read4, read6), (routes4, routes6));
}

#[test]
fn nothing_is_sent_for_no_routes() {
    assert!(announce::<Ipv4Net>(MAX_LENGTH, "192.0.2.1", &[]).is_empty());
    let mut wire = BytesMut::new();
    UpdateEncoder::new(MAX_LENGTH).withdraw::<Ipv6Net>(&mut wire, []);
    assert!(wire.is_empty());
}

#[test]
fn rfc4271_22_attributes_without_room_for_a_prefix_are_an_error_and_no_message() {
    let encoder = UpdateEncoder::new(MAX_LENGTH);
    let next_hop = NextHop::new("192.0.2.1".parse().unwrap());
    let route = ipv4(1);
    // Header, two lengths, NEXT_HOP and the prefix leave 4062 octets.
    for (length, expected) in [(4062, Ok(())), (4063, Err(TooLong { needed: 4097, max: 4096 }))] {
        let attributes = attribute(TRANSITIVE, 99, &vec![0; length - 4]);
        let mut wire = BytesMut::new();
        assert_eq!(encoder.announce(&mut wire, &attributes, &next_hop, route.clone()), expected);
        assert_eq!(wire.len(), if expected.is_ok() { 4096 } else { 0 });
    }
    let next_hop = NextHop::new("2001:db8::1".parse().unwrap());
    for (length, fits) in [(4039, true), (4040, false)] {
        let attributes = attribute(TRANSITIVE, 99, &vec![0; length - 4]);
        let mut wire = BytesMut::new();
        assert_eq!(encoder.announce(&mut wire, &attributes, &next_hop, ipv6(1)).is_ok(), fits);
        assert_eq!(wire.len(), if fits { 4096 } else { 0 });
    }
}

#[test]
fn rfc7606_10_mp_reach_comes_first() {
    let bodies = announce(MAX_LENGTH, "2001:db8::1", &ipv6(1));
    assert_eq!(bodies[0][5], 14);
}
