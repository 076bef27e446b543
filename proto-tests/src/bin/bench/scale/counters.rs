//! What an API server counts, by the minute.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use muslin_kubernetes_lab::poll::rest;

use super::plane::Plane;

/// Of one API server, each a minute.
pub(super) struct Rates {
    /// Requests of agents.
    pub(super) agents: f64,
    /// Statuses of Nodes that were written.
    pub(super) heartbeats: f64,
    /// Renewals of Leases.
    pub(super) renewals: f64,
    /// Its processor time, in seconds.
    pub(super) processor: f64,
}

/// Watches for that long.
pub(super) fn rates(plane: &Plane, during: Duration) -> Result<Rates> {
    // The server takes time to tell, too: that is before and after.
    let before = plane.api()?.call("GET", "/metrics", "", "")?;
    let (begun, used) = (Instant::now(), plane.processor()?);
    rest(during);
    let (watched, processor) = (begun.elapsed(), plane.processor()? - used);
    let after = plane.api()?.call("GET", "/metrics", "", "")?;
    ensure!(sum(&after, REQUESTS, &[])? > 0.0, "the server counts no requests");
    let a_minute = |value: f64| value * 60.0 / watched.as_secs_f64();
    let more = |name: &str, labels: &[&str]| -> Result<f64> {
        Ok(a_minute(sum(&after, name, labels)? - sum(&before, name, labels)?))
    };
    Ok(Rates {
        // Nobody else is a service account.
        agents: more(
            "apiserver_flowcontrol_dispatched_requests_total",
            &["flow_schema=\"service-accounts\""],
        )?,
        heartbeats: more(REQUESTS, &["resource=\"nodes\"", "subresource=\"status\"", "verb=\"PATCH\""])?,
        renewals: more(REQUESTS, &["resource=\"leases\"", "verb=\"PUT\""])?,
        processor: a_minute(processor),
    })
}

const REQUESTS: &str = "apiserver_request_total";

/// The sum of those counters of a name that have all the labels, in Prometheus' text format.
fn sum(text: &str, name: &str, labels: &[&str]) -> Result<f64> {
    let counters =
        text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{')?.rsplit_once("} "));
    let wanted =
        counters.filter(|(found, _)| labels.iter().all(|label| found.split(',').any(|one| one == *label)));
    Ok(wanted.map(|(_, value)| value.parse::<f64>()).sum::<Result<f64, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_summed_by_name_and_labels() {
        let text = "# HELP r_total of requests\nr_total{verb=\"GET\",resource=\"nodes\"} 3\n\
                    r_total{verb=\"PUT\",resource=\"nodes\"} 1.5e+02\nr_total{verb=\"PUT\",resource=\"pods\"} 5\n\
                    r_total_other{verb=\"PUT\",resource=\"nodes\"} 7\n";
        assert_eq!(sum(text, "r_total", &[]).ok(), Some(158.0));
        assert_eq!(sum(text, "r_total", &["verb=\"PUT\"", "resource=\"nodes\""]).ok(), Some(150.0));
        assert_eq!(sum(text, "r_total", &["verb=\"LIST\""]).ok(), Some(0.0));
        assert!(sum("r_total{} many", "r_total", &[]).is_err());
    }
}
