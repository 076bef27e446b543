//! Kubernetes' own end-to-end tests, and the page about them.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use muslin_kubernetes_lab::{KUBERNETES, Programs, SpecResult, Specs};

use crate::cluster::{Cluster, eventually};
use crate::http::same;

/// Specs that have to pass, by name.
const CORE: &str = include_str!("e2e/core.txt");

/// How many names the core has at least: a list that lost some would pass, too.
const LEAST_OF_CORE: usize = 18;

/// A part of Kubernetes' suite beyond the core.
struct Part {
    name: &'static str,
    /// How many of its specs have to pass: of none, or of those that leave themselves out, none fails.
    least: usize,
    focus: &'static str,
    skip: &'static [&'static str],
}

const PARTS: [Part; 2] = [
    Part {
        name: "The network",
        least: 117,
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
        least: 22,
        focus: r"\[Feature:IPv6DualStack\]",
        skip: &["LoadBalancer", "SCTP", r"\[Serial\]"],
    },
];

/// The core by itself, or with `MUSLIN_E2E=all` everything; `MUSLIN_E2E_PAGE` is where to write what came out, of
/// the sources that `MUSLIN_E2E_SOURCES` names.
pub(crate) fn own_tests(cluster: &Cluster) -> Result<()> {
    let wanted: Vec<&str> = CORE.lines().collect();
    // The suite's own name stands before that of each spec.
    let escaped: Vec<String> = wanted.iter().map(|name| format!("{}$", escape(name))).collect();
    let core = cluster.lab().run_specs(Specs { focus: &escaped, skip: &[] })?;
    let mut parts = vec![Ran {
        name: "The core, which every run of the tests has to pass",
        least: LEAST_OF_CORE,
        results: core,
    }];
    if std::env::var("MUSLIN_E2E").is_ok_and(|what| what == "all") {
        for part in PARTS {
            let skip: Vec<String> = part.skip.iter().map(|skip| (*skip).to_owned()).collect();
            let focus = [part.focus.to_owned()];
            let results = cluster.lab().run_specs(Specs { focus: &focus, skip: &skip })?;
            parts.push(Ran { name: part.name, least: part.least, results });
        }
    }
    if let Some(path) = std::env::var_os("MUSLIN_E2E_PAGE").map(PathBuf::from) {
        std::fs::write(&path, page(&parts)?).with_context(|| path.display().to_string())?;
    }
    for part in &parts {
        eprintln!("{}: {}", part.name, part.verdict());
    }
    // Of the core none may leave itself out.
    let passed: BTreeSet<&str> = parts[0].passed().map(|spec| &*spec.name).collect();
    let missing: Vec<&&str> = wanted.iter().filter(|name| !passed.contains(**name)).collect();
    let complaints: Vec<String> = parts.iter().flat_map(Ran::complaints).collect();
    ensure!(complaints.is_empty(), "{}", complaints.join("\n"));
    ensure!(missing.is_empty(), "of the core did not pass: {missing:#?}");
    // The suite does not wait for its pods to go; whoever counts addresses next would find theirs.
    eventually(|| {
        let left =
            cluster.kubectl.run(&["get", "namespaces", "--selector=e2e-framework", "--output=name"])?;
        same("namespaces of Kubernetes' own tests", &left.trim(), &"")
    })
}

/// A part that was run.
struct Ran {
    name: &'static str,
    least: usize,
    results: Vec<SpecResult>,
}

impl Ran {
    fn passed(&self) -> impl Iterator<Item = &SpecResult> {
        self.results.iter().filter(|spec| spec.passed())
    }

    fn verdict(&self) -> String {
        let (passed, skipped) =
            (self.passed().count(), self.results.iter().filter(|spec| spec.skipped()).count());
        let verdict = format!("{passed} of {} specs passed", self.results.len() - skipped);
        if skipped == 0 { verdict } else { format!("{verdict}, {skipped} more left themselves out") }
    }

    /// What failed, and whether there was too little that could have.
    fn complaints(&self) -> Vec<String> {
        let failed = self.results.iter().filter(|spec| !spec.passed() && !spec.skipped());
        let mut complaints: Vec<String> =
            failed.map(|spec| format!("{} {}: {}", spec.name, spec.state, spec.failure)).collect();
        if self.passed().count() < self.least {
            complaints.push(format!("{}: {}, {} have to", self.name, self.verdict(), self.least));
        }
        complaints
    }
}

/// A regular expression for the text itself.
fn escape(text: &str) -> String {
    let special = |letter: char| r"\.+*?()|[]{}^$".contains(letter);
    text.chars().flat_map(|letter| special(letter).then_some('\\').into_iter().chain([letter])).collect()
}

/// What a program says of its version.
fn first_line(program: impl AsRef<OsStr>, arguments: &[&str]) -> Result<String> {
    let program = program.as_ref();
    let name = || program.display().to_string();
    let output = Command::new(program).args(arguments).output().with_context(name)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().next().unwrap_or_default().trim().to_owned();
    ensure!(output.status.success() && !line.is_empty(), "{} does not say its version", name());
    Ok(line)
}

fn page(parts: &[Ran]) -> Result<String> {
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
    row(
        "Muslin",
        format!("{} at {}", env!("CARGO_PKG_VERSION"), variable("MUSLIN_E2E_SOURCES", "what stood there")),
    );
    row("Kubernetes", KUBERNETES.to_owned());
    row("kube-proxy", variable("MUSLIN_PROXY_MODE", "nftables"));
    row("Router", variable("MUSLIN_ROUTER", "muslin"));
    row("containerd", first_line("containerd", &["--version"])?);
    row("runc", first_line("runc", &["--version"])?);
    row("etcd", first_line("etcd", &["--version"])?);
    row("CoreDNS", first_line(Programs::built()?.get("coredns"), &["-version"])?);
    // Debian's plugins do not know it themselves.
    let package = ["--show", "--showformat=${Package} ${Version}", "containernetworking-plugins"];
    row("CNI plugins", first_line("dpkg-query", &package)?);
    row("Linux", first_line("uname", &["-r"])?);
    for part in parts {
        let (name, verdict) = (part.name, part.verdict());
        let _ = write!(page, "\n## {name}\n\n{verdict}.\n\n| spec | | time |\n|---|---|---|\n");
        for spec in &part.results {
            let why = if spec.skipped() { format!(": {}", spec.failure) } else { String::new() };
            let [name, why] = [&spec.name, &why].map(|text| text.replace('|', "\\|").replace('\n', " "));
            let _ = writeln!(page, "| {name} | {}{why} | {:.0} s |", spec.state, spec.seconds);
        }
    }
    Ok(page)
}
