//! What is accepted of an OPEN, and what follows from it.

use std::net::Ipv4Addr;

use muslin_bgp_packet::{
    AddPathFamily, AddPathMode, AfiSafi, Asn, Capability, Family, FamilySet, MessageType, Open,
};

use super::lone::*;
use crate::config::{AddPathConfig, RemoteAs, SentPaths, SessionConfig};
use crate::session::State;

/// The answer to an OPEN.
fn answer(session: SessionConfig, open: &[u8]) -> Result<Lone, (u8, u8, Vec<u8>)> {
    let mut lone = Lone::new(session);
    let conn = lone.accept();
    lone.send(conn, open);
    if lone.is_closed(conn) {
        let (code, subcode, data) = lone.refused_with(conn);
        return Err((code, subcode, data.to_vec()));
    }
    lone.send(conn, &keepalive());
    assert_eq!(lone.state(), State::Established);
    Ok(lone)
}

fn refusal(session: SessionConfig, open: &[u8]) -> (u8, u8, Vec<u8>) {
    answer(session, open).map(|_| ()).expect_err("the OPEN is refused")
}

/// An OPEN octet by octet, with these optional parameters.
fn raw_open(asn: u16, hold: u16, id: Ipv4Addr, parameters: &[u8]) -> Vec<u8> {
    let mut body = vec![4];
    body.extend(asn.to_be_bytes());
    body.extend(hold.to_be_bytes());
    body.extend(id.octets());
    body.extend(parameters);
    message(1, &body)
}

#[test]
fn rfc4271_5_another_version_is_answered_by_2_1_and_ours() {
    let mut open = open_octets(&peer_open());
    open[19] = 5;
    assert_eq!(refusal(open_session(), &open), (2, 1, vec![0, 4]));
}

#[test]
fn rfc4271_6_another_as_is_answered_by_2_2_and_shown_in_words() {
    let open = open_octets(&peer_open_with(Asn(65077), HIGHER_ID));
    let mut lone = Lone::new(open_session());
    let conn = lone.accept();
    lone.send(conn, &open);
    assert_eq!(lone.refused_with(conn), (2, 2, "".into()));
    let error = lone.status().last_error.unwrap();
    assert!(error.text.contains("65077") && error.text.contains("65002"), "{error:?}");
    assert!(error.remedy.is_some());
}

#[test]
fn rfc4271_6_as_zero_is_refused_in_the_field_and_in_the_capability() {
    let external = SessionConfig::external(RemoteAs::External);
    assert_eq!(refusal(external.clone(), &raw_open(0, 90, HIGHER_ID, &[0])).1, 2);
    let zero_capability = [8, 2, 6, 65, 4, 0, 0, 0, 0];
    assert_eq!(refusal(external, &raw_open(23456, 90, HIGHER_ID, &zero_capability)).1, 2);
}

#[test]
fn remote_as_may_be_any_other_or_our_own() {
    let external = SessionConfig::external(RemoteAs::External);
    assert!(answer(external.clone(), &open_octets(&peer_open())).is_ok());
    let ours = open_octets(&peer_open_with(OUR_AS, HIGHER_ID));
    assert_eq!(refusal(external, &ours).1, 2);
    assert!(answer(SessionConfig::internal(), &ours).is_ok());
    assert_eq!(refusal(SessionConfig::internal(), &open_octets(&peer_open())).1, 2);
}

#[test]
fn rfc4271_7_identifier_zero_is_refused_and_an_equal_one_only_within_the_as() {
    let zero = open_octets(&peer_open_with(PEER_AS, Ipv4Addr::UNSPECIFIED));
    assert_eq!(refusal(open_session(), &zero), (2, 3, vec![]));
    let equal = open_octets(&peer_open_with(PEER_AS, OUR_ID));
    assert!(answer(open_session(), &equal).is_ok(), "RFC 6286 §2.2");
    let internal = open_octets(&peer_open_with(OUR_AS, OUR_ID));
    assert_eq!(refusal(SessionConfig::internal(), &internal), (2, 3, vec![]));
}

#[test]
fn rfc4271_8_hold_times_of_one_and_two_seconds_are_refused() {
    for hold_time in [1, 2] {
        let open = open_octets(&Open { hold_time, ..peer_open() });
        assert_eq!(refusal(open_session(), &open), (2, 6, vec![]));
    }
}

#[test]
fn rfc4271_10_unknown_parameters_and_overruns_are_refused() {
    assert_eq!(refusal(open_session(), &raw_open(65002, 90, HIGHER_ID, &[3, 1, 1, 0])).1, 4);
    for overrun in [&[9, 2, 6, 65, 4][..], &[4, 2, 9, 65, 4], &[4, 2, 2, 1, 40], &[1]] {
        let (code, subcode, _) = refusal(open_session(), &raw_open(65002, 90, HIGHER_ID, overrun));
        assert_eq!((code, subcode), (2, 0), "{overrun:?}");
    }
}

#[test]
fn rfc5492_1_unknown_repeated_and_foreign_capabilities_do_not_matter() {
    let mut open = peer_open();
    open.capabilities.extend([
        Capability::Unknown { code: 200, value: vec![1, 2, 3].into() },
        Capability::Multiprotocol(AfiSafi { afi: 25, safi: 70 }),
        Capability::Multiprotocol(Family::Ipv4Unicast.into()),
        Capability::RouteRefresh,
    ]);
    let together = open_octets(&open);
    assert!(answer(open_session(), &together).is_ok(), "all in one parameter");
    let apart = [16, 2, 6, 1, 4, 0, 1, 0, 1, 2, 2, 2, 0, 2, 2, 70, 0];
    assert!(answer(open_session(), &raw_open(65002, 90, HIGHER_ID, &apart)).is_ok(), "each in its own");
}

#[test]
fn rfc5492_2_a_peer_without_capabilities_gets_ipv4_and_two_octets() {
    let lone = answer(open_session(), &raw_open(65002, 90, HIGHER_ID, &[0])).unwrap();
    let status = lone.status();
    assert!(!status.negotiated.unwrap().four_octet_as);
    let negotiated: Vec<_> = status.families.iter().filter(|f| f.negotiated).map(|f| &f.family[..]).collect();
    assert_eq!(negotiated, ["ipv4-unicast"]);
}

#[test]
fn rfc9072_1_extended_lengths_are_accepted_though_they_are_not_needed() {
    let extended = [255, 255, 0, 9, 2, 0, 6, 1, 4, 0, 1, 0, 1];
    assert!(answer(open_session(), &raw_open(65002, 90, HIGHER_ID, &extended)).is_ok());
}

#[test]
fn no_common_family_is_answered_by_2_7_and_the_capability_that_is_missing() {
    let session = SessionConfig { families: vec![Family::Ipv6Unicast], ..open_session() };
    let open = raw_open(65002, 90, HIGHER_ID, &[0]);
    assert_eq!(refusal(session, &open), (2, 7, vec![1, 4, 0, 2, 0, 1]));
}

#[test]
fn our_open_offers_what_is_configured() {
    let session = SessionConfig {
        add_path: AddPathConfig { receive: true, send: SentPaths::Best(4), ..AddPathConfig::default() },
        ..open_session()
    };
    let mut lone = Lone::new(session);
    let conn = lone.accept();
    let frames = lone.frames(conn);
    assert_eq!(frames[0].kind, MessageType::Open);
    let open = Open::decode(&frames[0].body).unwrap();
    assert_eq!((open.asn, open.hold_time, open.id), (OUR_AS, 90, OUR_ID));
    assert!(open.has_four_octet_as());
    let families: Vec<_> = open.families().collect();
    assert_eq!(families, [Family::Ipv4Unicast.afi_safi(), Family::Ipv6Unicast.afi_safi()]);
    for wanted in [Capability::RouteRefresh, Capability::EnhancedRouteRefresh, Capability::ExtendedMessage] {
        assert!(open.capabilities.contains(&wanted), "{wanted:?}");
    }
    let both = |family: &AddPathFamily| family.mode == AddPathMode::Both;
    assert!(open.capabilities.iter().any(|c| matches!(c, Capability::AddPath(all) if all.iter().all(both))));
    assert!(open.capabilities.iter().any(|c| matches!(c, Capability::GracefulRestart(_))));
}

#[test]
fn rfc7911_2_a_direction_counts_only_if_one_sends_and_the_other_receives() {
    for (theirs, we_read_ids, we_send_several) in [
        (AddPathMode::Send, true, false),
        (AddPathMode::Receive, false, true),
        (AddPathMode::Both, true, true),
    ] {
        let mut open = peer_open();
        let tuple = AddPathFamily { family: Family::Ipv4Unicast.into(), mode: theirs };
        open.capabilities.push(Capability::AddPath(vec![tuple]));
        let session = SessionConfig {
            add_path: AddPathConfig { receive: true, send: SentPaths::Best(4), ..AddPathConfig::default() },
            ..open_session()
        };
        let mut lone = answer(session, &open_octets(&open)).unwrap();
        let index = lone.speaker.peers.indexes()[0];
        let negotiated = lone.speaker.peers.get_mut(index).unwrap().session.negotiated().unwrap().clone();
        let ipv4 = FamilySet::from(Family::Ipv4Unicast);
        assert_eq!(negotiated.decode.add_path == ipv4, we_read_ids, "{theirs:?}");
        assert_eq!(negotiated.add_path_send == ipv4, we_send_several, "{theirs:?}");
    }
}

#[test]
fn an_as_of_four_octets_is_negotiated_by_its_capability() {
    let session = SessionConfig::external(RemoteAs::Is(Asn(4_200_000_001)));
    let open = open_octets(&peer_open_with(Asn(4_200_000_001), HIGHER_ID));
    let lone = answer(session, &open).unwrap();
    assert_eq!(lone.status().negotiated.unwrap().remote_asn, 4_200_000_001);
}
