//! From what the daemon says of itself to samples.

use std::collections::BTreeMap;

use muslin_bgp_speaker::PeerStatus;
use muslin_bgp_speaker::net::Latencies;

use super::KernelWays;
use super::catalogue::{self as catalogue, Metric};
use super::exposition::{Exposition, float};
use crate::api::Status;

/// Most peers with metrics of their own; the rest count together.
const MOST_PEERS: usize = 512;
/// Under which name they do.
const OTHERS: &str = "(others)";

/// Everything that is known.
pub(crate) struct Observed<'a> {
    pub(crate) status: &'a Status,
    pub(crate) speaker: Option<&'a Latencies>,
    pub(crate) kernel: &'a KernelWays,
}

/// The whole answer.
pub(crate) fn text(observed: &Observed<'_>) -> String {
    let mut out = Exposition::default();
    daemon(&mut out, observed.status);
    peers(&mut out, &observed.status.peers);
    kernel(&mut out, observed.status);
    addresses(&mut out, observed.status);
    ways(&mut out, observed);
    out.0
}

fn one(out: &mut Exposition, metric: &Metric, value: f64) {
    out.begin(metric);
    out.sample(metric, &[], value);
}

fn truth(is: bool) -> f64 {
    f64::from(u8::from(is))
}

fn size(count: usize) -> f64 {
    float(count as u64)
}

fn daemon(out: &mut Exposition, status: &Status) {
    out.begin(&catalogue::BUILD_INFO);
    out.sample(&catalogue::BUILD_INFO, &[&status.version], 1.0);
    one(out, &catalogue::UPTIME, float(status.uptime_seconds));
    let readiness = &status.readiness;
    out.begin(&catalogue::READY);
    for (goal, reached) in [
        ("serving", readiness.serving),
        ("established", readiness.established),
        ("converged", readiness.converged),
    ] {
        out.sample(&catalogue::READY, &[goal], truth(reached));
    }
    one(out, &catalogue::DRAINING, truth(status.drain.is_some()));
    one(out, &catalogue::PROBLEMS, size(status.problems.len()));
    one(out, &catalogue::FAULTS, size(status.faults.len()));
    one(out, &catalogue::AWAITED, size(status.awaited.len()));
    one(out, &catalogue::ORIGINATED, size(status.originated));
}

/// The name that a peer counts under: its own, that of its listen range, or that of the rest.
fn name_of(peer: &PeerStatus, index: usize) -> &str {
    match &peer.range {
        Some(range) => &range.0,
        None if index < MOST_PEERS => &peer.key.0,
        None => OTHERS,
    }
}

/// Samples that several peers may share.
#[derive(Default)]
struct Sums<'a>(BTreeMap<Vec<&'a str>, f64>);

impl<'a> Sums<'a> {
    fn add(&mut self, labels: Vec<&'a str>, value: f64) {
        *self.0.entry(labels).or_default() += value;
    }

    fn write(self, out: &mut Exposition, metric: &Metric) {
        if self.0.is_empty() {
            return;
        }
        out.begin(metric);
        for (labels, value) in self.0 {
            out.sample(metric, &labels, value);
        }
    }
}

fn peers(out: &mut Exposition, peers: &[PeerStatus]) {
    let each = |out: &mut Exposition,
                metric: &Metric,
                add: &dyn for<'a> Fn(&mut Sums<'a>, &'a str, &'a PeerStatus)| {
        let mut sums = Sums::default();
        for (index, peer) in peers.iter().enumerate() {
            add(&mut sums, name_of(peer, index), peer);
        }
        sums.write(out, metric);
    };
    // What only goes up must not go down with a peer that leaves its range.
    let counted = |out: &mut Exposition,
                   metric: &Metric,
                   add: &dyn for<'a> Fn(&mut Sums<'a>, &'a str, &'a PeerStatus)| {
        each(out, metric, &|sums, name, peer| {
            if peer.range.is_none() {
                add(sums, name, peer);
            }
        });
    };
    each(out, &catalogue::SESSIONS, &|sums, name, peer| sums.add(vec![name], truth(!peer.shut_down)));
    each(out, &catalogue::ESTABLISHED, &|sums, name, peer| sums.add(vec![name], truth(peer.established)));
    counted(out, &catalogue::SESSIONS_UP, &|sums, name, peer| {
        sums.add(vec![name], float(peer.messages.established));
    });
    counted(out, &catalogue::SESSIONS_LOST, &|sums, name, peer| {
        sums.add(vec![name], float(peer.messages.lost));
    });
    counted(out, &catalogue::MESSAGES, &|sums, name, peer| {
        for (direction, counts) in [("received", &peer.messages.received), ("sent", &peer.messages.sent)] {
            for (kind, count) in [
                ("open", counts.open),
                ("update", counts.update),
                ("notification", counts.notification),
                ("keepalive", counts.keepalive),
                ("refresh", counts.refresh),
            ] {
                sums.add(vec![name, direction, kind], float(count));
            }
        }
    });
    counted(out, &catalogue::BYTES, &|sums, name, peer| {
        sums.add(vec![name, "received"], float(peer.octets_received));
        sums.add(vec![name, "sent"], float(peer.octets_sent));
    });
    each(out, &catalogue::QUEUED, &|sums, name, peer| sums.add(vec![name], size(peer.octets_queued)));
    counted(out, &catalogue::FAULTY, &|sums, name, peer| {
        sums.add(vec![name], float(peer.faulty_updates));
    });
    each(out, &catalogue::ROUTES, &|sums, name, peer| {
        for family in &peer.families {
            for (state, count) in [
                ("received", family.received),
                ("accepted", family.accepted),
                ("rejected", family.rejected),
                ("advertised", family.advertised),
            ] {
                sums.add(vec![name, &family.family, state], f64::from(count));
            }
        }
    });
    each(out, &catalogue::LIMIT, &|sums, name, peer| {
        for family in &peer.families {
            if let Some(limit) = family.limit {
                sums.add(vec![name, &family.family], f64::from(limit));
            }
        }
    });
    each(out, &catalogue::STALE, &|sums, name, peer| {
        for family in &peer.families {
            sums.add(vec![name, &family.family], truth(family.stale));
        }
    });
    counted(out, &catalogue::REFUSED, &|sums, name, peer| {
        for (reason, count) in &peer.refused {
            sums.add(vec![name, reason], float(*count));
        }
    });
}

fn kernel(out: &mut Exposition, status: &Status) {
    let kernel = &status.kernel;
    one(out, &catalogue::KERNEL_AGREEMENT, truth(kernel.agreement));
    out.begin(&catalogue::KERNEL_ROUTES);
    for (state, count) in [
        ("desired", kernel.desired),
        ("installed", kernel.installed),
        ("pending", kernel.pending),
        ("unclaimed", kernel.unclaimed),
    ] {
        out.sample(&catalogue::KERNEL_ROUTES, &[state], size(count));
    }
    one(out, &catalogue::KERNEL_CLASHES, size(kernel.clash_count));
    one(out, &catalogue::KERNEL_REFUSALS, size(kernel.refusal_count));
    let counters = &kernel.counters;
    out.begin(&catalogue::KERNEL_MESSAGES);
    out.sample(&catalogue::KERNEL_MESSAGES, &["accepted"], float(counters.accepted));
    out.sample(&catalogue::KERNEL_MESSAGES, &["refused"], float(counters.refused));
    one(out, &catalogue::KERNEL_DISTURBED, float(counters.disturbed));
    one(out, &catalogue::KERNEL_DRIFTED, float(counters.drifted));
    one(out, &catalogue::KERNEL_RESYNCS, float(counters.resyncs));
    one(out, &catalogue::KERNEL_OVERRUNS, float(counters.overruns));
    out.begin(&catalogue::NEXT_HOPS);
    out.sample(&catalogue::NEXT_HOPS, &["object"], size(kernel.next_hop_objects));
    out.sample(&catalogue::NEXT_HOPS, &["group"], size(kernel.next_hop_groups));
}

#[allow(
    clippy::cast_precision_loss,
    reason = "an IPv6 block has more addresses than anybody counts one by one"
)]
fn addresses(out: &mut Exposition, status: &Status) {
    if status.blocks.is_empty() {
        return;
    }
    let metric = &catalogue::ADDRESSES;
    out.begin(metric);
    for usage in &status.blocks {
        let block = usage.block.to_string();
        let family = if usage.block.addr().is_ipv4() { "IPv4" } else { "IPv6" };
        out.sample(metric, &[&block, family, "allocated"], float(usage.allocated));
        out.sample(metric, &[&block, family, "resting"], float(usage.resting));
        out.sample(metric, &[&block, family, "free"], usage.free as f64);
    }
}

fn ways(out: &mut Exposition, observed: &Observed<'_>) {
    let none = Latencies::default();
    let speaker = observed.speaker.unwrap_or(&none);
    out.begin(&catalogue::EVENT_TO_UPDATE);
    out.histogram(&catalogue::EVENT_TO_UPDATE, &[], &speaker.event_to_update.read());
    out.begin(&catalogue::UPDATE_TO_KERNEL);
    out.histogram(&catalogue::UPDATE_TO_KERNEL, &[], &observed.kernel.update_to_kernel.read());
    out.begin(&catalogue::LOSS_TO_WITHDRAWAL);
    out.histogram(&catalogue::LOSS_TO_WITHDRAWAL, &["peers"], &speaker.loss_to_update.read());
    out.histogram(&catalogue::LOSS_TO_WITHDRAWAL, &["kernel"], &observed.kernel.loss_to_kernel.read());
}
