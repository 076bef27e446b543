//! The command line, as clap sees it.

mod diagnosis;
mod help;
mod log;
mod node;
#[cfg(test)]
mod pages;
mod peer;
mod router;
mod target;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ipnet::IpNet;
use muslin_bgp_speaker::probe::{AnyCommunity, Asn};
use muslin_cluster::resources::TimeSpan;

pub(crate) use self::diagnosis::{CollectArgs, DoctorArgs, ExamineArgs, TraceArgs, WatchArgs};
pub(crate) use self::help::{CompletionArgs, ManArgs};
pub(crate) use self::log::LogArgs;
pub(crate) use self::node::{CniCommand, CniInstallArgs, CniUninstallArgs, Probe, ProbeArgs, UninstallArgs};
pub(crate) use self::peer::{PeerArgs, PeerCommand};
pub(crate) use self::router::{RouterCheckArgs, RouterConfigArgs};
pub(crate) use self::target::Target;
use self::target::target;

/// A BGP-routed pod network for Kubernetes: native pod routing, no overlay, no NAT.
#[derive(Debug, Parser)]
#[command(name = "muslin", version, propagate_version = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands; each has a module of its own.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run on a node: announce its pods and Services, install what is learned, serve the CNI plugin
    Agent(AgentArgs),
    /// Run a stand-alone router or route reflector, without pods
    Speaker(SpeakerArgs),
    /// One screen: problems first, then sessions, routes, addresses and the kernel
    Status(StatusArgs),
    /// The peers: state, since when, last error in words, prefixes in and out; of one, everything
    Peers(PeersArgs),
    /// Do something to one session: reset, refresh, resend, shutdown, start
    #[command(subcommand)]
    Peer(PeerCommand),
    /// Routes: received, best, advertised, or as the kernel has them
    Routes(RoutesArgs),
    /// Why a prefix is here (or is not): from the object that caused it to the kernel
    Explain(ExplainArgs),
    /// The way of a packet from one pod to another: the kernel's own look-up on each hop, MTU, and where it breaks
    Trace(TraceArgs),
    /// What on this node is in the way: kernel, settings, other managers of routes, MTU, CNI; each with what helps
    Doctor(DoctorArgs),
    /// Everything that helps to find a fault from afar, in one archive without secrets
    Collect(CollectArgs),
    /// Sessions, addresses and routes as they change: one screen, or lines of JSON with `--output json`
    Watch(WatchArgs),
    /// Print what a node would do with a folder of manifests, without doing it
    Plan(PlanArgs),
    /// Try a route on import guard and policies, without sending or receiving it
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Take a node out of service: traffic moves first, pods' routes go with the last pod
    Drain(DrainArgs),
    /// Take a drain back
    Undrain(UndrainArgs),
    /// What the daemon logs, and a change of it while it runs
    Log(LogArgs),
    /// Write the configuration of the router that nodes peer with, from the cluster's state
    RouterConfig(RouterConfigArgs),
    /// What the routers beside this node do otherwise than they should. Exit code 0: nothing but advice, 1: a
    /// problem, 2: trouble
    RouterCheck(RouterCheckArgs),
    /// Run a record of `--record` through the same core: what happened, what came of it, where it differs
    Replay(ReplayArgs),
    /// Install the CNI plugin on this node, or take it away
    #[command(subcommand)]
    Cni(CniCommand),
    /// Ask whether the daemon is alive or ready: exit code 0 or 1, for Kubernetes' probes
    Probe(ProbeArgs),
    /// Leave this node as if Muslin had never been there; the agent must have ended
    Uninstall(UninstallArgs),
    /// Print a script that completes commands and flags: `source <(muslin completion bash)`
    Completion(CompletionArgs),
    /// Write manual pages into a folder
    #[command(hide = true)]
    Man(ManArgs),
    /// A cluster of namespaces on this machine, proven with real packets
    Lab(muslin_lab::LabArgs),
    /// Be a node of the lab with Kubernetes
    #[command(hide = true)]
    LabNode(muslin_kubernetes_lab::NodeArgs),
}

impl Command {
    /// The exit code of a command that could not do its work. Those that ask or judge use 1 for an answer that is
    /// bad news, so theirs is another one.
    pub(crate) fn trouble(&self) -> u8 {
        match self {
            Self::Agent(_)
            | Self::Speaker(_)
            | Self::Cni(_)
            | Self::Probe(_)
            | Self::Uninstall(_)
            | Self::Lab(_)
            | Self::LabNode(_) => 1,
            _ => 2,
        }
    }
}

/// Where a daemon keeps what is its own, and what it says.
#[derive(Args, Clone, Debug)]
pub(crate) struct DaemonArgs {
    /// Folder for the local socket
    #[arg(long, value_name = "DIR", default_value = "/run/muslin")]
    pub(crate) run_dir: PathBuf,
    /// Write everything that goes into the speaker to files in this folder, for `muslin replay`; 64 MiB at most
    #[arg(long, value_name = "DIR")]
    pub(crate) record: Option<PathBuf>,
    /// Answer Prometheus here, at `/metrics`, as `0.0.0.0:9179`; without it, only on the local socket
    #[arg(long, value_name = "ADDRESS:PORT", env = "MUSLIN_METRICS_LISTEN")]
    pub(crate) metrics_listen: Option<SocketAddr>,
    /// What to log, e.g. `info` or `muslin_bgp_speaker=debug`
    #[arg(long, value_name = "FILTER", env = "MUSLIN_LOG", default_value = "info")]
    pub(crate) log: String,
    /// How to log
    #[arg(long, value_enum, env = "MUSLIN_LOG_FORMAT", default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
}

/// `muslin agent`
#[derive(Args, Clone, Debug)]
pub(crate) struct AgentArgs {
    /// Socket and log.
    #[command(flatten)]
    pub(crate) daemon: DaemonArgs,
    /// Folder of manifests to take the cluster from, followed as it changes; without it, the Kubernetes API
    #[arg(long, value_name = "DIR", conflicts_with = "kubeconfig")]
    pub(crate) state: Option<PathBuf>,
    /// How to reach the Kubernetes API; without it, the service account of the pod
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Folder for the last state that the Kubernetes API told, for a start while it is away
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/var/lib/muslin/last-known-good",
        conflicts_with = "state"
    )]
    pub(crate) last_known_good: PathBuf,
    /// This node's name, as the Kubernetes Node object has it
    #[arg(long, value_name = "NAME", env = "NODE_NAME")]
    pub(crate) node: String,
    /// Folder shared with the CNI plugin: address store and `network.json`
    #[arg(long, value_name = "DIR", default_value = "/var/lib/muslin/cni")]
    pub(crate) data_dir: PathBuf,
    /// Where the container runtime looks for CNI configuration; written once the node is ready
    #[arg(long, value_name = "DIR")]
    pub(crate) cni_conf_dir: Option<PathBuf>,
    /// Plugins called after ours for every pod, such as `portmap,bandwidth`; one that is not in the folder of plugins
    /// is left out
    #[arg(long, value_name = "NAMES", value_delimiter = ',', requires = "cni_bin_dir")]
    pub(crate) cni_chain: Vec<String>,
    /// Where the container runtime looks for plugins
    #[arg(long, value_name = "DIR")]
    pub(crate) cni_bin_dir: Option<PathBuf>,
    /// The node's `/proc/sys/net`, where the container has it elsewhere
    #[arg(long, value_name = "DIR", default_value = "/proc/sys/net")]
    pub(crate) sysctl_dir: PathBuf,
}

/// `muslin speaker`
#[derive(Args, Clone, Debug)]
pub(crate) struct SpeakerArgs {
    /// Socket and log.
    #[command(flatten)]
    pub(crate) daemon: DaemonArgs,
    /// Pass routes on without installing any in the kernel, as a route reflector that forwards nothing
    #[arg(long)]
    pub(crate) no_install: bool,
    /// Folder of manifests: Muslin's resources; followed as it changes
    #[arg(long, value_name = "DIR")]
    pub(crate) state: PathBuf,
}

/// What all commands that ask a running daemon share.
#[derive(Args, Clone, Debug)]
pub(crate) struct QueryArgs {
    /// The daemon's socket
    #[arg(long, value_name = "PATH", env = "MUSLIN_SOCKET", default_value = "/run/muslin/muslin.sock")]
    pub(crate) socket: PathBuf,
    /// How to print the answer
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
}

/// `muslin status`
#[derive(Args, Clone, Debug)]
pub(crate) struct StatusArgs {
    /// Stay, and show every change: redrawn on a terminal, lines of JSON with `--output json`
    #[arg(long, short)]
    pub(crate) watch: bool,
    /// Socket and output.
    #[command(flatten)]
    pub(crate) query: QueryArgs,
}

/// `muslin peers`
#[derive(Args, Clone, Debug)]
pub(crate) struct PeersArgs {
    /// Everything about this peer, by its name or address
    #[arg(value_name = "PEER")]
    pub(crate) peer: Option<String>,
    /// Stay, and show every change: redrawn on a terminal, lines of JSON with `--output json`
    #[arg(long, short)]
    pub(crate) watch: bool,
    /// Socket and output.
    #[command(flatten)]
    pub(crate) query: QueryArgs,
}

/// `muslin routes`
#[derive(Args, Clone, Debug)]
pub(crate) struct RoutesArgs {
    /// Which routes; with `--rejected` alone those that were received
    #[arg(value_enum, default_value_t = RouteView::Best, default_value_if("rejected", "true", "received"))]
    pub(crate) view: RouteView,
    /// Only this peer (received, accepted, advertised)
    #[arg(long, value_name = "PEER")]
    pub(crate) peer: Option<String>,
    /// Only what was refused, with the reason (received)
    #[arg(long)]
    pub(crate) rejected: bool,
    /// Most routes to print
    #[arg(long, default_value_t = 1_000)]
    pub(crate) limit: usize,
    /// Stay, and show every change: redrawn on a terminal, lines of JSON with `--output json`
    #[arg(long, short)]
    pub(crate) watch: bool,
    /// Socket and output.
    #[command(flatten)]
    pub(crate) query: QueryArgs,
}

/// `muslin drain`
#[derive(Args, Clone, Debug)]
pub(crate) struct DrainArgs {
    /// How long peers have to find other ways before Service routes are withdrawn
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "30s")]
    pub(crate) wait: Duration,
    /// What peers are told when the daemon stops afterwards, at most 255 octets
    #[arg(long, value_name = "TEXT", default_value = "drained")]
    pub(crate) text: String,
    /// Give up following when the node is not drained by then (exit code 1); the drain goes on
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) timeout: Option<Duration>,
    /// Begin, and do not follow
    #[arg(long)]
    pub(crate) no_follow: bool,
    /// Socket and output.
    #[command(flatten)]
    pub(crate) query: QueryArgs,
}

/// `muslin undrain`
#[derive(Args, Clone, Debug)]
pub(crate) struct UndrainArgs {
    /// Socket and output.
    #[command(flatten)]
    pub(crate) query: QueryArgs,
}

/// `muslin explain`
#[derive(Args, Clone, Debug)]
pub(crate) struct ExplainArgs {
    /// A prefix; an address: then the routes that cover it; or a Service or pod as `namespace/name`
    #[arg(value_name = "PREFIX|SERVICE|POD", value_parser = target)]
    pub(crate) target: Target,
    /// Socket and output.
    #[command(flatten)]
    pub(crate) query: QueryArgs,
}

/// `muslin plan`
#[derive(Args, Clone, Debug)]
pub(crate) struct PlanArgs {
    /// Folder of manifests
    #[arg(long, value_name = "DIR")]
    pub(crate) state: PathBuf,
    /// The node to plan for; without it, the plan of a stand-alone speaker
    #[arg(long, value_name = "NAME")]
    pub(crate) node: Option<String>,
    /// Print instead what would change for peers: against the plan of another folder or, without one, against
    /// the running daemon. Exit code 0: nothing, 1: something, 2: trouble
    #[arg(long, value_name = "OLD_DIR", num_args = 0..=1, default_missing_value = "", value_parser = against)]
    pub(crate) diff: Option<Against>,
    /// Socket and output.
    #[command(flatten)]
    pub(crate) query: QueryArgs,
}

/// What a plan is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Against {
    /// What the running daemon does.
    Daemon,
    /// The plan of this folder.
    Folder(PathBuf),
}

/// `muslin policy`
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Which rule decides about a route, what it changes, and the verdict. Exit code 0: accepted everywhere,
    /// 1: refused somewhere, 2: trouble
    Test(Box<PolicyTestArgs>),
}

/// `muslin policy test`
#[derive(Args, Clone, Debug)]
pub(crate) struct PolicyTestArgs {
    /// The route's prefix
    #[arg(value_parser = prefix_or_address)]
    pub(crate) prefix: IpNet,
    /// Who is to be sent the route; without it, every peer
    #[arg(long, value_name = "PEER")]
    pub(crate) peer: Option<String>,
    /// Who sends the route; without it, it is what we originate under the prefix
    #[arg(long, value_name = "PEER")]
    pub(crate) from: Option<String>,
    /// Only this way; without it the route goes in and out again
    #[arg(long, value_enum)]
    pub(crate) direction: Option<Direction>,
    /// AS path, as "65000 65010"; without it, the sender's AS
    #[arg(long, value_name = "ASNS", value_parser = as_path, default_value = "")]
    pub(crate) as_path: AsPathArg,
    /// A community of any kind that the route carries; may be repeated
    #[arg(long, value_name = "COMMUNITY")]
    pub(crate) community: Vec<AnyCommunity>,
    /// Next hop; without it, the sender
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) next_hop: Option<IpAddr>,
    /// MED
    #[arg(long, value_name = "NUMBER")]
    pub(crate) med: Option<u32>,
    /// LOCAL_PREF
    #[arg(long, value_name = "NUMBER")]
    pub(crate) local_pref: Option<u32>,
    /// Ask the plan of this folder of manifests instead of the running daemon
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// The node to plan for; without it, a stand-alone speaker
    #[arg(long, value_name = "NAME", requires = "state")]
    pub(crate) node: Option<String>,
    /// Socket and output.
    #[command(flatten)]
    pub(crate) query: QueryArgs,
}

/// An AS path on the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AsPathArg(pub(crate) Vec<Asn>);

/// Which way a route goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Direction {
    /// From a peer
    Import,
    /// To a peer
    Export,
}

/// `muslin replay`
#[derive(Args, Clone, Debug)]
pub(crate) struct ReplayArgs {
    /// A file that `--record` wrote
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// How to print what came of it
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
}

/// Which table of routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RouteView {
    /// Adj-RIB-In before policy: what peers sent, also what was refused, and what import made of it
    Received,
    /// Adj-RIB-In after policy: what import left of it
    Accepted,
    /// Loc-RIB: the best path of every destination, and why
    Best,
    /// Adj-RIB-Out: what peers are sent
    Advertised,
    /// What Muslin wants in the kernel, and whether the kernel agrees
    Kernel,
}

/// Output formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    Table,
    /// For programs
    Json,
    /// For programs, and easier on the eye
    Yaml,
}

/// Log formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// For programs
    Json,
}

/// Without a value, the daemon is meant.
#[expect(clippy::unnecessary_wraps, reason = "clap wants a result of its parsers")]
fn against(text: &str) -> Result<Against, String> {
    Ok(if text.is_empty() { Against::Daemon } else { Against::Folder(text.into()) })
}

/// Reads "65000 65010".
fn as_path(text: &str) -> Result<AsPathArg, String> {
    let asns = text.split([' ', ',']).filter(|asn| !asn.is_empty());
    let asns = asns.map(|asn| asn.parse().map_err(|_| format!("'{asn}' is no AS number")));
    asns.collect::<Result<_, _>>().map(AsPathArg)
}

/// Reads `90s` or `1m30s`.
fn time(text: &str) -> Result<Duration, String> {
    text.parse::<TimeSpan>().map(|time| time.0)
}

/// Reads `10.0.0.0/8` or `10.0.0.1`, the latter as a host prefix.
fn prefix_or_address(text: &str) -> Result<IpNet, String> {
    text.parse::<IpNet>()
        .map(|net| net.trunc())
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| format!("'{text}' is neither a prefix (10.244.1.0/24) nor an address (10.244.1.7)"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn refused_routes_are_looked_for_where_there_are_some() {
        let view = |words: &[&str]| {
            let cli = Cli::parse_from([&["muslin", "routes"], words].concat());
            let Command::Routes(args) = cli.command else { panic!("no routes") };
            args.view
        };
        assert_eq!((view(&[]), view(&["--rejected"])), (RouteView::Best, RouteView::Received));
        assert_eq!(view(&["best", "--rejected"]), RouteView::Best);
    }

    #[test]
    fn an_address_is_a_host_prefix_and_host_bits_are_dropped() {
        assert_eq!(prefix_or_address("10.0.0.1"), Ok("10.0.0.1/32".parse().unwrap()));
        assert_eq!(prefix_or_address("10.0.0.1/8"), Ok("10.0.0.0/8".parse().unwrap()));
        assert!(prefix_or_address("ten").unwrap_err().contains("10.244.1.0/24"));
    }
}
