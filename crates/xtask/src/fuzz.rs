//! `cargo xtask fuzz`: coverage-guided fuzzing of the codec and the speaker with libFuzzer, on the stable toolchain.

use std::fmt;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;

use crate::metadata::Metadata;
use crate::packages::{self, CXX};
use crate::shell::{self, Count, cargo};

const MANIFEST: &str = "proto-tests/fuzz/Cargo.toml";
/// The instrumentation that libFuzzer wants, as the stable compiler can be told to add it.
const INSTRUMENT: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";
/// libFuzzer's exit code for "something was found".
const FOUND: i32 = 77;
/// Seconds for each target in the smoke tier: enough for what a change of the day would break.
const SMOKE_SECONDS: u32 = 5;
/// Seconds after which a search that has not found the planted bug is blind.
const PLANTED_SECONDS: u32 = 60;

/// What `cargo xtask fuzz` may be told.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// What is fuzzed.
    #[arg(value_enum)]
    target: Target,
    /// Seconds to search for.
    #[arg(long, default_value_t = 60)]
    time: u32,
}

/// What takes anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Target {
    /// Framing.
    Frame,
    /// OPEN and its capabilities.
    Open,
    /// UPDATE as a whole.
    Update,
    /// Path attributes.
    Attributes,
    /// NOTIFICATION.
    Notification,
    /// ROUTE-REFRESH.
    RouteRefresh,
    /// A speaker and a peer that sends anything.
    Session,
}

/// Whether the codec is built with the bug that a search has to find. Both are built into one folder, for what they
/// depend on is the same; a program of the one takes the place of the other's.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Codec {
    AsItIs,
    WithPlantedBug,
}

/// Searches with one target.
pub(crate) fn run(options: &Options) -> Result<()> {
    let fuzzer = Fuzzer::build(Codec::AsItIs)?;
    fuzzer.finds_nothing(options.target, options.time)
}

/// A short search with every target, and proof that a search sees: the planted bug has to be found.
pub(crate) fn smoke(count: &mut Count) -> Result<()> {
    let fuzzer = Fuzzer::build(Codec::AsItIs)?;
    let mut failures = Vec::new();
    let mut record = |what: String, result: Result<()>| match result {
        Ok(()) => count.passed += 1,
        Err(error) => {
            count.failed += 1;
            failures.push(format!("{what}: {error:#}"));
        }
    };
    for target in Target::value_variants() {
        record(target.name(), fuzzer.finds_nothing(*target, SMOKE_SECONDS));
    }
    let planted = Fuzzer::build(Codec::WithPlantedBug)?;
    record("planted bug".to_owned(), planted.finds(Target::Attributes, PLANTED_SECONDS));
    if !failures.is_empty() {
        bail!("{}", failures.join("; "));
    }
    Ok(())
}

/// The built targets and their corpora.
struct Fuzzer {
    folder: PathBuf,
    binaries: PathBuf,
}

impl Fuzzer {
    fn build(codec: Codec) -> Result<Self> {
        packages::require(&[CXX])?;
        let folder = Metadata::read()?.target_directory.join("fuzz");
        // Naming the target keeps the instrumentation out of build scripts.
        let target = host()?;
        let mut build =
            cargo(["build", "--release", "--locked", "--manifest-path", MANIFEST, "--target", &target]);
        build.env("RUSTFLAGS", INSTRUMENT).arg("--target-dir").arg(&folder);
        if codec == Codec::WithPlantedBug {
            build.args(["--features", "planted-bug", "--bin", "attributes"]);
        }
        shell::run(&mut build)?;
        let mut seeds = cargo([
            "run",
            "--quiet",
            "--locked",
            "--package",
            "muslin-proto-tests",
            "--example",
            "fuzz_seeds",
        ]);
        shell::run(seeds.arg("--").arg(folder.join("corpus")))?;
        Ok(Self { binaries: folder.join(target).join("release"), folder })
    }

    fn finds_nothing(&self, target: Target, seconds: u32) -> Result<()> {
        match self.search(target, seconds)? {
            0 => Ok(()),
            FOUND => bail!("found: see the crash- file in {}", self.folder.display()),
            code => bail!("exit code {code}"),
        }
    }

    fn finds(&self, target: Target, seconds: u32) -> Result<()> {
        let code = self.search(target, seconds)?;
        ensure!(code == FOUND, "the search is blind: exit code {code} after at most {seconds} s");
        Ok(())
    }

    /// Searches, says how far it came, and returns the exit code.
    fn search(&self, target: Target, seconds: u32) -> Result<i32> {
        let name = target.name();
        let log = self.folder.join(format!("{name}.log"));
        let mut command = Command::new(self.binaries.join(&name));
        command.current_dir(&self.folder).arg(self.folder.join("corpus").join(&name));
        command.args([&format!("-max_total_time={seconds}"), "-max_len=4096", "-print_final_stats=1"]);
        command.arg(format!("-artifact_prefix={}/{name}-", self.folder.display()));
        command.stderr(File::create(&log)?);
        println!("+ fuzz {name} for at most {seconds} s (log: {})", log.display());
        let code = command.status()?.code().context("the fuzzer was killed")?;
        let log = fs::read_to_string(&log)?;
        match Reach::of(&log) {
            Some(reach) => println!("  {name}: {reach}"),
            // What the corpus holds was enough.
            None if code == FOUND => println!("  {name}: found while the corpus was read"),
            None => bail!("the fuzzer did not say how far it came"),
        }
        Ok(code)
    }
}

/// How far a search came.
#[derive(Debug, PartialEq, Eq)]
struct Reach {
    executions: u64,
    edges: u64,
}

impl Reach {
    /// Reads libFuzzer's log: status lines as `#42 NEW cov: 17 ft: 20 …`, and the final statistics.
    fn of(log: &str) -> Option<Self> {
        let number = |text: &str| text.split_whitespace().next()?.parse().ok();
        let edges = log.lines().rev().find_map(|line| number(line.split_once(" cov: ")?.1))?;
        let executions = log
            .lines()
            .rev()
            .find_map(|line| number(line.strip_prefix("stat::number_of_executed_units:")?))?;
        Some(Self { executions, edges })
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} executions, {} edges", self.executions, self.edges)
    }
}

impl Target {
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

/// The machine that the compiler builds for unless told otherwise.
fn host() -> Result<String> {
    let version = shell::read(shell::command("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).with_context(|| format!("rustc -vV printed {version:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_tells_how_far_a_search_came() {
        let log = "#2\tINITED cov: 17 ft: 20 corp: 1/1b\n#42\tDONE   cov: 30 ft: 41\n###### End\n\
                   stat::number_of_executed_units: 42\nstat::peak_rss_mb: 9\n";
        assert_eq!(Reach::of(log), Some(Reach { executions: 42, edges: 30 }));
        assert_eq!(Reach::of("nothing"), None);
    }
}
