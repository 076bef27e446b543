//! Whether the daemon has arrived: what a probe, the lab and `muslin status` ask.

use std::convert::Infallible;
use std::time::Duration;

use muslin_bgp_speaker::net::SpeakerHandle;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;
use tracing::warn;

use super::{Daemon, Role};

/// How long pods wait for a session. A node whose peers are all dead runs them all the same then: they reach each
/// other, and a cluster that is switched on as a whole gets going.
const PATIENCE: Duration = Duration::from_mins(1);

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Goal {
    /// Packets find their way: one session at least is established if there are peers, the first exchange of routes
    /// is over, and the kernel holds what followed from it. A peer that is away for long does not hold it back.
    Serving,
    /// The plan is in force and every session is established.
    Established,
    /// Also every peer's End-of-RIB was seen and the kernel agrees.
    Converged,
}

/// How far the daemon is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Readiness {
    /// Packets find their way: as many sessions stand as it takes.
    #[serde(default)]
    pub(crate) serving: bool,
    /// Every session that is not shut down is established.
    pub(crate) established: bool,
    /// Every peer's routes are known, and the kernel holds what follows from them.
    pub(crate) converged: bool,
    /// What is missing, in words; empty when nothing is.
    pub(crate) waiting_for: Vec<String>,
}

impl Readiness {
    /// Whether the goal is reached.
    pub(crate) fn reaches(&self, goal: Goal) -> bool {
        match goal {
            Goal::Serving => self.serving,
            Goal::Established => self.established,
            Goal::Converged => self.converged,
        }
    }

    /// How far the daemon is now.
    pub(crate) async fn of(daemon: &Daemon) -> Self {
        let (mut sessions, mut routes) = (Vec::new(), Vec::new());
        let mut serving = match daemon.speaker.get() {
            None => {
                sessions.push("a plan: the state has no usable configuration for this daemon".to_owned());
                false
            }
            Some(speaker) => missing(speaker, &mut sessions, &mut routes).await,
        };
        if let Some(plan) = daemon.plan.borrow().as_deref() {
            let awaited = plan.discovery().awaited.iter().filter(|peer| peer.expected);
            sessions.extend(awaited.map(|peer| format!("peer {}: {}", peer.name, peer.reason)));
        }
        let kernel = daemon.programmer.status();
        if kernel.pending > 0 {
            serving = false;
            routes.push(format!("the kernel: {} routes on their way", kernel.pending));
        } else if !kernel.agreement {
            routes.push("the kernel: it does not hold every route, see `muslin routes kernel`".to_owned());
        }
        if *daemon.admission.borrow() != Admission::Announced {
            routes.push(
                "the CNI configuration, which tells the container runtime that pods may come".to_owned(),
            );
        }
        let established = sessions.is_empty();
        let converged = established && routes.is_empty();
        sessions.append(&mut routes);
        Self { serving, established, converged, waiting_for: sessions }
    }
}

/// Says what the speaker lacks; returns whether it serves without.
async fn missing(speaker: &SpeakerHandle, sessions: &mut Vec<String>, routes: &mut Vec<String>) -> bool {
    let Ok(peers) = speaker.peers().await else {
        sessions.push("the speaker: it has ended".to_owned());
        return false;
    };
    for peer in peers.iter().filter(|peer| !peer.shut_down) {
        if !peer.established {
            sessions.push(format!("peer {}: {}", peer.key.0, peer.state));
        }
        for family in peer.families.iter().filter(|family| family.negotiated && !family.end_of_rib_received) {
            routes.push(format!("peer {}: its {} routes", peer.key.0, family.family));
        }
    }
    let synced = speaker.status().await.is_ok_and(|status| status.synced);
    if !synced {
        routes.push("the first exchange of routes".to_owned());
    }
    let mut wanted = peers.iter().filter(|peer| !peer.shut_down).peekable();
    synced && (wanted.peek().is_none() || wanted.any(|peer| peer.established))
}

/// Whether the container runtime may send pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Not yet: their packets would lead nowhere.
    Waiting,
    /// It is to be told.
    Open,
    /// It has been told. A session that is lost later does not take this back: pods of the node still reach each other.
    Announced,
}

impl Admission {
    /// Nobody is told where there is nobody to tell.
    pub(super) fn at_start(role: &Role) -> Self {
        match role {
            Role::Node(node) if node.cni_conf_dir.is_some() => Self::Waiting,
            Role::Node(_) | Role::Speaker(_) => Self::Announced,
        }
    }
}

/// Lets pods come once the node serves, or patience is at its end.
pub(super) async fn admit(daemon: &Daemon) -> Infallible {
    if *daemon.admission.borrow() == Admission::Waiting {
        let readiness = wait(daemon, Goal::Serving, PATIENCE).await;
        if !readiness.serving {
            warn!(
                waiting_for = readiness.waiting_for.join("; "),
                "pods may come although the node is not ready"
            );
        }
        daemon.admission.send_replace(Admission::Open);
    }
    std::future::pending().await
}

/// Waits for the goal, at most `limit`; returns how far it came.
pub(crate) async fn wait(daemon: &Daemon, goal: Goal, limit: Duration) -> Readiness {
    let deadline = Instant::now() + limit;
    let mut plan = daemon.plan.subscribe();
    let mut kernel = daemon.programmer.watch_status();
    let mut admission = daemon.admission.subscribe();
    loop {
        // Subscribed before looking, so that nothing falls between the look and the wait.
        let mut events = daemon.speaker.get().and_then(|speaker| speaker.events().ok());
        plan.mark_unchanged();
        kernel.mark_unchanged();
        admission.mark_unchanged();
        let readiness = Readiness::of(daemon).await;
        if readiness.reaches(goal) {
            return readiness;
        }
        let event = async {
            match &mut events {
                // Whoever lags looks again.
                Some(events) => matches!(events.recv().await, Ok(_) | Err(RecvError::Lagged(_))),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            going_on = event => if !going_on { return readiness },
            changed = plan.changed() => if changed.is_err() { return readiness },
            changed = kernel.changed() => if changed.is_err() { return readiness },
            changed = admission.changed() => if changed.is_err() { return readiness },
            () = tokio::time::sleep_until(deadline) => return readiness,
        }
    }
}
