use std::net::IpAddr;

use ipnet::IpNet;

use super::{node, originated, plan_of, problems, resource, uplink};
use crate::KernelFacts;

/// The same node, made at a time.
fn created(node: &str, time: &str) -> String {
    node.replace("metadata: {", &format!("metadata: {{creationTimestamp: \"{time}\", "))
}

#[test]
fn fault_32_of_two_nodes_with_overlapping_pod_cidrs_the_earlier_one_keeps_its_own_and_both_are_told() {
    let a = created(&node("a", &[], &["10.244.1.0/24", "fd44:0:0:1::/64"]), "2026-02-01T00:00:00Z");
    let b = created(&node("b", &[], &["10.244.1.128/25", "fd44:0:0:2::/64"]), "2026-01-01T00:00:00Z");
    let manifest = format!("{a}{b}");

    let later = plan_of(&manifest, &KernelFacts::default(), "a");
    assert_eq!(originated(&later), ["fd44:0:0:1::/64"]);
    assert_eq!(
        problems(&later),
        [
            "test.yaml:5: Node a .spec.podCIDRs[0]: 10.244.1.0/24 overlaps 10.244.1.128/25 of Node b .spec.podCIDRs[0]; \
             give the node a pod CIDR of its own"
        ],
    );
    let earlier = plan_of(&manifest, &KernelFacts::default(), "b");
    assert_eq!(originated(&earlier), ["10.244.1.128/25", "fd44:0:0:2::/64"]);
    assert_eq!(
        problems(&earlier),
        [
            "test.yaml:11: Node b .spec.podCIDRs[0]: 10.244.1.128/25 is claimed by Node a too, as 10.244.1.0/24; \
             correct the other node: this one was first"
        ],
    );
}

#[test]
fn nodes_without_creation_times_are_asked_by_name() {
    let manifest = node("b", &[], &["10.244.0.0/16"]) + &node("a", &[], &["10.244.1.0/24"]);
    assert_eq!(originated(&plan_of(&manifest, &KernelFacts::default(), "a")), ["10.244.1.0/24"]);
    assert_eq!(originated(&plan_of(&manifest, &KernelFacts::default(), "b")), Vec::<String>::new());
}

#[test]
fn a_pod_cidr_named_twice_by_its_node_is_no_fault() {
    let plan = plan_of(&node("a", &[], &["10.244.1.0/24", "10.244.1.0/24"]), &KernelFacts::default(), "a");
    assert_eq!(originated(&plan), ["10.244.1.0/24"]);
    assert_eq!(plan.problems, []);
}

#[test]
fn a_pod_cidr_that_collides_with_something_else_is_refused_with_the_cause() {
    let cases = [
        (
            "clusterCIDRs: [10.244.0.0/16, fd44::/48]",
            "10.245.1.0/24",
            "10.245.1.0/24 is outside all ranges of BGPConfiguration default .spec.clusterCIDRs; \
             add its range there, or give the node another pod CIDR",
        ),
        (
            "serviceClusterIPs: [{cidr: 10.96.0.0/12}]",
            "10.100.1.0/24",
            "10.100.1.0/24 overlaps the Service range 10.96.0.0/12 of \
             BGPConfiguration default .spec.serviceClusterIPs[0]; give pods and Services different ranges",
        ),
        (
            "asn: 64512",
            "172.30.0.0/16",
            "172.30.0.0/16 contains 172.30.1.2, the address of Node a; \
             give pods a range that no node has an address in",
        ),
    ];
    for (spec, cidr, expected) in cases {
        let manifest = node("a", &["172.30.1.2"], &[cidr]) + &resource("BGPConfiguration", "default", spec);
        let plan = plan_of(&manifest, &KernelFacts::default(), "a");
        assert_eq!(problems(&plan), [format!("test.yaml:5: Node a .spec.podCIDRs[0]: {expected}")]);
        assert!(plan.address_blocks.is_empty() && plan.blackholes.is_empty(), "{cidr}");
        assert!(plan.speaker.originated.iter().all(|route| route.prefix.to_string() != cidr));
    }
}

#[test]
fn a_refused_block_is_not_learned_either() {
    let manifest = node("a", &[], &["10.244.1.0/24"]) + &node("b", &[], &["10.244.1.0/24"]);
    let plan = plan_of(&manifest, &uplink(&["172.30.1.2/24"]), "b");
    let blocks: Vec<_> = plan.speaker.guard.owned_blocks.iter().map(|block| &*block.owner).collect();
    assert_eq!(blocks, ["a"]);
    assert!(plan.speaker.guard.own_blocks.is_empty());
}

#[test]
fn fault_21_only_own_pod_blocks_become_blackholes() {
    let manifest = node("a", &[], &["10.244.1.0/24"])
        + &node("b", &[], &["10.244.2.0/24"])
        + &resource("BGPConfiguration", "default", "serviceClusterIPs: [{cidr: 10.96.0.0/16}]");
    let plan = plan_of(&manifest, &KernelFacts::default(), "a");
    let blackholes: Vec<_> = plan.blackholes.iter().map(|hole| hole.value.to_string()).collect();
    assert_eq!(blackholes, ["10.244.1.0/24"]);
}

#[test]
fn packets_between_pods_nodes_and_services_keep_their_source_and_others_do_not() {
    let manifest = node("a", &["172.30.1.2"], &["10.244.1.0/24"])
        + &node("b", &["172.30.2.2"], &["10.244.2.0/24"])
        + &resource("BGPConfiguration", "default", "serviceClusterIPs: [{cidr: 10.96.0.0/16}]");
    let firewall = plan_of(&manifest, &KernelFacts::default(), "a").firewall;
    let has = |ranges: &[IpNet], address: &str| {
        ranges.iter().any(|range| range.contains(&address.parse::<IpAddr>().unwrap()))
    };
    let masquerades =
        |from, to| has(&firewall.masquerade.pod_ranges, from) && !has(&firewall.masquerade.never, to);
    assert!(masquerades("10.244.1.5", "203.0.113.2"));
    for inside in ["10.244.1.6", "10.244.2.5", "172.30.1.2", "172.30.2.2", "10.96.0.10"] {
        assert!(!masquerades("10.244.1.5", inside), "{inside}");
    }
    assert!(!masquerades("10.244.2.5", "203.0.113.2"), "pods of other nodes are masqueraded there");
    assert!(!masquerades("172.30.1.2", "203.0.113.2"), "nodes never are");
}
