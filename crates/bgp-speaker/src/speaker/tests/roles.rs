//! Roles and ONLY_TO_CUSTOMER (RFC 9234): who may be whose peer, and which routes go where.

use muslin_bgp_packet::{Asn, Capability, Open, Role};

use super::lone::*;
use super::paths::*;
use crate::config::{Policy, RemoteAs, RoleConfig, SessionConfig};
use crate::session::State;

const ROLES: [Role; 5] =
    [Role::Provider, Role::RouteServer, Role::RouteServerClient, Role::Customer, Role::Peer];
/// The AS of the peer that announces.
const SOURCE: Asn = Asn(65011);
/// The AS of the peer that is sent what comes of it.
const TARGET: Asn = Asn(65012);

fn session(asn: Asn, role: Option<Role>, strict: bool) -> SessionConfig {
    SessionConfig {
        role: role.map(|role| RoleConfig { role, strict }),
        ..SessionConfig::external(RemoteAs::Is(asn))
            .with_policies(Policy::accept_all("in"), Policy::accept_all("out"))
    }
}

fn open_with(roles: impl IntoIterator<Item = Capability>) -> Open {
    let mut open = peer_open();
    open.capabilities.extend(roles);
    open
}

/// Code and subcode of the refusal, if our role and what the peer's OPEN says do not go together.
fn refusal(
    ours: Option<Role>,
    strict: bool,
    theirs: impl IntoIterator<Item = Capability>,
) -> Option<(u8, u8)> {
    let mut lone = Lone::new(session(PEER_AS, ours, strict));
    let conn = lone.accept();
    lone.greet(conn, &open_with(theirs));
    if lone.is_closed(conn) {
        let (code, subcode, _) = lone.refused_with(conn);
        return Some((code, subcode));
    }
    assert_eq!(lone.state(), State::Established);
    None
}

#[test]
fn rfc9234_1_our_open_says_our_role() {
    for role in ROLES {
        let mut lone = Lone::new(session(PEER_AS, Some(role), false));
        let conn = lone.accept();
        let open = Open::decode(&lone.frames(conn)[0].body).unwrap();
        assert!(open.capabilities.contains(&Capability::Role(role)));
    }
}

#[test]
fn rfc9234_1_only_roles_that_belong_together_make_a_session() {
    for ours in ROLES {
        for theirs in ROLES {
            let expected = (ours.counterpart() != theirs).then_some((2, 11));
            let found = refusal(Some(ours), false, [Capability::Role(theirs)]);
            assert_eq!(found, expected, "we are {ours:?}, the peer {theirs:?}");
        }
    }
    assert_eq!(refusal(None, false, [Capability::Role(Role::Peer)]), None, "we have no role to compare");
}

#[test]
fn rfc9234_1_a_mismatch_is_shown_with_both_roles_and_a_remedy() {
    let mut lone = Lone::new(session(PEER_AS, Some(Role::Customer), false));
    let conn = lone.accept();
    lone.greet(conn, &open_with([Capability::Role(Role::Peer)]));
    let error = lone.status().last_error.unwrap();
    for word in ["Customer", "Provider", "Peer"] {
        assert!(error.text.contains(word), "{error:?}");
    }
    assert!(error.remedy.unwrap().contains("roles"));
}

#[test]
fn rfc9234_1_a_peer_without_a_role_is_refused_only_by_strict_mode() {
    assert_eq!(refusal(Some(Role::Customer), false, []), None);
    assert_eq!(refusal(Some(Role::Customer), true, []), Some((2, 11)));
    assert_eq!(refusal(Some(Role::Customer), true, [Capability::Role(Role::Provider)]), None);
}

#[test]
fn rfc9234_1_a_role_said_twice_counts_once_and_two_roles_are_refused() {
    let provider = || Capability::Role(Role::Provider);
    assert_eq!(refusal(Some(Role::Customer), false, [provider(), provider()]), None);
    for ours in [Some(Role::Customer), None] {
        assert_eq!(refusal(ours, false, [provider(), Capability::Role(Role::Peer)]), Some((2, 11)));
    }
}

#[test]
fn rfc9234_1_a_role_that_does_not_exist_belongs_to_none() {
    let undefined = || Capability::Unknown { code: Role::CODE, value: vec![9].into() };
    assert_eq!(refusal(Some(Role::Customer), false, [undefined()]), Some((2, 11)));
    assert_eq!(refusal(None, false, [undefined()]), None);
}

/// A route of a peer to whom we are `towards_source`, with this ONLY_TO_CUSTOMER, as it reaches a peer to
/// whom we are `towards_target`: its ONLY_TO_CUSTOMER, or `Err` if it does not.
fn passed(
    towards_source: Role,
    otc_of_it: Option<u32>,
    towards_target: Option<Role>,
) -> Result<Option<u32>, ()> {
    let mut lone =
        among(&[session(SOURCE, Some(towards_source), false), session(TARGET, towards_target, false)]);
    let (source, target) = (up(&mut lone, 11, SOURCE), up(&mut lone, 12, TARGET));
    let further = otc_of_it.map(otc).unwrap_or_default();
    lone.send(source, &route(1, &[SOURCE.0], &further));
    match sent(&mut lone, target).remove("10.1.1.0/24") {
        Some(Some(attributes)) => Ok(attributes.otc.map(|asn| asn.0)),
        Some(None) | None => Err(()),
    }
}

#[test]
fn rfc9234_1_routes_of_customers_and_clients_that_are_for_customers_only_are_refused() {
    for ours in [Role::Provider, Role::RouteServer] {
        assert_eq!(passed(ours, Some(65099), None), Err(()), "we are {ours:?}");
        assert_eq!(passed(ours, None, None), Ok(None), "we are {ours:?}");
    }
    let mut lone = among(&[session(SOURCE, Some(Role::Provider), false)]);
    let source = up(&mut lone, 11, SOURCE);
    lone.send(source, &route(1, &[SOURCE.0], &otc(65099)));
    assert_eq!(refused(&lone, 11)["route-leak"], 1, "the reason is visible");
}

#[test]
fn rfc9234_1_routes_of_a_lateral_peer_are_its_own_or_leaked() {
    assert_eq!(passed(Role::Peer, Some(SOURCE.0), None), Ok(Some(SOURCE.0)));
    assert_eq!(passed(Role::Peer, Some(65099), None), Err(()));
}

#[test]
fn rfc9234_1_routes_of_providers_peers_and_servers_are_marked_on_the_way_in() {
    for ours in [Role::Customer, Role::Peer, Role::RouteServerClient] {
        assert_eq!(passed(ours, None, None), Ok(Some(SOURCE.0)), "we are {ours:?}");
    }
    for ours in [Role::Customer, Role::RouteServerClient] {
        assert_eq!(passed(ours, Some(65099), None), Ok(Some(65099)), "we are {ours:?}: it stays as it is");
    }
}

#[test]
fn rfc9234_1_marked_routes_go_down_only() {
    for (towards_target, passes) in [
        (Role::Provider, true),
        (Role::RouteServer, true),
        (Role::Customer, false),
        (Role::Peer, false),
        (Role::RouteServerClient, false),
    ] {
        let expected = passes.then_some(Some(SOURCE.0)).ok_or(());
        assert_eq!(passed(Role::Customer, None, Some(towards_target)), expected, "we are {towards_target:?}");
    }
}

#[test]
fn rfc9234_1_unmarked_routes_are_marked_on_the_way_down_and_sideways() {
    for (towards_target, marked) in [
        (Role::Provider, true),
        (Role::Peer, true),
        (Role::RouteServer, true),
        (Role::Customer, false),
        (Role::RouteServerClient, false),
    ] {
        let expected = marked.then_some(OUR_AS.0);
        assert_eq!(
            passed(Role::Provider, None, Some(towards_target)),
            Ok(expected),
            "we are {towards_target:?}"
        );
    }
}

#[test]
fn rfc9234_1_a_mark_of_another_length_withdraws_the_route_and_no_more() {
    let mut lone = among(&[session(SOURCE, None, false), session(TARGET, None, false)]);
    let (source, target) = (up(&mut lone, 11, SOURCE), up(&mut lone, 12, TARGET));
    lone.send(source, &route(1, &[SOURCE.0], &[]));
    assert!(sent(&mut lone, target)["10.1.1.0/24"].is_some());
    for malformed in [&[0xc0, 35, 0][..], &[0xc0, 35, 3, 0, 0, 1], &[0xc0, 35, 5, 0, 0, 0, 0, 1]] {
        lone.send(source, &route(1, &[SOURCE.0], &[]));
        sent(&mut lone, target);
        lone.send(source, &route(1, &[SOURCE.0], malformed));
        assert_eq!(sent(&mut lone, target)["10.1.1.0/24"], None);
        assert!(!lone.is_closed(source));
    }
}
