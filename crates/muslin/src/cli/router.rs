//! The commands for the router beside the nodes.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use clap::Args;
use ipnet::IpNet;
use muslin_bgp_speaker::probe::Asn;

use super::QueryArgs;
use crate::router_config::{Daemon, Release};

/// `muslin router-config`
#[derive(Args, Clone, Debug)]
pub(crate) struct RouterConfigArgs {
    /// The router's daemon
    #[arg(long = "for", value_enum, value_name = "DAEMON")]
    pub(crate) daemon: Daemon,
    /// Folder of manifests; without it, the Kubernetes API
    #[arg(long, value_name = "DIR", conflicts_with = "kubeconfig")]
    pub(crate) state: Option<PathBuf>,
    /// How to reach the Kubernetes API; without it, the service account of the pod
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The `BGPPeer` that is the router; several times for one that has several sessions. All if they are one router
    #[arg(long, value_name = "NAME")]
    pub(crate) peer: Vec<String>,
    /// The router's AS, where the `BGPPeer` says `external`
    #[arg(long, value_name = "NUMBER")]
    pub(crate) asn: Option<Asn>,
    /// The router's BGP identifier; its IPv4 address if absent
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) router_id: Option<Ipv4Addr>,
    /// A range that nodes connect from, new ones too; several times. The /24 or /64 of each node if absent
    #[arg(long, value_name = "CIDR")]
    pub(crate) listen: Vec<IpNet>,
    /// Write every node and every prefix by itself, instead of ranges that new ones fit into
    #[arg(long, conflicts_with = "listen")]
    pub(crate) exact: bool,
    /// An interface of the router that leads to a node without addresses; several times
    #[arg(long, value_name = "NAME")]
    pub(crate) interface: Vec<String>,
    /// Most prefixes that a node may announce in a family; four times what they do, and 100 at least, if absent
    #[arg(long, value_name = "NUMBER")]
    pub(crate) max_prefixes: Option<u32>,
    /// Write passwords, instead of a word that has to be replaced
    #[arg(long)]
    pub(crate) show_secrets: bool,
    /// The daemon's version, where its language has changed; the newest if absent
    #[arg(long, value_name = "VERSION")]
    pub(crate) release: Option<Release>,
}

/// `muslin router-check`
#[derive(Args, Clone, Debug)]
pub(crate) struct RouterCheckArgs {
    /// Only this peer; all that are no nodes of the mesh if absent
    #[arg(long, value_name = "PEER")]
    pub(crate) peer: Option<String>,
    /// Socket and output.
    #[command(flatten)]
    pub(crate) query: QueryArgs,
}
