//! `cargo xtask bench`: how fast and how big, beside others in the same run.
//!
//! Every repetition makes new namespaces, and the candidates take turns, so that a busy minute of the machine hits all of
//! them. What is written is the median with the smallest and the largest value, and the ratio to the first candidate.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for people at a terminal")]
#![allow(clippy::format_push_string, reason = "configurations are put together piece by piece, to be read")]

mod cni;
mod lab;
mod path;
mod plot;
mod report;
mod routes;
mod scale;
mod sizes;
mod sizing;
mod speaker;
mod start;
mod way;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::{Parser, ValueEnum};
use muslin_netns::{Entered, become_root_in_user_namespace};

use crate::report::{Machine, Report, Section};
use crate::speaker::{Extent, Failed, Grown};

/// What nobody has to wait longer for who wants to know whether the benchmarks work.
const QUICK: Duration = Duration::from_mins(5);

/// Measures Muslin beside others.
#[derive(Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct Options {
    /// One repetition of small problems, five minutes at most: shows that the benchmarks work, not how fast anything is
    #[arg(long)]
    quick: bool,
    /// Measure only this; may be given several times
    #[arg(long, value_enum, ignore_case = true)]
    only: Vec<Subject>,
    /// Prefixes or clients, instead of those of the scenario (S1 to S7, routes)
    #[arg(long, value_name = "NUMBER")]
    size: Option<u32>,
    /// Repetitions, instead of the usual ones (S1 to S10, routes)
    #[arg(long, value_name = "NUMBER")]
    runs: Option<usize>,
    /// Only this contender, e.g. `muslin` or `bird3`; may be given several times (S1 to S7)
    #[arg(long, value_name = "NAME")]
    with: Vec<String>,
    /// A table of the Internet's for S1, in place of one that looks like it: a decompressed MRT dump
    #[arg(long, value_name = "FILE")]
    table: Option<PathBuf>,
    /// Folder of benchmarks.md and benchmarks.json; without it they are only printed
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
    /// Folder of the release binaries
    #[arg(long, value_name = "DIR", hide = true)]
    binaries: PathBuf,
}

impl Options {
    fn extent(&self) -> Extent {
        Extent {
            quick: self.quick,
            size: self.size,
            runs: self.runs,
            with: self.with.clone(),
            table: self.table.clone(),
            failed: Failed::default(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Subject {
    /// Convergence of the lab and memory of its agents, and the time until its cluster is up
    Lab,
    /// S9: ADD and DEL of the CNI plugins
    #[value(alias = "s9")]
    Cni,
    /// S5: routes into the kernel
    #[value(alias = "s5")]
    Routes,
    /// Size of the binaries
    Sizes,
    /// The speaker: a full table
    S1,
    /// The speaker: many feeders of the same prefixes
    S2,
    /// The speaker: a route reflector of a thousand nodes
    S3,
    /// The speaker: a route reflector of 2,000 nodes
    S3b,
    /// The speaker: a route reflector of 5,000 nodes
    S3c,
    /// The speaker: a thousand sessions come up
    Establish,
    /// The speaker: churn
    S4,
    /// The speaker: ten times the churn
    S4m,
    /// The speaker: churn beside a stalled receiver
    S4s,
    /// The speaker: idle sessions
    S6,
    /// The speaker: latency of one change
    S7,
    /// The speaker: S1 at four sizes
    S1g,
    /// The speaker: S2 at four sizes
    S2g,
    /// The speaker: S3 at four sizes
    S3g,
    /// The speaker: S4 at four sizes
    S4g,
    /// A reflector and an agent by the size of their cluster
    Sizing,
    /// The whole way of a Service into the kernels of a hundred nodes
    S7w,
    /// Start of an agent in a large cluster
    S8,
    /// An agent on a real API server with thousands of nodes
    Scale,
    /// The data path from pod to pod
    S10,
}

fn main() -> ExitCode {
    // Before any thread and any output: it runs this program again.
    match become_root_in_user_namespace() {
        Ok(Entered::Finished(code)) => code,
        Ok(Entered::Inside(_)) => match run(&Options::parse()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {error:#}");
                ExitCode::FAILURE
            }
        },
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let begun = Instant::now();
    let subjects = if options.only.is_empty() { Subject::value_variants() } else { &options.only };
    let name = |subject: &Subject| format!("{subject:?}").to_lowercase();
    let order: Vec<String> = Subject::value_variants().iter().map(name).collect();
    let machine = Machine::this()?;
    let extent = options.extent();
    let mut report = options.write.as_deref().map(Report::read).unwrap_or_default();
    for subject in subjects {
        if options.only.is_empty()
            && *subject == Subject::Scale
            && let Some(reason) = scale::lacks()
        {
            eprintln!("SKIPPED: {subject:?}: {reason:#}");
            continue;
        }
        eprintln!("==> {subject:?}");
        let subject_begun = Instant::now();
        report.put(&name(subject), machine.clone(), measure(*subject, options, &extent)?, &order);
        eprintln!("{subject:?} took {:.1} s", subject_begun.elapsed().as_secs_f64());
        // Each at once: what was measured before an interruption counts.
        if let Some(folder) = &options.write {
            report.write(folder)?;
        }
    }
    println!("{}", report.markdown());
    let took = begun.elapsed();
    eprintln!("all of it took {:.0} s", took.as_secs_f64());
    let is_in_time = !options.quick || !options.only.is_empty() || took <= QUICK;
    ensure!(is_in_time, "--quick has to be over within {QUICK:?}");
    Ok(())
}

fn measure(subject: Subject, options: &Options, extent: &Extent) -> Result<Section> {
    match subject {
        Subject::Lab => {
            let runs = if options.quick { 1 } else { 5 };
            // A cluster takes half a minute of the five.
            let clusters = if options.only.is_empty() && options.quick { 0 } else { runs };
            lab::measure(&options.binaries, lab::Extent { runs, clusters })
        }
        Subject::Cni => {
            let (runs, pods, at_once) = if options.quick { (1, 5, 10) } else { (5, 20, 50) };
            let runs = options.runs.unwrap_or(runs);
            cni::measure(&options.binaries, cni::Extent { runs, pods, at_once })
        }
        Subject::Routes => {
            let (routes, runs) = if options.quick { (20_000, 1) } else { (200_000, 5) };
            routes::measure(&options.binaries, options.size.unwrap_or(routes), options.runs.unwrap_or(runs))
        }
        Subject::Sizes => sizes::measure(&options.binaries),
        Subject::S1 => speaker::full_table(extent),
        Subject::S2 => speaker::many_feeders(extent),
        Subject::S3 => speaker::reflector(extent),
        Subject::S3b => speaker::large_reflector(extent),
        Subject::S3c => speaker::huge_reflector(extent),
        Subject::Establish => speaker::establish(extent),
        Subject::S4 => speaker::churn(extent),
        Subject::S4m => speaker::fast_churn(extent),
        Subject::S4s => speaker::stalled_churn(extent),
        Subject::S6 => speaker::idle(extent),
        Subject::S7 => speaker::latency(extent),
        Subject::Sizing => sizing::measure(extent),
        Subject::S1g => speaker::growth(Grown::FullTable, extent),
        Subject::S2g => speaker::growth(Grown::ManyFeeders, extent),
        Subject::S3g => speaker::growth(Grown::Reflector, extent),
        Subject::S4g => speaker::growth(Grown::Churn, extent),
        Subject::S7w => {
            let (nodes, changes, runs) = if options.quick { (10, 10, 1) } else { (100, 50, 5) };
            way::measure(way::Extent { nodes, changes, runs: options.runs.unwrap_or(runs) })
        }
        Subject::S10 => {
            let (runs, slices, rounds, stream) =
                if options.quick { (1, 2, 500, 100) } else { (5, 10, 3000, 100) };
            let stream = Duration::from_millis(stream);
            path::measure(
                &options.binaries,
                path::Extent { runs: options.runs.unwrap_or(runs), slices, rounds, stream },
            )
        }
        Subject::S8 => start::measure(options.runs.unwrap_or(if options.quick { 1 } else { 5 })),
        Subject::Scale => {
            let (sizes, runs, [watched, asking]) =
                if options.quick { ([50, 100], 1, [2, 2]) } else { ([1000, 5000], 5, [20, 300]) };
            let [watched, asking] = [watched, asking].map(Duration::from_secs);
            scale::measure(scale::Extent { sizes, runs: options.runs.unwrap_or(runs), watched, asking })
        }
    }
}
