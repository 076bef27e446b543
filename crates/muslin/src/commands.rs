//! The operator's commands: ask, then print.

mod diff;
mod drain;
mod explain;
mod live;
mod output;
mod peer;
mod peer_action;
mod peers;
mod plan;
mod policy;
mod replay;
mod routes;
mod status;

use std::process::ExitCode;

use crate::cli::Command;
use crate::daemon::{self, NodeRole, Role};
use crate::error::sentence;
use crate::logging;

/// Carries out everything but the lab, which wants a process without threads.
pub(crate) fn run(command: Command) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        match command {
            Command::Agent(args) => {
                logging::start(&args.daemon.log, args.daemon.log_format)?;
                let node =
                    NodeRole { name: args.node, data_dir: args.data_dir, cni_conf_dir: args.cni_conf_dir };
                daemon::run(args.daemon, Role::Node(node)).await.map(|()| ExitCode::SUCCESS)
            }
            Command::Speaker(args) => {
                logging::start(&args.daemon.log, args.daemon.log_format)?;
                daemon::run(args.daemon, Role::Speaker).await.map(|()| ExitCode::SUCCESS)
            }
            Command::Status(args) => status::run(&args).await,
            Command::Peers(args) => peers::run(&args).await,
            Command::Peer(command) => peer_action::run(&command).await,
            Command::Routes(args) => routes::run(&args).await,
            Command::Explain(args) => explain::run(&args).await,
            Command::Plan(args) => plan::run(&args).await,
            Command::Drain(args) => drain::drain(&args).await,
            Command::Undrain(args) => drain::undrain(&args).await,
            Command::Policy(command) => Ok(policy::run(&command).await),
            Command::Replay(args) => replay::run(&args),
            Command::Lab(args) => Ok(muslin_lab::run(args)),
            Command::LabNode(args) => Ok(muslin_kubernetes_lab::run_node(&args)),
        }
    })
}

/// Says on standard error why a command failed: one line, with its causes.
#[expect(clippy::print_stderr, reason = "the last word of a command")]
pub(crate) fn complain(error: &anyhow::Error) {
    eprintln!("muslin: {}", sentence(error));
}
