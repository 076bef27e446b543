//! What changed, by name, for whoever looks in from outside: BMP collectors and live views.
//!
//! Beside the ring of changes, which names destinations of the table, this one names prefixes, so that a route
//! that is gone can still be told. It is kept only while somebody follows, and bounded: a follower that falls
//! off it is told so and begins anew.

use std::collections::VecDeque;
use std::sync::Arc;

use ipnet::IpNet;

use super::{PeerIndex, Rib};
use crate::session::EndReason;

/// Entries that are kept.
const CAPACITY: usize = if cfg!(test) { 64 } else { 1 << 16 };

/// Something that changed. It says what to look at, not what it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tapped {
    /// The selected paths of a destination.
    Best(IpNet),
    /// A path of a peer, or its standing.
    Path {
        /// Whose.
        peer: PeerIndex,
        /// Where to.
        prefix: IpNet,
        /// Its identifier; zero without ADD-PATH.
        path_id: u32,
    },
    /// What peers are sent of a destination.
    Sent(IpNet),
    /// A session is established.
    Up(PeerIndex),
    /// An established session ended.
    Down(PeerIndex, Arc<EndReason>),
}

/// The ring.
#[derive(Debug, Default)]
pub(crate) struct Tap {
    entries: VecDeque<Tapped>,
    /// Number of the first entry that is kept.
    first: u64,
    /// Shared with every follower: without one there is nothing to keep.
    followed: Arc<()>,
}

/// A follower's place. While it lives, changes are kept for it.
#[derive(Clone, Debug)]
pub(crate) struct Follower {
    position: u64,
    _followed: Arc<()>,
}

/// The follower was too slow: what it did not see is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more changed than is kept for a reader that is this slow")]
pub struct Lagged;

impl Tap {
    /// Follows from now on.
    pub(crate) fn follow(&self) -> Follower {
        Follower { position: self.head(), _followed: self.followed.clone() }
    }

    /// Notes a change, if anybody wants to know.
    pub(crate) fn note(&mut self, change: impl FnOnce() -> Tapped) {
        if Arc::strong_count(&self.followed) == 1 {
            if !self.entries.is_empty() {
                self.first += self.entries.len() as u64;
                self.entries = VecDeque::new();
            }
            return;
        }
        if self.entries.len() == CAPACITY {
            self.entries.pop_front();
            self.first += 1;
        }
        self.entries.push_back(change());
    }

    /// The number that the next change will have.
    pub(crate) fn head(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// The next change for a follower; `None` when it has seen all.
    pub(crate) fn next(&self, follower: &mut Follower) -> Result<Option<&Tapped>, Lagged> {
        let place = follower.position.checked_sub(self.first).ok_or(Lagged)?;
        let entry = usize::try_from(place).ok().and_then(|place| self.entries.get(place));
        follower.position += u64::from(entry.is_some());
        Ok(entry)
    }
}

impl Rib {
    /// Notes changes from now on, for this follower.
    pub(crate) fn follow(&self) -> Follower {
        self.routes.tap.follow()
    }

    /// The next change; `None` when the follower has seen all.
    pub(crate) fn next_tapped(&self, follower: &mut Follower) -> Result<Option<&Tapped>, Lagged> {
        self.routes.tap.next(follower)
    }

    /// How many changes were noted for followers.
    pub(crate) fn tapped(&self) -> u64 {
        self.routes.tap.head()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn best(number: usize) -> Tapped {
        Tapped::Best(IpNet::V4(ipnet::Ipv4Net::new_assert([10, 0, number as u8, 0].into(), 24)))
    }

    #[test]
    fn nothing_is_kept_without_a_follower() {
        let mut tap = Tap::default();
        tap.note(|| best(1));
        assert_eq!(tap.head(), 0);
        let mut follower = tap.follow();
        tap.note(|| best(2));
        assert_eq!(tap.next(&mut follower), Ok(Some(&best(2))));
        assert_eq!(tap.next(&mut follower), Ok(None));
        drop(follower);
        tap.note(|| best(3));
        assert!(tap.entries.is_empty());
    }

    #[test]
    fn a_follower_that_is_too_slow_is_told_so_and_the_others_are_not_disturbed() {
        let mut tap = Tap::default();
        let (mut slow, mut fast) = (tap.follow(), tap.follow());
        for number in 0..=CAPACITY {
            tap.note(|| best(number));
            assert_eq!(tap.next(&mut fast), Ok(Some(&best(number))));
        }
        assert_eq!(tap.next(&mut slow), Err(Lagged));
        assert_eq!(tap.entries.len(), CAPACITY);
    }
}
