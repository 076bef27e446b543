//! `kubectl muslin`: the whole cluster from a kubeconfig, without a shell in any pod.
//!
//! ```text
//!   kubeconfig ──▶ API server ──one list a kind──▶ Snapshot ──▶ status · peers · routes · explain ──▶ table, JSON, YAML
//!                                                     └─▶ node plan: what each node announces, and why not
//! ```
//!
//! What is wanted comes from the objects, by the same functions that the agents plan with; what is, from the
//! `NodeNetworkStatus` that each agent writes. What only a node knows (the paths that it chose, its kernel) is asked
//! there, and the answer names the command. Nothing is changed.

mod cli;
mod explain;
mod output;
mod peers;
mod routes;
mod status;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};

/// The program, by whatever name it is called.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(run(&cli)));
    match done {
        Ok(code) => code,
        Err(error) => {
            output::complain(&error);
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    let client = muslin_cluster::connect_as_user(cli.kubeconfig.as_deref(), cli.context.as_deref()).await?;
    let snapshot = client.snapshot().await?;
    match &cli.command {
        Command::Status => output::print(cli.output, &status::of(&snapshot), status::table)?,
        Command::Peers(args) => {
            let peers = peers::of(&snapshot, args)?;
            output::print(cli.output, &peers, |peers| peers::table(peers))?;
        }
        Command::Routes(args) => {
            let routes = routes::of(&snapshot, args)?;
            output::print(cli.output, &routes, |routes| routes::table(routes))?;
        }
        Command::Explain(args) => {
            let namespace = args.namespace.as_deref().unwrap_or(client.namespace());
            let asked = explain::Asked::of(&client, &snapshot, &args.what, namespace).await?;
            let explained = explain::of(&snapshot, asked);
            output::print(cli.output, &explained, explain::text)?;
            if !explained.is_announced() {
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
