//! What a `RouteAdvertisement` does on the wire, and the commands that say beforehand what they would do.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/pair.rs"]
mod pair;

use std::fs;
use std::process::{Command, Output};

use daemon::{MUSLIN, PATIENCE};
use ipnet::IpNet;
use pair::{CLUSTER, Pair, ROUTER};

const EGRESS: &str = "---
apiVersion: muslin.dev/v1alpha1
kind: RouteAdvertisement
metadata: {name: egress}
spec:
  nodeSelector: {matchLabels: {role: egress}}
  peers: [tor]
  advertisements:
  - advertisementType: Prefix
    prefixes: [203.0.113.7/32]
    attributes: {med: 7, communities: [\"65000:7\", \"65000:1:7\"]}
";

fn start() -> Pair {
    let pair = Pair::start(CLUSTER, ROUTER);
    await_route(&pair, "10.50.0.0/16", true);
    pair
}

/// Waits until the node's kernel has, or has not, a route to the prefix.
fn await_route(pair: &Pair, prefix: &str, there: bool) {
    let prefix: IpNet = prefix.parse().unwrap();
    let came =
        pair.node.await_routes(PATIENCE, |routes| routes.iter().any(|route| route.prefix == prefix) == there);
    assert!(came.unwrap(), "{}", pair.agent.text(&["routes", "received"]));
}

/// Runs a command in the node's namespace, as an operator on the node would.
fn on_node(pair: &Pair, args: &[&str]) -> Output {
    let socket = pair.agent.socket.to_str().unwrap();
    let mut command = Command::new(MUSLIN);
    command.args(args).args(["--socket", socket]);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    pair.node.spawn(&mut command).unwrap().wait_with_output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned()
}

#[test]
fn a_prefix_of_another_controller_is_announced_with_its_attributes_and_withdrawn_with_its_object() {
    let pair = start();
    let file = pair.cluster.join("egress.yaml");
    fs::write(&file, EGRESS).unwrap();
    let prefix: IpNet = "203.0.113.7/32".parse().unwrap();
    let router_has = |wanted: bool| {
        let arrived = pair
            .gateway
            .await_routes(PATIENCE, |routes| routes.iter().any(|route| route.prefix == prefix) == wanted);
        assert!(arrived.unwrap(), "{}", pair.router.text(&["routes", "received"]));
    };
    router_has(true);
    let received = pair.router.json(&["routes", "received", "--peer", "n1"]);
    let routes = received["bgp"][0]["routes"].as_array().unwrap();
    let route = routes.iter().find(|route| route["prefix"] == "203.0.113.7/32").unwrap();
    assert_eq!((&route["med"], &route["asPath"]), (&7.into(), &"64512".into()), "{route}");
    assert_eq!(route["communities"], serde_json::json!(["65000:7", "65000:1:7"]));
    let explained = pair.agent.text(&["explain", "203.0.113.7"]);
    assert!(
        explained
            .contains("originated because of RouteAdvertisement egress .spec.advertisements[0].prefixes[0]"),
        "{explained}"
    );
    fs::remove_file(&file).unwrap();
    router_has(false);
}

#[test]
fn plan_diff_says_what_the_running_daemon_would_change_and_exits_as_diff_does() {
    let pair = start();
    let same = pair.manifests("same", CLUSTER);
    let diff = |state: &std::path::Path, output: &str| {
        let state = state.to_str().unwrap();
        on_node(&pair, &["plan", "--state", state, "--node", "n1", "--output", output, "--diff"])
    };
    let nothing = diff(&same, "table");
    assert_eq!(nothing.status.code(), Some(0), "{}", said(&nothing));
    assert_eq!(said(&nothing).trim(), "nothing changes for any peer");

    let more =
        CLUSTER.replace("import: {cidrs: [10.50.0.0/16]}", "originate: [{cidr: 192.0.2.0/24}]") + EGRESS;
    let more = pair.manifests("more", &more);
    let table = diff(&more, "table");
    assert_eq!(table.status.code(), Some(1), "{}", said(&table));
    let expected = [
        "tor\n",
        "  + 192.0.2.0/24  [BGPConfiguration default .spec.originate[0]]",
        "  + 203.0.113.7/32  MED 7, 65000:7, 65000:1:7  [RouteAdvertisement egress",
        "  received 10.50.0.0/16 would be refused  [import guard",
    ];
    for line in expected {
        assert!(said(&table).contains(line), "no `{line}` in:\n{}", said(&table));
    }
    let json: serde_json::Value = serde_json::from_slice(&diff(&more, "json").stdout).unwrap();
    assert_eq!(json["peers"][0]["gains"][0]["prefix"], "192.0.2.0/24", "{json}");
    assert_eq!(json["peers"][0]["session"], "kept");
    assert_eq!(json["peers"][0]["refuses"][0]["prefix"], "10.50.0.0/16");

    let reset = pair.manifests("reset", &CLUSTER.replace("peerASN: 65000", "peerASN: 65000, holdTime: 9s"));
    assert!(said(&diff(&reset, "table")).contains("tor (session reset)"));
    let bad = pair.manifests("bad", &CLUSTER.replace("peerASN: 65000", "peerASN: 65000, holdTimer: 9s"));
    let trouble = diff(&bad, "table");
    assert_eq!(trouble.status.code(), Some(2), "{}", said(&trouble));
    assert!(said(&trouble).contains("did you mean `holdTime`"), "{}", said(&trouble));
}

#[test]
fn plan_diff_compares_two_folders_without_a_daemon() {
    let folder = tempfile::tempdir().unwrap();
    let manifests = |name: &str, text: &str| {
        let state = folder.path().join(name);
        fs::create_dir(&state).unwrap();
        fs::write(state.join("state.yaml"), text).unwrap();
        state
    };
    let (old, new) = (manifests("old", &(CLUSTER.to_owned() + EGRESS)), manifests("new", CLUSTER));
    let gone =
        CLUSTER.split("---").filter(|document| !document.contains("BGPPeer")).collect::<Vec<_>>().join("---");
    let alone = manifests("alone", &gone);
    let diff = |old: &std::path::Path, new: &std::path::Path| {
        let mut command = Command::new(MUSLIN);
        command.args(["plan", "--node", "n1", "--state"]).arg(new).arg("--diff").arg(old);
        command.output().unwrap()
    };
    let lost = diff(&old, &new);
    assert_eq!(lost.status.code(), Some(1), "{}", said(&lost));
    assert!(said(&lost).starts_with("tor\n  - 203.0.113.7/32  MED 7"), "{}", said(&lost));
    assert!(said(&diff(&new, &alone)).contains("tor (session removed)\n  - 10.244.1.0/24"));
    assert!(said(&diff(&alone, &new)).contains("tor (new session)\n  + 10.244.1.0/24"));
    assert_eq!(diff(&new, &new).status.code(), Some(0));
    assert_eq!(diff(&folder.path().join("nowhere"), &new).status.code(), Some(2));
}

#[test]
fn policy_test_names_the_rule_that_decides_and_what_it_changes() {
    let pair = start();
    let filters = "---
apiVersion: muslin.dev/v1alpha1
kind: BGPFilter
metadata: {name: customers}
spec:
  import:
  - {communities: [\"65000:666\"], action: Reject}
  - {asPath: {origin: [65010]}, action: Accept, operations: {localPref: 300}}
";
    let filtered = CLUSTER.replace("peerASN: 65000", "peerASN: 65000, filters: [customers]") + filters;
    let state = pair.manifests("filtered", &filtered);
    let ask = |args: &[&str]| {
        let folder = ["--state", state.to_str().unwrap(), "--node", "n1"];
        let mut command = Command::new(MUSLIN);
        command.args(["policy", "test"]).args(args).args(folder);
        command.output().unwrap()
    };
    let from = ["--from", "tor", "--direction", "import"];
    let preferred = ask(&[&["10.50.1.0/24"], &from[..], &["--as-path", "65000 65010"]].concat());
    assert_eq!(preferred.status.code(), Some(0), "{}", said(&preferred));
    assert!(said(&preferred).contains("from tor: accepted"), "{}", said(&preferred));
    assert!(said(&preferred).contains("rule BGPFilter customers .spec.import[1]"), "{}", said(&preferred));
    assert!(said(&preferred).contains("local preference none → 300"), "{}", said(&preferred));
    let refused = ask(&[&["10.50.1.0/24"], &from[..], &["--community", "65000:666"]].concat());
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    assert!(said(&refused).contains("rule BGPFilter customers .spec.import[0]"), "{}", said(&refused));
    let guarded = ask(&[&["10.244.1.7/32"], &from[..]].concat());
    assert_eq!(guarded.status.code(), Some(1), "{}", said(&guarded));
    assert!(
        said(&guarded).contains("import guard: the prefix lies within one of our own blocks"),
        "{}",
        said(&guarded)
    );

    // The running daemon has no filter.
    let live = on_node(&pair, &["policy", "test", "10.244.1.0/24", "--peer", "tor", "--output", "json"]);
    assert_eq!(live.status.code(), Some(0), "{}", said(&live));
    let steps: serde_json::Value = serde_json::from_slice(&live.stdout).unwrap();
    assert_eq!(
        (&steps[0]["direction"], &steps[0]["peer"], &steps[0]["rules"][0]),
        (&"export".into(), &"tor".into(), &"pod blocks of this node".into()),
        "{steps}"
    );
    let nobody = on_node(&pair, &["policy", "test", "10.50.1.0/24", "--from", "nobody"]);
    assert_eq!(nobody.status.code(), Some(2), "{}", said(&nobody));
    assert!(said(&nobody).contains("there is no peer nobody; there are: tor"), "{}", said(&nobody));
}
