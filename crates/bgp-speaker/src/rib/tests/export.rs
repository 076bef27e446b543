//! What a route looks like at each kind of peer, and who is sent it.

use std::collections::BTreeMap;
use std::sync::Arc;

use muslin_bgp_packet::{Community, ExtendedCommunity, Family, FamilySet, NextHop, PathAttributes};

use super::support::{
    Heard, OWN_AS, OWN_ID, World, announcement, ip, net, own_next_hop, path, two_octets, view,
};
use crate::config::{
    Action, Condition, MedChange, NextHopMode, OriginatedRoute, Policy, PrefixMatch, ReflectorRole,
    RouteSource, Rule, Verdict,
};
use crate::export::Withheld;
use crate::rib::{AddPathSend, LocalAddresses, PeerIndex, PeerRules, PeerView, RouteFilter};

const PREFIX: &str = "198.51.100.0/24";
const PREFIX6: &str = "2001:db8:7::/48";

fn client(index: u16) -> PeerView {
    PeerView { reflector: ReflectorRole::Client, ..view(index, OWN_AS.0) }
}

fn rich(asns: &[u32]) -> PathAttributes {
    PathAttributes {
        med: Some(50),
        communities: vec![Community::new(65001, 1)],
        extended_communities: vec![
            ExtendedCommunity([0x00, 2, 0, 1, 0, 0, 0, 1]),
            ExtendedCommunity([0x40, 4, 0, 1, 0, 0, 0, 1]),
        ],
        ..path(asns)
    }
}

fn originated(prefix: &str, source: RouteSource) -> OriginatedRoute {
    OriginatedRoute {
        prefix: net(prefix),
        source,
        label: None,
        local_pref: None,
        med: None,
        communities: vec![],
        large_communities: vec![],
        cause: format!("cause of {prefix}").into(),
    }
}

const CAUSE: &str = "BGPFilter tor .spec.export[0]";

fn policy(rules: Vec<Rule>, otherwise: Verdict) -> Arc<Policy> {
    Arc::new(Policy { name: "test".into(), rules, otherwise })
}

/// Conformance 4271-17.
#[test]
fn an_external_peer_gets_our_as_and_no_attribute_that_ends_here() {
    let mut world = World::new();
    let from = world.up(0, view(0, 65001));
    let to = world.up(1, view(1, 65002));
    world.announce_via(from, &[PREFIX], &rich(&[65001, 65200]), NextHop::new(ip("10.1.0.1")));
    world.settle();
    let heard = world.heard(to, PREFIX).unwrap();
    assert_eq!(heard.attributes.as_path.to_string(), "65000 65001 65200");
    assert_eq!(heard.attributes.med, None, "a MED of another AS goes no further");
    assert_eq!(heard.attributes.local_pref, None);
    assert_eq!(heard.attributes.communities, [Community::new(65001, 1)]);
    assert_eq!(heard.next_hop, NextHop::new(OWN_ID.into()));
    // Conformance 4360-1.
    assert_eq!(heard.attributes.extended_communities.len(), 1);
}

#[test]
fn a_next_hop_on_the_shared_link_is_kept_towards_external_peers() {
    let mut world = World::new();
    let from = world.up(0, view(0, 65001));
    let shared = world.up(1, view(1, 65002));
    let elsewhere = world.up(2, PeerView { interface: Some(99), ..view(2, 65003) });
    let distant = world.up(3, PeerView { interface: None, ..view(3, 65004) });
    let itself = world.up(4, PeerView { next_hop: NextHopMode::Itself, ..view(4, 65005) });
    let unchanged = world.up(5, PeerView { next_hop: NextHopMode::Unchanged, ..view(5, 65006) });
    world.announce(from, &[PREFIX], &path(&[65001]));
    world.settle();
    let next_hop = |peer| world.heard(peer, PREFIX).unwrap().next_hop.global;
    assert_eq!(next_hop(shared), ip("10.0.0.100"));
    assert_eq!(next_hop(elsewhere), ip("10.0.0.1"));
    assert_eq!(next_hop(distant), ip("10.0.0.1"));
    assert_eq!(next_hop(itself), ip("10.0.0.1"));
    assert_eq!(next_hop(unchanged), ip("10.0.0.100"));
}

#[test]
fn an_internal_peer_gets_external_routes_unchanged_but_for_local_preference() {
    let mut world = World::new();
    let from = world.up(0, view(0, 65001));
    let to = world.up(1, view(1, OWN_AS.0));
    world.announce(from, &[PREFIX, PREFIX6], &rich(&[65001, 65200]));
    world.settle();
    let heard = world.heard(to, PREFIX).unwrap();
    let expected = PathAttributes { local_pref: Some(100), ..rich(&[65001, 65200]) };
    assert_eq!(heard.attributes, expected);
    assert_eq!(heard.next_hop, own_next_hop(from, net(PREFIX)));
    assert_eq!(world.heard(to, PREFIX6).unwrap().next_hop, own_next_hop(from, net(PREFIX6)));
}

#[test]
fn rfc4456_1_internal_routes_go_from_and_to_clients_only() {
    let mut world = World::new();
    let plain: Vec<_> = (0..2).map(|index| world.up(index, view(index, OWN_AS.0))).collect();
    let clients: Vec<_> = (2..4).map(|index| world.up(index, client(index))).collect();
    let external = world.up(4, view(4, 65001));
    world.announce(plain[0], &["10.1.0.0/16"], &path(&[]));
    world.announce(clients[0], &["10.2.0.0/16"], &path(&[]));
    world.settle();
    let (first, second) = ("10.1.0.0/16", "10.2.0.0/16");
    assert_eq!(world.prefixes(plain[0]), [second]);
    assert_eq!(world.prefixes(plain[1]), [second]);
    assert_eq!(world.prefixes(clients[0]), [first]);
    assert_eq!(world.prefixes(clients[1]), [first, second]);
    assert_eq!(world.prefixes(external), [first, second]);
    let reflected = world.heard(clients[1], "10.2.0.0/16").unwrap();
    assert_eq!(reflected.attributes.originator_id, Some(world.views[&clients[0]].id));
    assert_eq!(reflected.attributes.cluster_list, [OWN_ID]);
    assert_eq!(reflected.next_hop, own_next_hop(clients[0], net("10.2.0.0/16")));
    let outside = world.heard(external, "10.2.0.0/16").unwrap();
    assert_eq!(outside.attributes.originator_id, None);
    assert!(outside.attributes.cluster_list.is_empty());
}

#[test]
fn rfc4456_1_a_route_that_was_reflected_before_keeps_its_originator() {
    let mut world = World::new();
    let from = world.up(0, client(0));
    let to = world.up(1, client(1));
    let mut attributes = path(&[]);
    attributes.originator_id = Some([9, 9, 9, 9].into());
    attributes.cluster_list = vec![[8, 8, 8, 8].into()];
    world.announce(from, &[PREFIX], &attributes);
    world.settle();
    let heard = world.heard(to, PREFIX).unwrap();
    assert_eq!(heard.attributes.originator_id, Some([9, 9, 9, 9].into()));
    assert_eq!(heard.attributes.cluster_list, [OWN_ID, [8, 8, 8, 8].into()]);
}

/// Conformance 1997-1.
#[test]
fn well_known_communities_are_honoured() {
    let mut world = World::new();
    let from = world.up(0, view(0, 65001));
    let external = world.up(1, view(1, 65002));
    let internal = world.up(2, view(2, OWN_AS.0));
    let with = |community| PathAttributes { communities: vec![community], ..path(&[65001]) };
    world.announce(from, &["10.1.0.0/16"], &with(Community::NO_EXPORT));
    world.announce(from, &["10.2.0.0/16"], &with(Community::NO_ADVERTISE));
    world.announce(from, &["10.3.0.0/16"], &with(Community::NO_EXPORT_SUBCONFED));
    world.announce(from, &["10.4.0.0/16"], &with(Community::new(1, 1)));
    world.settle();
    assert_eq!(world.prefixes(external), ["10.4.0.0/16"]);
    assert_eq!(world.prefixes(internal), ["10.1.0.0/16", "10.3.0.0/16", "10.4.0.0/16"]);
    let explained = world.rib.explain(net("10.1.0.0/16")).unwrap();
    let withheld = explained.exports.iter().find(|export| export.peer == "peer1").unwrap();
    assert_eq!(withheld.withheld, Some(Withheld::NoExport));
}

#[test]
fn peers_are_explained_in_the_order_of_their_names_whoever_was_up_first() {
    let mut world = World::new();
    world.up(2, view(2, OWN_AS.0));
    world.up(1, two_octets(view(1, 65002)));
    let from = world.up(0, view(0, 65001));
    world.announce(from, &[PREFIX], &path(&[65001]));
    world.settle();
    let explained = world.rib.explain(net(PREFIX)).unwrap();
    let peers: Vec<&str> = explained.exports.iter().map(|export| &*export.peer).collect();
    assert_eq!(peers, ["peer0", "peer1", "peer2"]);
}

/// Conformance 8950-1.
#[test]
fn ipv4_routes_get_an_ipv6_next_hop_where_that_was_agreed() {
    let mut world = World::new();
    let from = world.up(0, view(0, 65001));
    let link_local = Some("fe80::1".parse().unwrap());
    let unnumbered = LocalAddresses { ipv4: None, ipv6: None, link_local };
    let agreed = PeerView {
        extended_next_hop: Family::Ipv4Unicast.into(),
        local: unnumbered,
        interface: Some(99),
        ..view(1, 65002)
    };
    let agreed = world.up(1, agreed);
    let refused = world.up(2, PeerView { local: unnumbered, interface: Some(99), ..view(2, 65003) });
    world.announce(from, &[PREFIX, PREFIX6], &path(&[65001]));
    world.settle();
    let heard = world.heard(agreed, PREFIX).unwrap();
    assert_eq!(heard.next_hop, NextHop { global: ip("fe80::1"), link_local });
    assert_eq!(world.prefixes(refused), [PREFIX6]);
    let explained = world.rib.explain(net(PREFIX)).unwrap();
    let withheld = explained.exports.iter().find(|export| export.peer == "peer2").unwrap();
    assert_eq!(withheld.withheld, Some(Withheld::NextHop));
}

#[test]
fn an_old_speaker_gets_as_trans_and_as4_path() {
    let mut world = World::new();
    let from = world.up(0, view(0, 65001));
    let to = world.up(1, two_octets(view(1, 65002)));
    world.announce(from, &[PREFIX], &path(&[65001, 4_200_000_001]));
    world.settle();
    let heard = world.heard(to, PREFIX).unwrap();
    assert_eq!(heard.attributes.as_path.to_string(), "65000 65001 4200000001");
}

/// Conformance 4271-22.
#[test]
fn a_route_that_no_longer_fits_is_withdrawn_and_no_message_is_too_long() {
    let mut world = World::new();
    let from = world.up(0, PeerView { max_message: 65535, ..view(0, 65001) });
    let to = world.up(1, view(1, 65002));
    let long = world.up(2, PeerView { max_message: 65535, ..view(2, 65003) });
    let mut attributes = path(&[65001]);
    world.announce(from, &[PREFIX], &attributes);
    world.settle();
    assert!(world.heard(to, PREFIX).is_some());
    // Fits into 4,096 octets as received, but not with our AS before it.
    let room = 4096 - 19 - 4 - 4 - 7 - 4 - (4 + 2 + 4);
    attributes.communities = (0..(room - 4) / 4).map(Community).collect();
    let route = [(net(PREFIX), 0)];
    let bodies = announcement(&world.views[&from], &attributes, own_next_hop(from, net(PREFIX)), &route);
    assert!(bodies[0].len() + 19 > 4090, "{}", bodies[0].len());
    world.feed(from, &bodies[0]);
    world.settle();
    assert!(world.heard(to, PREFIX).is_none());
    assert!(world.heard(long, PREFIX).is_some());
    assert!(world.receivers[&to].longest <= 4096);
    let explained = world.rib.explain(net(PREFIX)).unwrap();
    let withheld = explained.exports.iter().find(|export| export.peer == "peer1").unwrap();
    assert_eq!(withheld.withheld, Some(Withheld::TooLong));
    // And it comes back when it fits again.
    world.announce(from, &[PREFIX], &path(&[65001]));
    world.settle();
    assert!(world.heard(to, PREFIX).is_some());
}

#[test]
fn what_we_originate_goes_out_with_us_as_next_hop_and_by_policy_on_its_source() {
    let mut world = World::new();
    let pods_only =
        policy(vec![Rule::accept(CAUSE).when(Condition::Source(vec![RouteSource::Pod]))], Verdict::Reject);
    let tor = world.up(0, PeerView { export: pods_only, ..view(0, 65001) });
    let node = world.up(1, view(1, OWN_AS.0));
    let pod = OriginatedRoute { med: Some(9), ..originated("10.244.1.0/24", RouteSource::Pod) };
    world.rib.originate(world.now, &[pod, originated("10.96.0.0/16", RouteSource::Service)]);
    world.settle();
    assert_eq!(world.prefixes(tor), ["10.244.1.0/24"]);
    assert_eq!(world.prefixes(node), ["10.96.0.0/16", "10.244.1.0/24"]);
    let heard = world.heard(tor, "10.244.1.0/24").unwrap();
    assert_eq!(heard.attributes.as_path.to_string(), "65000");
    assert_eq!(heard.attributes.med, Some(9), "a MED of our own is sent");
    assert_eq!(heard.next_hop, NextHop::new(OWN_ID.into()));
    let explained = world.rib.explain(net("10.96.0.0/16")).unwrap();
    assert_eq!(explained.paths[0].cause, "cause of 10.96.0.0/16");
    let withheld = explained.exports.iter().find(|export| export.peer == "peer0").unwrap();
    assert_eq!(withheld.withheld, Some(Withheld::Policy));
    assert_eq!(withheld.cause, "test, no rule matches");
}

#[test]
fn export_actions_change_what_is_sent_and_nothing_else() {
    let mut world = World::new();
    let from = world.up(0, view(0, 65001));
    let actions = vec![
        Action::Prepend(OWN_AS, 2),
        Action::Med(MedChange::Set(7)),
        Action::AddCommunity(Community::new(65000, 9).into()),
        Action::LocalPref(1),
    ];
    let export = policy(vec![Rule { actions, ..Rule::accept(CAUSE) }], Verdict::Reject);
    let to = world.up(1, PeerView { export, ..view(1, 65002) });
    let other = world.up(2, view(2, 65003));
    world.announce(from, &[PREFIX], &rich(&[65001]));
    world.settle();
    let heard = &world.heard(to, PREFIX).unwrap().attributes;
    assert_eq!(heard.as_path.to_string(), "65000 65000 65000 65001");
    assert_eq!((heard.med, heard.local_pref), (Some(7), None));
    assert_eq!(heard.communities, [Community::new(65000, 9), Community::new(65001, 1)]);
    let untouched = &world.heard(other, PREFIX).unwrap().attributes;
    assert_eq!(untouched.as_path.to_string(), "65000 65001");
}

fn narrow() -> Arc<Policy> {
    let prefixes = vec![PrefixMatch { within: net("10.1.0.0/16"), min_length: 16, max_length: 32 }];
    policy(vec![Rule::reject(CAUSE).when(Condition::Prefix(prefixes.into()))], Verdict::Accept)
}

fn changes(peers: &[PeerIndex], export: &Arc<Policy>) -> Vec<PeerRules> {
    let import = Arc::new(Policy::accept_all("in"));
    peers
        .iter()
        .map(|peer| PeerRules {
            import: import.clone(),
            export: export.clone(),
            ..PeerRules::of(*peer, &view(peer.0, 65001))
        })
        .collect()
}

/// Source and label are no attributes, so nothing else about the route changes.
#[test]
fn a_route_that_is_originated_under_another_label_or_source_is_judged_anew() {
    let mut world = World::new();
    let labels = vec!["edge".into(), "inner".into()];
    let services = Rule::accept(CAUSE).when(Condition::Source(vec![RouteSource::Service]));
    let export = policy(vec![Rule::reject(CAUSE).when(Condition::Label(labels)), services], Verdict::Reject);
    let to = world.up(0, PeerView { export, ..view(0, 65001) });
    let route = |label: Option<&str>, source| OriginatedRoute {
        label: label.map(Into::into),
        ..originated("198.51.100.7/32", source)
    };
    for (label, source, sent) in [
        (None, RouteSource::Service, true),
        (Some("edge"), RouteSource::Service, false),
        (Some("outer"), RouteSource::Service, true),
        (Some("outer"), RouteSource::Pod, false),
        (None, RouteSource::Service, true),
    ] {
        world.rib.originate(world.now, &[route(label, source)]);
        world.settle();
        assert_eq!(world.heard(to, "198.51.100.7/32").is_some(), sent, "{label:?} {source:?}");
    }
}

#[test]
fn a_new_export_policy_sends_only_the_difference() {
    let mut world = World::new();
    let from = world.up(0, view(0, 65001));
    let peers: Vec<_> = (1..4).map(|index| world.up(index, view(index, 65001 + u32::from(index)))).collect();
    let prefixes: Vec<_> = (0..40).map(|number| format!("10.{number}.0.0/16")).collect();
    world.announce(from, &prefixes.iter().map(String::as_str).collect::<Vec<_>>(), &path(&[65001]));
    world.settle();
    assert_eq!(world.rib.summary().groups, 1);
    let announced =
        |world: &World| -> Vec<usize> { peers.iter().map(|peer| world.receivers[peer].announced).collect() };
    let before = announced(&world);
    // All of the group but its first member; then it as well.
    world.rib.set_rules(&changes(&peers[1..], &narrow()));
    world.settle();
    assert_eq!(world.rib.summary().groups, 2);
    assert!(world.heard(peers[0], "10.1.0.0/16").is_some());
    assert!(world.heard(peers[1], "10.1.0.0/16").is_none());
    assert_eq!(world.prefixes(peers[1]).len(), 39);
    world.rib.set_rules(&changes(&peers, &Arc::new(Policy::accept_all("out"))));
    world.settle();
    assert!(peers.iter().all(|peer| world.heard(*peer, "10.1.0.0/16").is_some()));
    let after = announced(&world);
    assert_eq!(after, [before[0], before[1] + 1, before[2] + 1], "only the route that came back is sent");
}

#[test]
fn policies_that_differ_only_in_their_names_share_a_group() {
    let mut world = World::new();
    world.up(0, view(0, 65001));
    world.up(1, PeerView { export: Arc::new(Policy::accept_all("another name")), ..view(1, 65002) });
    assert_eq!(world.rib.summary().groups, 1);
    world.up(2, PeerView { export: narrow(), ..view(2, 65003) });
    world.up(3, PeerView { max_message: 65535, ..view(3, 65004) });
    world.up(4, view(4, OWN_AS.0));
    world.up(5, client(5));
    assert_eq!(world.rib.summary().groups, 5);
}

#[test]
fn a_change_that_the_members_cannot_see_sends_nothing() {
    let mut world = World::new();
    let from = world.up(0, view(0, 65001));
    let to = world.up(1, view(1, 65002));
    world.announce_via(from, &[PREFIX], &rich(&[65001]), NextHop::new(ip("10.1.0.1")));
    world.settle();
    let messages = world.receivers[&to].messages;
    // MED and next hop end here.
    let mut other = rich(&[65001]);
    other.med = Some(51);
    world.announce_via(from, &[PREFIX], &other, NextHop::new(ip("10.1.0.2")));
    world.settle();
    assert_eq!(world.receivers[&to].messages, messages);
}

#[test]
fn routes_that_share_attributes_share_messages() {
    let mut world = World::new();
    let from = world.up(0, view(0, 65001));
    let to = world.up(1, view(1, 65002));
    world.settle();
    let before = world.receivers[&to].messages;
    // Interleaved, so that they have to be put together.
    for number in 0..4 {
        world.announce(from, &[&format!("10.{number}.0.0/16")], &path(&[65001, 65200]));
        world.announce(from, &[&format!("10.{number}.128.0/17")], &path(&[65001, 65300]));
    }
    world.settle();
    assert_eq!(world.prefixes(to).len(), 8);
    assert_eq!(world.receivers[&to].messages - before, 2);
}

#[test]
fn rfc7911_1_several_paths_are_sent_under_identifiers_that_stay() {
    let mut world = World::new();
    let froms: Vec<_> = (0..3).map(|index| world.up(index, client(index))).collect();
    let add_path_send = AddPathSend { families: FamilySet::ALL, paths: 2 };
    let to = world.up(3, PeerView { add_path_send, ..client(3) });
    for from in &froms {
        world.announce(*from, &[PREFIX], &path(&[65200]));
    }
    world.settle();
    let held = |world: &World| -> BTreeMap<u8, u32> {
        let routes = world.receivers[&to].routes.iter();
        let from = |heard: &Heard| heard.attributes.originator_id.unwrap().octets()[3];
        routes.map(|((_, id), heard)| (from(heard), *id)).collect()
    };
    let both = held(&world);
    assert_eq!(both.len(), 2);
    // The best goes: the second keeps its identifier, the third comes in.
    world.withdraw(froms[0], &[PREFIX]);
    world.settle();
    let now = held(&world);
    assert_eq!((now.len(), now[&101]), (2, both[&101]));
}

#[test]
fn the_advertised_view_is_what_the_peer_holds() {
    let mut world = World::new();
    let from = world.up(0, view(0, 65001));
    let to = world.up(1, view(1, 65002));
    world.announce(from, &["10.1.0.0/16", "10.2.0.0/16", PREFIX6], &path(&[65001]));
    world.settle();
    let page = |after, limit| {
        let filter = RouteFilter { after, limit, ..RouteFilter::default() };
        world.rib.adj_rib_out(to, &filter)
    };
    let first = page(None, 2);
    assert_eq!(first.next, Some(net("10.2.0.0/16")));
    let second = page(first.next, 2);
    assert_eq!(second.next, None);
    let all: Vec<_> = first.routes.iter().chain(&second.routes).collect();
    assert_eq!(all.len(), world.receivers[&to].routes.len());
    for route in all {
        let heard = &world.receivers[&to].routes[&(route.prefix, 0)];
        assert_eq!(route.as_path, heard.attributes.as_path.to_string());
        assert_eq!(route.next_hop, Some(heard.next_hop.global));
    }
    assert!(world.rib.adj_rib_out(from, &RouteFilter::default()).routes.is_empty());
}
