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

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use muslin_netns::{Entered, become_root_in_user_namespace};

use crate::report::{Report, Section};

/// Measures Muslin beside others.
#[derive(Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct Options {
    /// Few repetitions of small problems: shows that the benchmarks work, not how fast anything is
    #[arg(long)]
    quick: bool,
    /// Measure only this; may be given several times
    #[arg(long, value_enum)]
    only: Vec<Subject>,
    /// Folder of benchmarks.md and benchmarks.json; without it they are only printed
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
    /// Folder of the release binaries
    #[arg(long, value_name = "DIR", hide = true)]
    binaries: PathBuf,
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
    }
}
