//! A clock that is set by a day while daemons run.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "support/clock.rs"]
mod clock;
#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/pair.rs"]
mod pair;

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use daemon::{Daemon, OURS, PATIENCE};
use muslin_netns::Namespace;
use muslin_pod_network::NetworkFile;
use pair::{CLUSTER, Pair, ROUTER};

/// How many keepalives were sent, and how many sessions were established.
fn sent(agent: &Daemon) -> (u64, u64) {
    let peer = agent.json(&["peers", "tor"]);
    let messages = &peer["messages"];
    (messages["sent"]["keepalive"].as_u64().unwrap(), messages["established"].as_u64().unwrap())
}

/// A pause between two questions: the daemon tells nobody that it sends a keepalive.
fn rest() {
    std::thread::park_timeout(Duration::from_millis(100));
}

#[test]
fn fault_25_a_clock_that_jumps_a_day_ends_no_lease_and_no_rest() {
    let Some(library) = clock::library() else { return clock::skipped() };
    let (node, data) = (Namespace::new("n1").unwrap(), tempfile::tempdir().unwrap());
    let blocks = vec!["10.244.1.0/30".parse().unwrap()];
    NetworkFile { blocks, mtu: Some(1500), reserved: Vec::new() }.write(data.path()).unwrap();
    let call = |command: &str, pod: &Namespace, jump: &str| {
        let mut plugin = Command::new(env!("CARGO_BIN_EXE_muslin-cni"));
        plugin.env_clear().env("CNI_COMMAND", command).env("CNI_PATH", "/opt/cni/bin");
        plugin.env("CNI_CONTAINERID", pod.name()).env("CNI_IFNAME", "eth0").env("CNI_NETNS", pod.path());
        plugin.env("LD_PRELOAD", &library).env("FAKETIME", jump);
        plugin.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut running = node.spawn(&mut plugin).unwrap();
        let config = serde_json::json!({
            "cniVersion": "1.1.0", "name": "muslin", "type": "muslin-cni", "dataDir": data.path(),
        });
        running.stdin.take().unwrap().write_all(config.to_string().as_bytes()).unwrap();
        let answer = running.wait_with_output().unwrap().stdout;
        serde_json::from_slice::<serde_json::Value>(&answer).unwrap_or_default()
    };
    let day = |jump: &str| {
        let mut date = Command::new("date");
        date.arg("+%F").env("LD_PRELOAD", &library).env("FAKETIME", jump);
        String::from_utf8(date.output().unwrap().stdout).unwrap()
    };
    let days = ["-1d", "+0", "+1d"].map(day);
    assert!(days[0] < days[1] && days[1] < days[2], "the clock does not jump: {days:?}");

    let [stays, goes, comes] = ["stays", "goes", "comes"].map(|name| Namespace::new(name).unwrap());
    let held = call("ADD", &stays, "+0")["ips"][0]["address"].clone();
    assert_eq!(held, "10.244.1.1/32");
    assert_eq!(call("ADD", &goes, "+0")["ips"][0]["address"], "10.244.1.2/32");
    call("DEL", &goes, "+0");
    for jump in ["+1d", "-1d", "+400d"] {
        // Neither is the lease over nor the minute of the other address.
        let refused = call("ADD", &comes, jump);
        assert_eq!(refused["code"], 11, "{jump}: {refused}");
        let details = refused["details"].as_str().unwrap();
        assert!(details.contains("1 rest"), "{jump}: {details}");
    }
    // What was released under another clock rests no longer than a minute either.
    call("DEL", &stays, "+400d");
    let refused = call("ADD", &comes, "+0");
    let details = refused["details"].as_str().unwrap().to_owned();
    let wait = details.rsplit_once("until ").unwrap().1;
    let seconds: f64 = wait.split_once('s').unwrap().0.parse().unwrap();
    assert!(details.contains("2 rest") && seconds <= 60.0, "{details}");
}

#[test]
fn fault_25_a_clock_that_jumps_a_day_ends_no_session_and_stops_no_timer() {
    let Some(library) = clock::library() else { return clock::skipped() };
    let mut pair = Pair::start(
        &CLUSTER.replace("peerASN: 65000", "peerASN: 65000, holdTime: 3s"),
        &ROUTER.replace("peerASN: 64512", "peerASN: 64512, holdTime: 3s"),
    );
    let folder = pair.agent.socket.parent().unwrap().to_owned();
    let clock = folder.join("clock");
    fs::write(&clock, "+0").unwrap();
    let variables = [
        ("LD_PRELOAD", library.to_str().unwrap()),
        ("FAKETIME_TIMESTAMP_FILE", clock.to_str().unwrap()),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ];
    pair.agent.child.kill().unwrap();
    pair.agent.child.wait().unwrap();
    let cluster = pair.cluster.clone();
    pair.agent = Daemon::start_with(&pair.node, &folder, &["agent", "--node", "n1"], &cluster, &variables);
    let day = pair.agent.await_log("session established")[..10].to_owned();
    let learned = || {
        let there = |routes: &[muslin_netns::Route]| {
            routes.iter().any(|route| route.protocol == OURS && route.prefix.to_string() == "10.50.0.0/16")
        };
        pair.node.await_routes(PATIENCE, there).unwrap()
    };
    assert!(learned());
    for jump in ["+1d", "-1d"] {
        fs::write(&clock, jump).unwrap();
        let (before, _) = sent(&pair.agent);
        // Four keepalives take longer than the hold time.
        let deadline = Instant::now() + PATIENCE;
        while sent(&pair.agent).0 < before + 4 {
            assert!(Instant::now() < deadline, "no keepalive was sent after {jump}");
            rest();
        }
        assert_eq!(sent(&pair.agent).1, 1, "the session was lost after {jump}");
        assert!(learned());
    }
    // The clock was set indeed: what is logged now is of another day.
    pair.agent.ask(&["peer", "reset", "tor"]);
    let line = pair.agent.await_log("session established");
    assert_ne!(line[..10], day, "the clock did not jump: {line}");
}
