use muslin_cluster::ClusterState;

use super::*;
use crate::options::LabOptions;

const TOPOLOGIES: [Topology; 5] =
    [Topology::Tor, Topology::Mesh, Topology::DualTor, Topology::Reflector, Topology::Unnumbered];

fn blueprint(topology: Topology) -> Blueprint {
    Blueprint::new(&LabOptions { topology, ..LabOptions::default() })
}

#[track_caller]
fn read(text: &str) -> ClusterState {
    let state = ClusterState::from_manifest("lab.yaml", text);
    assert!(state.problems.is_empty(), "{:#?}\n{text}", state.problems);
    state
}

fn pod() -> PodFacts {
    let addresses = Dual { v4: [10, 244, 1, 2].into(), v6: [0xfd44, 0, 0, 1, 0, 0, 0, 2].into() };
    PodFacts { name: "n1-pod1".to_owned(), node: "n1".to_owned(), addresses }
}

#[test]
fn nodes_and_bgp_resources_read_without_a_problem_in_every_topology() {
    for topology in TOPOLOGIES {
        let lab = blueprint(topology);
        read(&nodes(&lab));
        for sessions in [Sessions::Up, Sessions::Down] {
            read(&bgp(&lab, sessions));
        }
        read(&speaker(&lab, 0));
        for part in &lab.reflectors {
            read(&reflector(part));
        }
    }
}

#[test]
fn the_service_its_pods_and_endpoints_read_without_a_problem() {
    read(&service());
    read(&pods(&[pod()]));
    read(&endpoints(&[pod()]));
}

#[test]
fn stopping_bgp_shuts_every_peer_down_and_ends_the_mesh() {
    let lab = blueprint(Topology::Mesh);
    let (up, down) = (bgp(&lab, Sessions::Up), bgp(&lab, Sessions::Down));
    let count = |text: &str, part: &str| text.matches(part).count();
    assert_eq!(count(&up, "kind: BGPPeer"), 6, "one per node and family");
    assert_eq!(count(&up, "shutdown:"), 0);
    assert_eq!(count(&down, "shutdown:"), 6);
    assert_eq!(count(&down, "enabled: false"), 1);
}

#[test]
fn nodes_with_reflectors_have_no_mesh_and_one_peer_per_reflector_and_family() {
    let lab = blueprint(Topology::Reflector);
    for (sessions, shut) in [(Sessions::Up, 0), (Sessions::Down, 10)] {
        let text = bgp(&lab, sessions);
        let count = |part: &str| text.matches(part).count();
        assert_eq!((count("kind: BGPPeer"), count("peerASN: internal")), (10, 4));
        assert_eq!((count("shutdown:"), count("enabled: false")), (shut, 1));
    }
}

#[test]
fn a_file_is_replaced_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "bgp.yaml", "first").unwrap();
    write(folder.path(), "bgp.yaml", "second").unwrap();
    let names: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["bgp.yaml"]);
    assert_eq!(std::fs::read_to_string(folder.path().join("bgp.yaml")).unwrap(), "second");
}
