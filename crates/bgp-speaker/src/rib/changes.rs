//! The ring of changes: which destinations of the Loc-RIB changed, in order.
//!
//! Consumers (the kernel's cursor, export groups) hold a [`Cursor`] and pull at their own pace. The ring is
//! bounded: a consumer that falls off it walks the table once instead. A destination that changed again
//! carries a newer version, so its older entries are skipped: changes coalesce by themselves.

use super::destination::{DestinationId, Destinations};
use super::slab::Handle;

/// Entries that the ring keeps. Tests have a small one, so that consumers fall off it.
const CAPACITY: u64 = if cfg!(test) { 32 } else { 1 << 16 };

/// The ring.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    entries: Vec<Option<DestinationId>>,
    head: u64,
}

/// A consumer's place in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cursor {
    /// Everything before this entry has been seen.
    At(u64),
    /// The whole table is walked; this row is next, and the ring is continued from `resume`.
    Walk {
        /// Next row of the destinations.
        row: u32,
        /// Where the ring is continued.
        resume: u64,
    },
}

impl Changes {
    /// Notes that a destination changed.
    pub(crate) fn push(&mut self, id: DestinationId, destinations: &mut Destinations) {
        let slot = (self.head % CAPACITY) as usize;
        if slot == self.entries.len() {
            self.entries.push(Some(id));
        } else {
            self.entries[slot] = Some(id);
        }
        destinations[id].version = self.head as u32;
        self.head += 1;
    }

    /// The number that the next change will have.
    pub(crate) fn head(&self) -> u64 {
        self.head
    }

    /// A cursor that begins with a walk over the whole table.
    pub(crate) fn walk(&self) -> Cursor {
        Cursor::Walk { row: 0, resume: self.head }
    }

    /// Whether a consumer has seen everything.
    pub(crate) fn drained(&self, cursor: Cursor) -> bool {
        cursor == Cursor::At(self.head)
    }

    /// The next destination that a consumer should look at, `None` when it has seen everything.
    pub(crate) fn next(&self, cursor: &mut Cursor, destinations: &Destinations) -> Option<DestinationId> {
        loop {
            match cursor {
                Cursor::At(position) => {
                    if *position == self.head {
                        return None;
                    }
                    if self.head - *position > CAPACITY {
                        *cursor = self.walk();
                        continue;
                    }
                    let entry = self.entries[(*position % CAPACITY) as usize];
                    let version = *position as u32;
                    *position += 1;
                    if let Some(id) = entry
                        && destinations.is_used(id)
                        && destinations[id].version == version
                    {
                        return Some(id);
                    }
                }
                Cursor::Walk { row, resume } => {
                    if *row >= destinations.rows() {
                        *cursor = Cursor::At(*resume);
                        continue;
                    }
                    let id = DestinationId::from_index(*row);
                    *row += 1;
                    if destinations.is_used(id) {
                        return Some(id);
                    }
                }
            }
        }
    }
}

impl Cursor {
    /// Whether everything before `mark` has been seen.
    pub(crate) fn passed(self, mark: u64) -> bool {
        matches!(self, Self::At(position) if position >= mark)
    }
}
