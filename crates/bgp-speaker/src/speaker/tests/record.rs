//! Records: the same once more, whatever happened; no secret in them; no panic whatever they are.

use std::time::Duration;

use proptest::prelude::*;

use super::network::Network;
use super::pair::{member, mesh};
use crate::config::{Policy, Secret};
use crate::record::{Replay, ReplayError, replay};
use crate::session::State;
use crate::speaker::{Query, SpeakerEvent};

/// The record of a node up to now.
fn record(network: &mut Network, node: usize) -> Vec<u8> {
    let mut octets = Vec::new();
    let now = network.now;
    network.nodes[node].speaker.mark(now);
    network.nodes[node].speaker.take_record(&mut octets);
    octets
}

/// Three speakers, a cut connection, a new policy, and a peer that goes and comes back.
fn eventful(seed: u64) -> Network {
    let mut network = mesh(seed, 3);
    network.run(Duration::from_secs(1));
    network.cut(0);
    network.run(Duration::from_secs(1));
    let (_, mut config) = member(1, 3);
    config.peers[0].session.import = Policy::reject_all("nothing from the second").into();
    let now = network.now;
    network.nodes[0].speaker.configure(now, config).unwrap();
    network.run(Duration::from_secs(1));
    let (_, mut config) = member(2, 3);
    let peers = std::mem::take(&mut config.peers);
    let now = network.now;
    network.nodes[1].speaker.configure(now, config.clone()).unwrap();
    network.run(Duration::from_secs(100));
    config.peers = peers;
    let now = network.now;
    network.nodes[1].speaker.configure(now, config).unwrap();
    network.run(Duration::from_secs(10));
    network
}

fn assert_same(replay: &Replay) {
    assert_eq!(replay.divergence, None);
    assert_eq!(replay.tables_agree, Some(true));
    assert_eq!(replay.cut_off, 0);
}

#[test]
fn equal_inputs_give_equal_outputs_over_everything_that_happens_to_a_mesh() {
    for seed in 0..10 {
        let mut network = eventful(seed);
        for node in 0..3 {
            let replay = replay(&record(&mut network, node)).unwrap();
            assert_same(&replay);
            let events: Vec<_> = replay.events.iter().map(|(_, event)| event.clone()).collect();
            assert_eq!(events, network.nodes[node].events, "seed {seed}");
            let original = network.nodes[node].speaker.query(&best());
            assert_eq!(format!("{:?}", replay.speaker.query(&best())), format!("{original:?}"));
        }
    }
}

fn best() -> Query {
    Query::LocRib(crate::rib::RouteFilter::default())
}

#[test]
fn a_record_from_a_checkpoint_has_the_sessions_and_comes_to_the_same_tables() {
    let mut network = mesh(4, 3);
    network.run(Duration::from_secs(1));
    record(&mut network, 0);
    let now = network.now;
    network.nodes[0].speaker.checkpoint(now, Duration::ZERO);
    network.run(Duration::from_secs(40));
    let (_, mut config) = member(2, 3);
    config.originated.clear();
    let now = network.now;
    network.nodes[1].speaker.configure(now, config).unwrap();
    network.run(Duration::from_secs(1));
    let replay = replay(&record(&mut network, 0)).unwrap();
    assert!(replay.from_checkpoint);
    assert_eq!(replay.tables_agree, Some(true));
    let states: Vec<_> = replay.speaker.peers(replay.now).iter().map(|peer| peer.state).collect();
    assert_eq!(states, [State::Established; 2]);
    let lost = |event: &SpeakerEvent| matches!(event, SpeakerEvent::SessionDown { .. });
    assert!(!replay.events.iter().any(|(_, event)| lost(event)), "{:?}", replay.events);
}

#[test]
fn a_password_is_in_no_record() {
    let (at, mut config) = member(1, 2);
    config.peers[0].session.password = Some(Secret::new(&b"hush-hush"[..]));
    let mut network = Network::new(1, vec![(at, config), member(2, 2)]);
    network.run(Duration::from_secs(1));
    let record = record(&mut network, 0);
    assert!(!record.windows(9).any(|octets| octets == b"hush-hush"));
    assert!(record.windows(8).any(|octets| octets == b"redacted"), "that there is one shows");
    assert_same(&replay(&record).unwrap());
}

#[test]
fn a_replay_that_comes_out_differently_says_where() {
    let mut network = mesh(2, 2);
    network.run(Duration::from_secs(1));
    let mut octets = record(&mut network, 0);
    // What another build might do: it announces another prefix than the record's digest knows.
    let place = octets.windows(12).position(|octets| octets == b"10.244.1.0/2").unwrap();
    octets[place + 7] = b'7';
    let replay = replay(&octets).unwrap();
    let divergence = replay.divergence.unwrap();
    assert!(divergence.outputs.iter().any(|output| output.contains("UPDATE")), "{divergence:?}");
    assert_eq!(replay.tables_agree, Some(false));
}

#[test]
fn a_record_that_a_crash_cut_off_is_replayed_up_to_there() {
    let mut network = mesh(2, 2);
    network.run(Duration::from_secs(1));
    let octets = record(&mut network, 0);
    for length in (0..octets.len()).step_by(61) {
        match replay(&octets[..length]) {
            Ok(replay) => assert_eq!(replay.divergence, None, "cut off at {length}"),
            Err(error) => assert!(matches!(error, ReplayError::Corrupt(_) | ReplayError::Empty), "{error}"),
        }
    }
    let error = replay(b"#!/bin/sh").err().unwrap().to_string();
    assert_eq!(error, "this is not a record: it does not begin with MUSLIN-RECORD");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_octets_make_the_reader_panic(octets in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut record = b"MUSLIN-RECORD\x01".to_vec();
        record.extend(octets);
        let _any = replay(&record);
    }

    #[test]
    fn no_change_of_a_record_makes_the_replay_panic(places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut network = mesh(2, 2);
        network.run(Duration::from_millis(500));
        let mut octets = record(&mut network, 0);
        for (place, octet) in places {
            let place = place.index(octets.len());
            octets[place] = octet;
        }
        let _any = replay(&octets);
    }
}
