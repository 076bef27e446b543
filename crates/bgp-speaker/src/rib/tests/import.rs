//! What is let in, and what stays out with its reason.

use std::sync::Arc;

use bytes::Bytes;
use muslin_bgp_packet::{Community, Family, FamilySet, NextHop};

use super::support::{OWN_AS, OWN_ID, World, announcement, ip, net, own_next_hop, path, view};
use crate::config::{Condition, Policy, PrefixLimit, PrefixMatch, Rule, Verdict};
use crate::rib::{PeerIndex, PeerLoss, PeerRules, PeerView, Refusal, RouteFilter, RouteState, UpdateOutcome};

const PREFIX: &str = "198.51.100.0/24";

fn refused(world: &World, peer: PeerIndex) -> Vec<String> {
    let filter = RouteFilter { refused: true, ..RouteFilter::default() };
    let routes = world.rib.adj_rib_in(peer, &filter).routes;
    assert!(routes.iter().all(|route| route.state == RouteState::Refused));
    routes.into_iter().filter_map(|route| route.reason).collect()
}

#[test]
fn our_own_as_in_the_path_is_refused_and_withdraws_what_was_there() {
    let mut world = World::new();
    let from = world.up(0, view(0, 65001));
    let to = world.up(1, view(1, 65002));
    world.announce(from, &[PREFIX], &path(&[65001]));
    world.settle();
    assert!(world.heard(to, PREFIX).is_some());
    // Conformance 4271-15.
    world.announce(from, &[PREFIX], &path(&[65001, OWN_AS.0]));
    world.settle();
    assert!(world.heard(to, PREFIX).is_none());
    assert!(world.fib.is_empty());
    assert_eq!(refused(&world, from), [Refusal::OwnAs.to_string()]);
    assert_eq!(world.rib.refusals(from).iter().collect::<Vec<_>>(), [(Refusal::OwnAs, 1)]);
    assert_eq!(world.rib.peer_counts(from).unwrap().ipv4.received, 1);
    assert_eq!(world.rib.peer_counts(from).unwrap().ipv4.accepted, 0);
}

#[test]
fn our_own_as_may_be_in_the_path_as_often_as_is_allowed() {
    let mut world = World::new();
    let from = world.up(0, PeerView { allowed_own_as: 1, ..view(0, 65001) });
    world.announce(from, &[PREFIX], &path(&[65001, OWN_AS.0]));
    assert!(refused(&world, from).is_empty());
    world.announce(from, &[PREFIX], &path(&[65001, OWN_AS.0, OWN_AS.0]));
    assert_eq!(refused(&world, from).len(), 1);
}

#[test]
fn rfc4456_1_reflected_routes_of_our_own_are_refused() {
    // Conformance 4456-1.
    let mut world = World::new();
    let from = world.up(0, view(0, OWN_AS.0));
    let mut own = path(&[]);
    own.originator_id = Some(OWN_ID);
    world.announce(from, &[PREFIX], &own);
    assert_eq!(refused(&world, from), [Refusal::OwnOriginator.to_string()]);
    let mut cluster = path(&[]);
    cluster.cluster_list = vec![[1, 2, 3, 4].into(), OWN_ID];
    world.announce(from, &[PREFIX], &cluster);
    assert_eq!(refused(&world, from), [Refusal::OwnCluster.to_string()]);
}

#[test]
fn next_hops_that_no_host_has_are_refused_without_a_reset() {
    // Conformance 4271-16.
    let mut world = World::new();
    let from = world.up(0, view(0, 65001));
    for martian in ["0.0.0.0", "127.0.0.1", "224.0.0.5", "255.255.255.255"] {
        world.announce_via(from, &[PREFIX], &path(&[65001]), NextHop::new(ip(martian)));
        assert_eq!(refused(&world, from), [Refusal::NextHop.to_string()], "{martian}");
    }
    world.announce_via(from, &[PREFIX], &path(&[65001]), NextHop::new(OWN_ID.into()));
    assert!(refused(&world, from).is_empty());
    world.settle();
    assert!(world.fib.is_empty(), "but our own address leads nowhere");
}

#[test]
fn a_faulty_attribute_withdraws_the_route_and_leaves_the_session_up() {
    let mut world = World::new();
    let from = world.up(0, view(0, 65001));
    let to = world.up(1, view(1, 65002));
    world.announce(from, &[PREFIX], &path(&[65001]));
    world.settle();
    let body = announcement(
        &world.views[&from],
        &path(&[65001]),
        own_next_hop(from, net(PREFIX)),
        &[(net(PREFIX), 0)],
    );
    // ORIGIN is the first attribute; 9 is not defined (RFC 7606 §7.1).
    let mut octets = body[0].to_vec();
    assert_eq!(octets[4..7], [0x40, 1, 1]);
    octets[7] = 9;
    let summary = world.feed(from, &octets);
    assert_eq!(summary.faults.len(), 1);
    world.settle();
    assert!(world.heard(to, PREFIX).is_none());
    assert_eq!(world.rib.peer_counts(from).unwrap().received.treated_as_withdraw, 1);
}

#[test]
fn a_message_that_cannot_be_read_resets() {
    let mut world = World::new();
    let from = world.up(0, view(0, 65001));
    let outcome = world.rib.update(world.now, from, &[0, 9, 0, 0]);
    assert!(matches!(outcome, UpdateOutcome::Reset(_)), "{outcome:?}");
}

#[test]
fn end_of_rib_is_reported() {
    let mut world = World::new();
    let from = world.up(0, view(0, 65001));
    assert_eq!(world.feed(from, &[0, 0, 0, 0]).end_of_rib, Some(Family::Ipv4Unicast));
}

#[test]
fn a_withdrawn_prefix_that_is_announced_in_the_same_message_is_announced() {
    // Conformance 4271-19.
    let mut world = World::new();
    let from = world.up(0, view(0, 65001));
    let body = announcement(
        &world.views[&from],
        &path(&[65001]),
        own_next_hop(from, net(PREFIX)),
        &[(net(PREFIX), 0)],
    );
    let withdrawn = [24, 198, 51, 100];
    let mut octets = vec![0, 4];
    octets.extend_from_slice(&withdrawn);
    octets.extend_from_slice(&body[0][2..]);
    world.feed(from, &octets);
    assert_eq!(world.rib.peer_counts(from).unwrap().ipv4.received, 1);
}

#[test]
fn more_prefixes_than_allowed_are_reported() {
    let mut world = World::new();
    let from = world.up(0, PeerView { max_prefixes: Some(PrefixLimit::new(2)), ..view(0, 65001) });
    world.announce(from, &["10.1.0.0/16", "10.2.0.0/16"], &path(&[65001]));
    let bodies: Vec<Bytes> = announcement(
        &world.views[&from],
        &path(&[65001]),
        own_next_hop(from, net(PREFIX)),
        &[(net(PREFIX), 0)],
    );
    let outcome = world.rib.update(world.now, from, &bodies[0]);
    assert_eq!(
        outcome,
        UpdateOutcome::PrefixLimit { family: Family::Ipv4Unicast, limit: PrefixLimit::new(2) }
    );
}

#[test]
fn a_new_import_policy_applies_to_what_was_received_before() {
    let mut world = World::new();
    let from = world.up(0, view(0, 65001));
    let to = world.up(1, view(1, 65002));
    world.announce(from, &["10.1.0.0/16", "10.2.0.0/16"], &path(&[65001]));
    world.settle();
    let rejecting = Policy {
        name: "BGPFilter tor".into(),
        rules: vec![Rule::reject("BGPFilter tor .spec.import[0]").when(Condition::Prefix(
            vec![PrefixMatch { within: net("10.1.0.0/16"), min_length: 16, max_length: 32 }].into(),
        ))],
        otherwise: Verdict::Accept,
    };
    let change =
        |import: Policy| PeerRules { import: Arc::new(import), ..PeerRules::of(from, &view(0, 65001)) };
    world.rib.set_rules(&[change(rejecting)]);
    world.settle();
    assert_eq!(world.prefixes(to), ["10.2.0.0/16"]);
    assert_eq!(refused(&world, from), [Refusal::Policy.to_string()]);
    let explained = world.rib.explain(net("10.1.0.0/16")).unwrap();
    assert_eq!(explained.paths[0].cause, "BGPFilter tor .spec.import[0]");
    world.rib.set_rules(&[change(Policy::accept_all("in"))]);
    world.settle();
    assert_eq!(world.prefixes(to), ["10.1.0.0/16", "10.2.0.0/16"]);
}

#[test]
fn graceful_shutdown_makes_an_external_route_the_last_choice() {
    // Conformance 1997-1, RFC 8326 §4.
    let mut world = World::new();
    let leaving = world.up(0, view(0, 65001));
    let staying = world.up(1, view(1, 65002));
    let mut attributes = path(&[65001]);
    attributes.communities = vec![Community::GRACEFUL_SHUTDOWN];
    world.announce(leaving, &[PREFIX], &attributes);
    world.announce(staying, &[PREFIX], &path(&[65002, 65201, 65202]));
    let best = world.rib.loc_rib(&RouteFilter::default()).routes.remove(0);
    assert_eq!((best.peer.as_deref(), best.state), (Some("peer1"), RouteState::Best));
}

#[test]
fn rfc7911_1_paths_of_one_prefix_are_told_apart_by_their_identifier() {
    // Conformance 7911-1: the identifier is identity, zero is one, reuse replaces.
    let mut world = World::new();
    let mut adding = view(0, OWN_AS.0);
    adding.decode.add_path = FamilySet::ALL;
    let from = world.up(0, adding.clone());
    let mut send = |path_id: u32, asns: &[u32]| {
        let route = [(net(PREFIX), path_id)];
        for body in announcement(&adding, &path(asns), own_next_hop(from, net(PREFIX)), &route) {
            world.feed(from, &body);
        }
        world.rib.peer_counts(from).unwrap().ipv4.received
    };
    assert_eq!(send(0, &[65200]), 1);
    assert_eq!(send(7, &[65300]), 2);
    assert_eq!(send(7, &[65400]), 2);
    for body in super::support::withdrawal(&adding, &[(net(PREFIX), 0)]) {
        world.feed(from, &body);
    }
    let left = world.rib.adj_rib_in(from, &RouteFilter::default()).routes;
    assert_eq!(left.len(), 1);
    assert_eq!((left[0].path_id, left[0].as_path.as_str()), (Some(7), "65400"));
}

#[test]
fn stale_routes_stay_until_they_are_flushed_and_are_seen_as_stale() {
    let mut world = World::new();
    let from = world.up(0, view(0, 65001));
    let to = world.up(1, view(1, 65002));
    world.announce(from, &["10.1.0.0/16", "10.2.0.0/16"], &path(&[65001]));
    world.settle();
    world.down(from, PeerLoss::RetainStale);
    world.settle();
    assert_eq!(world.prefixes(to).len(), 2);
    let from = world.up(0, view(0, 65001));
    world.announce(from, &["10.1.0.0/16"], &path(&[65001]));
    world.settle();
    let stale: Vec<_> = world
        .rib
        .adj_rib_in(from, &RouteFilter::default())
        .routes
        .into_iter()
        .map(|route| route.stale)
        .collect();
    assert_eq!(stale, [false, true]);
    world.rib.flush_stale(from, FamilySet::ALL);
    world.settle();
    assert_eq!(world.prefixes(to), ["10.1.0.0/16"]);
}

#[test]
fn a_lost_peers_routes_are_withdrawn_in_slices() {
    let mut world = World::new();
    let from = world.up(0, view(0, 65001));
    let to = world.up(1, view(1, 65002));
    let prefixes: Vec<_> =
        (0..2000).map(|number| format!("10.{}.{}.0/24", number / 256, number % 256)).collect();
    world.announce(from, &prefixes.iter().map(String::as_str).collect::<Vec<_>>(), &path(&[65001]));
    world.settle();
    assert_eq!(world.prefixes(to).len(), 2000);
    world.down(from, PeerLoss::Flush);
    assert!(world.rib.advance(world.now, 1), "there is more than one slice");
    assert!(!world.rib.is_flushed(from));
    world.settle();
    assert!(world.prefixes(to).is_empty());
    assert!(world.rib.is_flushed(from));
}
