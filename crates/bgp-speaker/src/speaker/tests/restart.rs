//! Restarts that nobody notices (RFC 4724, RFC 8538): ours, as the peers see them, and theirs.

use std::net::IpAddr;
use std::time::Duration;

use muslin_bgp_packet::{
    Capability, Cease, Family, FamilySet, GracefulFamily, GracefulRestart, MessageType, Notification, Open,
};

use super::lone::*;
use super::network::Network;
use super::pair::{address, member, mesh};
use super::routes::{announce, announced, kernel, net, originating};
use crate::config::{OriginatedRoute, PeerConfig, PeerKey, RouteSource, SessionConfig, SpeakerConfig};
use crate::rib::FibChange;
use crate::session::{ConnId, State};
use crate::speaker::{Command, SpeakerEvent, Start};

const RESTARTED: Start = Start::ROUTES_KEPT;
const SECOND_PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 8));

fn restart_of(open: &Open) -> GracefulRestart {
    let found = open.capabilities.iter().find_map(|capability| match capability {
        Capability::GracefulRestart(restart) => Some(restart.clone()),
        _ => None,
    });
    found.expect("the capability is in every OPEN")
}

/// What our OPEN on a connection says of restarts.
fn offered(lone: &mut Lone, conn: ConnId) -> GracefulRestart {
    let frames = lone.frames(conn);
    let open = frames.iter().find(|frame| frame.kind == MessageType::Open).unwrap();
    restart_of(&Open::decode(&open.body).unwrap())
}

fn kept(restart: &GracefulRestart) -> FamilySet {
    let kept = restart.families.iter().filter(|family| family.forwarding_kept);
    kept.filter_map(|family| family.family.family()).collect()
}

/// A peer's OPEN with this capability.
fn open_with(restart: GracefulRestart) -> Open {
    let mut open = peer_open();
    open.capabilities.push(Capability::GracefulRestart(restart));
    open
}

/// A peer that has been running, keeps IPv4 routes, and agrees to RFC 8538 if `notification`.
fn running_peer(notification: bool) -> Open {
    let families = vec![GracefulFamily { family: Family::Ipv4Unicast.into(), forwarding_kept: true }];
    open_with(GracefulRestart { restarted: false, notification, restart_time: 30, families })
}

fn end_of_rib_of_both_families() -> Vec<u8> {
    let ipv6 = message(2, &[0, 0, 0, 6, 0x80, 15, 3, 0, 2, 1]);
    [empty_update(), ipv6].concat()
}

/// Two peers, and one route of our own.
fn between_two_peers() -> SpeakerConfig {
    let mut config = originating(&["192.0.2.0/24"]);
    config.peers.push(PeerConfig::new(SECOND_PEER, open_session()));
    config
}

#[test]
fn rfc4724_1_a_fresh_speaker_offers_restarts_and_claims_none() {
    let mut lone = Lone::new(open_session());
    let conn = lone.accept();
    let offer = offered(&mut lone, conn);
    assert_eq!((offer.restart_time, offer.families.len()), (120, 2));
    assert!(!offer.restarted && offer.notification);
    assert_eq!(kept(&offer), FamilySet::EMPTY);
}

#[test]
fn rfc4724_1_switched_off_it_still_says_that_we_send_end_of_rib() {
    let session = SessionConfig { graceful_restart: None, ..open_session() };
    let mut lone = Lone::new(session);
    let conn = lone.accept();
    assert_eq!(offered(&mut lone, conn), GracefulRestart::default());
}

#[test]
fn rfc4724_1_the_r_bit_ends_with_the_deferral_and_the_f_bit_is_what_was_proven() {
    let ipv4 = FamilySet::from(Family::Ipv4Unicast);
    let start = Start::Restarted { forwarding_kept: ipv4 };
    let mut lone = Lone::started(originating(&[]), start);
    let conn = lone.accept();
    let offer = offered(&mut lone, conn);
    assert!(offer.restarted);
    assert_eq!(kept(&offer), ipv4);
    // Nobody is left to wait for: the peer has said that it sends no End-of-RIB.
    lone.greet(conn, &peer_open());
    lone.pass(Duration::from_secs(1));
    let mut config = originating(&[]);
    config.peers.push(PeerConfig::new(SECOND_PEER, open_session()));
    lone.configure(config);
    let conn = lone.accept_from(SECOND_PEER);
    let offer = offered(&mut lone, conn);
    assert!(!offer.restarted, "the restart is over");
    assert_eq!(kept(&offer), ipv4);
}

#[test]
fn rfc4724_1_a_session_that_broke_under_a_running_process_finds_forwarding_kept() {
    let mut lone = Lone::new(open_session());
    let conn = lone.establish();
    lone.hang_up(conn);
    let conn = lone.accept();
    let offer = offered(&mut lone, conn);
    assert!(!offer.restarted);
    assert_eq!(kept(&offer), FamilySet::ALL);
}

#[test]
fn rfc4724_1_after_a_restart_own_routes_go_at_once_and_the_end_of_rib_after_the_learned_ones() {
    let mut lone = Lone::started(between_two_peers(), RESTARTED);
    let (first, second) = (lone.accept(), lone.accept_from(SECOND_PEER));
    lone.greet(first, &running_peer(false));
    let restart = Capability::GracefulRestart(restart_of(&running_peer(false)));
    let mut open = peer_open_with(PEER_AS, "10.0.0.8".parse().unwrap());
    open.capabilities.push(restart);
    lone.greet(second, &open);
    lone.send(first, &announce([[10, 1, 1]]));
    lone.send(first, &end_of_rib_of_both_families());
    lone.pass(Duration::from_secs(20));
    assert_eq!(announced(&mut lone, second), ["192.0.2.0/24"]);
    assert_eq!(announced(&mut lone, first), ["192.0.2.0/24"]);
    assert_eq!(kernel(&mut lone), [], "what was kept stays until all is known");
    assert!(!lone.speaker.is_synced());

    lone.send(second, &announce([[10, 1, 2]]));
    lone.send(second, &end_of_rib_of_both_families());
    lone.pass(Duration::ZERO);
    assert_eq!(announced(&mut lone, second), ["10.1.1.0/24", "end"]);
    assert_eq!(announced(&mut lone, first), ["10.1.2.0/24", "end"]);
    assert_eq!(kernel(&mut lone).len(), 2);
    assert!(lone.speaker.is_synced());
}

#[test]
fn rfc4724_1_the_deferral_waits_neither_for_peers_that_restart_as_well_nor_for_those_without_a_mark() {
    let restarting = open_with(GracefulRestart { restarted: true, ..restart_of(&running_peer(false)) });
    for open in [restarting, peer_open()] {
        let mut lone = Lone::started(originating(&[]), RESTARTED);
        let conn = lone.accept();
        lone.greet(conn, &open);
        lone.pass(Duration::from_secs(1));
        assert_eq!(announced(&mut lone, conn), ["end"]);
    }
}

#[test]
fn rfc4724_1_a_peer_that_stays_away_holds_up_a_restart_for_five_seconds_and_a_mute_one_for_a_minute() {
    let mut lone = Lone::started(between_two_peers(), RESTARTED);
    let conn = lone.accept();
    lone.greet(conn, &running_peer(false));
    lone.send(conn, &end_of_rib_of_both_families());
    lone.pass(Duration::from_secs(4));
    assert_eq!(announced(&mut lone, conn), ["192.0.2.0/24"]);
    lone.pass(Duration::from_secs(2));
    assert_eq!(announced(&mut lone, conn), ["end"], "the second peer is gone");

    let mut lone = Lone::started(originating(&[]), RESTARTED);
    let conn = lone.accept();
    lone.greet(conn, &running_peer(false));
    for _ in 0..5 {
        lone.pass(Duration::from_secs(11));
        lone.send(conn, &keepalive());
    }
    assert!(announced(&mut lone, conn).is_empty());
    lone.pass(Duration::from_secs(6));
    assert_eq!(announced(&mut lone, conn), ["end"]);
}

/// Prefixes that a node's kernel was told to drop since `mark`.
fn withdrawn_since(network: &Network, node: usize, mark: usize) -> Vec<String> {
    let changes = network.nodes[node].fib[mark..].iter();
    changes.filter(|change| change.route.is_none()).map(|change| change.prefix.to_string()).collect()
}

/// Node 1 is between nodes 2 and 3, which do not know each other.
fn transit() -> (Network, SpeakerConfig) {
    let at_the_end = |host| {
        let (at, mut config) = member(host, 3);
        config.peers.retain(|peer| peer.address == address(1));
        (at, config)
    };
    let (at, config) = member(1, 3);
    (Network::new(3, vec![(at, config.clone()), at_the_end(2), at_the_end(3)]), config)
}

#[test]
fn rfc4724_2_a_killed_speaker_that_returns_changes_nothing_in_any_kernel() {
    for seed in 0..50 {
        let (mut network, config) = transit();
        network.run(Duration::from_secs(2));
        assert_eq!(network.states(), [State::Established; 4]);
        let marks: Vec<_> = network.nodes.iter().map(|node| node.fib.len()).collect();
        network.kill(0);
        network.run(Duration::from_millis(100 + seed * 77));
        network.start(0, config, RESTARTED);
        network.run(Duration::from_secs(20));
        assert_eq!(network.states(), [State::Established; 4], "seed {seed}");
        for end in [1, 2] {
            assert_eq!(network.nodes[end].fib[marks[end]..], [], "seed {seed}: node {}", end + 1);
        }
        // The restarted one has an empty RIB: it tells its kernel everything, and nothing else.
        let again = &network.nodes[0].fib[marks[0]..];
        assert_eq!(again.len(), 2, "seed {seed}: {again:?}");
        assert!(again.iter().all(|change| change.route.is_some()), "seed {seed}");
        assert!(network.nodes[0].speaker.is_synced());
    }
}

#[test]
fn rfc4724_2_what_a_restarted_speaker_no_longer_originates_is_swept_at_its_end_of_rib() {
    let mut network = mesh(3, 2);
    network.run(Duration::from_secs(1));
    let mark = network.nodes[1].fib.len();
    let (_, mut config) = member(1, 2);
    let route = |prefix: &str| OriginatedRoute::new(prefix.parse().unwrap(), RouteSource::Pod, "pod block");
    config.originated = vec![route("10.244.77.0/24")];
    network.kill(0);
    network.start(0, config, RESTARTED);
    network.run(Duration::from_secs(10));
    assert_eq!(withdrawn_since(&network, 1, mark), ["10.244.1.0/24"]);
    assert_eq!(network.nodes[1].fib.len(), mark + 2);
}

#[test]
fn rfc4724_2_a_speaker_that_lost_its_forwarding_state_is_taken_at_its_word() {
    let mut network = mesh(3, 2);
    network.run(Duration::from_secs(1));
    let mark = network.nodes[1].fib.len();
    network.kill(0);
    network.start(0, member(1, 2).1, Start::Fresh);
    network.run(Duration::from_secs(10));
    let changes = &network.nodes[1].fib[mark..];
    assert!(!changes.is_empty(), "the routes went and came back");
    assert!(changes.last().is_some_and(|change| change.route.is_some()));
}

#[test]
fn rfc4724_2_a_connection_that_breaks_between_running_speakers_changes_no_kernel() {
    let mut network = mesh(1, 2);
    network.run(Duration::from_secs(1));
    let marks: Vec<_> = network.nodes.iter().map(|node| node.fib.len()).collect();
    network.cut(0);
    network.run(Duration::from_secs(2));
    assert_eq!(network.states(), [State::Established; 2]);
    for (node, mark) in network.nodes.iter().zip(marks) {
        assert_eq!(node.fib[mark..], [], "at {}", node.address);
    }
}

#[test]
fn rfc4724_2_a_returned_peer_that_never_ends_its_dump_loses_what_it_did_not_repeat() {
    let mut lone = Lone::new(open_session());
    let conn = lone.accept();
    lone.greet(conn, &running_peer(false));
    lone.send(conn, &announce([[10, 1, 1]]));
    assert_eq!(kernel(&mut lone).len(), 1);
    lone.hang_up(conn);
    let conn = lone.accept();
    lone.greet(conn, &Open { hold_time: 0, ..running_peer(false) });
    lone.pass(Duration::from_secs(359));
    assert_eq!(kernel(&mut lone), []);
    lone.pass(Duration::from_secs(2));
    assert_eq!(kernel(&mut lone), [FibChange { prefix: net("10.1.1.0/24"), route: None }]);
    assert_eq!(lone.state(), State::Established);
}

#[test]
fn rfc4724_1_speakers_that_restart_together_do_not_wait_for_each_other() {
    let mut network = mesh(5, 3);
    network.run(Duration::from_secs(1));
    for node in 0..3 {
        network.kill(node);
    }
    for node in 0..3 {
        network.start(node, member(node as u8 + 1, 3).1, RESTARTED);
        network.nodes[node].events.clear();
    }
    network.run(Duration::from_secs(3));
    for node in &network.nodes {
        assert!(node.events.contains(&SpeakerEvent::Synced), "at {}", node.address);
    }
}

/// A speaker with one route of a peer that agrees to RFC 8538.
fn with_notification_peer() -> (Lone, ConnId) {
    let mut lone = Lone::new(open_session());
    let conn = lone.accept();
    lone.greet(conn, &running_peer(true));
    lone.send(conn, &announce([[10, 1, 1]]));
    assert_eq!(kernel(&mut lone).len(), 1);
    (lone, conn)
}

fn notification(notification: &Notification) -> Vec<u8> {
    encoded(|out| notification.encode(out))
}

#[test]
fn rfc8538_1_a_notification_is_a_restart_and_a_hard_reset_is_the_end() {
    let reset = Notification::cease(Cease::AdministrativeReset);
    let (mut lone, conn) = with_notification_peer();
    lone.send(conn, &notification(&reset));
    assert_eq!(kernel(&mut lone), []);
    let conn = lone.accept();
    lone.greet(conn, &running_peer(true));
    lone.send(conn, &announce([[10, 1, 1]]));
    lone.send(conn, &empty_update());
    assert_eq!(kernel(&mut lone), []);

    lone.send(conn, &notification(&Notification::hard_reset(&reset)));
    assert_eq!(kernel(&mut lone).len(), 1);
}

#[test]
fn rfc8538_1_an_expired_hold_timer_is_a_restart() {
    let (mut lone, conn) = with_notification_peer();
    lone.pass(Duration::from_secs(95));
    assert_eq!(lone.refused_with(conn), (4, 0, "".into()));
    assert_eq!(kernel(&mut lone), []);
    lone.pass(Duration::from_secs(30));
    assert_eq!(kernel(&mut lone).len(), 1, "the restart time is over");
}

/// Gateways of the route that the kernel was last told of.
fn gateways(lone: &mut Lone) -> Vec<String> {
    let last = kernel(lone).pop().and_then(|change| change.route);
    let hops = last.into_iter().flat_map(|route| route.next_hops);
    let mut gateways: Vec<_> = hops.map(|hop| hop.gateway.to_string()).collect();
    gateways.sort();
    gateways
}

#[test]
fn fault_05_a_peer_that_falls_silent_loses_to_its_equals_until_it_is_back() {
    let mut lone = Lone::configured(between_two_peers());
    let (first, second) = (lone.accept(), lone.accept_from(SECOND_PEER));
    lone.greet(first, &Open { hold_time: 9, ..running_peer(true) });
    let other = peer_open_with(PEER_AS, "10.0.0.8".parse().unwrap());
    lone.greet(second, &Open { hold_time: 0, ..other });
    lone.send(first, &announce([[10, 1, 1]]));
    let mut equal = announce([[10, 1, 1]]);
    let next_hop = equal.len() - 5;
    equal[next_hop] = 8;
    lone.send(second, &equal);
    assert_eq!(gateways(&mut lone), ["10.0.0.8", "10.0.0.9"]);
    lone.pass(Duration::from_secs(10));
    assert_eq!(lone.refused_with(first), (4, 0, "".into()));
    assert_eq!(gateways(&mut lone), ["10.0.0.8"], "it may be dead");
    let first = lone.accept();
    lone.greet(first, &running_peer(true));
    assert_eq!(gateways(&mut lone), ["10.0.0.8", "10.0.0.9"], "it is not");
    // What it does not repeat would go with a second loss.
    lone.send(first, &announce([[10, 1, 1]]));
    // RFC 4724 §4.2: while a peer restarts, its routes are as good as others.
    lone.hang_up(first);
    assert_eq!(kernel(&mut lone), []);
}

#[test]
fn rfc8538_1_ends_that_are_meant_are_said_by_a_hard_reset() {
    let (mut lone, conn) = with_notification_peer();
    lone.command(Command::Shutdown { peer: PeerKey::new("10.0.0.9"), text: "night".into() });
    let sent = lone.refusal(conn);
    assert!(sent.is_cease(Cease::HardReset));
    assert_eq!(sent.inner().unwrap().communication(), Some("night"));
    assert_eq!(kernel(&mut lone).len(), 1);
}

/// To the peer, whoever comes from the other address is another one: it would have the routes of both.
#[test]
fn rfc8538_1_a_session_that_moves_to_another_address_of_ours_leaves_no_routes_behind() {
    let (mut lone, conn) = with_notification_peer();
    let mut config = config_with(SessionConfig { local_address: Some(SECOND_PEER), ..open_session() });
    config.router_id = "10.0.0.8".parse().unwrap();
    lone.configure(config);
    let sent = lone.refusal(conn);
    assert!(sent.is_cease(Cease::HardReset), "{sent}");
    assert!(sent.inner().unwrap().is_cease(Cease::PeerDeconfigured), "{sent}");
    assert_eq!(kernel(&mut lone).len(), 1);
    let conn = lone.accept();
    lone.greet(conn, &running_peer(true));
}

#[test]
fn rfc8538_1_a_change_of_what_was_negotiated_keeps_the_routes_in_use() {
    let (mut lone, conn) = with_notification_peer();
    lone.configure(config_with(SessionConfig { hold_time: Duration::from_secs(30), ..open_session() }));
    assert_eq!(lone.refused_with(conn), (6, 6, "".into()));
    assert_eq!(kernel(&mut lone), []);
}
