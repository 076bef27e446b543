//! What a speaker shows of itself: status of peers, tables before and after policy, and why the best is best.

use std::time::Duration;

use super::network::Network;
use super::pair::{address, member, mesh};
use crate::config::{Action, MedChange, PeerKey, Policy, Rule, SpeakerConfig};
use crate::rib::{Page, RouteFilter, RouteState, Stage, Step};
use crate::speaker::{Answer, PeerStatus, Query, TableEvent, TableWatch};

fn key(host: u8) -> PeerKey {
    PeerKey::new(&address(host).to_string())
}

/// A policy of one rule that accepts and does this.
pub(super) fn rule(name: &str, actions: Vec<Action>) -> Policy {
    let rule = Rule { actions, ..Rule::accept(format!("{name} .spec.import[0]")) };
    Policy { rules: vec![rule], ..Policy::reject_all(name) }
}

fn with_import(mut config: SpeakerConfig, policy: &Policy) -> SpeakerConfig {
    for peer in &mut config.peers {
        peer.session.import = policy.clone().into();
    }
    config
}

fn page(network: &Network, node: usize, query: &Query) -> Page {
    match network.nodes[node].speaker.query(query) {
        Answer::Routes(page) => page,
        other => panic!("{other:?}"),
    }
}

fn status(network: &Network, node: usize, host: u8) -> PeerStatus {
    network.nodes[node].speaker.peer(network.now, &key(host)).unwrap()
}

#[test]
fn the_status_of_a_peer_has_counters_of_both_ways_and_what_is_in_effect() {
    let mut network = mesh(3, 2);
    network.run(Duration::from_secs(1));
    let peer = status(&network, 0, 2);
    let ipv4 = &peer.families[0];
    assert_eq!((ipv4.received, ipv4.accepted, ipv4.rejected, ipv4.advertised), (1, 1, 0, 1));
    assert!(ipv4.end_of_rib_received && ipv4.end_of_rib_sent && !ipv4.stale, "{ipv4:?}");
    assert_eq!((peer.families[1].received, peer.families[1].advertised), (0, 0));
    assert!(peer.messages.sent.update >= 3, "a route and two ends: {:?}", peer.messages.sent);
    assert_eq!(peer.messages.sent.update, status(&network, 1, 1).messages.received.update);
    assert_eq!((peer.export.journal_behind, peer.export.replaying), (0, false));
    let in_effect = &peer.negotiated.unwrap().capabilities.in_effect;
    assert!(in_effect.contains(&"4-octet AS".to_owned()), "{in_effect:?}");
    assert!(in_effect.contains(&"enhanced route refresh".to_owned()), "{in_effect:?}");
    assert_eq!(peer.graceful_restart.offered_seconds, Some(120));
    assert_eq!(peer.graceful_restart.peer.unwrap().restart_seconds, 120);
}

#[test]
fn a_lost_peer_shows_which_stale_routes_are_kept_and_for_how_long() {
    let mut network = mesh(3, 2);
    network.run(Duration::from_secs(1));
    network.kill(1);
    let peer = status(&network, 0, 2);
    assert!(!peer.established);
    assert!(peer.families[0].stale, "{:?}", peer.families);
    assert_eq!(peer.graceful_restart.retained, ["ipv4-unicast", "ipv6-unicast"]);
    assert!(peer.timers.retention_seconds.is_some());
    assert_eq!(peer.families[0].advertised, 0, "nothing is sent without a session");
}

#[test]
fn received_routes_are_shown_before_and_after_policy_with_the_rule_between() {
    let (at, config) = member(1, 2);
    let policy = rule("BGPFilter tor", vec![Action::LocalPref(200), Action::Med(MedChange::Set(7))]);
    let mut network = Network::new(5, vec![(at, with_import(config, &policy)), member(2, 2)]);
    network.run(Duration::from_secs(1));
    let shown = |stage| {
        let filter = RouteFilter { stage, ..RouteFilter::default() };
        page(&network, 0, &Query::AdjRibIn { peer: key(2), filter }).routes
    };
    let (before, after) = (shown(Stage::Received), shown(Stage::Accepted));
    assert_eq!((before[0].local_pref, before[0].med), (None, None));
    assert_eq!((after[0].local_pref, after[0].med), (Some(200), Some(7)));
    assert_eq!(before[0].changes, ["local preference none → 200", "MED none → 7"]);
    assert_eq!(before[0].rule.as_deref(), Some("BGPFilter tor .spec.import[0]"));
}

#[test]
fn a_refused_route_is_shown_before_policy_only() {
    let (at, config) = member(1, 2);
    let refuse = Policy::reject_all("BGPFilter none");
    let mut network = Network::new(5, vec![(at, with_import(config, &refuse)), member(2, 2)]);
    network.run(Duration::from_secs(1));
    let shown = |stage| {
        let filter = RouteFilter { stage, ..RouteFilter::default() };
        page(&network, 0, &Query::AdjRibIn { peer: key(2), filter }).routes
    };
    assert_eq!(shown(Stage::Received)[0].state, RouteState::Refused);
    assert!(shown(Stage::Accepted).is_empty());
    let peer = status(&network, 0, 2);
    assert_eq!((peer.families[0].accepted, peer.families[0].rejected), (0, 1));
}

#[test]
fn the_best_route_says_what_decided_and_against_whom() {
    let mut network = mesh(11, 3);
    network.run(Duration::from_secs(1));
    let prefix = "10.244.2.0/24".parse().ok();
    let best = page(&network, 0, &Query::LocRib(RouteFilter { prefix, ..RouteFilter::default() })).routes;
    assert_eq!(best.len(), 2, "from its origin, and through the third speaker: {best:?}");
    let decision = best[0].decision.clone().unwrap();
    assert_eq!((decision.step, decision.rival.as_deref()), (Step::AsPathLength, Some("10.0.0.3")));
    assert_eq!(best[0].reason.as_deref(), Some("shorter AS path, against 10.0.0.3"));
    assert_eq!(best[1].reason.as_deref(), Some("the best path has: shorter AS path (10.0.0.2)"));
}

/// Everything that a watch has to tell now.
fn told(network: &Network, node: usize, watch: &mut TableWatch) -> Vec<TableEvent> {
    let mut all = Vec::new();
    loop {
        let events = network.nodes[node].speaker.watch(watch, 8);
        if events.is_empty() {
            return all;
        }
        all.extend(events);
    }
}

fn prefixes(events: &[TableEvent]) -> Vec<(String, usize)> {
    let prefix = |event: &TableEvent| match event {
        TableEvent::Routes { prefix, routes } => Some((prefix.to_string(), routes.len())),
        TableEvent::Complete | TableEvent::Restarted => None,
    };
    events.iter().filter_map(prefix).collect()
}

fn best() -> Query {
    Query::LocRib(RouteFilter::default())
}

#[test]
fn a_watch_tells_the_table_and_then_what_changes_also_what_is_gone() {
    let mut network = mesh(3, 2);
    network.run(Duration::from_secs(1));
    let mut watch = TableWatch::new(best());
    let first = told(&network, 0, &mut watch);
    assert_eq!(prefixes(&first), [("10.244.1.0/24".into(), 1), ("10.244.2.0/24".into(), 1)]);
    assert_eq!(first.last(), Some(&TableEvent::Complete));
    let revision = network.nodes[0].speaker.revision();
    let (_, mut config) = member(2, 2);
    config.originated.clear();
    let now = network.now;
    network.nodes[1].speaker.configure(now, config).unwrap();
    network.run(Duration::from_secs(1));
    assert_ne!(network.nodes[0].speaker.revision(), revision, "there is something new to see");
    assert_eq!(prefixes(&told(&network, 0, &mut watch)), [("10.244.2.0/24".into(), 0)]);
    assert!(told(&network, 0, &mut watch).is_empty());
}

#[test]
fn a_watch_of_what_a_peer_is_sent_follows_policy_and_begins_anew_with_the_session() {
    let mut network = mesh(3, 2);
    network.run(Duration::from_secs(1));
    let mut watch = TableWatch::new(Query::AdjRibOut { peer: key(2), filter: RouteFilter::default() });
    assert_eq!(prefixes(&told(&network, 0, &mut watch)), [("10.244.1.0/24".into(), 1)]);
    let (_, mut config) = member(1, 2);
    config.peers[0].session.export = Policy::reject_all("out").into();
    let now = network.now;
    network.nodes[0].speaker.configure(now, config).unwrap();
    network.run(Duration::from_secs(1));
    let gone = prefixes(&told(&network, 0, &mut watch));
    assert!(gone.contains(&("10.244.1.0/24".into(), 0)), "{gone:?}");
    network.cut(0);
    network.run(Duration::from_secs(1));
    assert!(told(&network, 0, &mut watch).contains(&TableEvent::Restarted));
}

#[test]
fn a_watcher_that_is_too_slow_gets_the_newest_state_from_the_beginning() {
    let mut network = mesh(3, 2);
    network.run(Duration::from_secs(1));
    let mut watch = TableWatch::new(best());
    told(&network, 0, &mut watch);
    let (_, config) = member(2, 2);
    for number in 0..100 {
        let mut config = config.clone();
        config.originated[0].med = Some(number);
        let now = network.now;
        network.nodes[1].speaker.configure(now, config).unwrap();
        network.run(Duration::from_millis(20));
    }
    let events = told(&network, 0, &mut watch);
    assert_eq!(events[0], TableEvent::Restarted, "{events:?}");
    let last = events.iter().rev().find_map(|event| match event {
        TableEvent::Routes { prefix, routes } if prefix.to_string() == "10.244.2.0/24" => routes[0].med,
        _ => None,
    });
    assert_eq!(last, Some(99), "the newest state, once");
}
