//! `muslin router-check` beside a router that does what it should, and beside one that is configured wrong in several
//! ways.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/pair.rs"]
mod pair;

use pair::Pair;
use serde_json::Value;

const CLUSTER: &str = "
apiVersion: v1
kind: Node
metadata: {name: n1}
spec: {podCIDRs: [10.244.1.0/24]}
status: {addresses: [{type: InternalIP, address: 172.30.1.2}]}
---
apiVersion: v1
kind: Node
metadata: {name: n2}
spec: {podCIDRs: [10.244.2.0/24]}
status: {addresses: [{type: InternalIP, address: 172.30.2.2}]}
---
apiVersion: muslin.dev/v1alpha1
kind: BGPConfiguration
metadata: {name: default}
spec: {import: {cidrs: [192.0.2.0/24], defaultRoute: Accept}}
---
apiVersion: muslin.dev/v1alpha1
kind: BGPPeer
metadata: {name: tor}
spec: {peerAddress: 172.30.1.1, peerASN: 65000, connectRetry: 1s, maxPrefixes: 6}
---
apiVersion: muslin.dev/v1alpha1
kind: BGPPeer
metadata: {name: other}
spec: {peerAddress: 172.30.1.9, peerASN: 65000, connectRetry: 1s, shutdown: not now}
";

/// A router that announces these, with more about its session.
fn router(originate: &str, session: &str) -> String {
    format!(
        "
apiVersion: muslin.dev/v1alpha1
kind: BGPConfiguration
metadata: {{name: default}}
spec: {{asn: 65000, routerID: 172.30.1.1, originate: [{originate}]}}
---
apiVersion: muslin.dev/v1alpha1
kind: BGPFilter
metadata: {{name: all}}
spec: {{import: [{{action: Accept}}], export: [{{action: Accept}}]}}
---
apiVersion: muslin.dev/v1alpha1
kind: BGPPeer
metadata: {{name: nodes}}
spec: {{listenRange: 172.30.1.0/24, peerASN: 64512, filters: [all]{session}}}
"
    )
}

fn findings(pair: &Pair) -> Vec<(String, String)> {
    let found = pair.agent.json(&["router-check"]);
    let text = |finding: &Value, field: &str| finding[field].as_str().unwrap().to_owned();
    let found = found.as_array().unwrap().iter();
    found.map(|finding| (text(finding, "name"), text(finding, "severity"))).collect()
}

#[test]
fn a_router_that_does_what_it_should_passes() {
    let right = router("{cidr: 0.0.0.0/0}, {cidr: 192.0.2.0/24}, {cidr: 10.244.2.0/24}", "");
    let pair = Pair::start(CLUSTER, &right);
    pair.agent.await_log("every peer that can be waited for");
    let output = pair.agent.ask(&["router-check", "--peer", "tor"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!((output.status.code(), said.trim_end()), (Some(0), "the routers do what they should"));
}

#[test]
fn what_a_router_does_wrong_is_found_with_what_to_do_about_it() {
    let wrong = router(
        "{cidr: 203.0.113.0/24}, {cidr: 198.51.100.0/24}, {cidr: 10.244.1.0/25}, {cidr: 172.30.1.0/24}, {cidr: 192.0.2.0/24}",
        ", gracefulRestart: {enabled: false}",
    );
    let pair = Pair::start(CLUSTER, &wrong);
    pair.agent.await_log("every peer that can be waited for");
    let problem = |name: &str| (name.to_owned(), "problem".to_owned());
    let advice = |name: &str| (name.to_owned(), "advice".to_owned());
    assert_eq!(
        findings(&pair),
        [
            advice("shut-down"),
            problem("no-graceful-restart"),
            problem("limit-near"),
            problem("announces-not-allowed"),
            problem("announces-own-block-hijacked"),
            problem("default-route-missing"),
            problem("pods-missing"),
        ]
    );
    let output = pair.agent.ask(&["router-check"]);
    assert_eq!(output.status.code(), Some(1));
    let table = String::from_utf8(output.stdout).unwrap();
    for words in
        ["198.51.100.0/24, 203.0.113.0/24", ".spec.import.cidrs", "10.244.2.0/24", "default-originate"]
    {
        assert!(table.contains(words), "no {words} in\n{table}");
    }
}

#[test]
fn a_router_that_is_not_there_is_a_problem_and_a_wrong_name_is_trouble() {
    let elsewhere = router("", "").replace("listenRange: 172.30.1.0/24", "listenRange: 172.30.9.0/24");
    let pair = Pair::start(CLUSTER, &elsewhere);
    pair.agent.await_log("no session");
    let output = pair.agent.ask(&["router-check", "--peer", "tor"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.code() == Some(1) && said.contains("muslin router-config"), "{said}");
    let output = pair.agent.ask(&["router-check", "--peer", "tro"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && said.contains("did you mean `tor`?"), "{said}");
}
