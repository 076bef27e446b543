//! Commands that look for what is wrong.

use std::path::PathBuf;

use clap::Args;

use super::node::{BinDir, ConfDir, DataDir};
use super::{QueryArgs, Target, target};

/// What is looked at on a node, and where that is.
#[derive(Args, Clone, Debug)]
pub(crate) struct ExamineArgs {
    /// The node's root folder, where a container has it elsewhere: its `/etc`, `/run`, `/usr/lib` and `/proc`
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub(crate) root: PathBuf,
    /// The node's `/proc/sys/net`, where the container has it elsewhere
    #[arg(long, value_name = "DIR", default_value = "/proc/sys/net")]
    pub(crate) sysctl_dir: PathBuf,
    /// Send no packets to peers and gateways to find the largest that they answer
    #[arg(long)]
    pub(crate) no_probes: bool,
    /// Plugins.
    #[command(flatten)]
    pub(crate) plugins: BinDir,
    /// Configurations.
    #[command(flatten)]
    pub(crate) configurations: ConfDir,
    /// Shared folder.
    #[command(flatten)]
    pub(crate) data: DataDir,
}

/// `muslin doctor`
#[derive(Args, Clone, Debug)]
pub(crate) struct DoctorArgs {
    /// What is looked at.
    #[command(flatten)]
    pub(crate) examine: ExamineArgs,
    /// Socket and output.
    #[command(flatten)]
    pub(crate) query: QueryArgs,
}

/// `muslin trace`
#[derive(Args, Clone, Debug)]
pub(crate) struct TraceArgs {
    /// A pod of this node (`namespace/name`, or its address), or an address of the node itself
    #[arg(value_name = "FROM", value_parser = target)]
    pub(crate) from: Target,
    /// Where the packet goes: a pod or Service (`namespace/name`), or an address
    #[arg(value_name = "TO", value_parser = target)]
    pub(crate) to: Target,
    /// The node's root folder, where a container has it elsewhere: its `/run/netns` and `/proc`
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub(crate) root: PathBuf,
    /// Socket and output.
    #[command(flatten)]
    pub(crate) query: QueryArgs,
}

/// `muslin collect`
#[derive(Args, Clone, Debug)]
pub(crate) struct CollectArgs {
    /// Where the archive is written; without it, `muslin-TIME.tar.gz` here
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Folder of manifests to put in, without their secrets
    #[arg(long, value_name = "DIR", env = "MUSLIN_STATE")]
    pub(crate) state: Option<PathBuf>,
    /// Folder that the daemon records to (its `--record`)
    #[arg(long, value_name = "DIR")]
    pub(crate) record: Option<PathBuf>,
    /// Most routes of one table
    #[arg(long, default_value_t = 10_000)]
    pub(crate) limit: usize,
    /// What is looked at.
    #[command(flatten)]
    pub(crate) examine: ExamineArgs,
    /// The daemon's socket
    #[arg(long, value_name = "PATH", env = "MUSLIN_SOCKET", default_value = "/run/muslin/muslin.sock")]
    pub(crate) socket: PathBuf,
}

/// `muslin watch`
#[derive(Args, Clone, Debug)]
pub(crate) struct WatchArgs {
    /// Socket and output.
    #[command(flatten)]
    pub(crate) query: QueryArgs,
}
