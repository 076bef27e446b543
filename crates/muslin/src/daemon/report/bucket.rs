//! So many in a row, then one more every so often.

use std::time::{Duration, Instant};

/// A bound of what is told.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    most: u32,
    one_more: Duration,
    spent: u32,
    refilled: Option<Instant>,
}

impl Bucket {
    /// `most` in a row, and another one after each `one_more`.
    pub(super) fn new(most: u32, one_more: Duration) -> Self {
        Self { most, one_more, spent: 0, refilled: None }
    }

    /// Whether there is one at `now`, which is then gone.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let refilled = *self.refilled.get_or_insert(now);
        let more = now.duration_since(refilled).as_millis() / self.one_more.as_millis().max(1);
        if let Some(more) = u32::try_from(more).ok().filter(|more| *more > 0) {
            self.spent = self.spent.saturating_sub(more);
            self.refilled = Some(now);
        }
        let is_left = self.spent < self.most;
        self.spent += u32::from(is_left);
        is_left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_flaps_for_an_hour_is_told_a_bounded_number_of_times() {
        let (mut bucket, start) = (Bucket::new(12, Duration::from_secs(5)), Instant::now());
        let told = (0..3_600).filter(|second| bucket.take(start + Duration::from_secs(*second))).count();
        assert!((12..=12 + 3_600 / 5).contains(&told), "{told}");
        let quiet = start + Duration::from_hours(2);
        assert_eq!((0..100).filter(|_| bucket.take(quiet)).count(), 12);
    }
}
