//! A clock that is set by a day while daemons run.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/pair.rs"]
mod pair;

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use daemon::{Daemon, OURS, PATIENCE};
use pair::{CLUSTER, Pair, ROUTER};

/// Debian's libfaketime, which answers for the clock of the wall and leaves the one that only counts alone. It is in the
/// folder of the architecture's libraries.
fn library() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.map_while(Result::ok);
    let mut files = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    files.find(|file| file.exists())
}

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
fn fault_25_a_clock_that_jumps_a_day_ends_no_session_and_stops_no_timer() {
    let Some(library) = library() else {
        // Past the test harness, which shows nothing of a test that passes.
        io::stdout().write_all(b"SKIPPED: no libfaketime here to set a clock with\n").unwrap();
        return;
    };
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
