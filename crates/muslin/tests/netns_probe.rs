//! `muslin probe live`, by which a kubelet finds an agent that stands still.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "support/clock.rs"]
mod clock;
#[path = "support/daemon.rs"]
mod daemon;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use daemon::{Daemon, PATIENCE};
use muslin_netns::Namespace;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tempfile::TempDir;

const CLUSTER: &str = "
apiVersion: v1
kind: Node
metadata: {name: n1}
spec: {podCIDRs: [10.244.1.0/24]}
status: {addresses: [{type: InternalIP, address: 172.30.1.2}]}
";

/// An agent without a peer.
fn start(variables: &[(&str, &str)]) -> (Daemon, Namespace, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let (state, own) = (folder.path().join("state"), folder.path().join("n1"));
    for folder in [&state, &own] {
        fs::create_dir(folder).unwrap();
    }
    fs::write(state.join("state.yaml"), CLUSTER).unwrap();
    let node = Namespace::new("n1").unwrap();
    let agent = Daemon::start_with(&node, &own, &["agent", "--node", "n1"], &state, variables);
    (agent, node, folder)
}

/// Nothing if the agent lives, else what the probe says of it.
fn probe(agent: &Daemon, timeout: &str) -> Option<String> {
    let output = agent.ask(&["probe", "live", "--timeout", timeout]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.success(), said.is_empty(), "{output:?}");
    assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
    Some(said).filter(|said| !said.is_empty())
}

/// Asks until the answer is so; nobody tells when an agent lives.
#[track_caller]
fn until(agent: &Daemon, holds: impl Fn(Option<&str>) -> bool) -> Option<String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = probe(agent, "5s");
        if holds(answer.as_deref()) {
            return answer;
        }
        assert!(Instant::now() < deadline, "{answer:?}");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

#[test]
fn an_agent_that_is_stopped_does_not_live_and_does_again_when_it_goes_on() {
    let (agent, _node, _folder) = start(&[]);
    assert_eq!(probe(&agent, "5s"), None);
    let process = Pid::from_child(&agent.child);
    kill_process(process, Signal::STOP).unwrap();
    // Its parent is told when the last of its threads has stopped.
    let (_, status) = waitpid(Some(process), WaitOptions::UNTRACED).unwrap().unwrap();
    assert!(status.stopped(), "{status:?}");
    let begun = Instant::now();
    let said = probe(&agent, "1s").expect("a process that is stopped lives");
    let took = begun.elapsed();
    println!("{said} after {took:?}");
    assert!(said.contains("muslin.sock") && said.contains("no answer within 1s"), "{said}");
    // As long as it may take, and what it takes to start a program.
    assert!((Duration::from_secs(1)..Duration::from_secs(4)).contains(&took), "{took:?}");
    kill_process(process, Signal::CONT).unwrap();
    until(&agent, |said| said.is_none());
}

/// Puts a pipe in the place of a file: who reads it waits until somebody writes to it.
fn pipe(path: &Path) {
    let new = path.with_extension("new");
    assert!(Command::new("mkfifo").arg(&new).status().unwrap().success());
    fs::rename(new, path).unwrap();
}

#[test]
fn a_planner_that_is_stuck_is_named_and_the_rest_of_the_agent_goes_on() {
    let Some(library) = clock::library() else { return clock::skipped() };
    // A minute of the agent's passes in three seconds.
    let faster =
        [("LD_PRELOAD", library.to_str().unwrap()), ("FAKETIME", "+0 x20"), ("FAKETIME_NO_CACHE", "1")];
    let (agent, _node, folder) = start(&faster);
    agent.await_log("CNI configuration is in place");
    let up = Instant::now();
    until(&agent, |said| said.is_none() && up.elapsed() > Duration::from_secs(4));

    // It looks at this file with every audit, as it would at one of a disk that does not answer any more.
    let announcement = folder.path().join("n1/net.d/10-muslin.conflist");
    pipe(&announcement);
    let said =
        until(&agent, |said| said.is_some_and(|said| said.contains("the planner has stood still for")));
    println!("{}", said.unwrap());
    assert!(agent.text(&["status"]).contains("n1"), "the rest answers");

    fs::write(&announcement, "").unwrap();
    until(&agent, |said| said.is_none());
}
