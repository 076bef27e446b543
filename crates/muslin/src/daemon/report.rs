//! Tells the API server how this node is doing.
//!
//! ```text
//!   sessions, plan, kernel ──▶ status of now ──differs?──▶ NodeNetworkStatus (coalesced, paced, jittered)
//!                                   │
//!                                   ├──▶ gate: network is there? ──▶ Node's condition and startup taint
//!   speaker's events ──▶ bounded ───┴──▶ Events
//! ```
//!
//! Nothing is written that has not changed. What changes with every route waits longer than what a person acts on.
//! A server that does not answer delays nothing: the newest news is told when it does.

mod events;
mod gate;
mod status;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use muslin_bgp_speaker::SpeakerEvent;
use muslin_cluster::resources::NodeNetworkStatusStatus;
use muslin_cluster::{ApiClient, NodeReporter, TellError, carry_over};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tracing::{debug, info, warn};

use self::events::EventLimit;
use self::gate::{Gate, Sight};
use super::Daemon;
use crate::api;

/// Pause between two looks: what happens within it is told together.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Pause between two writings of which only numbers differ.
const NUMBERS_EVERY: Duration = Duration::from_mins(1);

/// Pause after the API server did not take something.
const AFTER_FAILURE: Duration = Duration::from_secs(20);

/// Name of the file in the run folder that says that the network has been there since the machine started.
const ARRIVED: &str = "network-available";

/// Tells until the daemon ends.
pub(super) async fn run(daemon: Arc<Daemon>, client: ApiClient, node: String, run_dir: PathBuf) {
    let mut teller = Teller {
        reporter: NodeReporter::new(&client, &node),
        told: None,
        told_at: Instant::now(),
        gate: Gate::new(run_dir.join(ARRIVED).exists()),
        arrived: run_dir.join(ARRIVED),
        complaint: String::new(),
    };
    let mut events = None;
    let mut limit = EventLimit::default();
    let mut pause = Duration::ZERO;
    let mut plan = daemon.plan.subscribe();
    loop {
        let look = tokio::time::sleep(pause);
        tokio::pin!(look);
        loop {
            events = events.or_else(|| daemon.speaker.get().and_then(|speaker| speaker.events().ok()));
            tokio::select! {
                () = &mut look => break,
                // The speaker comes with the first plan, and its first events are the ones that people wait for.
                changed = plan.changed(), if events.is_none() => if changed.is_err() { return },
                event = next(&mut events) => if let Some(event) = event {
                    teller.event(&daemon, &event, &mut limit).await;
                },
            }
        }
        pause = match teller.look(&daemon).await {
            Ok(()) => jittered(LOOK_EVERY),
            Err(error) => {
                teller.complain(&error);
                jittered(AFTER_FAILURE)
            }
        };
    }
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
}

impl Teller {
    /// Compares the status of now with what was told, and tells the difference.
    async fn look(&mut self, daemon: &Daemon) -> Result<(), TellError> {
        let Ok(now) = api::status_of(daemon).await else { return Ok(()) };
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
        let mut status = status::of(&now, &sight);
        carry_over(self.told.as_ref().map_or(&[], |told| &told.conditions), &mut status.conditions);
        let due = self.told.as_ref().is_none_or(|told| {
            let numbers = status::differs_in_numbers(told, &status);
            *told != status && (!numbers || self.told_at.elapsed() >= NUMBERS_EVERY)
        });
        if due {
            self.reporter.tell_status(&status).await?;
            self.told = Some(status);
            self.told_at = Instant::now();
        }
        self.complaint.clear();
        Ok(())
    }

    async fn event(&mut self, daemon: &Daemon, event: &SpeakerEvent, limit: &mut EventLimit) {
        let plan = daemon.plan.borrow().clone();
        let Some(event) = events::event(event, plan.as_deref()) else { return };
        if !limit.allows(Instant::now(), &event) {
            return;
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
