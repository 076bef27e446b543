//! BMP collectors: defaults, choices, and what is refused.

use std::time::Duration;

use muslin_bgp_speaker::config::BmpTables;
use muslin_cluster::ClusterState;

use crate::{KernelFacts, speaker_plan};

fn configuration(bmp: &str) -> ClusterState {
    let text = format!(
        "apiVersion: muslin.dev/v1alpha1\nkind: BGPConfiguration\nmetadata: {{name: default}}\nspec:\n  \
         routerID: 192.0.2.1\n  bmp: {bmp}\n"
    );
    ClusterState::from_manifest("bgp.yaml", &text)
}

#[test]
fn a_collector_is_told_everything_on_the_usual_port_unless_the_configuration_says_otherwise() {
    let state = configuration(
        "[{address: 192.0.2.9}, {address: \"2001:db8::9\", port: 1790, tables: [LocRib], statisticsInterval: 0s}]",
    );
    let plan = speaker_plan(&state, &KernelFacts::default());
    let [usual, chosen] = &plan.speaker.bmp[..] else { panic!("{:?}", plan.problems) };
    assert_eq!(usual.address, "192.0.2.9:11019".parse().unwrap());
    assert_eq!((usual.tables, usual.statistics), (BmpTables::ALL, Some(Duration::from_mins(1))));
    assert_eq!(&*usual.cause, "BGPConfiguration default .spec.bmp[0]");
    assert_eq!(chosen.address, "[2001:db8::9]:1790".parse().unwrap());
    assert!(chosen.tables.loc_rib && !chosen.tables.before_policy && !chosen.tables.after_policy);
    assert_eq!(chosen.statistics, None);
}

#[test]
fn a_collector_that_cannot_be_is_named_with_the_remedy() {
    let state = configuration("[{address: 192.0.2.9, port: 0, tables: []}, {address: 192.0.2.9, port: 0}]");
    let said: Vec<_> = state.problems.iter().map(ToString::to_string).collect();
    for part in [".spec.bmp[0].port", ".spec.bmp[0].tables", ".spec.bmp[1].address", "PrePolicy"] {
        assert!(said.iter().any(|problem| problem.contains(part)), "no {part}: {said:?}");
    }
}
