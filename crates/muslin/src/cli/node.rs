//! Commands that prepare a node, ask after its agent, and leave it clean.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

/// `muslin cni`
#[derive(Debug, Subcommand)]
pub(crate) enum CniCommand {
    /// Put the plugin where the container runtime looks for it; the agent adds the configuration once it is ready
    Install(CniInstallArgs),
    /// Take away the configuration, then the plugin
    Uninstall(CniUninstallArgs),
}

/// Where the container runtime looks for plugins.
#[derive(Args, Clone, Debug)]
pub(crate) struct BinDir {
    /// Folder of the container runtime's CNI plugins
    #[arg(
        long = "cni-bin-dir",
        value_name = "DIR",
        env = "MUSLIN_CNI_BIN_DIR",
        default_value = "/opt/cni/bin"
    )]
    pub(crate) bin_dir: PathBuf,
}

/// Where the container runtime looks for configurations.
#[derive(Args, Clone, Debug)]
pub(crate) struct ConfDir {
    /// Folder of the container runtime's CNI configurations
    #[arg(
        long = "cni-conf-dir",
        value_name = "DIR",
        env = "MUSLIN_CNI_CONF_DIR",
        default_value = "/etc/cni/net.d"
    )]
    pub(crate) conf_dir: PathBuf,
}

/// What the CNI plugin and the agent share.
#[derive(Args, Clone, Debug)]
pub(crate) struct DataDir {
    /// Folder shared by the CNI plugin and the agent: address store and `network.json`
    #[arg(
        long = "data-dir",
        value_name = "DIR",
        env = "MUSLIN_DATA_DIR",
        default_value = muslin_pod_network::DEFAULT_DATA_DIR
    )]
    pub(crate) data_dir: PathBuf,
}

/// `muslin cni install`
#[derive(Args, Clone, Debug)]
pub(crate) struct CniInstallArgs {
    /// Plugins.
    #[command(flatten)]
    pub(crate) plugins: BinDir,
    /// Shared folder.
    #[command(flatten)]
    pub(crate) data: DataDir,
    /// The plugin's file. Without it, `muslin-cni` beside this program
    #[arg(long, value_name = "FILE")]
    pub(crate) plugin: Option<PathBuf>,
}

/// `muslin cni uninstall`
#[derive(Args, Clone, Debug)]
pub(crate) struct CniUninstallArgs {
    /// Plugins.
    #[command(flatten)]
    pub(crate) plugins: BinDir,
    /// Configurations.
    #[command(flatten)]
    pub(crate) configurations: ConfDir,
}

/// `muslin uninstall`
#[derive(Args, Clone, Debug)]
pub(crate) struct UninstallArgs {
    /// Plugins.
    #[command(flatten)]
    pub(crate) plugins: BinDir,
    /// Configurations.
    #[command(flatten)]
    pub(crate) configurations: ConfDir,
    /// Folder of everything that Muslin keeps on the node; it is removed
    #[arg(long, value_name = "DIR", default_value = "/var/lib/muslin")]
    pub(crate) state_dir: PathBuf,
    /// Folder of the agent's socket; it is removed
    #[arg(long, value_name = "DIR", default_value = "/run/muslin")]
    pub(crate) run_dir: PathBuf,
    /// When the node is clean, stay until SIGTERM: a `DaemonSet` shows by it on which nodes the work is done
    #[arg(long)]
    pub(crate) stay: bool,
}

/// `muslin probe`
#[derive(Args, Clone, Debug)]
pub(crate) struct ProbeArgs {
    /// What is asked
    #[arg(value_enum)]
    pub(crate) probe: Probe,
    /// The daemon's socket
    #[arg(long, value_name = "PATH", env = "MUSLIN_SOCKET", default_value = "/run/muslin/muslin.sock")]
    pub(crate) socket: PathBuf,
    /// Longest wait for the answer
    #[arg(long, value_name = "TIME", value_parser = super::time, default_value = "5s")]
    pub(crate) timeout: Duration,
}

/// What a probe asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Probe {
    /// Every part of the daemon answers; if not, a restart helps. Peers and the API server have no say in it
    Live,
    /// The node serves: at least one session stands (if there is any peer), the first exchange of routes is over,
    /// and the kernel holds its routes
    Ready,
}
