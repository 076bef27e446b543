use serde_json::{Value, json};

use super::*;

/// A node with nothing wrong, and what differs.
fn status(change: impl FnOnce(&mut Value)) -> Status {
    let mut value = json!({
        "version": "0.1.0", "node": "n1", "asn": 64512, "routerId": "192.0.2.1", "uptimeSeconds": 60,
        "readiness": {"serving": true, "established": true, "converged": true, "waitingFor": []},
        "drain": null, "problems": [], "faults": [], "notes": [], "peers": [], "originated": 1,
        "kernel": muslin_route_programmer::Status::default(), "blocks": [],
    });
    change(&mut value);
    serde_json::from_value(value).unwrap()
}

#[test]
fn problems_are_the_first_thing_on_the_screen_each_with_its_remedy() {
    let status = status(|value| {
        value["kernel"]["clashes"] = json!([
            {"prefix": "10.244.2.0/24", "protocol": 4, "metric": 0, "effect": "theirsPreferred"},
            {"prefix": "10.244.3.0/24", "protocol": 4, "metric": 99, "effect": "oursPreferred"},
        ]);
        value["kernel"]["refusals"] = json!([
            {"subject": {"route": "10.244.4.0/24"}, "refusal": {"errno": 101, "message": null, "offset": null}, "routes": 1},
        ]);
        value["blocks"] = json!([{"block": "10.244.1.0/30", "allocated": 1, "resting": 1, "free": 0}]);
    });
    let screen = render(&status);
    assert!(screen.starts_with("PROBLEMS\n"), "{screen}");
    let problems = problems(&status);
    assert_eq!(problems.len(), 3, "a route of others that is not used is no problem: {problems:#?}");
    assert!(
        problems[0].contains("refused the route to 10.244.4.0/24: Network is unreachable"),
        "{problems:#?}"
    );
    assert!(problems[1].contains("ip route del 10.244.2.0/24 proto 4 metric 0"), "{problems:#?}");
    assert!(problems[2].contains("none is free in 10.244.1.0/30"), "{problems:#?}");
}

#[test]
fn a_node_that_is_well_begins_with_who_it_is() {
    let screen = render(&status(|_| {}));
    assert!(screen.starts_with("node n1: AS 64512"), "{screen}");
}
