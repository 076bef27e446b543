//! The command line, as clap sees it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// The network of the whole cluster, by the API server alone.
#[derive(Debug, Parser)]
#[command(name = "kubectl-muslin", bin_name = "kubectl muslin", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// The kubeconfig; KUBECONFIG or ~/.kube/config without it
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig; its current one without it
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// How to print the answer
    #[arg(long, short, global = true, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How an answer is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    Table,
    /// For programs
    Json,
    /// For programs and people
    Yaml,
}

/// The commands; each has a module of its own.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Every node on one screen, and what is wrong first
    Status,
    /// The sessions of all nodes: state, since when, routes in and out, why one is down
    Peers(PeersArgs),
    /// What is announced, by which nodes, and because of which object
    Routes(RoutesArgs),
    /// Why a Service, a Pod or a prefix is announced by which node, and why not by the others
    Explain(ExplainArgs),
}

/// `kubectl muslin peers`
#[derive(Args, Debug, Default)]
pub(crate) struct PeersArgs {
    /// Only the sessions of this peer or `BGPPeer`
    #[arg(value_name = "PEER")]
    pub(crate) peer: Option<String>,
    /// Only those of this node
    #[arg(long, value_name = "NAME")]
    pub(crate) node: Option<String>,
    /// Only those that are not established
    #[arg(long)]
    pub(crate) down: bool,
}

/// `kubectl muslin routes`
#[derive(Args, Debug, Default)]
pub(crate) struct RoutesArgs {
    /// Only what this node announces
    #[arg(long, value_name = "NAME")]
    pub(crate) node: Option<String>,
    /// What is asked for and announced by no node
    #[arg(long)]
    pub(crate) withheld: bool,
}

/// `kubectl muslin explain`
#[derive(Args, Debug)]
pub(crate) struct ExplainArgs {
    /// `service/web`, `pod/web-0`, a name of either, an address or a prefix
    #[arg(value_name = "SERVICE|POD|PREFIX")]
    pub(crate) what: String,
    /// Where the Service or Pod is; the context's without it
    #[arg(long, short, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
}
