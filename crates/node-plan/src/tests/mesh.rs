use super::{node, plan_of, problems, resource, uplink};
use crate::{KernelFacts, NodePlan, PlanView};

const LINK: [&str; 2] = ["192.168.7.1/24", "fd07::1/64"];

/// Nodes a, b and c on one link, d on another.
fn nodes() -> String {
    node("a", &["192.168.7.1", "fd07::1"], &["10.244.1.0/24"])
        + &node("b", &["192.168.7.2", "fd07::2"], &["10.244.2.0/24"])
        + &node("c", &["192.168.7.3"], &["10.244.3.0/24"])
        + &node("d", &["192.168.8.4"], &["10.244.4.0/24"])
}

fn peers(plan: &NodePlan) -> Vec<&str> {
    plan.speaker.peers.iter().map(|peer| &*peer.key.0).collect()
}

#[test]
fn nodes_on_one_link_are_internal_peers_and_others_are_noted() {
    let plan = plan_of(&nodes(), &uplink(&LINK), "a");
    assert_eq!(plan.problems, []);
    insta::assert_yaml_snapshot!("mesh_of_nodes_on_one_link", PlanView::from(&plan));
}

#[test]
fn the_mesh_can_be_switched_off() {
    let off = nodes() + &resource("BGPConfiguration", "default", "nodeMesh: {enabled: false}");
    let plan = plan_of(&off, &uplink(&LINK), "a");
    assert_eq!(peers(&plan), Vec::<&str>::new());
    assert_eq!(plan.notes[0].value, "the node mesh is off");
    assert_eq!(&*plan.notes[0].cause, "BGPConfiguration default .spec.nodeMesh");
}

#[test]
fn graceful_restart_of_the_mesh_is_configured_once() {
    let restart = "nodeMesh: {gracefulRestart: {restartTime: 30s, longLivedStaleTime: 10m}}";
    let plan = plan_of(&(nodes() + &resource("BGPConfiguration", "default", restart)), &uplink(&LINK), "a");
    assert_eq!(plan.problems, []);
    for peer in &plan.speaker.peers {
        assert_eq!(peer.session.graceful_restart, Some(std::time::Duration::from_secs(30)));
        assert_eq!(peer.session.long_lived, Some(std::time::Duration::from_mins(10)));
    }
}

#[test]
fn an_explicit_peer_takes_the_place_of_its_session_in_the_mesh() {
    let explicit = nodes() + &resource("BGPPeer", "b", "peerAddress: 192.168.7.2, peerASN: internal");
    assert_eq!(peers(&plan_of(&explicit, &uplink(&LINK), "a")), ["b", "node/b/ipv6", "node/c/ipv4"]);
}

#[test]
fn a_node_of_another_as_is_an_external_peer_and_its_blocks_must_come_from_that_as() {
    let other = nodes() + &resource("BGPConfiguration", "node.b", "asn: 64513, listenPort: 1790");
    let plan = plan_of(&other, &uplink(&LINK), "a");
    let b = &plan.speaker.peers[0];
    assert_eq!(format!("{:?}", b.session.remote_as), "Is(Asn(64513))");
    assert_eq!(b.port, 1790);
    let owned = &plan.speaker.guard.owned_blocks;
    let origins: Vec<_> = owned.iter().map(|block| block.origin_as.map(|asn| asn.0)).collect();
    assert_eq!(origins, [Some(64513), None, None]);
}

/// A node with one more label.
fn labelled(name: &str, address: &str, label: &str) -> String {
    node(name, &[address], &[]).replace("labels: {", &format!("labels: {{{label}, "))
}

#[test]
fn racks_have_ases_by_the_label_of_their_nodes() {
    let nodes = labelled("a", "192.168.7.1", "rack-asn: \"65001\"")
        + &labelled("b", "192.168.7.2", "rack-asn: \"65001\"")
        + &labelled("c", "192.168.7.3", "rack-asn: \"1.10\"")
        + &node("d", &["192.168.7.4"], &[])
        + &labelled("e", "192.168.7.5", "rack-asn: \"65005\"")
        + &resource("BGPConfiguration", "default", "asn: 65000, asnNodeLabel: rack-asn")
        + &resource("BGPConfiguration", "node.e", "asn: 65009");
    let plan = plan_of(&nodes, &uplink(&LINK), "a");
    assert_eq!(plan.problems, []);
    assert_eq!(plan.speaker.asn.0, 65001);
    let theirs: Vec<_> =
        plan.speaker.peers.iter().map(|peer| format!("{:?}", peer.session.remote_as)).collect();
    assert_eq!(theirs, ["Is(Asn(65001))", "Is(Asn(65546))", "Is(Asn(65000))", "Is(Asn(65009))"]);
}

#[test]
fn a_label_that_is_no_as_leaves_the_node_in_the_one_of_all() {
    let nodes = labelled("a", "192.168.7.1", "rack-asn: seven")
        + &resource("BGPConfiguration", "default", "asn: 65000, asnNodeLabel: rack-asn");
    let plan = plan_of(&nodes, &uplink(&LINK), "a");
    assert_eq!(plan.speaker.asn.0, 65000);
    assert_eq!(
        problems(&plan),
        [
            "test.yaml:11: BGPConfiguration default .spec.asnNodeLabel: Node a has rack-asn=seven, which is no AS number; \
          label it with a number from 1 to 4294967294 that is not reserved; `asn` holds meanwhile"
        ]
    );
}

#[test]
fn a_node_that_does_not_listen_connects() {
    let silent = nodes() + &resource("BGPConfiguration", "node.b", "listenPort: 0");
    let plan = plan_of(&silent, &uplink(&LINK), "a");
    assert_eq!(format!("{:?}", plan.speaker.peers[0].session.connect), "Passive");
    assert!(plan_of(&silent, &uplink(&["192.168.7.2/24"]), "b").speaker.listen.is_empty());
}

#[test]
fn without_facts_of_the_kernel_there_is_no_mesh() {
    let plan = plan_of(&nodes(), &KernelFacts::default(), "a");
    assert_eq!(peers(&plan), Vec::<&str>::new());
}

#[test]
fn a_mesh_whose_password_is_missing_has_no_sessions() {
    let spec = "nodeMesh: {password: {secretKeyRef: {name: mesh}}}";
    let plan = plan_of(&(nodes() + &resource("BGPConfiguration", "default", spec)), &uplink(&LINK), "a");
    assert_eq!(peers(&plan), Vec::<&str>::new());
    assert_eq!(
        problems(&plan),
        [
            "test.yaml:29: BGPConfiguration default .spec.nodeMesh.password: there is no Secret muslin-system/mesh, \
             and without its password there is no session; make the Secret, or take the password out"
        ],
    );
}
