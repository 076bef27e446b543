//! How long things take on their whole way, as histograms that whoever likes reads at any time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;

/// Upper bounds of the buckets, in milliseconds; one more bucket has no bound.
const BOUNDS: [u64; 15] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000];

/// Type of an UPDATE in the header of a message (RFC 4271 §4.1), and where it stands.
const UPDATE: u8 = 2;
const TYPE_AT: usize = 18;

/// Durations, counted by size. Counting is three additions; nothing is locked.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
}

/// A histogram at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HistogramReading {
    /// Upper bound in seconds, and how many took no longer.
    pub buckets: Vec<(f64, u64)>,
    /// How many there were.
    pub count: u64,
    /// What they took together.
    pub sum: Duration,
}

impl Histogram {
    /// One more.
    pub fn observe(&self, took: Duration) {
        let millis = took.as_nanos().div_ceil(1_000_000);
        let bucket = BOUNDS.iter().position(|bound| millis <= u128::from(*bound)).unwrap_or(BOUNDS.len());
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// How it stands.
    pub fn read(&self) -> HistogramReading {
        let mut count = 0;
        let mut buckets = Vec::with_capacity(BOUNDS.len());
        for (bucket, counted) in self.buckets.iter().enumerate() {
            count += counted.load(Ordering::Relaxed);
            if let Some(bound) = BOUNDS.get(bucket) {
                buckets.push((Duration::from_millis(*bound).as_secs_f64(), count));
            }
        }
        HistogramReading { buckets, count, sum: Duration::from_micros(self.micros.load(Ordering::Relaxed)) }
    }
}

/// The ways that a speaker measures.
#[derive(Debug, Default)]
pub struct Latencies {
    /// From the event that a configuration follows from, to the last UPDATE that follows from it.
    pub event_to_update: Histogram,
    /// From the end of a session to the last UPDATE that tells others of it.
    pub loss_to_update: Histogram,
}

/// Why the kernel's routes change: the oldest cause of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct FibCause {
    /// When an UPDATE came, or what else a peer sends.
    pub received: Option<Instant>,
    /// When a session ended.
    pub lost: Option<Instant>,
}

/// Follows what is under way. Each cause begins a way, and it ends when the speaker has nothing more to do.
#[derive(Debug, Default)]
pub(super) struct Ways {
    pub(super) latencies: Arc<Latencies>,
    /// What the route programmer was not told of yet.
    fib: FibCause,
    configured: Option<Way>,
    lost: Option<Way>,
}

#[derive(Clone, Copy, Debug)]
struct Way {
    begun: Instant,
    /// The last UPDATE of it so far.
    sent: Option<Instant>,
}

impl Way {
    fn begin(begun: Instant) -> Self {
        Self { begun, sent: None }
    }
}

impl Ways {
    /// A peer has sent something.
    pub(super) fn received(&mut self, now: Instant) {
        self.fib.received.get_or_insert(now);
    }

    /// A session has ended.
    pub(super) fn lost(&mut self, now: Instant) {
        self.fib.lost.get_or_insert(now);
        self.lost.get_or_insert(Way::begin(now));
    }

    /// There is a new configuration, for something that happened then.
    pub(super) fn configured(&mut self, event: Instant) {
        self.configured.get_or_insert(Way::begin(event));
    }

    /// Octets leave: whole messages, of which the first tells what they are.
    pub(super) fn sent(&mut self, octets: &Bytes) {
        if (self.configured.is_some() || self.lost.is_some()) && octets.get(TYPE_AT) == Some(&UPDATE) {
            let now = Instant::now();
            for way in [&mut self.configured, &mut self.lost].into_iter().flatten() {
                way.sent = Some(now);
            }
        }
    }

    /// What the next batch for the kernel follows from.
    pub(super) fn fib_cause(&self) -> FibCause {
        self.fib
    }

    /// The route programmer has been told of everything.
    pub(super) fn all_in_kernel(&mut self) {
        self.fib = FibCause::default();
    }

    /// Peers have been told of everything.
    pub(super) fn all_sent(&mut self) {
        let latencies = &self.latencies;
        for (way, histogram) in [
            (self.configured.take(), &latencies.event_to_update),
            (self.lost.take(), &latencies.loss_to_update),
        ] {
            if let Some(Way { begun, sent: Some(sent) }) = way {
                histogram.observe(sent.saturating_duration_since(begun));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8) -> Bytes {
        let mut message = vec![0xff; 19];
        message[TYPE_AT] = kind;
        message.into()
    }

    #[test]
    fn a_duration_counts_in_every_bucket_that_it_fits() {
        let histogram = Histogram::default();
        for millis in [1, 2, 70_000] {
            histogram.observe(Duration::from_millis(millis));
        }
        let reading = histogram.read();
        assert_eq!((reading.buckets[0], reading.buckets[1]), ((0.001, 1), (0.002, 2)));
        assert_eq!((reading.buckets.last(), reading.count), (Some(&(60.0, 2)), 3));
        assert_eq!(reading.sum, Duration::from_millis(70_003));
    }

    #[test]
    fn a_configuration_counts_once_and_only_if_peers_are_told_something() {
        let mut ways = Ways::default();
        let begun = Instant::now();
        ways.configured(begun);
        ways.sent(&message(4));
        ways.all_sent();
        assert_eq!(ways.latencies.event_to_update.read().count, 0, "a KEEPALIVE tells nothing");
        ways.configured(begun);
        ways.sent(&message(UPDATE));
        ways.sent(&message(UPDATE));
        ways.all_sent();
        ways.all_sent();
        assert_eq!(ways.latencies.event_to_update.read().count, 1);
        assert_eq!(ways.latencies.loss_to_update.read().count, 0);
    }

    #[test]
    fn a_batch_for_the_kernel_has_the_oldest_cause_until_all_is_told() {
        let mut ways = Ways::default();
        let first = Instant::now();
        ways.received(first);
        ways.received(first + Duration::from_secs(1));
        assert_eq!(ways.fib_cause(), FibCause { received: Some(first), lost: None });
        ways.all_in_kernel();
        assert_eq!(ways.fib_cause(), FibCause::default());
    }
}
