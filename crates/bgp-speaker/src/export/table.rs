//! A group's Adj-RIB-Out: what its members were told, once for all of them.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use super::select::Offer;
use crate::policy::Trail;
use crate::rib::slab::Handle;
use crate::rib::{AttributeId, DestinationId, PeerIndex};

/// Destinations of one chunk.
const CHUNK: usize = 512;

/// A route that was sent: the offer, and the journal's segment that carried it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    attributes: AttributeId,
    /// Number of the segment, modulo 2^32.
    pub(crate) version: u32,
    source: PeerIndex,
    trail: Trail,
}

impl Sent {
    pub(crate) fn new(offer: Offer, version: u32) -> Self {
        let Offer { attributes, source, trail } = offer;
        Self { attributes, version, source, trail }
    }

    pub(crate) fn offer(&self) -> Offer {
        Offer { attributes: self.attributes, source: self.source, trail: self.trail }
    }
}

/// A place in the table: a destination's row and a path identifier.
pub(crate) type Place = (u32, u32);

/// The place behind one.
pub(crate) fn after((row, path_id): Place) -> Place {
    path_id.checked_add(1).map_or((row + 1, 0), |next| (row, next))
}

/// The table: 12 octets a destination where there is one path of each, in chunks that exist only where there
/// is something; a tree where several paths are sent.
#[derive(Clone)]
pub(crate) enum AdjRibOut {
    /// One path of a destination.
    Single(Vec<Option<Chunk>>),
    /// Several paths of a destination (RFC 7911).
    Several(BTreeMap<Place, Sent>),
}

/// A run of destinations.
#[derive(Clone)]
pub(crate) struct Chunk {
    entries: Box<[Option<Sent>; CHUNK]>,
    used: usize,
}

impl AdjRibOut {
    pub(crate) fn single() -> Self {
        Self::Single(Vec::new())
    }

    pub(crate) fn several() -> Self {
        Self::Several(BTreeMap::new())
    }

    /// What was sent of a destination, by path identifier.
    pub(crate) fn get(&self, id: DestinationId) -> SmallVec<[(u32, Sent); 1]> {
        let row = id.index();
        match self {
            Self::Single(chunks) => {
                let mut found = SmallVec::new();
                if let Some(sent) = entry(chunks, row as usize) {
                    found.push((0, sent));
                }
                found
            }
            Self::Several(tree) => {
                tree.range((row, 0)..=(row, u32::MAX)).map(|((_, path_id), sent)| (*path_id, *sent)).collect()
            }
        }
    }

    /// Whether anything was sent of a destination.
    pub(crate) fn has(&self, id: DestinationId) -> bool {
        let row = id.index();
        match self {
            Self::Single(chunks) => entry(chunks, row as usize).is_some(),
            Self::Several(tree) => tree.range((row, 0)..=(row, u32::MAX)).next().is_some(),
        }
    }

    /// Sets or clears what was sent; returns what was there.
    pub(crate) fn set(&mut self, id: DestinationId, path_id: u32, sent: Option<Sent>) -> Option<Sent> {
        let row = id.index() as usize;
        match self {
            Self::Single(chunks) => {
                if row / CHUNK >= chunks.len() {
                    chunks.resize_with(row / CHUNK + 1, || None);
                }
                let slot = &mut chunks[row / CHUNK];
                let chunk = slot.get_or_insert_with(|| Chunk { entries: Box::new([None; CHUNK]), used: 0 });
                let before = std::mem::replace(&mut chunk.entries[row % CHUNK], sent);
                chunk.used = chunk.used + usize::from(sent.is_some()) - usize::from(before.is_some());
                if chunk.used == 0 {
                    *slot = None;
                }
                before
            }
            Self::Several(tree) => match sent {
                Some(sent) => tree.insert((id.index(), path_id), sent),
                None => tree.remove(&(id.index(), path_id)),
            },
        }
    }

    /// The first entry at or after a place.
    pub(crate) fn next(&self, from: Place) -> Option<(Place, Sent)> {
        match self {
            Self::Single(chunks) => {
                // A single path has the identifier 0, so any other one is behind it.
                let mut row = from.0 as usize + usize::from(from.1 > 0);
                while let Some(chunk) = chunks.get(row / CHUNK) {
                    if let Some(chunk) = chunk {
                        let found =
                            (row % CHUNK..CHUNK).find_map(|at| chunk.entries[at].map(|sent| (at, sent)));
                        if let Some((at, sent)) = found {
                            return Some((((row - row % CHUNK + at) as u32, 0), sent));
                        }
                    }
                    row += CHUNK - row % CHUNK;
                }
                None
            }
            Self::Several(tree) => tree.range(from..).next().map(|(place, sent)| (*place, *sent)),
        }
    }
}

fn entry(chunks: &[Option<Chunk>], row: usize) -> Option<Sent> {
    chunks.get(row / CHUNK)?.as_ref()?.entries[row % CHUNK]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_as_small_as_the_memory_budget_assumes() {
        assert_eq!(size_of::<Option<Sent>>(), 12);
    }
}
