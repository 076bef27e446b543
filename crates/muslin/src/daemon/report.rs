//! Tells the API server how this node is doing.
//!
//! ```text
//!   sessions, plan, kernel ──▶ status of now ──differs?──▶ NodeNetworkStatus (coalesced, paced, jittered)
//!                                   │
//!                                   ├──▶ gate: network is there? ──▶ Node's condition and startup taint
//!   speaker's events ──▶ bounded ───┴──▶ Events
//! ```
//!
//! What has not changed is written once a minute, to say that somebody vouches for it. A session that comes or goes is looked at within half a second, and told as
//! long as that does not happen too often; what changes with every route waits longer. A server that does not answer delays nothing: the newest news is told when it does.

mod bucket;
mod events;
mod gate;
mod status;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use muslin_bgp_speaker::SpeakerEvent;
use muslin_cluster::resources::NodeNetworkStatusStatus;
use muslin_cluster::{
    ApiClient, ClusterState, NodeEvent, NodeReporter, TellError, carry_over, heartbeat, report_objects,
};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tracing::{debug, info, warn};

use self::bucket::Bucket;
use self::events::{EventLimit, Refusals};
use self::gate::{Gate, Sight};
use super::Daemon;
use crate::api::{self, Status};

/// Pause between two looks while nothing is known to happen.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Pause between something that happens and the look at it: what happens within it is told together.
const LOOK_SOON: Duration = Duration::from_millis(300);

/// Pause between two looks while something is under way: a session is up, and its routes are not there yet.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How many writings in a row, and how long it takes for one more: what flaps is told less often.
const WRITINGS: u32 = 12;
const ONE_MORE: Duration = Duration::from_secs(5);

/// Pause between two writings of which only numbers differ.
const NUMBERS_EVERY: Duration = Duration::from_mins(1);

/// Pause after the API server did not take something.
const AFTER_FAILURE: Duration = Duration::from_secs(20);

/// Name of the file in the run folder that says that the network has been there since the machine started.
const ARRIVED: &str = "network-available";

/// Tells until the daemon ends.
pub(super) async fn run(
    daemon: Arc<Daemon>,
    client: ApiClient,
    node: String,
    run_dir: PathBuf,
    state: watch::Receiver<Arc<ClusterState>>,
) {
    // What belongs to no node is told by one agent for all.
    let objects = report_objects(client.clone(), node.clone(), state.clone());
    tokio::join!(objects, report_node(daemon, client, node, run_dir, state));
}

async fn report_node(
    daemon: Arc<Daemon>,
    client: ApiClient,
    node: String,
    run_dir: PathBuf,
    state: watch::Receiver<Arc<ClusterState>>,
) {
    let mut teller = Teller {
        reporter: NodeReporter::new(&client, &node),
        told: None,
        told_at: Instant::now(),
        gate: Gate::new(run_dir.join(ARRIVED).exists()),
        arrived: run_dir.join(ARRIVED),
        complaint: String::new(),
        writings: Bucket::new(WRITINGS, ONE_MORE),
        early: rand::random(),
        refusals: Refusals::default(),
        limit: EventLimit::default(),
        state,
    };
    let mut events = None;
    let mut look_at = Instant::now();
    let mut plan = daemon.plan.subscribe();
    loop {
        let look = tokio::time::sleep_until(look_at.into());
        tokio::pin!(look);
        loop {
            if events.is_none() {
                events = daemon.events.lock().await.take();
            }
            tokio::select! {
                () = &mut look => break,
                // The speaker comes with the first plan, and its first events are the ones that people wait for.
                changed = plan.changed() => {
                    if changed.is_err() { return }
                    look_at = look_at.min(Instant::now() + LOOK_SOON);
                },
                event = next(&mut events) => {
                    look_at = look_at.min(Instant::now() + LOOK_SOON);
                    if let Some(event) = event {
                        teller.event(&daemon, &event).await;
                    }
                },
            }
            look.as_mut().reset(look_at.into());
        }
        let pause = match teller.look(&daemon).await {
            Ok(Sees::Rest) => jittered(LOOK_EVERY),
            Ok(Sees::Movement) => LOOK_AGAIN,
            Err(error) => {
                teller.complain(&error);
                jittered(AFTER_FAILURE)
            }
        };
        look_at = Instant::now() + pause;
    }
}

/// What a look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sees {
    /// Nothing is under way.
    Rest,
    /// Something is, or was not told yet.
    Movement,
}

/// Whether a session that is up waits for routes, or the kernel for some of them: it may be over at any moment.
fn under_way(status: &Status) -> bool {
    let incomplete = |peer: &muslin_bgp_speaker::PeerStatus| {
        peer.established
            && peer.families.iter().any(|family| family.negotiated && !family.end_of_rib_received)
    };
    status.peers.iter().any(incomplete) || status.kernel.pending > 0
}

async fn next(events: &mut Option<Receiver<SpeakerEvent>>) -> Option<SpeakerEvent> {
    let Some(receiver) = events else { return std::future::pending().await };
    match receiver.recv().await {
        Ok(event) => Some(event),
        Err(RecvError::Lagged(lost)) => {
            debug!(lost, "events of the speaker came too fast to be told");
            None
        }
        Err(RecvError::Closed) => {
            *events = None;
            None
        }
    }
}

/// Up to half as long again, so that nodes that began together do not go on together.
fn jittered(pause: Duration) -> Duration {
    pause + pause.mul_f64(rand::random::<f64>() / 2.0)
}

struct Teller {
    reporter: NodeReporter,
    told: Option<NodeNetworkStatusStatus>,
    told_at: Instant,
    gate: Gate,
    arrived: PathBuf,
    complaint: String,
    writings: Bucket,
    /// How much earlier this agent's heartbeats come than they have to, so that they do not come all at once: 0 to 1.
    early: f64,
    refusals: Refusals,
    limit: EventLimit,
    state: watch::Receiver<Arc<ClusterState>>,
}

impl Teller {
    /// Compares the status of now with what was told, and tells the difference.
    async fn look(&mut self, daemon: &Daemon) -> Result<Sees, TellError> {
        let Ok(now) = api::status_of(daemon).await else { return Ok(Sees::Rest) };
        let sight = Sight::of(&now);
        if let Some(network) = self.gate.decide(Instant::now(), &sight) {
            self.reporter.tell_network(&network).await?;
            info!(available = network.available, "{}", network.message);
            if network.available
                && let Err(error) = std::fs::write(&self.arrived, [])
            {
                warn!("{}: {error}", self.arrived.display());
            }
            self.gate.told(network.available);
        }
        for event in self.refusals.look(&now.peers) {
            self.tell(event).await;
        }
        #[expect(clippy::disallowed_methods, reason = "a status says when it was so")]
        let time = SystemTime::now();
        let mut status = status::of(&now, &sight, time);
        if let Some(told) = &self.told {
            carry_over(&told.conditions, &mut status.conditions);
            status::keep_times(told, &mut status);
            status.heartbeat.clone_from(&told.heartbeat);
        }
        let pause = heartbeat(self.state.borrow().nodes.len()).mul_f64(1.0 - self.early / 3.0);
        let beats = self.told_at.elapsed() >= pause;
        let due = self.told.as_ref().is_none_or(|told| {
            let numbers = status::differs_in_numbers(told, &status);
            beats || *told != status && (!numbers || self.told_at.elapsed() >= NUMBERS_EVERY)
        });
        let mut sees = if under_way(&now) { Sees::Movement } else { Sees::Rest };
        if due && self.writings.take(Instant::now()) {
            status.heartbeat = status::heartbeat(time);
            self.reporter.tell_status(&status).await?;
            self.told = Some(status);
            self.told_at = Instant::now();
        } else if due {
            sees = Sees::Movement;
        }
        self.complaint.clear();
        Ok(sees)
    }

    async fn event(&mut self, daemon: &Daemon, event: &SpeakerEvent) {
        let plan = daemon.plan.borrow().clone();
        if let Some(event) = events::event(event, plan.as_deref()) {
            self.tell(event).await;
        }
    }

    async fn tell(&mut self, mut event: NodeEvent) {
        if !self.limit.allows(Instant::now(), &event) {
            return;
        }
        if let Some(peer) = &event.peer {
            let state = self.state.borrow();
            event.uid = state.bgp_peers.get(peer.as_str()).and_then(|peer| peer.metadata.uid.clone());
        }
        if let Err(error) = self.reporter.tell_event(&event).await {
            self.complain(&error);
        }
    }

    /// Once for each reason.
    fn complain(&mut self, error: &TellError) {
        let words = error.to_string();
        if words != self.complaint {
            warn!("the API server was not told: {words}");
            self.complaint = words;
        }
    }
}
