//! Kubernetes' own end-to-end tests, and the page about them.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use muslin_kubernetes_lab::{KUBERNETES, SpecResult, Specs};

use crate::cluster::{Cluster, eventually};
use crate::http::same;

/// Specs that have to pass, by name.
const CORE: &str = include_str!("e2e/core.txt");

/// A part of Kubernetes' suite beyond the core.
struct Part {
    name: &'static str,
    focus: &'static str,
    skip: &'static [&'static str],
}

const PARTS: [Part; 2] = [
    Part {
        name: "The network",
        focus: r"\[sig-network\]",
        skip: &[
            "LoadBalancer",
            "Ingress",
            "NetworkPolicy",
            r"\[Feature:",
            "Alpha",
            r"\[Serial\]",
            r"\[Disruptive\]",
            "internet",
        ],
    },
    Part {
        name: "Dual stack",
        focus: r"\[Feature:IPv6DualStack\]",
        skip: &["LoadBalancer", "SCTP", r"\[Serial\]"],
    },
];

/// The core by itself, or with `MUSLIN_E2E=all` everything; `MUSLIN_E2E_PAGE` is where to write what came out.
pub(crate) fn own_tests(cluster: &Cluster) -> Result<()> {
    let wanted: Vec<&str> = CORE.lines().collect();
    // The suite's own name stands before that of each spec.
    let escaped: Vec<String> = wanted.iter().map(|name| format!("{}$", escape(name))).collect();
    let core = cluster.lab().run_specs(Specs { focus: &escaped, skip: &[] })?;
    let mut parts = vec![("The core, which every run of the tests has to pass", core)];
    if std::env::var("MUSLIN_E2E").is_ok_and(|what| what == "all") {
        for part in PARTS {
            let skip: Vec<String> = part.skip.iter().map(|skip| (*skip).to_owned()).collect();
            let focus = [part.focus.to_owned()];
            parts.push((part.name, cluster.lab().run_specs(Specs { focus: &focus, skip: &skip })?));
        }
    }
    if let Some(path) = std::env::var_os("MUSLIN_E2E_PAGE").map(PathBuf::from) {
        std::fs::write(&path, page(&parts)).with_context(|| path.display().to_string())?;
    }
    let missing: Vec<&&str> =
        wanted.iter().filter(|name| !parts[0].1.iter().any(|spec| spec.name == **name)).collect();
    let results = parts.iter().flat_map(|(_, results)| results);
    let failed: Vec<String> = results
        .filter(|spec| spec.state != "passed")
        .map(|spec| format!("{} {}: {}", spec.name, spec.state, spec.failure))
        .collect();
    for (name, results) in &parts {
        eprintln!("{name}: {}", verdict(results));
    }
    ensure!(missing.is_empty(), "not run: {missing:#?}");
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    // The suite does not wait for its pods to go; whoever counts addresses next would find theirs.
    eventually(|| {
        let left =
            cluster.kubectl.run(&["get", "namespaces", "--selector=e2e-framework", "--output=name"])?;
        same("namespaces of Kubernetes' own tests", &left.trim(), &"")
    })
}

fn verdict(results: &[SpecResult]) -> String {
    let passed = results.iter().filter(|spec| spec.state == "passed").count();
    format!("{passed} of {} specs passed", results.len())
}

/// A regular expression for the text itself.
fn escape(text: &str) -> String {
    let special = |letter: char| r"\.+*?()|[]{}^$".contains(letter);
    text.chars().flat_map(|letter| special(letter).then_some('\\').into_iter().chain([letter])).collect()
}

fn page(parts: &[(&str, Vec<SpecResult>)]) -> String {
    let first_line = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output();
        let text =
            output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        text.lines().next().unwrap_or_default().to_owned()
    };
    let variable = |name: &str, usual: &str| std::env::var(name).unwrap_or_else(|_| usual.to_owned());
    let mut page = String::from(
        "# Kubernetes' own tests

Made by `cargo xtask e2e --all` (without `--all` the core alone, which is a test of `cargo xtask test --tier kubernetes`, too): the
suite of Kubernetes, as released, on three nodes with kubelet, containerd and kube-proxy, whose pods find each other by nothing but
BGP with one router. IPv4 is the first family, IPv6 the second. Left out, apart from what leaves itself out: load balancers, Ingress
and NetworkPolicy, which are others' to provide, features beyond the stable ones, and specs that ask the internet.

| | |
|---|---|
",
    );
    let mut row = |name: &str, what: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(page, "| {name} | {what} |");
    };
    row("Muslin", env!("CARGO_PKG_VERSION").to_owned());
    row("Kubernetes", KUBERNETES.to_owned());
    row("kube-proxy", variable("MUSLIN_PROXY_MODE", "nftables"));
    row("Router", variable("MUSLIN_ROUTER", "muslin"));
    row("containerd", first_line("containerd", &["--version"]));
    row("runc", first_line("runc", &["--version"]));
    row("Linux", first_line("uname", &["-r"]));
    for (name, results) in parts {
        let _ = write!(page, "\n## {name}\n\n{}.\n\n| spec | | time |\n|---|---|---|\n", verdict(results));
        for spec in results {
            let _ = writeln!(
                page,
                "| {} | {} | {:.0} s |",
                spec.name.replace('|', "\\|"),
                spec.state,
                spec.seconds
            );
        }
    }
    page
}
