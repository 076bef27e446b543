//! What is known of one prefix.

use super::paths::PathId;
use crate::wire::refusal::KernelRefusal;

/// From one full read or audit to the next.
pub(super) const GENERATION: u32 = 2;
/// On top of a generation.
pub(super) const CHANGED: u32 = 1;

/// One of our routes, in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) path: PathId,
    pub(super) metric: u32,
}

/// What the kernel has for a prefix of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Actual {
    Absent,
    Present(Entry),
    /// It carries our protocol, but we would not have written it so.
    Odd {
        metric: u32,
    },
}

impl Actual {
    pub(super) fn metric(self) -> Option<u32> {
        match self {
            Self::Absent => None,
            Self::Present(entry) => Some(entry.metric),
            Self::Odd { metric } => Some(metric),
        }
    }
}

/// Both sides of a prefix.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) desired: Option<Entry>,
    pub(super) actual: Actual,
    pub(super) queued: bool,
    /// Found on start, not asked for, and not yet synced.
    pub(super) unclaimed: bool,
    /// The last full read or audit that saw it, and [`CHANGED`] if something became of it since that one began.
    pub(super) generation: u32,
}

/// How far a refused route has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It contradicts what we believe: wait for the full read.
    Doubtful,
    /// May be tried once more.
    Retry,
    /// Stays refused until something changes.
    Settled,
}

/// A route that the kernel refused.
#[derive(Clone, Debug)]
pub(super) struct RouteRefusal {
    pub(super) refusal: KernelRefusal,
    pub(super) stage: Stage,
}

impl Slot {
    pub(super) fn empty() -> Self {
        Self { desired: None, actual: Actual::Absent, queued: false, unclaimed: false, generation: 0 }
    }

    /// Both sides agree and the slot is worth keeping: no look at it is needed.
    pub(super) fn rests(&self) -> bool {
        matches!((self.desired, self.actual), (Some(desired), Actual::Present(actual)) if desired == actual)
    }
}
