//! What the pages for users show must be true.

use muslin_bgp_speaker::config::Policy;
use muslin_cluster::ClusterState;

use super::{node, uplink};
use crate::plan;

/// The YAML blocks of a page.
fn blocks(page: &str) -> Vec<&str> {
    let parts = page.split("```yaml\n").skip(1);
    parts.map(|part| part.split_once("```").map_or(part, |(block, _)| block)).collect()
}

#[test]
fn every_manifest_of_the_page_on_policy_is_accepted_and_planned() {
    let page = include_str!("../../../../docs/policy.md");
    let blocks = blocks(page);
    assert_eq!(blocks.len(), 3);
    let manifests = blocks.iter().map(|block| ("policy.md", *block));
    let peer = "apiVersion: muslin.dev/v1alpha1\nkind: BGPPeer\nmetadata: {name: reference}\n\
                spec: {peerAddress: 172.30.1.9, peerASN: internal, filters: [conditions, operations]}\n";
    let node = node("n1", &["172.30.1.2"], &["10.244.1.0/24"]);
    let files = manifests.enumerate().map(|(index, (_, text))| (["a.yaml", "b.yaml", "c.yaml"][index], text));
    let state = ClusterState::from_manifests(files.chain([("peer.yaml", peer), ("node.yaml", &node)]));
    assert_eq!(state.problems, []);
    let plan = plan(&state, &uplink(&["172.30.1.2/24"]), "n1");
    assert_eq!(plan.problems, []);
    let policy = |peer: &str| -> &Policy {
        &plan.speaker.peers.iter().find(|found| &*found.key.0 == peer).unwrap().session.import
    };
    assert_eq!(policy("tor").rules.len(), 1);
    // Twelve conditions and four operations.
    assert_eq!(policy("reference").rules.len(), 16);
}

#[test]
fn every_field_of_a_rule_is_on_the_page_on_policy() {
    let page = include_str!("../../../../docs/policy.md");
    let fields = [
        "prefixes minLength maxLength families communities allCommunities noCommunities asPath containsOwn contains origin",
        "neighbor pattern nextHops peers sources action localPref med addMed removeMed prepend removeCommunities",
        "replaceCommunities addCommunities linkBandwidth nextHop priority",
    ];
    let examples = blocks(page).concat();
    for field in fields.iter().flat_map(|line| line.split(' ')) {
        assert!(page.contains(&format!("`{field}`")), "{field} is not explained");
        assert!(examples.contains(&format!("{field}:")), "{field} has no example");
    }
}

#[test]
fn the_collector_of_the_page_on_seeing_in_is_accepted_and_told_everything() {
    let blocks = blocks(include_str!("../../../../docs/seeing-in.md"));
    let state = ClusterState::from_manifest("bmp.yaml", blocks[0]);
    assert_eq!(state.problems, []);
    let bmp = plan(&state, &uplink(&["172.30.1.2/24"]), "n1").speaker.bmp;
    assert_eq!(bmp[0].address, "192.0.2.9:11019".parse().unwrap());
    assert_eq!(bmp[0].tables, muslin_bgp_speaker::config::BmpTables::ALL);
}
