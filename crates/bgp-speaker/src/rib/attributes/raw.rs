//! Attribute blocks as they came, and the sets that they were found to be.
//!
//! A bounded cache: blocks repeat close together in time, and one that was forgotten is parsed once more.

use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use muslin_bgp_packet::{Absent, AttributeContext, NextHop};

use super::AttributeId;
use crate::rib::next_hops::Vicinity;
use crate::rib::slab::Handle;

/// Places of the cache; a block has one that its hash says.
const PLACES: usize = 4096;
/// Longest block that is remembered, in octets, so that a peer cannot make the cache large.
const LONGEST: usize = 512;

/// A block with everything that its meaning depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawBlock<'a> {
    /// Decode context.
    pub(crate) context: AttributeContext,
    /// The next hop of MP_REACH_NLRI; `None` for prefixes whose next hop is in the block.
    pub(crate) next_hop: Option<NextHop>,
    /// Where the peer is, which gives next hops their meaning.
    pub(crate) from: Vicinity,
    /// The block without MP_REACH_NLRI and MP_UNREACH_NLRI, in pieces.
    pub(crate) pieces: &'a [&'a [u8]],
}

impl RawBlock<'_> {
    fn len(&self) -> usize {
        self.pieces.iter().map(|piece| piece.len()).sum()
    }

    fn is_stored_as(&self, octets: &[u8]) -> bool {
        let mut rest = octets;
        self.pieces.iter().all(|piece| match rest.split_at_checked(piece.len()) {
            Some((start, after)) => {
                rest = after;
                start == *piece
            }
            None => false,
        }) && rest.is_empty()
    }
}

#[derive(Debug)]
struct Entry {
    context: AttributeContext,
    next_hop: Option<NextHop>,
    from: Vicinity,
    octets: Box<[u8]>,
    id: AttributeId,
    absent: Absent,
}

/// The cache.
#[derive(Default)]
pub(crate) struct RawCache {
    places: Vec<Option<Entry>>,
    /// The place that holds a set's block: at most one, so that a freed set leaves nothing behind.
    place_of: HashMap<u32, usize, RandomState>,
    hasher: RandomState,
}

impl RawCache {
    /// The set of a block and the mandatory attributes that it lacks, if the block is remembered.
    pub(crate) fn get(&self, block: &RawBlock<'_>) -> Option<(AttributeId, Absent)> {
        let entry = self.places.get(self.place(block))?.as_ref()?;
        let same = entry.context == block.context
            && entry.next_hop == block.next_hop
            && entry.from == block.from
            && block.is_stored_as(&entry.octets);
        same.then_some((entry.id, entry.absent))
    }

    /// Remembers a block that was free of faults.
    pub(crate) fn insert(&mut self, block: &RawBlock<'_>, id: AttributeId, absent: Absent) {
        if block.len() > LONGEST {
            return;
        }
        self.forget(id);
        self.places.resize_with(PLACES, || None);
        let place = self.place(block);
        let entry = Entry {
            context: block.context,
            next_hop: block.next_hop,
            from: block.from,
            octets: block.pieces.concat().into(),
            id,
            absent,
        };
        if let Some(evicted) = self.places[place].replace(entry) {
            self.place_of.remove(&evicted.id.index());
        }
        self.place_of.insert(id.index(), place);
    }

    /// Forgets the block of a set that is freed.
    pub(crate) fn forget(&mut self, id: AttributeId) {
        if let Some(place) = self.place_of.remove(&id.index()) {
            self.places[place] = None;
        }
    }

    fn place(&self, block: &RawBlock<'_>) -> usize {
        let mut hasher = self.hasher.build_hasher();
        (block.context, block.next_hop, block.from).hash(&mut hasher);
        for piece in block.pieces {
            hasher.write(piece);
        }
        hasher.finish() as usize % PLACES
    }
}
