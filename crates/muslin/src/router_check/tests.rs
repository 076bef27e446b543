use muslin_bgp_speaker::config::OwnedBlock;
use serde_json::{Value, json};

use super::*;

/// An example out of the documentation, as a running daemon answers it.
fn example(heading: &str) -> Value {
    let page = include_str!("../../../../docs/api.md");
    let (_, rest) = page.split_once(heading).unwrap();
    let (_, rest) = rest.split_once("```json\n").unwrap();
    serde_json::from_str(rest.split_once("```").unwrap().0).unwrap()
}

fn status(change: impl FnOnce(&mut Value)) -> PeerStatus {
    let mut peer = example("## `GET /v1/peers`")[0].clone();
    peer["lastLoss"] = Value::Null;
    change(&mut peer);
    serde_json::from_value(peer).unwrap()
}

fn route(prefix: &str, state: &str, refusal: Option<&str>, as_path: &str) -> RouteView {
    serde_json::from_value(json!({
        "prefix": prefix, "peer": "tor", "state": state, "refusal": refusal, "asPath": as_path, "stale": false,
        "age": 1, "nextHop": "172.30.1.1", "origin": "IGP", "med": null, "localPref": null, "communities": [],
    }))
    .unwrap()
}

fn names(status: &PeerStatus, guard: &ImportGuard, received: &[RouteView]) -> Vec<String> {
    let known = received
        .iter()
        .filter(|route| route.state != muslin_bgp_speaker::rib::RouteState::Refused)
        .map(|route| route.prefix)
        .collect();
    let originated = ["10.244.1.0/24".parse().unwrap()];
    let subject = Subject { status, wanted: None, guard, received, known: &known, originated: &originated };
    findings(&subject).into_iter().map(|finding| finding.name).collect()
}

#[test]
fn a_router_that_does_what_it_should_is_left_alone() {
    let received = [route("10.244.2.0/24", "best", None, "65000 64512")];
    assert_eq!(names(&status(|_| ()), &ImportGuard::closed(), &received), [""; 0]);
}

#[test]
fn without_a_session_there_is_one_finding_with_the_peers_own_words() {
    let down = status(|peer| {
        peer["established"] = false.into();
        peer["negotiated"] = Value::Null;
    });
    assert_eq!(names(&down, &ImportGuard::closed(), &[]), ["session-down"]);
}

#[test]
fn each_thing_that_is_wrong_is_found_with_problems_first() {
    let wrong = status(|peer| {
        peer["gracefulRestart"]["peer"] = Value::Null;
        peer["negotiated"]["capabilities"]["inEffect"] = json!(["multiprotocol ipv4-unicast", "4-octet AS"]);
        peer["families"][0]["limit"] = 4.into();
        peer["families"][0]["received"] = 3.into();
        peer["families"][0]["advertised"] = 0.into();
    });
    let block = OwnedBlock {
        block: "10.244.3.0/24".parse().unwrap(),
        owner: "n3".into(),
        origin_as: None,
        shares_as: true,
        addresses: Vec::new(),
        cause: "Node n3".into(),
    };
    let guard = ImportGuard { allow_default: true, owned_blocks: vec![block], ..ImportGuard::closed() };
    let received = [
        route("192.0.2.0/24", "refused", Some("not-allowed"), "65000"),
        route("10.244.1.0/24", "refused", Some("own-block"), "65000 64512"),
        route("10.244.1.0/25", "refused", Some("own-block"), "65000 65666"),
        route("10.244.2.0/24", "unreachable", None, "65000 64512"),
    ];
    assert_eq!(
        names(&wrong, &guard, &received),
        [
            "no-graceful-restart",
            "limit-near",
            "announces-not-allowed",
            "announces-own-block-hijacked",
            "next-hop-unreachable",
            "default-route-missing",
            "pods-missing",
            "nothing-announced",
            "no-route-refresh",
            "announces-own-block",
        ]
    );
}
