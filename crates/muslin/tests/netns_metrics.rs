//! Metrics of a running node as Prometheus' own tools see them, and the log's level changed while it runs.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/pair.rs"]
mod pair;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use daemon::PATIENCE;
use pair::{CLUSTER, Pair, ROUTER};

fn asked(mut stream: impl Read + Write, path: &str) -> String {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: muslin\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    body.to_owned()
}

/// The body of a chunked answer has lengths in it; a metric's line has none.
fn samples(body: &str) -> String {
    let lines = body.lines().filter(|line| line.starts_with('#') || line.starts_with("muslin_"));
    lines.fold(String::new(), |text, line| text + line + "\n")
}

fn found(text: &str, sample: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '))?;
    Some(line.parse().unwrap())
}

fn value(text: &str, sample: &str) -> u64 {
    found(text, sample).unwrap_or_else(|| panic!("no {sample} in\n{text}"))
}

/// Asks until a sample is as wanted.
fn await_value(pair: &Pair, sample: &str, wanted: impl Fn(u64) -> bool) -> String {
    let begun = Instant::now();
    loop {
        let text = samples(&asked(UnixStream::connect(&pair.agent.socket).unwrap(), "/metrics"));
        if found(&text, sample).is_some_and(&wanted) {
            return text;
        }
        assert!(begun.elapsed() < PATIENCE, "{sample} does not come about:\n{text}");
        // A change of the daemon's state wakes this.
        pair.agent.ask(&["probe", "ready"]);
    }
}

#[test]
fn metrics_of_a_running_node_are_as_prometheus_wants_them() {
    let pair = Pair::start(CLUSTER, ROUTER);
    let accepted = "muslin_bgp_routes{peer=\"tor\",family=\"ipv4-unicast\",state=\"accepted\"}";
    await_value(&pair, accepted, |routes| routes == 1);
    let well = await_value(&pair, "muslin_ready{goal=\"converged\"}", |ready| ready == 1);
    assert_eq!(value(&well, "muslin_bgp_sessions_established{peer=\"tor\"}"), 1);
    assert_eq!(value(&well, "muslin_kernel_agreement"), 1);
    assert_eq!(
        value(&well, "muslin_ipam_addresses{block=\"10.244.1.0/24\",family=\"IPv4\",state=\"free\"}"),
        254
    );
    // What the router announced is in the kernel: its whole way was measured.
    await_value(&pair, "muslin_update_to_kernel_seconds_count", |count| count >= 1);

    // One more prefix: its whole way to the router is measured.
    let more = CLUSTER.replace("{import:", "{originate: [{cidr: 198.51.100.0/24}], import:");
    std::fs::write(pair.cluster.join(".new"), more).unwrap();
    std::fs::rename(pair.cluster.join(".new"), pair.cluster.join("state.yaml")).unwrap();
    await_value(&pair, "muslin_event_to_update_seconds_count", |count| count >= 1);

    let text = samples(&asked(UnixStream::connect(&pair.agent.socket).unwrap(), "/metrics"));
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = promtool.spawn().expect("promtool: install the package prometheus");
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}\n{text}", String::from_utf8_lossy(&said));
}

#[test]
fn a_lost_session_is_measured_to_the_kernel() {
    let mut pair = Pair::start(
        &CLUSTER.replace("peerASN: 65000", "peerASN: 65000, gracefulRestart: {enabled: false}"),
        ROUTER,
    );
    await_value(&pair, "muslin_kernel_routes{state=\"installed\"}", |routes| routes >= 2);
    pair.router.child.kill().unwrap();
    pair.router.child.wait().unwrap();
    let text =
        await_value(&pair, "muslin_session_loss_to_withdrawal_seconds_count{to=\"kernel\"}", |count| {
            count >= 1
        });
    assert_eq!(value(&text, "muslin_bgp_sessions_lost_total{peer=\"tor\"}"), 1);
    assert_eq!(value(&text, "muslin_bgp_sessions_established{peer=\"tor\"}"), 0);
}

#[test]
fn metrics_are_answered_over_tcp_where_that_is_asked_for_and_nothing_else_is() {
    let pair = Pair::start_with(CLUSTER, ROUTER, &["--metrics-listen", "172.30.1.2:9179"]);
    pair.agent.await_log("metrics are answered");
    let there = || TcpStream::connect("172.30.1.2:9179").unwrap();
    let text = pair.gateway.run(|| asked(there(), "/metrics")).unwrap();
    assert!(text.contains("muslin_build_info{version="), "{text}");
    let other = pair.gateway.run(|| {
        let mut stream = there();
        write!(stream, "GET /v1/status HTTP/1.1\r\nHost: muslin\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    assert!(other.unwrap().starts_with("HTTP/1.1 404"));
}

#[test]
fn every_alert_fires_for_what_it_is_about_and_not_on_a_node_that_is_well() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/monitoring");
    let mut promtool = Command::new("promtool");
    let tried = promtool.args(["test", "rules", "alerts_test.yml"]).current_dir(&folder).output();
    let tried = tried.expect("promtool: install the package prometheus");
    assert!(tried.status.success(), "{}", String::from_utf8_lossy(&[tried.stdout, tried.stderr].concat()));
    // Whoever adds an alert tries it.
    let names = |text: &str, before: &str| -> Vec<String> {
        text.lines().filter_map(|line| line.trim().strip_prefix(before)).map(str::to_owned).collect()
    };
    let alerts = names(&std::fs::read_to_string(folder.join("alerts.yml")).unwrap(), "- alert: ");
    let tests = names(&std::fs::read_to_string(folder.join("alerts_test.yml")).unwrap(), "- name: ");
    assert!(alerts.iter().all(|alert| tests.contains(alert)), "{alerts:?} are not all in {tests:?}");
}

#[test]
fn what_is_logged_changes_while_the_daemon_runs_and_back() {
    let pair = Pair::start(CLUSTER, ROUTER);
    let log = |args: &[&str]| {
        let output = pair.agent.ask(&[&["log"], args].concat());
        (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    assert_eq!(log(&[]), (true, "info\n".to_owned()));
    let target = ["debug", "muslin_bgp_speaker"];
    assert_eq!(log(&target), (true, "info,muslin_bgp_speaker=debug (started with info)\n".to_owned()));
    pair.agent.await_log("info,muslin_bgp_speaker=debug");
    // A session that is reset connects again, which is a decision.
    pair.agent.ask(&["peer", "reset", "tor"]);
    pair.agent.await_log("DEBUG");
    assert_eq!(log(&["--reset"]), (true, "info\n".to_owned()));
    let (well, said) = log(&["debug", "no[part"]);
    assert!(!well && said.contains("not a part of the program"), "{said}");
    let (well, said) = log(&["loud"]);
    assert!(!well && said.contains("possible values: off, error, warn, info, debug, trace"), "{said}");
}
