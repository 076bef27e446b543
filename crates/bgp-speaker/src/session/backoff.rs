//! Pauses between attempts: short at first, doubling up to the configured one.

use std::time::Duration;

/// Longest first pause, so that a peer that starts a moment later is met soon.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// Failures in a row. Reset only by a session that lasted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Backoff {
    failures: u32,
    over_limit: u32,
}

impl Backoff {
    /// The pause before the next attempt, at most `longest`. RFC 4271 §10 wants it jittered by a quarter;
    /// `salt` tells peers apart, so that they do not try in step.
    pub(super) fn next(&mut self, longest: Duration, salt: u64) -> Duration {
        let first = (longest / 32).min(FIRST_PAUSE);
        let pause = first.saturating_mul(1 << self.failures.min(10)).min(longest);
        self.count();
        jitter(pause, salt.wrapping_add(u64::from(self.failures)))
    }

    /// The pause of a peer that exceeded its prefix limit: twice as long each time in a row, up to 64 times.
    pub(super) fn after_limit(&mut self, first: Duration) -> Duration {
        let pause = first.saturating_mul(1 << self.over_limit.min(6));
        self.over_limit = self.over_limit.saturating_add(1);
        pause
    }

    /// Counts a failure without a pause.
    pub(super) fn count(&mut self) {
        self.failures = self.failures.saturating_add(1);
    }
}

/// Three quarters of `pause` up to all of it (RFC 4271 §10). The same seed gives the same pause.
pub(super) fn jitter(pause: Duration, seed: u64) -> Duration {
    // SplitMix64: spreads neighbouring seeds evenly.
    let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let percent = 75 + u32::try_from((mixed >> 32) % 26).unwrap_or(0);
    pause * percent / 100
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut backoff = Backoff::default();
        let longest = Duration::from_secs(5);
        let pauses: Vec<_> = (0..10).map(|_| backoff.next(longest, 7)).collect();
        assert!(pauses[0] <= Duration::from_millis(157), "{pauses:?}");
        assert!(pauses.windows(2).take(5).all(|pair| pair[0] < pair[1]), "{pauses:?}");
        assert!(pauses[9] >= longest * 3 / 4 && pauses[9] <= longest, "{pauses:?}");
    }

    #[test]
    fn jitter_takes_at_most_a_quarter() {
        let pause = Duration::from_secs(100);
        assert!((0..1000).all(|seed| (pause * 3 / 4..=pause).contains(&jitter(pause, seed))));
        assert_ne!(jitter(pause, 1), jitter(pause, 2));
    }
}
