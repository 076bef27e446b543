//! Commands that look for what is wrong.

use std::path::PathBuf;

use clap::Args;

use super::QueryArgs;
use super::node::{BinDir, ConfDir, DataDir};

/// `muslin doctor`
#[derive(Args, Clone, Debug)]
pub(crate) struct DoctorArgs {
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
    /// Socket and output.
    #[command(flatten)]
    pub(crate) query: QueryArgs,
}
