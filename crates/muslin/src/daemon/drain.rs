//! Taking a node out of service without losing a packet: `muslin drain`.
//!
//! ```text
//!   drain ──▶ shutting down ──wait──▶ services withdrawn ──last pod left──▶ drained ──stop──▶ Cease/2 with the text
//!   undrain, at any time ──▶ everything is announced as before
//! ```
//!
//! A drain outlives the daemon until the machine restarts: a new process that found none would draw back the
//! traffic that was just moved away. It is asked for by a command, by a taint of the Node object, and by a machine that
//! goes down: then nobody has time to wait, and stopping the daemon is the end of the node's routes in any phase.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use muslin_bgp_speaker::config::SpeakerConfig;
use muslin_cluster::kubernetes::{DRAIN_TAINT, Leaving};
use muslin_node_plan::{DrainPhase, draining};
use muslin_pod_network::ipam;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tracing::{info, warn};

use super::{Daemon, Plan, Role};

/// How often pods are counted: the plugin, which lets them go, tells nobody.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// Name of the file in the run folder that a drain is remembered by.
const FILE: &str = "drain.json";

/// What an operator asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct DrainRequest {
    /// How long peers have to find other ways.
    pub(crate) wait_seconds: u64,
    /// What peers are told when the daemon stops (RFC 9003).
    pub(crate) text: Arc<str>,
}

impl DrainRequest {
    /// What `muslin drain` asks for unless it is told otherwise.
    fn usual() -> Self {
        Self { wait_seconds: 30, text: "drained".into() }
    }

    fn at_once() -> Self {
        Self { wait_seconds: 0, text: "the node shuts down".into() }
    }
}

/// Who wants a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum DrainCause {
    /// `muslin drain`.
    Command,
    /// The taint of the Node object.
    Taint,
    /// The machine goes down.
    Shutdown,
}

/// A drain for people and programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DrainStatus {
    /// How far it is.
    pub(crate) phase: DrainPhase,
    /// How long it has been there.
    pub(crate) phase_seconds: u64,
    /// Who wants it.
    pub(crate) cause: DrainCause,
    /// What was asked for.
    pub(crate) request: DrainRequest,
    /// Pods that are left on the node.
    pub(crate) pods: usize,
}

/// The drain of a daemon.
#[derive(Debug)]
pub(crate) struct Drain {
    file: PathBuf,
    state: watch::Sender<Progress>,
}

/// Where a drain stands; the step counts changes, so that nobody misses one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    pub(crate) step: u64,
    /// What was asked for by command.
    asked: Option<DrainRequest>,
    /// What the Node object says.
    leaving: Option<Leaving>,
    active: Option<Active>,
}

#[derive(Clone, Debug)]
struct Active {
    cause: DrainCause,
    request: DrainRequest,
    phase: DrainPhase,
    since: Instant,
    pods: usize,
}

impl Drain {
    /// The drain that an earlier daemon on this run folder was told, or none.
    pub(crate) fn resume(run_dir: &Path) -> anyhow::Result<Self> {
        let file = run_dir.join(FILE);
        let asked = match fs::read(&file) {
            Ok(octets) => {
                let request = serde_json::from_slice(&octets).with_context(|| {
                    format!("{}: it is no drain of this version; remove the file", file.display())
                })?;
                info!("the node is being drained, as an earlier process was told");
                Some(request)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).context(file.display().to_string()),
        };
        let mut progress = Progress { asked, ..Progress::default() };
        progress.settle();
        Ok(Self { file, state: watch::Sender::new(progress) })
    }

    /// Begins; one that is under way goes on with the new request.
    pub(crate) fn begin(&self, request: DrainRequest) -> anyhow::Result<()> {
        fs::write(&self.file, serde_json::to_vec(&request)?)
            .with_context(|| self.file.display().to_string())?;
        info!(wait_seconds = request.wait_seconds, text = %request.text, "drain: every route is a last resort now");
        self.ask(|progress| progress.asked = Some(request));
        Ok(())
    }

    /// Takes it back.
    pub(crate) fn end(&self) -> anyhow::Result<()> {
        match fs::remove_file(&self.file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).context(self.file.display().to_string());
            }
            _ => {}
        }
        self.ask(|progress| progress.asked = None);
        match self.state.borrow().leaving {
            None => info!("drain: taken back, everything is announced as before"),
            Some(Leaving::Drain) => info!("drain: it goes on, because the Node has the taint {DRAIN_TAINT}"),
            Some(Leaving::Shutdown) => info!("drain: it goes on, because the machine goes down"),
        }
        Ok(())
    }

    /// Does what the Node object asks for.
    pub(crate) fn follow(&self, leaving: Option<Leaving>) {
        if self.state.borrow().leaving == leaving {
            return;
        }
        match leaving {
            None => info!("drain: the Node does not ask for one any more"),
            Some(Leaving::Drain) => info!("drain: the Node has the taint {DRAIN_TAINT}"),
            Some(Leaving::Shutdown) => info!("drain: the machine goes down"),
        }
        self.ask(|progress| progress.leaving = leaving);
    }

    /// Follows it.
    pub(crate) fn watch(&self) -> watch::Receiver<Progress> {
        self.state.subscribe()
    }

    /// How far it is; `None` when there is none.
    pub(crate) fn status(&self) -> Option<DrainStatus> {
        self.state.borrow().status()
    }

    /// What a speaker with this plan is told now.
    pub(crate) fn applied(&self, plan: &SpeakerConfig) -> SpeakerConfig {
        match &self.state.borrow().active {
            Some(active) => draining(plan, active.phase),
            None => plan.clone(),
        }
    }

    /// The last words to peers, if the node is stopped for good: nothing of it is in use any more, or will be in a moment.
    pub(crate) fn last_words(&self) -> Option<Arc<str>> {
        let progress = self.state.borrow();
        let for_good =
            |active: &&Active| active.phase == DrainPhase::Drained || active.cause == DrainCause::Shutdown;
        progress.active.as_ref().filter(for_good).map(|active| active.request.text.clone())
    }

    fn ask(&self, ask: impl FnOnce(&mut Progress)) {
        self.state.send_modify(|progress| {
            progress.step += 1;
            ask(progress);
            progress.settle();
        });
    }

    fn change(&self, change: impl FnOnce(&mut Option<Active>)) {
        self.state.send_modify(|progress| {
            progress.step += 1;
            change(&mut progress.active);
        });
    }

    fn enter(&self, phase: DrainPhase) {
        self.change(|active| {
            if let Some(active) = active {
                active.phase = phase;
                active.since = Instant::now();
            }
        });
    }

    fn count(&self, pods: usize) {
        if self.status().is_some_and(|status| status.pods != pods) {
            self.change(|active| {
                if let Some(active) = active {
                    active.pods = pods;
                }
            });
        }
    }
}

impl Progress {
    /// Makes the drain that is under way the one that is wanted now, if one is; it does not begin anew.
    fn settle(&mut self) {
        let (cause, request) = match (self.leaving, self.asked.clone()) {
            (None, None) => {
                self.active = None;
                return;
            }
            // A machine that goes down waits for nobody.
            (Some(Leaving::Shutdown), _) => (DrainCause::Shutdown, DrainRequest::at_once()),
            (_, Some(request)) => (DrainCause::Command, request),
            (Some(Leaving::Drain), None) => (DrainCause::Taint, DrainRequest::usual()),
        };
        let begun = self.active.take().map(|active| (active.phase, active.since, active.pods));
        let (phase, since, pods) = begun.unwrap_or((DrainPhase::ShuttingDown, Instant::now(), 0));
        self.active = Some(Active { cause, request, phase, since, pods });
    }

    /// How far the drain is.
    pub(crate) fn status(&self) -> Option<DrainStatus> {
        self.active.as_ref().map(|active| DrainStatus {
            phase: active.phase,
            phase_seconds: active.since.elapsed().as_secs(),
            cause: active.cause,
            request: active.request.clone(),
            pods: active.pods,
        })
    }
}

/// Moves drains on, for as long as the daemon runs.
pub(crate) async fn run(daemon: Arc<Daemon>) {
    let mut progress = daemon.drain.watch();
    loop {
        let active = progress.borrow_and_update().active.clone();
        let next = active.and_then(|active| match active.phase {
            DrainPhase::ShuttingDown => Some(active.since + Duration::from_secs(active.request.wait_seconds)),
            DrainPhase::ServicesWithdrawn => Some(Instant::now() + COUNT_EVERY),
            DrainPhase::Drained => None,
        });
        let due = async {
            match next {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = due => step(&daemon),
            changed = progress.changed() => if changed.is_err() { return },
        }
    }
}

/// The time of a phase, or the pause between two looks, is over.
fn step(daemon: &Daemon) {
    let Some(status) = daemon.drain.status() else { return };
    let pods = match pods(daemon) {
        Ok(pods) => pods,
        Err(error) => {
            warn!("drain: pods cannot be counted, so their routes stay: {error:#}");
            return;
        }
    };
    daemon.drain.count(pods);
    match status.phase {
        DrainPhase::ShuttingDown => {
            info!(pods, "drain: Service routes are withdrawn");
            daemon.drain.enter(DrainPhase::ServicesWithdrawn);
        }
        DrainPhase::ServicesWithdrawn if pods == 0 => {
            info!("drain: the last pod has left, and nothing is announced any more");
            daemon.drain.enter(DrainPhase::Drained);
        }
        DrainPhase::ServicesWithdrawn | DrainPhase::Drained => {}
    }
}

/// Pods that hold an address of the node; without a plan nobody knows of one that has left.
fn pods(daemon: &Daemon) -> anyhow::Result<usize> {
    let Role::Node(node) = &daemon.role else { return Ok(0) };
    let plan = daemon.plan.borrow().clone();
    let Some(Plan::Node(plan)) = plan.as_deref() else { anyhow::bail!("there is no plan yet") };
    let own: Vec<_> = plan.address_blocks.iter().map(|block| block.value).collect();
    let usage = ipam::usage(&node.data_dir, &own)?;
    // A pod has an address of each family: the larger count is that of pods.
    let of = |ipv4: bool| -> usize {
        let blocks = usage.iter().filter(|block| block.block.addr().is_ipv4() == ipv4);
        blocks.map(|block| usize::try_from(block.allocated).unwrap_or(usize::MAX)).sum()
    };
    Ok(of(true).max(of(false)))
}
