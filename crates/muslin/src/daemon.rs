//! A running Muslin: a node's agent, or a stand-alone speaker.
//!
//! ```text
//!  API or folder ──▶ state ──┐                       ┌──▶ pods: address blocks, firewall, CNI configuration
//!                           ├─▶ planner ─▶ plan ────┼──▶ programmer: own blocks as blackholes
//!  kernel ──▶ KernelView ───┤                       ├──▶ speaker: peers, originated routes, policies, guard
//!  links ⇄ router discovery ┘                       └──▶ router discovery: interfaces
//!                 │  resolves next hops                      │ best paths (one batch in flight)
//!                 └──────────────────────────────────────▶ speaker ──▶ fib ──▶ programmer ──▶ kernel
//!  Unix socket ──▶ api: asks all of them, changes nothing
//! ```
//!
//! State travels in `watch` channels, of which only the latest value counts; the one queue, from speaker to
//! programmer, holds one batch, and what waits behind it coalesces in the RIB.

mod drain;
mod fib;
mod health;
mod plan;
mod planner;
mod pods;
mod readiness;
mod report;
mod source;

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use anyhow::{Context, bail};
use muslin_bgp_speaker::SpeakerEvent;
use muslin_bgp_speaker::net::{Shutdown, SpeakerHandle};
use muslin_cluster::ClusterState;
use muslin_route_programmer::{Programmer, ProgrammerConfig};
use muslin_router_discovery::Discovery;
use rustix::thread::CapabilitySet;
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Mutex, broadcast, watch};
use tokio::task::JoinSet;
use tracing::{info, warn};

pub(crate) use self::drain::{Drain, DrainCause, DrainRequest, DrainStatus};
pub(crate) use self::health::{Pulse, liveness};
pub(crate) use self::plan::Plan;
pub(crate) use self::readiness::{Admission, Goal, Readiness, wait};
pub(crate) use self::source::Source;
use crate::api;
use crate::cli::DaemonArgs;
use crate::metrics::KernelWays;

/// What this daemon is.
#[derive(Clone, Debug)]
pub(crate) enum Role {
    /// The agent of a node.
    Node(NodeRole),
    /// A router or reflector without pods.
    Speaker(Learned),
}

/// What becomes of learned routes besides being passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Learned {
    /// They are installed in the kernel.
    Installed,
    /// Nothing: a reflector that forwards nothing.
    PassedOn,
}

/// Where a node's agent meets pods.
#[derive(Clone, Debug)]
pub(crate) struct NodeRole {
    /// Name of the Node object.
    pub(crate) name: String,
    /// Folder shared with the CNI plugin.
    pub(crate) data_dir: PathBuf,
    /// Where to announce the plugin to the container runtime.
    pub(crate) cni_conf_dir: Option<PathBuf>,
    /// Plugins that are called after ours, where they are in this folder.
    pub(crate) cni_chain: Vec<String>,
    /// Where the container runtime finds plugins.
    pub(crate) cni_bin_dir: Option<PathBuf>,
    /// The kernel settings of the node's network.
    pub(crate) sysctl_dir: PathBuf,
}

/// All that the parts of a daemon share.
pub(crate) struct Daemon {
    /// What it is.
    pub(crate) role: Role,
    /// The cluster as it was last told.
    pub(crate) state: watch::Receiver<Arc<ClusterState>>,
    /// Where the speaker's inputs are written, if anywhere.
    pub(crate) record: Option<PathBuf>,
    /// When it started.
    pub(crate) started: Instant,
    /// The plan in force; none until the cluster state has what the role needs.
    pub(crate) plan: watch::Sender<Option<Arc<Plan>>>,
    /// Why parts of the plan could not be carried out.
    pub(crate) faults: watch::Sender<planner::Faults>,
    /// The planner's sign of life.
    pub(crate) pulse: Pulse,
    /// Whether pods may come, and have been told how.
    pub(crate) admission: watch::Sender<Admission>,
    /// Whether the node is being taken out of service.
    pub(crate) drain: Drain,
    /// The speaker, from the first plan on.
    pub(crate) speaker: OnceLock<SpeakerHandle>,
    /// What it tells from its first moment on, until somebody takes that: a session may be up before anybody has looked.
    pub(crate) events: Mutex<Option<broadcast::Receiver<SpeakerEvent>>>,
    /// Where routes go into the kernel.
    pub(crate) routes: Handle,
    /// Routes into the kernel, and its view.
    pub(crate) programmer: Programmer,
    /// Routers at the other ends of links.
    pub(crate) discovery: Discovery,
    /// How long routes take into the kernel.
    pub(crate) ways: Arc<KernelWays>,
}

/// Runs until SIGTERM or SIGINT, which mean restart: sessions close without a Cease and routes stay. Only a
/// node that is drained or goes down says good-bye.
pub(crate) async fn run(args: DaemonArgs, role: Role, source: Source) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    check_privilege(&role)?;
    let from = source.to_string();
    let source = source.open(&role).await?;
    fs::create_dir_all(&args.run_dir).with_context(|| format!("--run-dir {}", args.run_dir.display()))?;
    let drain = Drain::resume(&args.run_dir)?;
    let routes = fib::thread().context("a thread for routes")?;
    let programmer = routes.spawn(Programmer::spawn(ProgrammerConfig::default())).await?;
    let programmer = programmer.context("the kernel's routes")?;
    let admission = Admission::at_start(&role);
    let daemon = Arc::new(Daemon {
        role,
        state: source.state(),
        record: args.record.clone(),
        started: Instant::now(),
        plan: watch::Sender::new(None),
        faults: watch::Sender::new(planner::Faults::default()),
        pulse: Pulse::default(),
        admission: watch::Sender::new(admission),
        drain,
        speaker: OnceLock::new(),
        events: Mutex::new(None),
        routes,
        programmer,
        discovery: Discovery::spawn(),
        ways: Arc::default(),
    });
    let server =
        api::listen(&args.run_dir).with_context(|| format!("--run-dir {}", args.run_dir.display()))?;
    info!(state = from, socket = %server.path().display(), "muslin is up");
    let reports = async {
        match (source.client(), &daemon.role) {
            (Some(client), Role::Node(node)) => {
                let (name, run_dir) = (node.name.clone(), args.run_dir.clone());
                Box::pin(report::run(daemon.clone(), client.clone(), name, run_dir, source.state())).await;
            }
            _ => std::future::pending().await,
        }
    };
    // On a thread of the runtime's: should the planner be held up on this one, by a disk that does not answer, a probe
    // is told so.
    let mut serving = JoinSet::new();
    serving.spawn(server.run(daemon.clone()));
    let ended = tokio::select! {
        ended = planner::run(daemon.clone(), source.state()) => ended,
        Some(ended) = serving.join_next() => ended?,
        ended = api::serve_metrics(args.metrics_listen, daemon.clone()) => ended,
        () = drain::run(daemon.clone()) => Ok(()),
        never = readiness::admit(&daemon) => match never {},
        () = reports => Ok(()),
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    };
    serving.shutdown().await;
    if let (Some(text), Some(speaker)) = (daemon.drain.last_words(), daemon.speaker.get()) {
        info!(%text, "muslin ends for good");
        speaker.shutdown(Shutdown::Administrative(text)).await;
        return ended;
    }
    if let (Some(speaker), Some(_)) = (daemon.speaker.get(), &daemon.record) {
        // The record's end is written by the speaker's own.
        speaker.shutdown(Shutdown::Restart).await;
    }
    info!("muslin ends; routes stay in the kernel");
    ended
}

/// A node cannot do its work without `CAP_NET_ADMIN`; a reflector, which forwards nothing, can.
fn check_privilege(role: &Role) -> anyhow::Result<()> {
    let permitted = rustix::thread::capabilities(None).context("this process's capabilities")?.effective;
    match (permitted.contains(CapabilitySet::NET_ADMIN), role) {
        (true, _) => Ok(()),
        (false, Role::Node(_)) => {
            bail!("CAP_NET_ADMIN is missing: run as root, or give the container NET_ADMIN")
        }
        (false, Role::Speaker(_)) => {
            warn!("CAP_NET_ADMIN is missing: routes are exchanged, but none will be installed in the kernel");
            Ok(())
        }
    }
}
