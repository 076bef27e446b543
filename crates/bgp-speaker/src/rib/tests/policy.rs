//! Policies at work in the RIB: what they make of routes, and what their changes do to routes that are there.

use std::sync::Arc;

use muslin_bgp_packet::{Asn, Community, ExtendedCommunity, NextHop, PathAttributes};

use super::support::{LINK, OWN_AS, OWN_ID, World, ip, net, path, view};
use crate::config::{
    Action, Condition, LinkBandwidth, NextHopChange, OriginatedRoute, Outcome, PeerTest, Policy, RouteSource,
    Rule, Verdict,
};
use crate::export::Withheld;
use crate::rib::{FibNextHop, PeerRules, PeerView, RouteFilter, RouteState};

const PREFIX: &str = "198.51.100.0/24";
const PREFIX6: &str = "2001:db8:7::/48";

fn policy(rules: Vec<Rule>) -> Arc<Policy> {
    Policy { name: "test".into(), rules, otherwise: Verdict::Reject }.into()
}

fn doing(action: Action) -> Arc<Policy> {
    policy(vec![Rule::accept("test").then(action)])
}

fn bandwidth(megabits: u64) -> Action {
    Action::LinkBandwidth(LinkBandwidth { asn: OWN_AS, bits_per_second: megabits * 1_000_000 })
}

#[test]
fn rfc4271_21_what_a_new_policy_refuses_is_withdrawn_and_comes_back_with_the_old_one() {
    let mut world = World::new();
    let from = world.up(0, view(0, 65001));
    let to = world.up(1, view(1, 65002));
    let marked = PathAttributes { communities: vec![Community::new(65001, 7)], ..path(&[65001]) };
    world.announce(from, &[PREFIX], &marked);
    world.announce(from, &["10.1.0.0/16"], &path(&[65001]));
    world.settle();
    let unmarked = crate::config::Quantifier::None;
    let pattern = crate::config::Pattern::new("^65001:").unwrap();
    let refusing = policy(vec![
        Rule::accept("test")
            .when(Condition::Communities(unmarked, vec![crate::config::CommunityTest::Like(pattern)])),
    ]);
    let import =
        |import: &Arc<Policy>| PeerRules { import: import.clone(), ..PeerRules::of(from, &view(0, 65001)) };
    world.rib.set_rules(&[import(&refusing)]);
    world.settle();
    assert_eq!(world.prefixes(to), ["10.1.0.0/16"]);
    assert!(!world.fib.contains_key(&net(PREFIX)));
    world.rib.set_rules(&[import(&view(0, 65001).import)]);
    world.settle();
    assert_eq!(world.prefixes(to), ["10.1.0.0/16", PREFIX]);
    let export =
        |export: &Arc<Policy>| PeerRules { export: export.clone(), ..PeerRules::of(to, &view(1, 65002)) };
    world.rib.set_rules(&[export(&refusing)]);
    world.settle();
    assert_eq!(world.prefixes(to), ["10.1.0.0/16"]);
    assert!(world.fib.contains_key(&net(PREFIX)), "export does not touch the kernel");
}

#[test]
fn rfc1997_1_graceful_shutdown_is_the_last_choice_within_the_as_as_well() {
    let mut world = World::new();
    let leaving = world.up(0, view(0, OWN_AS.0));
    let staying = world.up(1, view(1, OWN_AS.0));
    let leaves = PathAttributes {
        communities: vec![Community::GRACEFUL_SHUTDOWN],
        local_pref: Some(200),
        ..path(&[65200])
    };
    world.announce(leaving, &[PREFIX], &leaves);
    world.announce(staying, &[PREFIX], &path(&[65201, 65202, 65203]));
    let best = world.rib.loc_rib(&RouteFilter::default()).routes.remove(0);
    assert_eq!((best.peer.as_deref(), best.state), (Some("peer1"), RouteState::Best));
    world.withdraw(staying, &[PREFIX]);
    let best = world.rib.loc_rib(&RouteFilter::default()).routes.remove(0);
    assert_eq!((best.peer.as_deref(), best.local_pref), (Some("peer0"), Some(0)), "better than none");
}

#[test]
fn rfc4360_1_a_received_bandwidth_ends_at_the_border_and_one_that_policy_sets_does_not() {
    let mut world = World::new();
    let from = world.up(0, view(0, OWN_AS.0));
    let plain = world.up(1, view(1, 65001));
    let told = world.up(2, PeerView { export: doing(bandwidth(8)), ..view(2, 65002) });
    let received = ExtendedCommunity::link_bandwidth(Asn(65200), 1e9);
    world.announce(
        from,
        &[PREFIX],
        &PathAttributes { extended_communities: vec![received], ..path(&[65200]) },
    );
    world.settle();
    assert_eq!(world.heard(plain, PREFIX).unwrap().attributes.extended_communities, []);
    let own = ExtendedCommunity::link_bandwidth(OWN_AS, 1e6).transitive();
    assert_eq!(world.heard(told, PREFIX).unwrap().attributes.extended_communities, [own]);
}

#[test]
fn bandwidths_of_equal_paths_become_weights_in_the_kernel() {
    let mut world = World::new();
    let peers: Vec<_> = [4000_u64, 1000]
        .into_iter()
        .zip(0..)
        .map(|(megabits, index)| {
            world.up(index, PeerView { import: doing(bandwidth(megabits)), ..view(index, 65001) })
        })
        .collect();
    for peer in &peers {
        world.announce(*peer, &[PREFIX], &path(&[65001]));
    }
    world.settle();
    let hop = |host, weight| FibNextHop { gateway: ip(&format!("10.0.0.{host}")), interface: LINK, weight };
    assert_eq!(world.fib[&net(PREFIX)].next_hops.as_slice(), [hop(100, 4), hop(101, 1)]);
    let third = world.up(2, view(2, 65001));
    world.announce(third, &[PREFIX], &path(&[65001]));
    world.settle();
    assert_eq!(
        world.fib[&net(PREFIX)].next_hops.as_slice(),
        [hop(100, 1), hop(101, 1), hop(102, 1)],
        "one does not tell"
    );
}

#[test]
fn the_priority_of_the_best_path_is_the_metric_in_the_kernel_and_no_peer_hears_of_it() {
    let mut world = World::new();
    let prior = |metric: u32| doing(Action::Priority(metric.try_into().unwrap()));
    let from = world.up(0, PeerView { import: prior(20), ..view(0, 65001) });
    let to = world.up(1, view(1, 65002));
    world.announce(from, &[PREFIX], &path(&[65001]));
    world.settle();
    assert_eq!(world.fib[&net(PREFIX)].priority.map(u32::from), Some(20));
    let announced = world.receivers[&to].announced;
    world.rib.set_rules(&[PeerRules { import: prior(30), ..PeerRules::of(from, &view(0, 65001)) }]);
    world.settle();
    assert_eq!(world.fib[&net(PREFIX)].priority.map(u32::from), Some(30));
    assert_eq!(world.receivers[&to].announced, announced, "the route is the same to everyone else");
}

#[test]
fn an_export_rule_chooses_the_next_hop_of_what_it_accepts() {
    let mut world = World::new();
    let from = world.up(0, view(0, 65001));
    let sent = |change| doing(Action::NextHop(change));
    let itself = world.up(1, PeerView { export: sent(NextHopChange::Itself), ..view(1, 65002) });
    let unchanged = world.up(
        2,
        PeerView { export: sent(NextHopChange::Unchanged), interface: Some(LINK + 1), ..view(2, 65003) },
    );
    let third = NextHopChange::Address(ip("192.0.2.77"));
    let other = world.up(3, PeerView { export: sent(third), ..view(3, 65004) });
    world.announce(from, &[PREFIX, PREFIX6], &path(&[65001]));
    world.settle();
    let next_hop = |peer| world.heard(peer, PREFIX).unwrap().next_hop;
    assert_eq!(next_hop(itself), NextHop::new(OWN_ID.into()));
    assert_eq!(next_hop(unchanged), NextHop::new(ip("10.0.0.100")));
    assert_eq!(next_hop(other), NextHop::new(ip("192.0.2.77")));
    assert!(world.heard(other, PREFIX6).is_none(), "an IPv6 route cannot have an IPv4 next hop");
    let explained = world.rib.explain(net(PREFIX6)).unwrap();
    let withheld = explained.exports.iter().find(|export| export.peer == "peer3").unwrap();
    assert_eq!(withheld.withheld, Some(Withheld::NextHop));
}

#[test]
fn an_import_rule_sends_packets_by_another_next_hop() {
    let mut world = World::new();
    let detour = doing(Action::NextHop(NextHopChange::Address(ip("10.0.0.150"))));
    let from = world.up(0, PeerView { import: detour, ..view(0, 65001) });
    let to = world.up(1, view(1, OWN_AS.0));
    world.announce(from, &[PREFIX], &path(&[65001]));
    world.settle();
    assert_eq!(world.fib[&net(PREFIX)].next_hops[0].gateway, ip("10.0.0.150"));
    assert_eq!(world.heard(to, PREFIX).unwrap().next_hop.global, ip("10.0.0.150"));
    let received = world.rib.adj_rib_in(from, &RouteFilter::default()).routes.remove(0);
    assert_eq!(received.next_hop, Some(ip("10.0.0.100")), "what was received stays as it was");
}

#[test]
fn an_export_rule_tells_routes_by_the_peer_that_they_were_learned_from() {
    let mut world = World::new();
    let sources = [world.up(0, view(0, 65001)), world.up(1, view(1, 65002))];
    let rules = vec![
        Rule::new(Outcome::Continue, "mark")
            .when(Condition::Peer(vec![PeerTest::Within(net("10.0.0.101/32"))]))
            .then(Action::AddCommunity(Community::new(65000, 1).into())),
        Rule::accept("pass").when(Condition::Peer(vec![PeerTest::Name("peer1".into())])),
    ];
    let to = world.up(2, PeerView { export: policy(rules), ..view(2, 65003) });
    world.announce(sources[0], &["10.1.0.0/16"], &path(&[65001]));
    world.announce(sources[1], &["10.2.0.0/16"], &path(&[65002]));
    world.settle();
    assert_eq!(world.prefixes(to), ["10.2.0.0/16"]);
    assert_eq!(world.heard(to, "10.2.0.0/16").unwrap().attributes.communities, [Community::new(65000, 1)]);
    let explained = world.rib.explain(net("10.2.0.0/16")).unwrap();
    let sent = explained.exports.iter().find(|export| export.peer == "peer2").unwrap();
    assert_eq!(sent.cause, "mark, then pass");
}

#[test]
fn an_originated_route_that_changes_its_source_is_judged_anew() {
    let mut world = World::new();
    let pods = policy(vec![Rule::accept("pods").when(Condition::Source(vec![RouteSource::Pod]))]);
    let to = world.up(0, PeerView { export: pods, ..view(0, 65001) });
    let from = |source| [OriginatedRoute::new(net(PREFIX), source, "test")];
    world.rib.originate(world.now, &from(RouteSource::Pod));
    world.settle();
    assert_eq!(world.prefixes(to), [PREFIX]);
    world.rib.originate(world.now, &from(RouteSource::Static));
    world.settle();
    assert!(world.prefixes(to).is_empty());
    world.rib.originate(world.now, &from(RouteSource::Pod));
    world.settle();
    assert_eq!(world.prefixes(to), [PREFIX]);
}
