//! Changes of configuration under running sessions.

use std::time::Duration;

use super::lone::*;
use crate::config::{
    ConfigError, ConnectMode, ListenRange, PeerConfig, PeerKey, Policy, RemoteAs, Secret, SessionConfig,
    SpeakerConfig, TtlMode,
};
use crate::session::State;

#[test]
fn the_same_configuration_again_changes_nothing() {
    let mut lone = Lone::new(open_session());
    let conn = lone.establish();
    lone.frames(conn);
    lone.configure(config_with(open_session()));
    assert_eq!(lone.state(), State::Established);
    assert!(lone.frames(conn).is_empty());
}

#[test]
fn policies_passwords_and_pauses_change_under_a_running_session() {
    let mut lone = Lone::new(open_session());
    let conn = lone.establish();
    let changed = SessionConfig {
        import: Policy::reject_all("nothing").into(),
        password: Some(Secret::new(*b"secret")),
        connect_retry: Duration::from_mins(1),
        connect: ConnectMode::Passive,
        ttl: TtlMode::Security(1),
        ..open_session()
    };
    lone.configure(config_with(changed.clone()));
    assert_eq!(lone.state(), State::Established);
    let options = &lone.tuned[&conn];
    assert_eq!(options.password, changed.password);
    assert_eq!((options.ttl, options.min_ttl), (255, Some(255)));
}

#[test]
fn rfc4486_1_what_was_negotiated_changes_by_cease_6_and_a_new_session() {
    let changes: [fn(&mut SessionConfig); 4] = [
        |session| session.hold_time = Duration::from_secs(30),
        |session| session.families.truncate(1),
        |session| session.local_as = Some(crate::config::LocalAs::new(muslin_bgp_packet::Asn(64999))),
        |session| session.graceful_restart = None,
    ];
    for change in changes {
        let mut lone = Lone::new(open_session());
        let conn = lone.establish();
        let mut session = open_session();
        change(&mut session);
        lone.configure(config_with(session));
        assert_eq!(lone.refused_with(conn), (6, 6, "".into()));
        assert_eq!(lone.state(), State::Connect);
    }
}

#[test]
fn rfc4486_1_a_removed_peer_gets_cease_3_and_is_forgotten() {
    let mut lone = Lone::new(open_session());
    let conn = lone.establish();
    lone.configure(SpeakerConfig::new(OUR_AS, OUR_ID));
    assert_eq!(lone.refused_with(conn), (6, 3, "".into()));
    assert_eq!(lone.speaker.peers(lone.now).len(), 0);
    assert!(!lone.speaker.admits("10.0.0.9:1".parse().unwrap()));
}

#[test]
fn rfc4486_1_a_shutdown_in_the_configuration_gets_cease_2_with_its_text() {
    let mut lone = Lone::new(open_session());
    let conn = lone.establish();
    lone.configure(config_with(SessionConfig { shutdown: Some("rewiring".into()), ..open_session() }));
    let notification = lone.refusal(conn);
    assert_eq!((notification.code, notification.subcode), (6, 2));
    assert_eq!(notification.communication(), Some("rewiring"));
    assert_eq!(lone.state(), State::Idle);
    lone.configure(config_with(open_session()));
    assert_eq!(lone.state(), State::Connect);
}

#[test]
fn a_peer_that_moves_is_ended_at_the_old_address_and_started_at_the_new_one() {
    let mut lone = Lone::new(open_session());
    let conn = lone.establish();
    let mut config = config_with(open_session());
    config.peers[0].address = "10.0.0.77".parse().unwrap();
    lone.configure(config);
    assert_eq!(lone.refused_with(conn), (6, 3, "".into()));
    assert_eq!(lone.status().address.to_string(), "10.0.0.77");
    assert_eq!(lone.state(), State::Connect);
}

#[test]
fn a_new_identity_resets_every_session() {
    let mut lone = Lone::new(open_session());
    let conn = lone.establish();
    lone.configure(SpeakerConfig { router_id: "10.0.0.200".parse().unwrap(), ..config_with(open_session()) });
    assert_eq!(lone.refused_with(conn), (6, 6, "".into()));
}

#[test]
fn a_configuration_that_cannot_be_leaves_the_old_one_in_force() {
    let mut lone = Lone::new(open_session());
    lone.establish();
    let twice = SpeakerConfig {
        peers: vec![lone.speaker.config().peers[0].clone(); 2],
        ..config_with(open_session())
    };
    assert!(matches!(lone.speaker.configure(lone.now, twice), Err(ConfigError::DuplicateKey { .. })));
    let short = config_with(SessionConfig { hold_time: Duration::from_secs(2), ..open_session() });
    let error = lone.speaker.configure(lone.now, short).unwrap_err();
    assert_eq!(
        error.to_string(),
        "peer 10.0.0.9 (configuration): hold time 2 s is not allowed: 0, or 3 to 65535"
    );
    assert_eq!(lone.state(), State::Established);
}

#[test]
fn rfc8212_1_an_external_peer_without_policy_is_up_and_says_that_nothing_is_exchanged() {
    let mut lone = Lone::new(SessionConfig::external(RemoteAs::External));
    lone.establish();
    let notes = lone.status().notes;
    assert_eq!(notes.len(), 2);
    assert!(notes.iter().all(|note| note.contains("RFC 8212")), "{notes:?}");
}

#[test]
fn keys_of_all_peers_and_ranges_are_on_the_listener_and_change_without_a_new_one() {
    let password = Secret::new(*b"secret");
    let session = SessionConfig { password: Some(password.clone()), ..open_session() };
    let mut config = config_with(session.clone());
    config.listen = vec!["0.0.0.0:179".parse().unwrap()];
    config.listen_ranges = vec![ListenRange::new("10.1.0.0/16".parse().unwrap(), session)];
    let mut lone = Lone::configured(config.clone());
    let plan = lone.listening.pop().unwrap();
    let from: Vec<_> = plan.keys.iter().map(|(from, _)| from.to_string()).collect();
    assert_eq!(from, ["10.0.0.9/32", "10.1.0.0/16"]);
    config.peers.clear();
    lone.configure(config);
    let changed = lone.listening.pop().unwrap();
    assert_eq!(changed.addresses, plan.addresses);
    assert_eq!(changed.keys.len(), 1);
}

fn range_config(limit: u32) -> SpeakerConfig {
    let session = SessionConfig::external(RemoteAs::External)
        .with_policies(Policy::accept_all("in"), Policy::accept_all("out"));
    let range = ListenRange { limit, ..ListenRange::new("10.1.0.0/16".parse().unwrap(), session) };
    SpeakerConfig { listen_ranges: vec![range], ..SpeakerConfig::new(OUR_AS, OUR_ID) }
}

#[test]
fn a_range_takes_peers_that_nobody_named_up_to_its_limit() {
    let mut lone = Lone::configured(range_config(2));
    let addresses = ["10.1.0.1", "10.1.0.2", "10.1.0.3"].map(|address| address.parse().unwrap());
    let connections: Vec<_> = addresses.iter().map(|address| lone.accept_from(*address)).collect();
    assert!(lone.is_closed(connections[2]), "the range is full");
    assert!(!lone.speaker.admits("10.1.0.3:1".parse().unwrap()));
    assert!(lone.speaker.admits("10.1.0.1:1".parse().unwrap()), "a known peer may reconnect");
    lone.greet(connections[0], &peer_open());
    let peers = lone.speaker.peers(lone.now);
    assert_eq!(peers[0].key, PeerKey::new("10.1.0.0/16/10.1.0.1"));
    assert_eq!(peers[0].state, State::Established);
    assert_eq!(lone.speaker.status(lone.now).ranges[0].peers, 2);
}

#[test]
fn a_peer_of_a_range_is_forgotten_when_it_leaves() {
    let mut lone = Lone::configured(range_config(1));
    for round in 0..1000 {
        let conn = lone.accept_from("10.1.0.1".parse().unwrap());
        lone.greet(conn, &peer_open());
        lone.hang_up(conn);
        assert_eq!(lone.speaker.peers(lone.now).len(), 0, "round {round}");
        lone.pass(Duration::from_millis(10));
    }
    assert_eq!(lone.dials, [], "a range is passive");
}

#[test]
fn a_peer_of_a_range_that_breaks_the_protocol_is_remembered_for_its_pause() {
    let mut lone = Lone::configured(range_config(1));
    let address = "10.1.0.1".parse().unwrap();
    let conn = lone.accept_from(address);
    lone.send(conn, &keepalive());
    assert_eq!(lone.refused_with(conn).0, 5);
    let again = lone.accept_from(address);
    assert_eq!(lone.refused_with(again), (6, 5, "".into()));
    lone.pass(Duration::from_secs(5));
    assert_eq!(lone.speaker.peers(lone.now).len(), 0);
}

#[test]
fn a_peer_of_a_range_that_gets_a_name_starts_anew_under_it() {
    let mut lone = Lone::configured(range_config(4));
    let address = "10.1.0.1".parse().unwrap();
    let conn = lone.accept_from(address);
    lone.greet(conn, &peer_open());
    let mut config = range_config(4);
    config.peers.push(PeerConfig::new(address, open_session()));
    lone.configure(config);
    assert_eq!(lone.refused_with(conn), (6, 3, "".into()));
    let again = lone.accept_from(address);
    lone.greet(again, &peer_open());
    assert_eq!(lone.status().key, PeerKey::new("10.1.0.1"));
    assert_eq!(lone.state(), State::Established);
}

#[test]
fn a_restart_closes_connections_without_a_cease() {
    let mut lone = Lone::new(open_session());
    let conn = lone.establish();
    lone.frames(conn);
    lone.speaker.stop(lone.now, &crate::session::Stop::Restart);
    lone.pass(Duration::ZERO);
    lone.input(crate::speaker::Input::NextHopsChanged);
    assert!(lone.is_closed(conn));
    assert!(lone.frames(conn).is_empty(), "RFC 4724 §4.1: peers keep our routes only without a NOTIFICATION");
}
