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
mod metrics;
mod path_mtu;
mod router_check;
mod router_config;

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};

/// musl's own allocator is slow with a table of many small things (`docs/benchmarks/notes.md`).
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    // Under that name it is the plugin of `kubectl`, as the image has it.
    if std::env::args_os().next().is_some_and(|name| Path::new(&name).ends_with("kubectl-muslin")) {
        return muslin_kubectl::main();
    }
    let cli = Cli::parse();
    // The lab enters namespaces, which only a process without threads may do: no runtime exists yet.
    let command = match cli.command {
        Command::Lab(args) => {
            return match args.kubernetes() {
                Ok(Some(request)) => muslin_kubernetes_lab::run(&request),
                Ok(None) => muslin_lab::run(args),
                Err(error) => muslin_lab::complain(&error),
            };
        }
        Command::LabNode(args) => return muslin_kubernetes_lab::run_node(&args),
        command => command,
    };
    let trouble = command.trouble();
    match commands::run(command) {
        Ok(code) => code,
        Err(error) => {
            commands::complain(&error);
            ExitCode::from(trouble)
        }
    }
}
