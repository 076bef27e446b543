use std::ffi::OsString;

use clap::{Args, Subcommand, ValueEnum};

use crate::options::{LabOptions, RouterKind, Tamper, Topology};

/// Arguments of `muslin lab`.
#[derive(Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct LabArgs {
    #[command(subcommand)]
    pub(crate) command: Option<LabCommand>,
    #[command(flatten)]
    pub(crate) build: BuildArgs,
}

/// What to do with a lab that stands.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum LabCommand {
    /// Run a command (a shell if none is given) in a node, router, pod or the outside host of the lab left by --keep
    Shell {
        /// n1, tor, n1-pod1, outside, …; without it, they are listed
        node: Option<String>,
        /// The command
        #[arg(last = true, value_name = "CMD")]
        command: Vec<OsString>,
    },
    /// End the lab left by --keep
    Down,
}

/// What to build.
#[derive(Args, Clone, Debug)]
pub(crate) struct BuildArgs {
    /// Number of nodes
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(2..=16))]
    nodes: u8,
    /// Pods on every node
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=8))]
    pods: u8,
    /// Program of the external router
    #[arg(long, value_enum, default_value_t)]
    router: RouterKind,
    /// Wiring of nodes and routers
    #[arg(long, value_enum, default_value_t)]
    topology: Topology,
    /// How to print the result
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) output: Output,
    /// Leave the lab standing in the background
    #[arg(long)]
    pub(crate) keep: bool,
    /// A real Kubernetes cluster instead of the agents alone: its programs are built once, and need root
    #[arg(long, conflicts_with_all = ["pods", "topology", "tamper"])]
    kubernetes: bool,
    /// How kube-proxy programs the nodes' kernels
    #[arg(long, value_enum, default_value_t, requires = "kubernetes")]
    proxy_mode: ProxyMode,
    /// Break one thing before the proofs, to see them fail
    #[arg(long, value_enum, hide = true)]
    tamper: Option<Tamper>,
}

/// A lab with a Kubernetes control plane, which is another crate's to build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KubernetesRequest {
    /// Nodes, 2 to 16.
    pub nodes: u8,
    /// The external router.
    pub router: RouterKind,
    /// What kube-proxy uses.
    pub proxy_mode: ProxyMode,
    /// How to print the result.
    pub output: Output,
    /// Leave it standing in the background.
    pub keep: bool,
}

/// What kube-proxy programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ProxyMode {
    /// nftables
    #[default]
    Nftables,
    /// iptables
    Iptables,
    /// IPVS, where the kernel has it
    Ipvs,
}

/// Output formats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
}

impl LabArgs {
    /// The Kubernetes cluster that is asked for, if it is one.
    pub fn kubernetes(&self) -> Option<KubernetesRequest> {
        let Self {
            command: None,
            build: BuildArgs { kubernetes: true, nodes, router, proxy_mode, output, keep, .. },
        } = *self
        else {
            return None;
        };
        Some(KubernetesRequest { nodes, router, proxy_mode, output, keep })
    }
}

impl BuildArgs {
    pub(crate) fn options(&self) -> LabOptions {
        LabOptions {
            nodes: self.nodes,
            pods: self.pods,
            router: self.router,
            topology: self.topology,
            tamper: self.tamper,
            ..LabOptions::default()
        }
    }
}
