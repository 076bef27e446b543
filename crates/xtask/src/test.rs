//! `cargo xtask test`: the tiers, each with its needs, its time and its count.

pub(crate) mod ahead;
pub(crate) mod containerlab;
pub(crate) mod kubernetes;
mod lab;

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::ValueEnum;

use self::ahead::Ahead;
use crate::fuzz;
use crate::lint;
use crate::metadata::Metadata;
use crate::packages::{
    self, BIRD, EXABGP, FAKETIME, FRR, GOBGP, IPROUTE, JQ, NFTABLES, OPENBGPD, PING, PMACCT, PROMETHEUS,
    SYSTEMD, VALGRIND,
};
use crate::shell::{self, Count, Enter, cargo};

/// What `cargo xtask test` may be told.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Run only this tier; may be given several times.
    #[arg(long, value_enum)]
    tier: Vec<Tier>,
}

/// A part of the test suite, by what it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tier {
    /// Formatting, clippy, documentation, licences, crate graph.
    Lint,
    /// Tests of one process: units, properties, golden files, doc tests.
    Unit,
    /// Instructions of the hot paths, built as a release is, held to budgets.
    Counts,
    /// Tests with network namespaces of their own.
    Netns,
    /// Sessions and routes with other people's daemons, and malformed messages at a live speaker.
    Interop,
    /// `cargo lab` in each topology, with each router, as root and as an unprivileged user.
    Lab,
    /// Replay of the fuzzing corpora and a short search for more.
    FuzzSmoke,
    /// The topologies of `containerlab/` on a Docker engine of their own.
    Containerlab,
    /// The product on a real control plane with real nodes.
    Kubernetes,
}

/// Where tests are that need Helm, which the tier with Kubernetes builds and which is not among the packages.
const NEEDS_HELM: &str = "needs_helm::";

struct Outcome {
    tier: Tier,
    took: Duration,
    count: Count,
    error: Option<String>,
}

/// Runs the tiers that were asked for, all if none was; goes on after one has failed.
pub(crate) fn run(options: &Options) -> Result<()> {
    let tiers = if options.tier.is_empty() { Tier::value_variants() } else { &options.tier };
    let mut outcomes = Vec::new();
    let mut ahead = Ahead::default();
    for (place, &tier) in tiers.iter().enumerate() {
        println!("\n==> {}", tier.name());
        let start = Instant::now();
        let mut count = Count::default();
        if tier.waits()
            && let Err(error) = ahead.begin(&tiers[place + 1..])
        {
            // The tier that wants it will try again, and it is that tier's failure.
            eprintln!("not all is built ahead: {error:#}");
        }
        let result = tier.run(&mut count, &mut ahead);
        let took = start.elapsed();
        let error = result.err().map(|error| format!("{error:#}"));
        match &error {
            None => println!("==> {} passed in {:.1} s", tier.name(), took.as_secs_f64()),
            Some(error) => eprintln!("==> {} FAILED after {:.1} s: {error}", tier.name(), took.as_secs_f64()),
        }
        outcomes.push(Outcome { tier, took, count, error });
    }
    summarise(&outcomes)
}

fn summarise(outcomes: &[Outcome]) -> Result<()> {
    println!("\n{:<12} {:>8} {:>8} {:>8}", "tier", "passed", "failed", "time");
    let mut total = Count::default();
    for Outcome { tier, took, count, error } in outcomes {
        let verdict = error.as_deref().unwrap_or_default();
        let (name, seconds) = (tier.name(), took.as_secs_f64());
        println!("{name:<12} {:>8} {:>8} {seconds:>6.1} s  {verdict}", count.passed, count.failed);
        total += *count;
        // A tier that failed without a failing test, or passed without counting, still counts as one.
        total += match (error.is_some(), *count) {
            (true, Count { failed: 0, .. }) => Count { failed: 1, ..Count::default() },
            (false, Count { passed: 0, .. }) => Count { passed: 1, ..Count::default() },
            _ => Count::default(),
        };
    }
    println!("\n{} passed, {} failed", total.passed, total.failed);
    if total.skipped > 0 {
        println!("{} SKIPPED for what this machine lacks: see above", total.skipped);
    }
    if outcomes.iter().any(|outcome| outcome.error.is_some()) {
        bail!("not every tier passed");
    }
    Ok(())
}

impl Tier {
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Whether most of its time goes by while the processor has nothing to do.
    fn waits(self) -> bool {
        matches!(self, Self::Netns | Self::Interop | Self::Lab)
    }

    fn run(self, count: &mut Count, ahead: &mut Ahead) -> Result<()> {
        match self {
            Self::Lint => lint::run(&lint::Options::default()),
            Self::Unit => unit(count),
            Self::Counts => counts(count),
            Self::Netns => netns(count),
            Self::Interop => interop(count),
            Self::Lab => lab::run(count),
            Self::FuzzSmoke => fuzz_smoke(count),
            Self::Containerlab => containerlab::run(count, ahead),
            Self::Kubernetes => kubernetes::run(count, ahead),
        }
    }
}

/// The tier that an integration test belongs to, by its name.
fn tier_of(test: &str) -> Tier {
    if test.starts_with("netns_") {
        Tier::Netns
    } else if test.starts_with("interop_") {
        Tier::Interop
    } else if test.starts_with("kubernetes_") {
        Tier::Kubernetes
    } else if test.starts_with("counts_") {
        Tier::Counts
    } else if test.starts_with("fuzz_") {
        Tier::FuzzSmoke
    } else {
        Tier::Unit
    }
}

/// `cargo test` of every integration test of a tier.
fn integration_tests(tier: Tier) -> Result<Command> {
    let metadata = Metadata::read()?;
    let members = metadata.members();
    let tests: BTreeSet<_> = members
        .flat_map(|package| package.integration_tests().filter(|test| tier_of(test) == tier))
        .collect();
    if tests.is_empty() {
        bail!("there is no integration test of the tier {}", tier.name());
    }
    // Of the whole workspace: with a choice of packages goes a choice of features, and all that depends on them is built anew.
    let mut command = cargo(["test", "--workspace", "--locked", "--no-fail-fast"]);
    command.args(tests.into_iter().flat_map(|test| ["--test", test]));
    Ok(command)
}

fn unit(count: &mut Count) -> Result<()> {
    let workspace = |what: &[&str]| {
        let mut command = cargo(["test", "--workspace", "--locked", "--no-fail-fast"]);
        command.args(what);
        command
    };
    // All of them run before the first failure is reported.
    let units = shell::run_tests(&mut workspace(&["--lib", "--bins", "--", "--skip", NEEDS_HELM]), count);
    let others = integration_tests(Tier::Unit).and_then(|mut tests| shell::run_tests(&mut tests, count));
    let documentation = shell::run_tests(&mut workspace(&["--doc"]), count);
    let planted = shell::run_tests(&mut planted_bugs(), count);
    units.and(others).and(documentation).and(planted)
}

/// The simulation of the speaker has to find the bugs that a feature plants.
fn planted_bugs() -> Command {
    let mut command = cargo(["test", "--workspace", "--locked"]);
    command.args([
        "--features",
        "muslin-bgp-speaker/planted-bugs",
        "--test",
        "simulation",
        "every_planted_bug",
    ]);
    command
}

fn counts(count: &mut Count) -> Result<()> {
    packages::require(&[VALGRIND])?;
    // Of these packages alone: what the rest of the workspace needs is not built a second time.
    let guards = [
        ["--package", "muslin-bgp-speaker", "--test", "counts_*"].as_slice(),
        &["--package", "muslin-route-programmer", "--lib", "tests::counts"],
    ];
    // Both of them, before the first failure is reported.
    let [speaker, programmer] = guards.map(|guard| {
        shell::run_tests(cargo(["test", "--locked", "--profile", "profiling"]).args(guard), count)
    });
    speaker.and(programmer)
}

fn netns(count: &mut Count) -> Result<()> {
    packages::require(&[NFTABLES, FAKETIME, IPROUTE, PING, JQ, PROMETHEUS, SYSTEMD])?;
    let later = packages::later::require(&packages::later::MANAGERS)?;
    let mut tests = integration_tests(Tier::Netns)?;
    tests.env("MUSLIN_LATER_DAEMONS", later);
    shell::run_tests(&mut Enter::wrap(&tests)?, count)
}

fn interop(count: &mut Count) -> Result<()> {
    packages::require(&[BIRD, FRR, GOBGP, OPENBGPD, EXABGP, PMACCT, IPROUTE, PING, JQ])?;
    if !shell::is_root() {
        bail!(
            "FRR and OpenBGPD change to users of their own, which needs root: sudo cargo xtask test --tier interop"
        );
    }
    let later = packages::later::require(&packages::later::SPEAKERS)?;
    let mut tests = integration_tests(Tier::Interop)?;
    tests.env("MUSLIN_LATER_DAEMONS", later);
    // Most of the time is spent waiting for daemons.
    tests
        .env("MUSLIN_BIN", crate::lab::build()?)
        .env("RUST_LIB_BACKTRACE", "0")
        .args(["--", "--test-threads=8"]);
    shell::run_tests(&mut Enter::wrap(&tests)?, count)
}

fn fuzz_smoke(count: &mut Count) -> Result<()> {
    shell::run_tests(&mut integration_tests(Tier::FuzzSmoke)?, count)?;
    fuzz::smoke(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integration_test_belongs_to_a_tier_by_its_name() {
        assert_eq!(tier_of("netns_programmer"), Tier::Netns);
        assert_eq!(tier_of("interop_frr"), Tier::Interop);
        assert_eq!(tier_of("fuzz_corpus"), Tier::FuzzSmoke);
        assert_eq!(tier_of("kubernetes_cluster"), Tier::Kubernetes);
        assert_eq!(tier_of("golden"), Tier::Unit);
    }

    fn outcome(passed: u32, failed: u32, error: Option<&str>) -> Outcome {
        let count = Count { passed, failed, skipped: 0 };
        Outcome { tier: Tier::Unit, took: Duration::ZERO, count, error: error.map(str::to_owned) }
    }

    #[test]
    fn one_tier_that_failed_fails_the_run() {
        assert!(summarise(&[outcome(3, 0, None)]).is_ok());
        assert!(summarise(&[outcome(3, 0, None), outcome(3, 0, Some("no such package"))]).is_err());
    }
}
