//! Metrics for Prometheus: what the daemon knows anyway, read when somebody asks, and histograms of whole ways.
//!
//! Their number is bounded: peers that come out of a listen range count together under the range's name, and no label
//! holds a prefix, a Service or a pod.

mod catalogue;
mod collect;
mod exposition;
#[cfg(test)]
mod tests;

use std::time::Instant;

use muslin_bgp_speaker::net::{FibCause, Histogram, SpeakerHandle};

use self::collect::{Observed, text};
use crate::daemon::Daemon;

/// The content type of what is answered (text format, version 0.0.4).
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Whole ways that end in the kernel; those that end at peers the speaker measures itself.
#[derive(Debug, Default)]
pub(crate) struct KernelWays {
    /// From what a peer sent to the kernel's routes.
    pub(crate) update_to_kernel: Histogram,
    /// From the end of a session to the kernel's routes.
    pub(crate) loss_to_kernel: Histogram,
}

impl KernelWays {
    /// Everything that follows from the cause is in the kernel.
    pub(crate) fn arrived(&self, cause: FibCause, now: Instant) {
        if let Some(received) = cause.received {
            self.update_to_kernel.observe(now.saturating_duration_since(received));
        }
        if let Some(lost) = cause.lost {
            self.loss_to_kernel.observe(now.saturating_duration_since(lost));
        }
    }
}

/// All metrics of the daemon now, in Prometheus' text format; the error is a sentence.
pub(crate) async fn render(daemon: &Daemon) -> Result<String, String> {
    let status = crate::api::status_of(daemon).await.map_err(|(_, words)| words)?;
    let speaker = daemon.speaker.get();
    Ok(text(&Observed {
        status: &status,
        speaker: speaker.map(SpeakerHandle::latencies),
        kernel: &daemon.ways,
    }))
}
