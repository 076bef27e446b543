//! What peers are told of us, who shares an identifier, and the ways that a peer may come by.

use muslin_bgp_packet::{Capability, Open};

use super::lone::*;
use super::paths::*;
use crate::config::{ConfigError, Identification, ListenRange, Secret, SessionConfig, SpeakerConfig, TcpAo};
use crate::session::State;
use crate::speaker::SpeakerEvent;

fn named(host: &str, software: &str) -> SpeakerConfig {
    let identification = Identification { host: Some(host.into()), software: Some(software.into()) };
    SpeakerConfig { identification, ..config_with(open_session()) }
}

fn our_names(config: SpeakerConfig) -> Vec<Capability> {
    let mut lone = Lone::configured(config);
    let conn = lone.accept();
    let open = Open::decode(&lone.frames(conn)[0].body).unwrap();
    let is_name = |capability: &Capability| {
        matches!(capability, Capability::Fqdn { .. } | Capability::SoftwareVersion(_))
    };
    open.capabilities.into_iter().filter(is_name).collect()
}

#[test]
fn our_open_names_host_and_software_if_they_are_given() {
    let fqdn = |host: &str, domain: &str| Capability::Fqdn { host: host.into(), domain: domain.into() };
    let version = Capability::SoftwareVersion("muslin/1".into());
    assert_eq!(our_names(named("n1", "muslin/1")), [fqdn("n1", ""), version.clone()]);
    assert_eq!(our_names(named("n1.example.net", "muslin/1")), [fqdn("n1", "example.net"), version]);
    assert_eq!(our_names(config_with(open_session())), []);
    assert_eq!(our_names(named("", "")), []);
}

#[test]
fn long_names_are_cut_so_that_the_open_stays_in_its_old_form() {
    let long = format!("{}.{}", "ü".repeat(100), "x".repeat(200));
    let mut lone = Lone::configured(named(&long, &"v".repeat(200)));
    let conn = lone.accept();
    let open = &lone.frames(conn)[0].body;
    assert!(open.len() < 10 + 255 && open[9] != 255, "{} octets", open.len());
    assert!(Open::decode(open).is_ok());
}

#[test]
fn other_names_are_for_sessions_to_come() {
    let mut lone = Lone::configured(named("n1", "muslin/1"));
    lone.establish();
    lone.configure(named("n2", "muslin/2"));
    assert_eq!((lone.state(), lone.status().messages.lost), (State::Established, 0));
}

#[test]
fn names_are_shown_both_ways() {
    let mut lone = Lone::configured(named("n1", "muslin/1"));
    let conn = lone.accept();
    let mut open = peer_open();
    open.capabilities.push(Capability::Fqdn { host: "tor\u{1b}[2J".into(), domain: String::new() });
    lone.greet(conn, &open);
    let capabilities = lone.status().negotiated.unwrap().capabilities;
    assert!(capabilities.ours.iter().any(|words| words.contains("n1")), "{capabilities:?}");
    let theirs = capabilities.theirs.join(" ");
    assert!(theirs.contains("tor") && !theirs.contains('\u{1b}'), "escaped: {theirs:?}");
}

#[test]
fn fault_14_two_internal_peers_with_one_router_id_are_told_apart_and_told() {
    let mut lone = among(&[SessionConfig::internal(), SessionConfig::internal()]);
    let same = "10.9.9.9".parse().unwrap();
    let first = up_with(&mut lone, 11, &peer_open_with(OUR_AS, same));
    let second = up_with(&mut lone, 12, &peer_open_with(OUR_AS, same));
    assert!(!lone.is_closed(first) && !lone.is_closed(second), "neither is punished for the other");
    let told =
        lone.events.iter().filter(|event| matches!(event, SpeakerEvent::SharedIdentifier { .. })).count();
    assert_eq!(told, 1);
    for peer in lone.speaker.peers(lone.now) {
        assert!(peer.notes.iter().any(|note| note.contains("has the identifier")), "{peer:?}");
    }
    // The route of each is there: none silently replaces the other.
    lone.send(first, &route(1, &[], &[0x40, 5, 4, 0, 0, 0, 100]));
    lone.send(second, &route(2, &[], &[0x40, 5, 4, 0, 0, 0, 100]));
    let received: Vec<_> =
        lone.speaker.peers(lone.now).iter().map(|peer| peer.families[0].received).collect();
    assert_eq!(received, [1, 1]);
}

#[test]
fn external_peers_may_share_a_router_id() {
    let external = |asn| SessionConfig::external(crate::config::RemoteAs::Is(muslin_bgp_packet::Asn(asn)));
    let mut lone = among(&[external(65011), external(65012)]);
    let same = "10.9.9.9".parse().unwrap();
    up_with(&mut lone, 11, &peer_open_with(muslin_bgp_packet::Asn(65011), same));
    up_with(&mut lone, 12, &peer_open_with(muslin_bgp_packet::Asn(65012), same));
    assert!(!lone.events.iter().any(|event| matches!(event, SpeakerEvent::SharedIdentifier { .. })));
}

#[test]
fn a_peer_of_a_vrf_is_dialed_and_let_in_through_it_only() {
    let red = SessionConfig { device: Some("red".into()), ..open_session() };
    let mut lone = Lone::new(red.clone());
    let conn = lone.answer_dial();
    assert_eq!(lone.tuned[&conn].interface.as_deref(), Some("red"));
    assert_eq!(lone.listening.last().unwrap().devices, ["red".into()]);
    let remote = "10.0.0.9:40000".parse().unwrap();
    assert!(lone.speaker.admits_through(remote, Some("red")));
    assert!(!lone.speaker.admits_through(remote, None) && !lone.speaker.admits_through(remote, Some("blue")));

    let range = ListenRange::new("10.1.0.0/24".parse().unwrap(), red);
    let lone = Lone::configured(SpeakerConfig { listen_ranges: vec![range], ..config_with(open_session()) });
    assert!(lone.speaker.admits_through("10.1.0.5:1".parse().unwrap(), Some("red")));
    assert!(!lone.speaker.admits_through("10.1.0.5:1".parse().unwrap(), None));
    assert!(lone.speaker.admits_through(remote, None), "who has no VRF may come by any way");
}

#[test]
fn a_tcp_ao_key_is_on_every_socket_and_excludes_a_password() {
    let key = TcpAo {
        key: Secret::new(*b"secret"),
        send_id: 1,
        receive_id: 2,
        algorithm: crate::config::TcpAoAlgorithm::HmacSha1,
    };
    let signed = SessionConfig { tcp_ao: Some(key.clone()), ..open_session() };
    let mut lone = Lone::new(signed.clone());
    let conn = lone.answer_dial();
    assert_eq!(lone.tuned[&conn].tcp_ao.as_ref(), Some(&key));
    assert_eq!(lone.listening.last().unwrap().ao_keys, [("10.0.0.9/32".parse().unwrap(), key)]);
    let both = SessionConfig { password: Some(Secret::new(*b"other")), ..signed };
    let refused = lone.speaker.configure(lone.now, config_with(both));
    assert!(matches!(refused, Err(ConfigError::TwoSignatures { .. })));
}
