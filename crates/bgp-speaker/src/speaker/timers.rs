//! When each peer wants to be called, for all peers in one queue.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use smallvec::{SmallVec, smallvec};

use crate::rib::PeerIndex;

/// Timers further away than this may share a wake-up with their neighbours.
const PRECISE_WITHIN: Duration = Duration::from_secs(1);

/// The grid on which they meet: a thousand peers cost ten wake-ups a second at most.
const GRID: Duration = Duration::from_millis(100);

/// Deadlines by peer. An entry counts only while the peer's `scheduled` says the same: a hold timer that is
/// fed with every message costs nothing here, it is looked at again when its old deadline passes.
#[derive(Debug)]
pub(super) struct TimerQueue {
    heap: BinaryHeap<Reverse<(Instant, PeerIndex)>>,
    origin: Instant,
}

impl TimerQueue {
    pub(super) fn new(now: Instant) -> Self {
        Self { heap: BinaryHeap::new(), origin: now }
    }

    /// Makes sure that the peer is called at `wanted` or up to a tenth of a second later.
    pub(super) fn schedule(
        &mut self,
        now: Instant,
        index: PeerIndex,
        wanted: Option<Instant>,
        scheduled: &mut Option<Instant>,
    ) {
        let Some(wanted) = wanted else { return };
        let at = self.on_grid(now, wanted);
        if scheduled.is_none_or(|scheduled| at < scheduled) {
            self.heap.push(Reverse((at, index)));
            *scheduled = Some(at);
        }
    }

    /// The next entry that is due, valid or not.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<(PeerIndex, Instant)> {
        let Reverse((at, index)) = *self.heap.peek()?;
        (at <= now).then(|| {
            self.heap.pop();
            (index, at)
        })
    }

    /// Entries that are due and stay, valid or not, in no order.
    pub(super) fn due(&self, now: Instant) -> impl Iterator<Item = (PeerIndex, Instant)> {
        let heap = self.heap.as_slice();
        let mut open: SmallVec<[usize; 16]> = smallvec![0];
        std::iter::from_fn(move || {
            // Below an entry of a heap that is not due none is.
            while let Some(place) = open.pop() {
                if let Some(Reverse((at, index))) = heap.get(place).filter(|Reverse((at, _))| *at <= now) {
                    open.extend([2 * place + 1, 2 * place + 2]);
                    return Some((*index, *at));
                }
            }
            None
        })
    }

    /// When the next entry is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    fn on_grid(&self, now: Instant, wanted: Instant) -> Instant {
        if wanted.saturating_duration_since(now) <= PRECISE_WITHIN {
            return wanted;
        }
        let since = wanted.saturating_duration_since(self.origin).as_nanos();
        let missing = (GRID.as_nanos() - since % GRID.as_nanos()) % GRID.as_nanos();
        wanted + Duration::from_nanos(u64::try_from(missing).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distant_timers_share_wake_ups_and_near_ones_do_not() {
        let start = Instant::now();
        let mut queue = TimerQueue::new(start);
        let mut scheduled = [None; 3];
        for (peer, wanted) in [5_010, 5_090, 13].into_iter().enumerate() {
            let wanted = Some(start + Duration::from_millis(wanted));
            queue.schedule(start, PeerIndex(peer as u16), wanted, &mut scheduled[peer]);
        }
        assert_eq!(scheduled[0], scheduled[1]);
        assert_eq!(scheduled[2], Some(start + Duration::from_millis(13)));
        assert_eq!(queue.next(), scheduled[2]);
    }

    #[test]
    fn who_is_due_is_told_without_being_taken() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut queue = TimerQueue::new(start);
        for peer in 0..100_u16 {
            queue.schedule(start, PeerIndex(peer), Some(at(u64::from(peer * 37 % 100))), &mut None);
        }
        let mut due: Vec<_> = queue.due(at(29)).collect();
        due.sort_by_key(|(_, at)| *at);
        assert_eq!(due.len(), 30);
        assert!(std::iter::from_fn(|| queue.pop_due(at(29))).eq(due));
        assert_eq!(queue.due(at(29)).next(), None);
    }

    #[test]
    fn a_later_deadline_leaves_the_entry_and_an_earlier_one_replaces_it() {
        let start = Instant::now();
        let mut queue = TimerQueue::new(start);
        let mut scheduled = None;
        let at = |millis| Some(start + Duration::from_millis(millis));
        queue.schedule(start, PeerIndex(1), at(500), &mut scheduled);
        queue.schedule(start, PeerIndex(1), at(900), &mut scheduled);
        assert_eq!(scheduled, at(500));
        queue.schedule(start, PeerIndex(1), at(100), &mut scheduled);
        assert_eq!(scheduled, at(100));
        assert_eq!(queue.pop_due(start), None);
    }
}
