//! `cargo xtask`: the one entry to everything that is done with this repository.
//!
//! It prints what it runs and how long it took. It holds no product code.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for people at a terminal")]

mod bench;
mod crds;
mod fuzz;
mod image;
mod lab;
mod lint;
mod manifests;
mod metadata;
mod packages;
mod shell;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Everything that is done with this repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the tests: every tier, or those named.
    Test(test::Options),
    /// Run Kubernetes' own tests on a cluster of the lab and write docs/kubernetes.md.
    E2e(test::kubernetes::EndToEnd),
    /// Check formatting, clippy, documentation, licences, the crate graph and the sources.
    Lint(lint::Options),
    /// Measure speed and size beside others.
    Bench(bench::Options),
    /// Search for input that breaks the codec.
    Fuzz(fuzz::Options),
    /// Build the container image: static programs and nothing else.
    Image(image::Options),
    /// Build the product and run `muslin lab` with these arguments: `cargo lab`.
    #[command(disable_help_flag = true)]
    Lab(lab::Lab),
    /// Render the chart as plain manifests in deploy/manifests.
    Manifests,
    /// Write the resource definitions in deploy/crds.
    Crds(crds::Options),
    /// Run a command as root of namespaces of its own.
    #[command(hide = true)]
    Enter(shell::Enter),
    /// Build what a tier to come wants, while others wait.
    #[command(hide = true)]
    Ahead(test::ahead::Build),
    /// The part of the containerlab tier that runs in namespaces of its own.
    #[command(hide = true)]
    Containerlab(test::containerlab::Inside),
    /// Remove what a run of the containerlab tier leaves, once it is over.
    #[command(hide = true)]
    Sweep(test::containerlab::sweep::Sweep),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Test(options) => test::run(&options).map(|()| ExitCode::SUCCESS),
        Command::E2e(options) => test::kubernetes::end_to_end(&options).map(|()| ExitCode::SUCCESS),
        Command::Lint(options) => lint::run(&options).map(|()| ExitCode::SUCCESS),
        Command::Bench(options) => bench::run(&options).map(|()| ExitCode::SUCCESS),
        Command::Fuzz(options) => fuzz::run(&options).map(|()| ExitCode::SUCCESS),
        Command::Image(options) => image::run(&options).map(|()| ExitCode::SUCCESS),
        Command::Lab(lab) => lab.run(),
        Command::Manifests => manifests::run().map(|()| ExitCode::SUCCESS),
        Command::Crds(options) => crds::run(&options).map(|()| ExitCode::SUCCESS),
        Command::Enter(enter) => enter.run(),
        Command::Ahead(build) => build.run().map(|()| ExitCode::SUCCESS),
        Command::Containerlab(inside) => inside.run().map(|()| ExitCode::SUCCESS),
        Command::Sweep(sweep) => sweep.run().map(|()| ExitCode::SUCCESS),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
