use std::fmt::Write;

use super::{plan_of, resource, uplink};
use crate::NodePlan;

const LINK: [&str; 1] = ["192.168.7.1/16"];

/// Nodes of one link, each with its zone (or `-`), and whether it reflects (`*`).
fn nodes(written: &[(&str, &str)]) -> String {
    let mut manifest = String::new();
    for (index, (name, place)) in written.iter().enumerate() {
        let (zone, reflects) = (place.trim_end_matches('*'), place.ends_with('*'));
        let zone =
            if zone == "-" { String::new() } else { format!("topology.kubernetes.io/zone: \"{zone}\", ") };
        let label = if reflects { "muslin.dev/route-reflector: \"true\"" } else { "" };
        let number = index + 1;
        write!(
            manifest,
            "---\napiVersion: v1\nkind: Node\nmetadata: {{name: {name}, labels: {{{zone}{label}}}}}\n\
             spec: {{podCIDRs: [10.244.{number}.0/24]}}\n\
             status: {{addresses: [{{type: InternalIP, address: 192.168.7.{number}}}]}}\n"
        )
        .unwrap();
    }
    manifest
}

/// The nodes that `name` has sessions with, those that it reflects for with a `+`.
fn peers(plan: &NodePlan) -> Vec<String> {
    let peers = plan.speaker.peers.iter().map(|peer| {
        let name = peer.key.0.split('/').nth(1).unwrap();
        let client = format!("{:?}", peer.session.reflector) == "Client";
        format!("{name}{}", if client { "+" } else { "" })
    });
    peers.collect()
}

fn peers_of(manifest: &str, name: &str) -> Vec<String> {
    let plan = plan_of(manifest, &uplink(&LINK), name);
    assert_eq!(plan.problems, []);
    peers(&plan)
}

#[test]
fn reflectors_become_the_peers_of_all_others_and_the_mesh_ends() {
    let manifest = nodes(&[("a", "-"), ("b", "-"), ("r", "-*"), ("s", "-*")]);
    assert_eq!(peers_of(&manifest, "a"), ["r", "s"]);
    assert_eq!(peers_of(&manifest, "b"), ["r", "s"]);
    assert_eq!(peers_of(&manifest, "r"), ["a+", "b+", "s"]);
    assert_eq!(peers_of(&manifest, "s"), ["a+", "b+", "r"]);
}

#[test]
fn the_label_false_is_none() {
    let manifest = nodes(&[("a", "-"), ("b", "-"), ("r", "-*")]).replace("\"true\"", "\"false\"");
    assert_eq!(peers_of(&manifest, "a"), ["b", "r"]);
}

#[test]
fn a_zone_with_a_pair_is_served_by_it_alone() {
    let zones = [("a", "x"), ("b", "y"), ("p", "x*"), ("q", "x*"), ("r", "y*"), ("s", "y*")];
    let manifest = nodes(&zones);
    assert_eq!(peers_of(&manifest, "a"), ["p", "q"]);
    assert_eq!(peers_of(&manifest, "b"), ["r", "s"]);
    assert_eq!(peers_of(&manifest, "p"), ["a+", "q", "r", "s"], "reflectors are a mesh of their own");
}

#[test]
fn a_zone_with_fewer_than_two_reflectors_takes_from_others_what_is_missing() {
    let zones = [("a", "x"), ("b", "z"), ("p", "x*"), ("r", "y*"), ("s", "y*")];
    let manifest = nodes(&zones);
    let of_a = peers_of(&manifest, "a");
    assert!(of_a.len() == 2 && of_a.contains(&"p".to_owned()), "{of_a:?}");
    assert_eq!(peers_of(&manifest, "b").len(), 2);
}

#[test]
fn a_node_without_a_zone_has_all_reflectors_and_a_reflector_without_one_serves_all() {
    let manifest = nodes(&[("a", "-"), ("b", "x"), ("p", "x*"), ("q", "-*"), ("r", "y*"), ("s", "y*")]);
    assert_eq!(peers_of(&manifest, "a"), ["p", "q", "r", "s"]);
    assert_eq!(peers_of(&manifest, "b"), ["p", "q"]);
}

#[test]
fn both_ends_of_every_session_come_to_the_same_answer() {
    let names: Vec<_> = (0..40).map(|number| format!("n{number:02}")).collect();
    let place = |number: usize| match number % 10 {
        0 => "x*",
        1 | 2 => "y*",
        3 => "z*",
        4 | 5 => "x",
        6 => "y",
        7 => "-",
        8 => "-*",
        _ => "z",
    };
    let written: Vec<_> =
        names.iter().enumerate().map(|(number, name)| (name.as_str(), place(number))).collect();
    let manifest = nodes(&written);
    let all: Vec<_> = names.iter().map(|name| (name, peers_of(&manifest, name))).collect();
    for (name, peers) in &all {
        assert!(peers.len() >= 2, "{name}: {peers:?}");
        for peer in peers {
            let other = all.iter().find(|(other, _)| **other == peer.trim_end_matches('+')).unwrap();
            let back = other.1.iter().find(|back| back.trim_end_matches('+') == **name);
            let back = back.unwrap_or_else(|| panic!("{peer} has no session with {name}"));
            assert!(
                !(peer.ends_with('+') && back.ends_with('+')),
                "{name} and {peer} reflect for each other"
            );
        }
    }
}

#[test]
fn a_reflector_on_another_link_is_a_peer_all_the_same() {
    let manifest = nodes(&[("a", "-"), ("r", "-*")]).replace("192.168.7.2", "172.16.0.2");
    assert_eq!(peers_of(&manifest, "a"), ["r"]);
}

#[test]
fn a_node_of_another_as_keeps_its_mesh() {
    let other =
        nodes(&[("a", "-"), ("b", "-"), ("r", "-*")]) + &resource("BGPConfiguration", "node.b", "asn: 64513");
    assert_eq!(peers_of(&other, "a"), ["b", "r"]);
    assert_eq!(peers_of(&other, "b"), ["a", "r"]);
    assert_eq!(peers_of(&other, "r"), ["a+", "b"]);
}

#[test]
fn a_reflector_passes_on_pods_of_others_and_nothing_else_that_it_learned() {
    let manifest = nodes(&[("a", "-"), ("b", "-"), ("r", "-*")])
        + &resource("BGPConfiguration", "default", "import: {cidrs: [203.0.113.0/24], defaultRoute: Accept}");
    let plan = plan_of(&manifest, &uplink(&LINK), "r");
    let export = &plan.speaker.peers[0].session.export;
    let learned: Vec<_> =
        export.rules.iter().filter(|rule| format!("{rule:?}").contains("Learned")).collect();
    assert_eq!(learned.len(), 1);
    let rule = format!("{:?}", learned[0]);
    assert!(rule.contains("10.244.1.0/24") && rule.contains("10.244.2.0/24"), "{rule}");
    assert!(!rule.contains("10.244.3.0/24") && !rule.contains("203.0.113"), "{rule}");
    assert_eq!(
        &*plan.speaker.peers[0].cause,
        "Node a .status.addresses[0].address, node mesh, on by default, \
               Node r label muslin.dev/route-reflector"
    );
}
