//! Destinations and their paths: the Adj-RIBs-In of all peers and the Loc-RIB in one structure.
//!
//! A destination is 20 octets, a path 24; paths of one destination are a list in a shared slab, so a second
//! or tenth peer costs exactly its paths. The best path stands first in the list.

use std::ops::{Index, IndexMut};

use ipnet::IpNet;
use muslin_bgp_packet::Family;

use super::attributes::AttributeId;
use super::peers::PeerIndex;
use super::prefix_index::{PrefixIndex, PrefixKey};
use super::refusal::Refusal;
use super::slab::{Slab, handle};

handle!(
    /// A destination.
    DestinationId
);
handle!(
    /// A path of a destination.
    PathHandle
);

/// One prefix and everything known about it.
#[derive(Debug, Default)]
pub(crate) struct Destination {
    /// The prefix.
    pub(crate) key: PrefixKey,
    /// The first path: the best one, if any is eligible.
    pub(crate) first: Option<PathHandle>,
    /// Number of the newest change, modulo 2^32.
    pub(crate) version: u32,
    /// Export groups, and the kernel's cursor, that still hold something of this destination. It is not
    /// freed before they let go, so that a withdrawal always finds its prefix.
    pub(crate) holders: u16,
    /// How many paths are selected: 0 when none is eligible, 1 for a best path alone, more for ECMP.
    pub(crate) selected: u8,
    /// Whether the kernel's cursor was given a route for it.
    pub(crate) in_fib: bool,
}

/// One path, as a peer announced it.
#[derive(Debug, Default)]
pub(crate) struct Path {
    /// Attributes as received, before policy.
    pub(crate) received: AttributeId,
    /// Attributes after policy; the received ones where policy changed nothing.
    pub(crate) attributes: AttributeId,
    /// The next path of the same destination.
    pub(crate) next: Option<PathHandle>,
    /// The path identifier, zero without ADD-PATH (RFC 7911 §3).
    pub(crate) id: u32,
    /// When it was received, in seconds since the RIB began.
    pub(crate) since: u32,
    /// Who announced it.
    pub(crate) peer: PeerIndex,
    /// The peer's epoch in which it was announced; an older one is stale.
    pub(crate) epoch: u8,
    /// Whether it may be used and is used.
    pub(crate) state: PathState,
}

/// A path's standing: why it was refused, or whether it is among the selected ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum PathState {
    /// Accepted, not selected.
    #[default]
    Accepted,
    /// Best, or of the same ECMP set as the best.
    Selected,
    /// Refused at import.
    Refused(Refusal),
}

impl PathState {
    /// Whether the path takes part in the election, its next hop permitting.
    pub(crate) fn is_accepted(self) -> bool {
        !matches!(self, Self::Refused(_))
    }
}

/// All destinations.
#[derive(Default)]
pub(crate) struct Destinations {
    index: PrefixIndex,
    rows: Slab<DestinationId, Destination>,
    paths: Slab<PathHandle, Path>,
}

impl Destinations {
    /// The destination of a prefix.
    pub(crate) fn find(&self, prefix: IpNet) -> Option<DestinationId> {
        self.index.get(prefix)
    }

    /// The destination of a prefix, made if it is new.
    pub(crate) fn find_or_insert(&mut self, prefix: IpNet) -> DestinationId {
        let rows = &mut self.rows;
        self.index.get_or_insert(prefix, |key| rows.insert(Destination { key, ..Destination::default() }))
    }

    /// The prefix of a destination.
    pub(crate) fn prefix(&self, id: DestinationId) -> IpNet {
        self.index.prefix(self.rows[id].key)
    }

    /// The family of a destination.
    pub(crate) fn family(&self, id: DestinationId) -> Family {
        self.rows[id].key.family()
    }

    /// Frees a destination that has no path and that nobody holds.
    pub(crate) fn free_if_unused(&mut self, id: DestinationId) {
        let row = &self.rows[id];
        if row.first.is_none() && row.holders == 0 && !row.key.is_vacant() {
            self.index.remove(row.key);
            self.rows.remove(id);
        }
    }

    /// Whether a row is in use.
    pub(crate) fn is_used(&self, id: DestinationId) -> bool {
        !self.rows[id].key.is_vacant()
    }

    /// Rows, vacant ones included.
    pub(crate) fn rows(&self) -> u32 {
        self.rows.rows()
    }

    /// Destinations and paths in use.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.rows.len(), self.paths.len())
    }

    /// Destinations of a family in prefix order, from after a prefix.
    pub(crate) fn ordered(
        &self,
        family: Family,
        after: Option<IpNet>,
    ) -> Box<dyn Iterator<Item = DestinationId> + '_> {
        self.index.ordered(family, after)
    }

    /// The destination of a prefix, or of the longest one that covers it.
    pub(crate) fn longest_match(&self, prefix: IpNet) -> Option<DestinationId> {
        self.index.longest_match(prefix)
    }

    /// A path.
    pub(crate) fn path(&self, path: PathHandle) -> &Path {
        &self.paths[path]
    }

    /// A path, to change it.
    pub(crate) fn path_mut(&mut self, path: PathHandle) -> &mut Path {
        &mut self.paths[path]
    }

    /// The paths of a destination, the best one first.
    pub(crate) fn paths(&self, id: DestinationId) -> impl Iterator<Item = (PathHandle, &Path)> {
        let mut next = self.rows[id].first;
        std::iter::from_fn(move || {
            let handle = next?;
            let path = &self.paths[handle];
            next = path.next;
            Some((handle, path))
        })
    }

    /// The best path.
    pub(crate) fn best(&self, id: DestinationId) -> Option<(PathHandle, &Path)> {
        let row = &self.rows[id];
        let handle = row.first.filter(|_| row.selected > 0)?;
        Some((handle, &self.paths[handle]))
    }

    /// The path that a peer announced under an identifier.
    pub(crate) fn path_of(&self, id: DestinationId, peer: PeerIndex, path_id: u32) -> Option<PathHandle> {
        self.paths(id).find(|(_, path)| path.peer == peer && path.id == path_id).map(|(handle, _)| handle)
    }

    /// Adds a path, behind the best one if there is one.
    pub(crate) fn add_path(&mut self, id: DestinationId, mut path: Path) -> PathHandle {
        let row = &mut self.rows[id];
        match row.first {
            Some(best) if row.selected > 0 => {
                path.next = self.paths[best].next;
                let handle = self.paths.insert(path);
                self.paths[best].next = Some(handle);
                handle
            }
            first => {
                path.next = first;
                let handle = self.paths.insert(path);
                row.first = Some(handle);
                handle
            }
        }
    }

    /// Takes a path out. The caller elects anew if the path was selected.
    pub(crate) fn remove_path(&mut self, id: DestinationId, handle: PathHandle) -> Path {
        self.unlink(id, handle);
        self.paths.remove(handle)
    }

    /// Moves a path to the front of its destination's list.
    pub(crate) fn move_to_front(&mut self, id: DestinationId, handle: PathHandle) {
        if self.rows[id].first != Some(handle) {
            self.unlink(id, handle);
            self.paths[handle].next = self.rows[id].first;
            self.rows[id].first = Some(handle);
        }
    }

    fn unlink(&mut self, id: DestinationId, handle: PathHandle) {
        let after = self.paths[handle].next;
        let mut link = self.rows[id].first;
        if link == Some(handle) {
            self.rows[id].first = after;
            return;
        }
        while let Some(current) = link {
            link = self.paths[current].next;
            if link == Some(handle) {
                self.paths[current].next = after;
            }
        }
    }
}

impl Index<DestinationId> for Destinations {
    type Output = Destination;

    fn index(&self, id: DestinationId) -> &Destination {
        &self.rows[id]
    }
}

impl IndexMut<DestinationId> for Destinations {
    fn index_mut(&mut self, id: DestinationId) -> &mut Destination {
        &mut self.rows[id]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stay_as_small_as_the_memory_budget_assumes() {
        assert_eq!(size_of::<Destination>(), 20);
        assert_eq!(size_of::<Path>(), 24);
    }
}
