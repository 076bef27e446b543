//! What holds for every plan, whatever the cluster looks like.

use std::collections::BTreeMap;

use ipnet::IpNet;
use muslin_cluster::ClusterState;
use proptest::prelude::*;

use super::{node, resource, uplink};
use crate::{KernelFacts, NodePlan, plan};

/// Nodes that now and then want the same addresses, some made at known times.
fn nodes() -> impl Strategy<Value = Vec<String>> {
    let cidr = (0..8u8, 22..27u8).prop_map(|(third, length)| {
        let range: IpNet = format!("10.244.{third}.0/{length}").parse().unwrap();
        range.trunc().to_string()
    });
    let cidr6 = (0..6u8).prop_map(|number| format!("fd44:0:0:{number}::/64"));
    let one = (cidr, cidr6, 1..40u8, prop::option::of(1..9u8));
    prop::collection::vec(one, 1..7).prop_map(|nodes| {
        let manifest = |(number, (cidr, cidr6, host, day)): (usize, (String, String, u8, Option<u8>))| {
            let text = node(&format!("n{number}"), &[&format!("192.168.7.{host}")], &[&cidr, &cidr6]);
            match day {
                None => text,
                Some(day) => text.replace(
                    "metadata: {",
                    &format!("metadata: {{creationTimestamp: \"2026-01-0{day}T00:00:00Z\", "),
                ),
            }
        };
        nodes.into_iter().enumerate().map(manifest).collect()
    })
}

fn services() -> impl Strategy<Value = Vec<String>> {
    let one = (1..5u8, prop::bool::ANY, 0..6u8, prop::bool::ANY);
    prop::collection::vec(one, 0..6).prop_map(|services| {
        let manifest = |(number, (address, local, node, ready)): (usize, (u8, bool, u8, bool))| {
            let policy = if local { "Local" } else { "Cluster" };
            format!(
                "---\napiVersion: v1\nkind: Service\nmetadata: {{name: s{number}}}\n\
                 spec: {{externalIPs: [192.0.2.{address}], externalTrafficPolicy: {policy}}}\n\
                 ---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\n\
                 metadata: {{name: s{number}-x, namespace: default, labels: {{kubernetes.io/service-name: s{number}}}}}\n\
                 endpoints: [{{addresses: [10.0.0.1], nodeName: n{node}, conditions: {{ready: {ready}}}}}]\n"
            )
        };
        services.into_iter().enumerate().map(manifest).collect()
    })
}

/// The cluster's objects, one manifest each.
fn objects() -> impl Strategy<Value = Vec<String>> {
    (nodes(), services()).prop_map(|(nodes, services)| {
        let config = "serviceExternalIPs: [{cidr: 192.0.2.0/30}], serviceClusterIPs: [{cidr: 10.96.0.0/16}]";
        let shared = [
            resource("BGPConfiguration", "default", config),
            resource("BGPPeer", "tor", "peerAddress: 192.168.7.254, peerASN: 65000"),
        ];
        nodes.into_iter().chain(services).chain(shared).collect()
    })
}

/// The state that the objects make, each in a file of its own.
fn state(objects: &[String]) -> ClusterState {
    let names: Vec<_> = (0..objects.len()).map(|number| format!("{number:03}.yaml")).collect();
    ClusterState::from_manifests(names.iter().map(String::as_str).zip(objects.iter().map(String::as_str)))
}

fn facts() -> KernelFacts {
    uplink(&["192.168.7.50/24"])
}

fn plans(state: &ClusterState) -> BTreeMap<String, NodePlan> {
    state.nodes.keys().map(|node| (node.to_string(), plan(state, &facts(), node))).collect()
}

/// The plan without the places of objects, which do depend on where they stand.
fn without_places(mut plan: NodePlan) -> NodePlan {
    for problem in &mut plan.problems {
        problem.file = "".into();
        problem.line = 0;
    }
    plan
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_two_nodes_own_an_address(objects in objects()) {
        let plans = plans(&state(&objects));
        let blocks: Vec<_> = plans.values().flat_map(|plan| &plan.address_blocks).map(|block| block.value).collect();
        for (index, one) in blocks.iter().enumerate() {
            for other in &blocks[index + 1..] {
                prop_assert!(!one.contains(other) && !other.contains(one), "{} and {}", one, other);
            }
        }
    }

    #[test]
    fn every_block_of_a_node_is_announced_by_it_and_learned_from_it_alone(objects in objects()) {
        let plans = plans(&state(&objects));
        for (name, own) in &plans {
            for block in &own.address_blocks {
                prop_assert!(own.speaker.originated.iter().any(|route| route.prefix == block.value));
                for (other_name, other) in plans.iter().filter(|(other, _)| *other != name) {
                    let owned = other.speaker.guard.owned_blocks.iter().find(|owned| owned.block == block.value);
                    prop_assert_eq!(owned.map(|owned| &*owned.owner), Some(name.as_str()), "seen by {}", other_name);
                }
            }
        }
    }

    #[test]
    fn every_item_has_a_cause(objects in objects()) {
        let state = state(&objects);
        for plan in plans(&state).values() {
            let routes = plan.speaker.originated.iter().map(|route| &route.cause);
            let peers = plan.speaker.peers.iter().map(|peer| &peer.cause);
            let rules = plan.speaker.peers.iter().flat_map(|peer| &peer.session.import.rules).map(|rule| &rule.cause);
            let withheld = plan.withheld.iter().map(|withheld| &withheld.cause);
            for cause in routes.chain(peers).chain(rules).chain(withheld) {
                let kinds = ["Node ", "Service ", "BGPConfiguration ", "BGPPeer "];
                prop_assert!(kinds.iter().any(|kind| cause.starts_with(kind)), "{}", cause);
            }
        }
    }

    #[test]
    fn a_plan_does_not_depend_on_the_order_of_objects(objects in objects(), seed in any::<u64>()) {
        let mut shuffled = objects.clone();
        // A permutation that follows from the seed.
        for index in (1..shuffled.len()).rev() {
            let step = seed.wrapping_mul(6_364_136_223_846_793_005).rotate_left(u32::try_from(index).unwrap());
            shuffled.swap(index, usize::try_from(step % (index as u64 + 1)).unwrap());
        }
        let (one, other) = (plans(&state(&objects)), plans(&state(&shuffled)));
        for (name, plan) in one {
            prop_assert_eq!(without_places(plan), without_places(other[&name].clone()));
        }
    }

    #[test]
    fn nothing_is_announced_twice_and_nothing_is_both_announced_and_own_to_another(objects in objects()) {
        let plans = plans(&state(&objects));
        for plan in plans.values() {
            let mut prefixes: Vec<_> = plan.speaker.originated.iter().map(|route| route.prefix).collect();
            prefixes.sort_unstable();
            let count = prefixes.len();
            prefixes.dedup();
            prop_assert_eq!(prefixes.len(), count);
            for owned in &plan.speaker.guard.owned_blocks {
                prop_assert!(prefixes.iter().all(|prefix| !owned.block.contains(prefix)), "{}", owned.block);
            }
        }
    }
}
