//! `cargo xtask bench`: how fast and how big, beside others in the same run.
//!
//! Every repetition makes new namespaces, and the candidates take turns, so that a busy minute of the machine hits all of
//! them. What is written is the median with the smallest and the largest value, and the ratio to the first candidate.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for people at a terminal")]

mod cni;
mod lab;
mod report;
mod routes;
mod sizes;
mod speaker;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use muslin_netns::{Entered, become_root_in_user_namespace};

use crate::report::{Report, Section};
use crate::speaker::Extent;

/// Measures Muslin beside others.
#[derive(Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct Options {
    /// Few repetitions of small problems: shows that the benchmarks work, not how fast anything is
    #[arg(long)]
    quick: bool,
    /// Measure only this; may be given several times
    #[arg(long, value_enum, ignore_case = true)]
    only: Vec<Subject>,
    /// Prefixes or clients, instead of those of the scenario (S1 to S7)
    #[arg(long, value_name = "NUMBER")]
    size: Option<u32>,
    /// Repetitions, instead of the usual ones (S1 to S7)
    #[arg(long, value_name = "NUMBER")]
    runs: Option<usize>,
    /// Only this contender, e.g. `muslin` or `bird3`; may be given several times (S1 to S7)
    #[arg(long, value_name = "NAME")]
    with: Vec<String>,
    /// Folder of benchmarks.md and benchmarks.json; without it they are only printed
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
    /// Folder of the release binaries
    #[arg(long, value_name = "DIR", hide = true)]
    binaries: PathBuf,
}

impl Options {
    fn extent(&self) -> Extent {
        Extent { quick: self.quick, size: self.size, runs: self.runs, with: self.with.clone() }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Subject {
    /// Convergence of the lab and memory of its agents
    Lab,
    /// ADD and DEL of the CNI plugins
    Cni,
    /// Routes into the kernel
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
    let subjects = if options.only.is_empty() { Subject::value_variants() } else { &options.only };
    let mut sections = Vec::new();
    for subject in subjects {
        eprintln!("==> {subject:?}");
        sections.push(measure(*subject, options)?);
    }
    let report = Report::new(options.quick, sections)?;
    println!("{}", report.markdown());
    if let Some(folder) = &options.write {
        report.write(folder)?;
    }
    Ok(())
}

fn measure(subject: Subject, options: &Options) -> Result<Section> {
    match subject {
        Subject::Lab => lab::measure(&options.binaries, if options.quick { 1 } else { 5 }),
        Subject::Cni => cni::measure(&options.binaries, if options.quick { 5 } else { 100 }),
        Subject::Routes => {
            let (routes, runs) = if options.quick { (20_000, 1) } else { (200_000, 5) };
            routes::measure(&options.binaries, routes, runs)
        }
        Subject::Sizes => sizes::measure(&options.binaries),
        Subject::S1 => speaker::full_table(&options.extent()),
        Subject::S2 => speaker::many_feeders(&options.extent()),
        Subject::S3 => speaker::reflector(&options.extent()),
        Subject::S3b => speaker::large_reflector(&options.extent()),
        Subject::S3c => speaker::huge_reflector(&options.extent()),
        Subject::S4 => speaker::churn(&options.extent()),
        Subject::S4m => speaker::fast_churn(&options.extent()),
        Subject::S4s => speaker::stalled_churn(&options.extent()),
        Subject::S6 => speaker::idle(&options.extent()),
        Subject::S7 => speaker::latency(&options.extent()),
    }
}
