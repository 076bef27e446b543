//! Muslin: a BGP-routed pod network for Kubernetes.
//!
//! One binary: the node's `agent`, the stand-alone `speaker`, the `lab`, and the operator's commands, which
//! ask a running daemon over its local socket.

mod api;
mod cli;
mod client;
mod commands;
mod daemon;
mod error;
mod kernel;
mod logging;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    // The lab enters namespaces, which only a process without threads may do: no runtime exists yet.
    if let Command::Lab(args) = cli.command {
        return muslin_lab::run(args);
    }
    match commands::run(cli.command) {
        Ok(code) => code,
        Err(error) => {
            commands::complain(&error);
            ExitCode::FAILURE
        }
    }
}
