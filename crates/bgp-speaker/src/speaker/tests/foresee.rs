//! What is foreseen is what happens then.

use std::collections::BTreeSet;

use muslin_bgp_packet::Asn;

use super::lone::*;
use super::paths::*;
use super::seeing::rule;
use crate::config::{Action, Policy, RemoteAs, SessionConfig, SpeakerConfig};
use crate::foresight::PeerForecast;
use crate::session::ConnId;

const ASNS: [Asn; 3] = [Asn(65011), Asn(65012), Asn(65013)];

fn external(asn: Asn) -> SessionConfig {
    SessionConfig::external(RemoteAs::Is(asn))
        .with_policies(Policy::accept_all("in"), Policy::accept_all("out"))
}

/// The first two peers announce a prefix each, and one together, for which the first is better; the third listens.
fn network() -> (Lone, [ConnId; 3]) {
    let mut lone = among(&ASNS.map(external));
    let conns = [11, 12, 13].map(|host| up(&mut lone, host, ASNS[usize::from(host) - 11]));
    lone.send(conns[0], &route(1, &[ASNS[0].0], &[]));
    lone.send(conns[0], &route(3, &[ASNS[0].0], &[]));
    lone.send(conns[1], &route(2, &[ASNS[1].0], &[]));
    lone.send(conns[1], &route(3, &[ASNS[1].0, 65099], &[]));
    assert_eq!(sent(&mut lone, conns[2]).len(), 3);
    (lone, conns)
}

/// What the third peer is foreseen to gain, lose and be told otherwise, and then is sent: withdrawn, announced.
fn foreseen(change: impl FnOnce(&mut SpeakerConfig)) -> PeerForecast {
    let (mut lone, conns) = network();
    let mut wanted = lone.speaker.config().clone();
    change(&mut wanted);
    let forecast = lone.speaker.foresee(&wanted);
    let of_third = forecast.peers.into_iter().find(|peer| peer.peer == "10.0.0.13");
    let of_third = of_third.expect("something changes for the third peer");
    lone.configure(wanted);
    let messages = sent(&mut lone, conns[2]);
    let named = |wanted: bool| -> BTreeSet<String> {
        messages
            .iter()
            .filter(|(_, route)| route.is_some() == wanted)
            .map(|(prefix, _)| prefix.clone())
            .collect()
    };
    let told = of_third.gains.iter().map(|route| route.prefix);
    let told = told.chain(of_third.changes.iter().map(|route| route.prefix));
    assert_eq!(named(true), told.map(|prefix| prefix.to_string()).collect(), "announced");
    assert_eq!(
        named(false),
        of_third.loses.iter().map(|route| route.prefix.to_string()).collect(),
        "withdrawn"
    );
    of_third
}

#[test]
fn an_export_policy_that_refuses_takes_what_is_passed_on() {
    let forecast = foreseen(|config| config.peers[2].session.export = Policy::reject_all("none").into());
    assert_eq!(forecast.loses.len(), 3);
    assert!(forecast.loses[0].cause.contains("learned from 10.0.0.11"), "{forecast:?}");
}

#[test]
fn an_export_policy_that_marks_tells_what_is_passed_on_otherwise() {
    let marked = rule("mark", vec![Action::AddCommunity("64512:7".parse().unwrap())]);
    let forecast = foreseen(|config| config.peers[2].session.export = marked.into());
    assert_eq!((forecast.gains.len(), forecast.loses.len(), forecast.changes.len()), (0, 0, 3));
    assert!(forecast.changes[0].after.contains(&"64512:7".to_owned()), "{forecast:?}");
}

#[test]
fn a_peer_whose_routes_are_refused_is_replaced_by_the_next_best_where_there_is_one() {
    let forecast = foreseen(|config| config.peers[0].session.import = Policy::reject_all("none").into());
    assert_eq!((forecast.loses.len(), forecast.changes.len()), (1, 1));
    assert_eq!(forecast.changes[0].prefix.to_string(), "10.1.3.0/24");
    assert!(forecast.changes[0].cause.contains("10.0.0.12"), "{forecast:?}");
}

#[test]
fn a_peer_that_goes_takes_its_routes_along() {
    let forecast = foreseen(|config| drop(config.peers.remove(0)));
    assert_eq!((forecast.loses.len(), forecast.changes.len()), (1, 1));
}

#[test]
fn policies_that_say_the_same_in_other_words_change_nothing() {
    let (lone, _) = network();
    let mut wanted = lone.speaker.config().clone();
    wanted.peers[2].session.export = Policy::accept_all("another name").into();
    assert!(lone.speaker.foresee(&wanted).is_empty());
}
