//! Whether every part of the daemon still turns: what a liveness probe asks.
//!
//! Peers, routes and the API server have no say in it: a restart would not mend them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{Daemon, planner};

/// The planner beats with every audit at least; who misses this many has stopped.
const MISSED_BEATS: u32 = 6;
/// Longest time that a part of the daemon may take to answer. The kubelet waits as long, and some.
const ANSWER: Duration = Duration::from_secs(4);

/// When the planner last went round.
#[derive(Debug)]
pub(crate) struct Pulse {
    since: Instant,
    /// Milliseconds after `since`.
    last: AtomicU64,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { since: Instant::now(), last: AtomicU64::new(0) }
    }
}

impl Pulse {
    /// The planner goes round.
    pub(crate) fn beat(&self) {
        let passed = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(passed, Ordering::Relaxed);
    }

    /// How long ago that was.
    fn age(&self) -> Duration {
        self.since.elapsed().saturating_sub(Duration::from_millis(self.last.load(Ordering::Relaxed)))
    }
}

/// Asks each part of the daemon for something small; the error is a sentence about the one that does not answer.
pub(crate) async fn liveness(daemon: &Daemon) -> Result<(), String> {
    let age = daemon.pulse.age();
    if age > planner::AUDIT * MISSED_BEATS {
        return Err(format!("the planner has stood still for {} s", age.as_secs()));
    }
    let silent = |part: &str| format!("the {part} has not answered for {} s", ANSWER.as_secs());
    let ended = |part: &str| format!("the {part} has ended");
    let routes = tokio::time::timeout(ANSWER, daemon.programmer.routes(None, 1)).await;
    routes.map_err(|_| silent("route programmer"))?.map_err(|_| ended("route programmer"))?;
    let Some(speaker) = daemon.speaker.get() else { return Ok(()) };
    let status = tokio::time::timeout(ANSWER, speaker.status()).await;
    status.map_err(|_| silent("speaker"))?.map_err(|_| ended("speaker"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pulse_that_beats_is_young() {
        let pulse = Pulse {
            since: Instant::now().checked_sub(Duration::from_mins(5)).unwrap(),
            last: AtomicU64::new(0),
        };
        assert!(pulse.age() >= Duration::from_mins(5));
        pulse.beat();
        assert!(pulse.age() < Duration::from_mins(1));
    }
}
