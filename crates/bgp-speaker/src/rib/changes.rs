//! The ring of changes: which destinations of the Loc-RIB changed, in order.
//!
//! Consumers (the kernel's cursor, export groups) hold a [`Cursor`] and pull at their own pace. The ring is
//! bounded: a consumer that falls off it walks the table instead, for what has changed since. A destination that
//! changed again carries a newer version, so its older entries are skipped: changes coalesce by themselves.

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
    /// The table is walked; this row is next, and the ring is continued from `resume`.
    Walk {
        /// Next row of the destinations.
        row: u32,
        /// Everything before this entry has been seen; nothing has without it.
        since: Option<u64>,
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
        Cursor::Walk { row: 0, since: None, resume: self.head }
    }

    /// A cursor that walks over what has changed since it was at `position`. Versions tell no more than their own
    /// number of changes apart.
    fn catch_up(&self, position: u64) -> Cursor {
        let distinct = u32::try_from(self.head - position).is_ok();
        Cursor::Walk { row: 0, since: distinct.then_some(position), resume: self.head }
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
                        *cursor = self.catch_up(*position);
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
                Cursor::Walk { row, since, resume } => {
                    if *row >= destinations.rows() {
                        *cursor = Cursor::At(*resume);
                        continue;
                    }
                    let id = DestinationId::from_index(*row);
                    *row += 1;
                    // What changes again during the walk is seen when the ring is continued.
                    let lacks = |since: u64| {
                        let age = destinations[id].version.wrapping_sub(since as u32);
                        u64::from(age) < *resume - since
                    };
                    if destinations.is_used(id) && since.is_none_or(lacks) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn table(count: u8) -> (Destinations, Vec<DestinationId>) {
        let mut destinations = Destinations::default();
        let prefix = |number| ipnet::Ipv4Net::new_assert([10, number, 0, 0].into(), 16).into();
        let ids = (0..count).map(|number| destinations.find_or_insert(prefix(number))).collect();
        (destinations, ids)
    }

    fn seen(changes: &Changes, cursor: &mut Cursor, destinations: &Destinations) -> Vec<DestinationId> {
        std::iter::from_fn(|| changes.next(cursor, destinations)).collect()
    }

    #[test]
    fn a_destination_that_changed_again_is_seen_once_at_its_newest_place() {
        let (mut destinations, ids) = table(3);
        let mut changes = Changes::default();
        let mut cursor = Cursor::At(0);
        for index in [0, 1, 0, 2, 0] {
            changes.push(ids[index], &mut destinations);
        }
        assert_eq!(seen(&changes, &mut cursor, &destinations), [ids[1], ids[2], ids[0]]);
        assert!(changes.drained(cursor));
        changes.push(ids[1], &mut destinations);
        assert_eq!(seen(&changes, &mut cursor, &destinations), [ids[1]]);
    }

    #[test]
    fn a_consumer_that_fell_off_the_ring_looks_at_what_has_changed_since() {
        let (mut destinations, ids) = table(5);
        let mut changes = Changes::default();
        let mut cursor = Cursor::At(0);
        for id in &ids {
            changes.push(*id, &mut destinations);
        }
        assert_eq!(seen(&changes, &mut cursor, &destinations), ids);
        for number in 0..=CAPACITY as usize {
            changes.push(ids[1 + number % 2], &mut destinations);
        }
        assert_eq!(seen(&changes, &mut cursor, &destinations), ids[1..3]);
        assert!(cursor.passed(changes.head()));
    }

    #[test]
    fn who_takes_a_little_at_a_time_is_told_of_everything_once() {
        let (mut destinations, ids) = table(250);
        let (mut changes, mut cursor, mut told) = (Changes::default(), Cursor::At(0), Vec::new());
        for id in &ids {
            changes.push(*id, &mut destinations);
            if told.len() * 4 < id.index() as usize {
                told.extend(changes.next(&mut cursor, &destinations));
            }
        }
        told.extend(seen(&changes, &mut cursor, &destinations));
        told.sort_by_key(|id| id.index());
        assert_eq!(told, ids);
    }

    #[test]
    fn what_changed_longer_ago_than_versions_can_tell_is_looked_at_as_a_whole() {
        let (mut destinations, ids) = table(2);
        let mut changes = Changes { head: 1 << 33, ..Changes::default() };
        let mut cursor = Cursor::At(7);
        assert_eq!(seen(&changes, &mut cursor, &destinations), ids);
        changes.push(ids[1], &mut destinations);
        assert_eq!(seen(&changes, &mut cursor, &destinations), ids[1..]);
    }

    #[test]
    fn what_changes_during_a_walk_is_seen_after_it() {
        let (mut destinations, ids) = table(3);
        let mut changes = Changes::default();
        let mut cursor = changes.walk();
        assert_eq!(changes.next(&mut cursor, &destinations), Some(ids[0]));
        assert!(!cursor.passed(0), "a walk has not passed anything before its end");
        changes.push(ids[0], &mut destinations);
        assert_eq!(seen(&changes, &mut cursor, &destinations), [ids[1], ids[2], ids[0]]);
    }
}
