//! An AS of ours that only one peer sees.

use muslin_bgp_packet::{Asn, Open};

use super::lone::*;
use super::paths::*;
use crate::config::{LocalAs, LocalAsPrepend, Policy, RemoteAs, SessionConfig};
use crate::session::State;

const LOCAL: Asn = Asn(65200);
const NEIGHBOUR: Asn = Asn(65011);
const OTHER: Asn = Asn(65012);

fn external(asn: Asn) -> SessionConfig {
    SessionConfig::external(RemoteAs::Is(asn))
        .with_policies(Policy::accept_all("in"), Policy::accept_all("out"))
}

fn towards_neighbour(prepend: LocalAsPrepend) -> SessionConfig {
    SessionConfig { local_as: Some(LocalAs { asn: LOCAL, prepend }), ..external(NEIGHBOUR) }
}

fn path_of(lone: &mut Lone, conn: crate::session::ConnId) -> Vec<u32> {
    let routes = sent(lone, conn);
    let attributes = routes["10.1.1.0/24"].as_ref().expect("announced");
    attributes.as_path.to_string().split_whitespace().map(|asn| asn.parse().unwrap()).collect()
}

#[test]
fn our_open_says_the_local_as() {
    let mut lone = among(&[towards_neighbour(LocalAsPrepend::ReplaceAs)]);
    let conn = up(&mut lone, 11, NEIGHBOUR);
    assert_eq!(Open::decode(&lone.frames(conn)[0].body).unwrap().asn, LOCAL);
    assert_eq!(lone.state(), State::Established);
    assert_eq!(lone.status().local_asn, LOCAL.0);
}

#[test]
fn paths_to_the_peer_show_the_local_as_and_ours_as_asked_for() {
    for (prepend, expected) in [
        (LocalAsPrepend::ReplaceAs, &[65200, 65012][..]),
        (LocalAsPrepend::NoPrepend, &[65200, 65001, 65012]),
        (LocalAsPrepend::Both, &[65200, 65001, 65012]),
    ] {
        let mut lone = among(&[towards_neighbour(prepend), external(OTHER)]);
        let (neighbour, other) = (up(&mut lone, 11, NEIGHBOUR), up(&mut lone, 12, OTHER));
        lone.send(other, &route(1, &[OTHER.0], &[]));
        assert_eq!(path_of(&mut lone, neighbour), expected, "{prepend:?}");
    }
}

#[test]
fn paths_from_the_peer_get_the_local_as_only_if_asked_for() {
    for (prepend, expected) in [
        (LocalAsPrepend::ReplaceAs, &[65001, 65011][..]),
        (LocalAsPrepend::NoPrepend, &[65001, 65011]),
        (LocalAsPrepend::Both, &[65001, 65200, 65011]),
    ] {
        let mut lone = among(&[towards_neighbour(prepend), external(OTHER)]);
        let (neighbour, other) = (up(&mut lone, 11, NEIGHBOUR), up(&mut lone, 12, OTHER));
        lone.send(neighbour, &route(1, &[NEIGHBOUR.0], &[]));
        assert_eq!(path_of(&mut lone, other), expected, "{prepend:?}");
    }
}

#[test]
fn both_numbers_are_a_loop_where_they_come_back() {
    for prepend in [LocalAsPrepend::ReplaceAs, LocalAsPrepend::NoPrepend, LocalAsPrepend::Both] {
        for own in [LOCAL, OUR_AS] {
            let mut lone = among(&[towards_neighbour(prepend)]);
            let neighbour = up(&mut lone, 11, NEIGHBOUR);
            lone.send(neighbour, &route(1, &[NEIGHBOUR.0, own.0], &[]));
            assert_eq!(refused(&lone, 11)["own-as"], 1, "{prepend:?} {own}");
        }
    }
}

#[test]
fn another_way_to_prepend_changes_what_the_peer_is_sent() {
    let mut lone = among(&[towards_neighbour(LocalAsPrepend::ReplaceAs), external(OTHER)]);
    let other = up(&mut lone, 12, OTHER);
    up(&mut lone, 11, NEIGHBOUR);
    lone.send(other, &route(1, &[OTHER.0], &[]));
    let mut config = lone.speaker.config().clone();
    config.peers[0].session = towards_neighbour(LocalAsPrepend::NoPrepend).into();
    lone.configure(config);
    let neighbour = up(&mut lone, 11, NEIGHBOUR);
    assert_eq!(path_of(&mut lone, neighbour), [65200, 65001, 65012]);
}
