use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use muslin_bgp_speaker::PeerStatus;
use muslin_bgp_speaker::net::{FibCause, Latencies};

use super::catalogue::{ALL, Metric};
use super::*;
use crate::api::Status;

/// A place of the repository.
fn file(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The examples of the documentation, as a running daemon answers them.
fn example(heading: &str) -> serde_json::Value {
    let page = read("docs/api.md");
    let (_, rest) = page.split_once(heading).unwrap();
    let (_, rest) = rest.split_once("```json\n").unwrap();
    serde_json::from_str(rest.split_once("```").unwrap().0).unwrap()
}

fn status(change: impl Fn(&mut Vec<PeerStatus>)) -> Status {
    let mut status = example("## `GET /v1/status`");
    status["peers"] = example("## `GET /v1/peers`");
    let mut status: Status = serde_json::from_value(status).unwrap();
    change(&mut status.peers);
    status
}

fn lines(status: &Status) -> Vec<String> {
    let (speaker, kernel) = (Latencies::default(), KernelWays::default());
    let received = FibCause { received: Some(Instant::now()), lost: None };
    kernel.arrived(received, Instant::now() + Duration::from_millis(7));
    let observed = Observed { status, speaker: Some(&speaker), kernel: &kernel };
    text(&observed).lines().map(str::to_owned).collect()
}

fn page() -> String {
    let mut page = "# Metrics\n\n\
        `muslin agent` and `muslin speaker` answer Prometheus at `/metrics`: on the local socket always, and over TCP where\n\
        `--metrics-listen ADDRESS:PORT` says so (the chart's `monitoring.listen`). Nothing else is answered there, nothing is\n\
        secret in it, and nobody is asked who they are: choose an address that the right ones reach.\n\n    \
        curl --unix-socket /run/muslin/muslin.sock http://muslin/metrics\n\n\
        Their number is bounded: peers out of a listen range count together under the range's name, no label holds a prefix, a\n\
        Service or a pod. Counters of single peers are left out for those of ranges, which come and go.\n\n\
        [Alerts](../deploy/monitoring/alerts.yml), each with a test, and a [dashboard](../deploy/monitoring/dashboard.json) for\n\
        Grafana are in `deploy/monitoring`; the chart makes a PrometheusRule and a ServiceMonitor of them (`monitoring` in its\n\
        values). This page is made from the code: `UPDATE=1 cargo test -p muslin metrics`.\n\n\
        | metric | kind | labels | what it is |\n|---|---|---|---|\n"
        .to_owned();
    for Metric { name, kind, help, labels } in ALL {
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        let _ = writeln!(page, "| `{name}` | {} | {} | {help} |", kind.name(), labels.join(" "));
    }
    page
}

#[test]
fn the_page_about_metrics_is_true() {
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(file("docs/metrics.md"), page()).unwrap();
    }
    assert_eq!(read("docs/metrics.md"), page(), "run UPDATE=1 cargo test -p muslin metrics");
}

#[test]
fn the_charts_alerts_are_those_that_are_tested() {
    assert_eq!(read("deploy/helm/muslin/files/alerts.yml"), read("deploy/monitoring/alerts.yml"));
}

/// Whole words that begin as ours do.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("muslin_")).map(str::to_owned).collect()
}

#[test]
fn alerts_and_dashboard_ask_for_metrics_that_there_are() {
    let known: BTreeSet<String> = ALL
        .iter()
        .flat_map(|metric| match metric.kind {
            catalogue::Kind::Histogram => {
                ["_bucket", "_sum", "_count"].map(|suffix| format!("{}{suffix}", metric.name)).to_vec()
            }
            catalogue::Kind::Gauge | catalogue::Kind::Counter => vec![metric.name.to_owned()],
        })
        .collect();
    let mut asked = BTreeSet::new();
    let dashboard: serde_json::Value =
        serde_json::from_str(&read("deploy/monitoring/dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let queries: Vec<&str> = targets.map(|target| target["expr"].as_str().unwrap()).collect();
    assert!(queries.len() > 10, "{queries:?}");
    for query in queries {
        let names = named(query);
        assert!(!names.is_empty(), "{query} asks for nothing of ours");
        asked.extend(names);
    }
    for line in read("deploy/monitoring/alerts.yml").lines().filter(|line| line.trim().starts_with("expr:")) {
        asked.extend(named(line));
    }
    let unknown: Vec<_> = asked.difference(&known).collect();
    assert!(unknown.is_empty(), "there are no metrics {unknown:?}");
}

#[test]
fn every_sample_belongs_to_a_metric_and_every_metric_has_one() {
    let lines = lines(&status(|_| ()));
    for metric in ALL {
        // What nothing is to be said of is left out as a whole.
        if metric.name == "muslin_bgp_prefix_limit" {
            continue;
        }
        assert!(
            lines.iter().any(|line| line.starts_with(&format!("# TYPE {} ", metric.name))),
            "{}",
            metric.name
        );
        assert!(
            lines.iter().any(|line| line.starts_with(metric.name) && line[metric.name.len()..].contains(' ')),
            "{} has no sample",
            metric.name
        );
    }
    assert!(lines.contains(&"muslin_bgp_sessions{peer=\"tor-1-ipv4\"} 1".to_owned()), "{lines:#?}");
    assert!(
        lines.contains(&"muslin_update_to_kernel_seconds_bucket{le=\"0.01\"} 1".to_owned()),
        "{lines:#?}"
    );
}

#[test]
fn peers_out_of_a_range_count_together_and_have_no_counters() {
    let status = status(|peers| {
        let mut other = peers[0].clone();
        other.key = muslin_bgp_speaker::config::PeerKey("rack/10.0.0.2".into());
        other.range = Some(muslin_bgp_speaker::config::PeerKey("rack".into()));
        peers.push(other.clone());
        other.key = muslin_bgp_speaker::config::PeerKey("rack/10.0.0.3".into());
        peers.push(other);
    });
    let lines = lines(&status);
    assert!(lines.contains(&"muslin_bgp_sessions_established{peer=\"rack\"} 2".to_owned()), "{lines:#?}");
    assert!(
        !lines.iter().any(|line| line.contains("rack/") || line.contains("messages_total{peer=\"rack\""))
    );
}

#[test]
fn many_peers_have_no_more_series_than_some() {
    let status = status(|peers| {
        let one = peers[0].clone();
        for number in 0..2_000 {
            let mut more = one.clone();
            more.key = muslin_bgp_speaker::config::PeerKey(format!("p{number}").into());
            peers.push(more);
        }
    });
    let series = lines(&status).iter().filter(|line| line.starts_with("muslin_bgp_sessions{")).count();
    assert!(series <= 600, "{series}");
}
