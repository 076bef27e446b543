use std::path::{Path, PathBuf};

use muslin_cluster::load_folder;

use super::uplink;
use crate::{Interface, KernelFacts, Neighbour, PlanView, plan, speaker_plan};

fn example(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(path)
}

#[test]
fn three_nodes_are_planned_from_their_manifests() {
    let state = load_folder(&example("three-nodes/cluster")).unwrap();
    assert_eq!(state.problems, []);
    for (number, node) in [(1, "n1"), (2, "n2"), (3, "n3")] {
        let facts = uplink(&[&format!("172.30.{number}.2/24"), &format!("fd30:0:0:{number}::2/64")]);
        let plan = plan(&state, &facts, node);
        assert_eq!(plan.problems, []);
        insta::assert_yaml_snapshot!(format!("three_nodes_{node}"), PlanView::from(&plan));
    }
}

#[test]
fn the_router_of_three_nodes_is_planned_from_its_manifests() {
    let state = load_folder(&example("three-nodes/router")).unwrap();
    let facts = uplink(&["172.30.1.1/24", "172.30.2.1/24", "172.30.3.1/24", "fd30:0:0:1::1/64"]);
    let plan = speaker_plan(&state, &facts);
    assert_eq!(plan.problems, []);
    insta::assert_yaml_snapshot!("three_nodes_router", PlanView::from(&plan));
}

/// A machine on whose interfaces these routers were heard.
fn heard(loopback: &[&str], routers: &[(&str, &str)]) -> KernelFacts {
    let interface =
        |(name, _): &(&str, &str)| Interface { name: (*name).into(), mtu: 1500, ready: true, fault: None };
    let neighbour = |(interface, address): &(&str, &str)| Neighbour {
        interface: (*interface).into(),
        address: address.parse().unwrap(),
    };
    KernelFacts {
        interfaces: routers.iter().map(interface).collect(),
        neighbours: routers.iter().map(neighbour).collect(),
        ..uplink(loopback)
    }
}

#[test]
fn rfc8950_2_the_unnumbered_example_is_planned_from_its_manifests() {
    let state = load_folder(&example("unnumbered/cluster")).unwrap();
    assert_eq!(state.problems, []);
    let facts = heard(&["10.255.0.1/32", "fd30::1/128"], &[("eth0", "fe80::1"), ("eth1", "fe80::1")]);
    let plan = plan(&state, &facts, "n1");
    assert_eq!((plan.problems.as_slice(), plan.discovery.awaited.as_slice()), (&[][..], &[][..]));
    let peers: Vec<_> = plan.speaker.peers.iter().map(|peer| &*peer.key.0).collect();
    assert_eq!(peers, ["tors/eth0", "tors/eth1"]);
    assert_eq!(plan.speaker.validate(), Ok(()));
    assert!(plan.speaker.originated.iter().any(|route| route.prefix.to_string() == "10.255.0.1/32"));

    let state = load_folder(&example("unnumbered/router")).unwrap();
    let facts = heard(&["10.255.255.1/32"], &[("n1", "fe80::11"), ("n2", "fe80::12"), ("spine", "fe80::9")]);
    let plan = speaker_plan(&state, &facts);
    assert_eq!((plan.problems.as_slice(), plan.discovery.awaited.as_slice()), (&[][..], &[][..]));
    let peers: Vec<_> = plan.speaker.peers.iter().map(|peer| &*peer.key.0).collect();
    assert_eq!(peers, ["nodes/n1", "nodes/n2"]);
}
