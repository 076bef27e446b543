use std::path::{Path, PathBuf};

use muslin_cluster::load_folder;

use super::uplink;
use crate::{PlanView, plan, speaker_plan};

fn example(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(path)
}

#[test]
fn three_nodes_are_planned_from_their_manifests() {
    let state = load_folder(&example("three-nodes")).unwrap();
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
