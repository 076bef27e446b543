//! The program of `crates/bgp-speaker/examples/embed.rs`, which is shorter than a hundred lines, as a peer of `muslin speaker`.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

#[path = "../../bgp-speaker/examples/embed.rs"]
#[allow(dead_code, reason = "its `main` takes arguments, which a test has not")]
mod embed;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ipnet::IpNet;
use muslin_netns::{Namespace, connect};

const PATIENCE: Duration = Duration::from_secs(30);
const ARGUMENTS: &str = "EMBED_ARGUMENTS";
const SPEAKER: &str = "
apiVersion: muslin.dev/v1alpha1
kind: BGPConfiguration
metadata: {name: default}
spec: {asn: 65000, routerID: 192.0.2.1, originate: [{cidr: 10.1.0.0/24}]}
---
apiVersion: muslin.dev/v1alpha1
kind: BGPFilter
metadata: {name: all}
spec: {import: [{action: Accept}], export: [{action: Accept}]}
---
apiVersion: muslin.dev/v1alpha1
kind: BGPPeer
metadata: {name: embedded}
spec: {peerAddress: 192.0.2.2, peerASN: 65001, filters: [all]}
";

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _dead_already = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Not a test: what the test below starts as the embedding program.
#[test]
fn the_embedding_program() {
    let Ok(arguments) = std::env::var(ARGUMENTS) else { return };
    let arguments: Vec<String> = arguments.split(' ').map(str::to_owned).collect();
    let config = embed::config(&arguments).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(embed::run(config)).unwrap();
}

#[test]
fn a_program_that_embeds_the_speaker_announces_its_prefix_and_prints_what_it_learns() {
    let (left, right) = (Namespace::new("left").unwrap(), Namespace::new("right").unwrap());
    connect(&left, "eth0", &right, "eth0").unwrap();
    left.add_address("eth0", "192.0.2.1/24".parse().unwrap()).unwrap();
    right.add_address("eth0", "192.0.2.2/24".parse().unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    fs::create_dir(&state).unwrap();
    fs::write(state.join("bgp.yaml"), SPEAKER).unwrap();
    let mut speaker = Command::new(env!("CARGO_BIN_EXE_muslin"));
    speaker.arg("speaker").arg("--state").arg(&state).arg("--run-dir").arg(folder.path());
    let _speaker = Running(left.spawn(speaker.stdin(Stdio::null()).stderr(Stdio::null())).unwrap());

    let mut embedding = Command::new(std::env::current_exe().unwrap());
    embedding.args(["--exact", "the_embedding_program", "--nocapture"]);
    embedding.env(ARGUMENTS, "65001 192.0.2.2 65000 192.0.2.1 10.2.0.0/24");
    let mut embedding = Running(right.spawn(embedding.stdin(Stdio::piped()).stdout(Stdio::piped())).unwrap());
    let announced: IpNet = "10.2.0.0/24".parse().unwrap();
    let there = left.await_routes(PATIENCE, |routes| routes.iter().any(|route| route.prefix == announced));
    assert!(there.unwrap(), "the kernel of the peer has no {announced}");
    let mut said = BufReader::new(embedding.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(said.any(|line| line.starts_with("10.1.0.0/24 via ")), "it prints the peer's prefix");
    // Ctrl-D ends it in order: the peer is told, and withdraws.
    drop(embedding.0.stdin.take());
    assert!(said.any(|line| line.contains("test result: ok")), "it ends well");
    let gone = left.await_routes(PATIENCE, |routes| routes.iter().all(|route| route.prefix != announced));
    assert!(gone.unwrap(), "{announced} is still in the kernel of the peer");
}

#[test]
fn the_embedding_program_is_shorter_than_a_hundred_lines() {
    let lines = include_str!("../../bgp-speaker/examples/embed.rs").lines().count();
    assert!(lines < 100, "{lines}");
}
