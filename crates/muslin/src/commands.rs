//! The operator's commands: ask, then print.

mod cni;
mod collect;
mod diff;
mod doctor;
mod drain;
mod explain;
mod help;
mod live;
mod log;
mod output;
mod peer;
mod peer_action;
mod peers;
mod plan;
mod policy;
mod probe;
mod replay;
mod router_check;
mod router_config;
mod routes;
mod status;
mod trace;
mod uninstall;
mod watch;

use std::process::ExitCode;

use crate::cli::Command;
use crate::daemon::{self, Learned, NodeRole, Role, Source};
use crate::error::sentence;
use crate::logging;

/// Carries out everything but the lab, which wants a process without threads.
pub(crate) fn run(command: Command) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        match command {
            Command::Agent(args) => {
                logging::start(&args.daemon.log, args.daemon.log_format)?;
                let node = NodeRole {
                    name: args.node,
                    data_dir: args.data_dir,
                    cni_conf_dir: args.cni_conf_dir,
                    cni_chain: args.cni_chain,
                    cni_bin_dir: args.cni_bin_dir,
                    sysctl_dir: args.sysctl_dir,
                };
                let source = match args.state {
                    Some(folder) => Source::Folder(folder),
                    None => Source::Api { kubeconfig: args.kubeconfig, last_good: args.last_known_good },
                };
                Box::pin(daemon::run(args.daemon, Role::Node(node), source)).await?;
                Ok(ExitCode::SUCCESS)
            }
            Command::Speaker(args) => {
                logging::start(&args.daemon.log, args.daemon.log_format)?;
                let learned = if args.no_install { Learned::PassedOn } else { Learned::Installed };
                let source = Source::Folder(args.state);
                Box::pin(daemon::run(args.daemon, Role::Speaker(learned), source)).await?;
                Ok(ExitCode::SUCCESS)
            }
            Command::Status(args) => status::run(&args).await,
            Command::Peers(args) => peers::run(&args).await,
            Command::Peer(command) => peer_action::run(&command).await,
            Command::Routes(args) => routes::run(&args).await,
            Command::Explain(args) => explain::run(&args).await,
            Command::Trace(args) => trace::run(&args).await,
            Command::Collect(args) => collect::run(&args).await,
            Command::Watch(args) => watch::run(&args).await,
            Command::Completion(args) => help::completion(&args).map(|()| ExitCode::SUCCESS),
            Command::Man(args) => help::man(&args).map(|()| ExitCode::SUCCESS),
            Command::Doctor(args) => doctor::run(&args).await,
            Command::Plan(args) => plan::run(&args).await,
            Command::Drain(args) => drain::drain(&args).await,
            Command::Undrain(args) => drain::undrain(&args).await,
            Command::Policy(command) => Ok(policy::run(&command).await),
            Command::RouterCheck(args) => Ok(router_check::run(&args).await),
            Command::RouterConfig(args) => router_config::run(&args).await.map(|()| ExitCode::SUCCESS),
            Command::Log(args) => log::run(&args).await.map(|()| ExitCode::SUCCESS),
            Command::Replay(args) => replay::run(&args),
            Command::Cni(command) => cni::run(&command).map(|()| ExitCode::SUCCESS),
            Command::Probe(args) => probe::run(&args).await,
            Command::Uninstall(args) => uninstall::run(&args).await.map(|()| ExitCode::SUCCESS),
            Command::Lab(args) => Ok(muslin_lab::run(args)),
            Command::LabNode(args) => Ok(muslin_kubernetes_lab::run_node(&args)),
        }
    })
}

/// Says on standard error what a command that changes a node has done.
#[expect(clippy::print_stderr, reason = "the log of a command that runs in an init container")]
fn say(done: &str) {
    eprintln!("muslin: {done}");
}

/// Says on standard error why a command failed: one line, with its causes.
#[expect(clippy::print_stderr, reason = "the last word of a command")]
pub(crate) fn complain(error: &anyhow::Error) {
    eprintln!("muslin: {}", sentence(error));
}
