//! When routes leave: in rounds, with a rest after one that was many small writes.
//!
//! A burst of changes is a write of a few octets to each of a thousand peers, and when the last one has its own, the
//! next burst is there. What comes during a rest is told together with it: nobody waits longer than the round took,
//! and the writes are half as many. Few peers, and large amounts, are written without one.

use std::time::{Duration, Instant};

/// What a small write takes, with the waking of who reads it.
const WRITE: Duration = Duration::from_micros(10);

/// Shorter rests are none: no timer is that fine.
const LEAST_REST: Duration = Duration::from_micros(500);

/// No change waits longer.
const MOST_REST: Duration = Duration::from_millis(5);

/// Octets of a write above which it is the octets that cost.
const SMALL: usize = 8 * 1024;

/// The round that is under way, and the rest after the last one.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    /// Peers of this round whose turn is still to come.
    left: usize,
    /// Peers that got something.
    writes: u32,
    octets: usize,
    rest: Option<Instant>,
}

impl Rounds {
    /// Begins a round of those who wait, if none is under way and nobody rests. Returns whether there is one.
    pub(super) fn begin(&mut self, now: Instant, waiting: usize) -> bool {
        self.left = self.left.min(waiting);
        if self.left == 0 {
            if self.rest.is_some_and(|until| until > now) {
                return false;
            }
            *self = Self { left: waiting, ..Self::default() };
        }
        self.left > 0
    }

    /// The next one has had its turn, and got so many octets. Returns whether the round goes on.
    pub(super) fn served(&mut self, now: Instant, octets: usize) -> bool {
        self.left -= 1;
        self.writes += u32::from(octets > 0);
        self.octets += octets;
        let took = WRITE * self.writes;
        if self.left == 0 && took >= LEAST_REST && self.octets <= SMALL * self.writes as usize {
            self.rest = Some(now + took.min(MOST_REST));
        }
        self.left > 0
    }

    /// Until when nobody is served.
    pub(super) fn rest(&self) -> Option<Instant> {
        self.rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serve(rounds: &mut Rounds, now: Instant, peers: usize, octets: usize) {
        assert!(rounds.begin(now, peers));
        while rounds.served(now, octets) {}
    }

    #[test]
    fn a_round_of_many_small_writes_is_followed_by_a_rest_as_long_as_it_took() {
        let (now, mut rounds) = (Instant::now(), Rounds::default());
        serve(&mut rounds, now, 100, 60);
        let awake = now + Duration::from_millis(1);
        assert_eq!(rounds.rest(), Some(awake));
        assert!(!rounds.begin(now + Duration::from_micros(999), 100));
        assert!(rounds.begin(awake, 100));
        assert_eq!(rounds.rest(), None);
    }

    #[test]
    fn a_rest_never_holds_a_change_back_for_more_than_five_milliseconds() {
        let (now, mut rounds) = (Instant::now(), Rounds::default());
        serve(&mut rounds, now, 50_000, 60);
        assert_eq!(rounds.rest(), Some(now + MOST_REST));
    }

    #[test]
    fn few_peers_large_amounts_and_turns_without_octets_need_no_rest() {
        for (peers, octets) in [(1, 60), (49, 60), (1000, SMALL + 1), (1000, 0)] {
            let (now, mut rounds) = (Instant::now(), Rounds::default());
            serve(&mut rounds, now, peers, octets);
            assert_eq!(rounds.rest(), None, "{peers} peers, {octets} octets each");
        }
    }

    #[test]
    fn who_waits_since_the_round_began_is_served_in_the_next() {
        let (now, mut rounds) = (Instant::now(), Rounds::default());
        assert!(rounds.begin(now, 2));
        assert!(rounds.served(now, 0));
        assert!(rounds.begin(now, 5), "it goes on");
        assert!(!rounds.served(now, 0), "with the two of its beginning");
        assert!(rounds.begin(now, 4));
        assert!(!rounds.begin(now, 0), "nobody waits any more");
    }
}
