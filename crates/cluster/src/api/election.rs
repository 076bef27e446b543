//! Which agent tells of the objects that belong to no node: one holds a Lease. No client, no clock.
//!
//! Agents ask in the order of their nodes' names, the later ones ever more seldom: a cluster of any size asks a few
//! times a second together, and whoever is alive and first takes over soonest. The Lease's own times are not
//! compared with our clock, which may go wrong: a Lease is free when it has not changed for its duration.

use std::time::{Duration, Instant};

/// How long a Lease holds that is not renewed.
pub(super) const DURATION: Duration = Duration::from_secs(15);

/// Pause between two renewals, and between two looks of whoever comes first.
pub(super) const PAUSE: Duration = Duration::from_secs(5);

/// After so long without a renewal the holder stops: before anybody else begins.
const STOP: Duration = Duration::from_secs(10);

/// Longest pause between two looks.
const LONGEST: Duration = Duration::from_hours(1);

/// What stands in a Lease, and changes with every renewal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) holder: String,
    pub(super) version: String,
}

/// What to do about the Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Make it, take it or renew it: it is ours, or free.
    Take,
    /// It is another one's.
    Leave,
}

/// One candidate's sight of the Lease.
#[derive(Debug)]
pub(super) struct Election {
    me: String,
    seen: Option<(Record, Instant)>,
    renewed: Option<Instant>,
}

impl Election {
    pub(super) fn new(me: &str) -> Self {
        Self { me: me.to_owned(), seen: None, renewed: None }
    }

    /// The Lease was looked at; none is there if `None`.
    pub(super) fn looked(&mut self, now: Instant, record: Option<Record>) -> Step {
        let Some(record) = record else { return Step::Take };
        if record.holder == self.me || record.holder.is_empty() {
            return Step::Take;
        }
        self.renewed = None;
        match &self.seen {
            Some((seen, since)) if *seen == record => {
                if now.duration_since(*since) >= DURATION {
                    Step::Take
                } else {
                    Step::Leave
                }
            }
            _ => {
                self.seen = Some((record, now));
                Step::Leave
            }
        }
    }

    /// The API server took our name, asked at `asked`.
    pub(super) fn taken(&mut self, asked: Instant) {
        self.seen = None;
        self.renewed = Some(asked);
    }

    /// Whether we are the one, now.
    pub(super) fn holds(&self, now: Instant) -> bool {
        self.renewed.is_some_and(|renewed| now.duration_since(renewed) < STOP)
    }

    /// Pause until the next look of the one whose node comes after `before` others.
    pub(super) fn pause(&self, now: Instant, before: usize) -> Duration {
        if self.holds(now) {
            return PAUSE;
        }
        let times = u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1);
        PAUSE.saturating_mul(times).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(holder: &str, version: &str) -> Record {
        Record { holder: holder.to_owned(), version: version.to_owned() }
    }

    #[test]
    fn a_lease_that_is_renewed_is_left_and_one_that_is_not_is_taken() {
        let (mut election, start) = (Election::new("n2"), Instant::now());
        for look in 0..10_u32 {
            let now = start + PAUSE * look;
            assert_eq!(election.looked(now, Some(record("n1", &look.to_string()))), Step::Leave);
        }
        let last = start + PAUSE * 9;
        assert_eq!(election.looked(last + PAUSE, Some(record("n1", "9"))), Step::Leave);
        assert_eq!(election.looked(last + DURATION, Some(record("n1", "9"))), Step::Take);
    }

    #[test]
    fn the_holder_stops_before_another_one_begins() {
        let (mut election, now) = (Election::new("n1"), Instant::now());
        assert!(!election.holds(now));
        assert_eq!(election.looked(now, None), Step::Take);
        election.taken(now);
        assert!(election.holds(now + STOP.mul_f64(0.9)));
        assert!(!election.holds(now + STOP));
        const { assert!(STOP.as_secs() < DURATION.as_secs()) };
    }

    #[test]
    fn who_finds_another_name_has_lost_at_once() {
        let (mut election, now) = (Election::new("n1"), Instant::now());
        election.taken(now);
        assert_eq!(election.looked(now, Some(record("n2", "7"))), Step::Leave);
        assert!(!election.holds(now));
    }

    #[test]
    fn five_thousand_candidates_ask_less_than_three_times_a_second_together() {
        let (election, now) = (Election::new("n1"), Instant::now());
        let a_second: f64 = (0..5_000).map(|before| 1.0 / election.pause(now, before).as_secs_f64()).sum();
        assert!(a_second < 3.0, "{a_second}");
        let mut holder = Election::new("n1");
        holder.taken(now);
        assert_eq!(holder.pause(now, 4_000), PAUSE);
    }
}
