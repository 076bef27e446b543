//! Path attributes, interned: one row for each distinct set, however many paths carry it.
//!
//! A set is found in two steps. The raw block of an UPDATE is looked up as it came, together with what its
//! meaning depends on: a hit costs one hash and no parsing. Otherwise the block is parsed and looked up in
//! canonical form. Rows count their references plainly; there is no other thread.

mod raw;

use std::hash::BuildHasher;
use std::net::Ipv4Addr;
use std::num::NonZeroU32;

use bytes::BytesMut;
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use muslin_bgp_packet::{
    Absent, AsWidth, Asn, AttributeContext, Community, PathAttributes, PeerKind, parse_attributes,
};

use super::decision::Class;
use super::next_hops::{NextHopId, NextHopKey, NextHops, Reach};
use super::slab::{Handle, Slab, handle};
pub(crate) use raw::{RawBlock, RawCache};

handle!(
    /// An interned set of attributes.
    AttributeId
);

/// LOCAL_PREF of a route that came without one.
pub(crate) const DEFAULT_LOCAL_PREF: u32 = 100;

/// One distinct set of attributes: what decisions look at, and the canonical octets of everything.
#[derive(Debug, Default)]
pub(crate) struct Row {
    /// Attributes in canonical form, without next hop, AS numbers in four octets.
    pub(crate) octets: Box<[u8]>,
    /// Local preference, AS_PATH length and origin.
    pub(crate) class: Class,
    /// The next hop.
    pub(crate) next_hop: NextHopId,
    /// MED, zero if there is none.
    pub(crate) med: u32,
    /// The AS that MED belongs to, zero if the path began in our own AS.
    pub(crate) neighbour: u32,
    /// ORIGINATOR_ID, zero if there is none.
    pub(crate) originator: u32,
    /// The AS that originated the route, zero if that cannot be told.
    pub(crate) origin_as: u32,
    /// Identifiers in CLUSTER_LIST.
    pub(crate) cluster_length: u16,
    /// How often the speaker's AS stands in AS_PATH.
    pub(crate) own_as: u8,
    /// Well-known communities and loops.
    pub(crate) marks: Marks,
    /// Bandwidth of the link that the route came over, in octets per second (draft-ietf-idr-link-bandwidth).
    pub(crate) bandwidth: Option<f32>,
    /// The metric that policy gives the route in the kernel: part of the set, though no peer hears of it.
    pub(crate) priority: Option<NonZeroU32>,
    references: u32,
}

bitflags::bitflags! {
    /// Well-known communities that a set carries, whether it passed us before, and whom it is for.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub(crate) struct Marks: u8 {
        /// NO_EXPORT (RFC 1997).
        const NO_EXPORT = 1;
        /// NO_ADVERTISE (RFC 1997).
        const NO_ADVERTISE = 2;
        /// NO_EXPORT_SUBCONFED (RFC 1997).
        const NO_EXPORT_SUBCONFED = 4;
        /// GRACEFUL_SHUTDOWN (RFC 8326).
        const GRACEFUL_SHUTDOWN = 8;
        /// Our cluster is in the CLUSTER_LIST (RFC 4456).
        const OWN_CLUSTER = 16;
        /// It has ONLY_TO_CUSTOMER (RFC 9234).
        const ONLY_TO_CUSTOMER = 32;
        /// LLGR_STALE (RFC 9494).
        const LLGR_STALE = 64;
        /// NO_LLGR (RFC 9494).
        const NO_LLGR = 128;
    }
}

impl Marks {
    fn of(communities: &[Community]) -> Self {
        communities.iter().fold(Self::empty(), |marks, community| {
            marks
                | match *community {
                    Community::NO_EXPORT => Self::NO_EXPORT,
                    Community::NO_ADVERTISE => Self::NO_ADVERTISE,
                    Community::NO_EXPORT_SUBCONFED => Self::NO_EXPORT_SUBCONFED,
                    Community::GRACEFUL_SHUTDOWN => Self::GRACEFUL_SHUTDOWN,
                    Community::LLGR_STALE => Self::LLGR_STALE,
                    Community::NO_LLGR => Self::NO_LLGR,
                    _ => Self::empty(),
                }
        })
    }
}

/// Who we are, as far as attributes name us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) asn: Asn,
    pub(crate) router_id: Ipv4Addr,
    pub(crate) cluster_id: Ipv4Addr,
}

/// How our own canonical octets are read back.
const CANONICAL: AttributeContext = AttributeContext { as_width: AsWidth::Four, peer: PeerKind::Internal };

/// All interned sets, and the next hops that they name.
pub(crate) struct Attributes {
    rows: Slab<AttributeId, Row>,
    index: HashTable<AttributeId>,
    hasher: RandomState,
    raw: RawCache,
    scratch: BytesMut,
    pub(crate) identity: Identity,
    pub(crate) next_hops: NextHops,
}

impl Attributes {
    pub(crate) fn new(identity: Identity, next_hops: NextHops) -> Self {
        Self {
            rows: Slab::default(),
            index: HashTable::new(),
            hasher: RandomState::default(),
            raw: RawCache::default(),
            scratch: BytesMut::new(),
            identity,
            next_hops,
        }
    }

    /// The set that an UPDATE's attribute block was found to be before, with one reference more.
    pub(crate) fn acquire_raw(&mut self, block: &RawBlock<'_>) -> Option<(AttributeId, Absent)> {
        let (id, absent) = self.raw.get(block)?;
        self.retain(id);
        Some((id, absent))
    }

    /// Remembers what a block without faults was found to be.
    pub(crate) fn remember_raw(&mut self, block: &RawBlock<'_>, id: AttributeId, absent: Absent) {
        self.raw.insert(block, id, absent);
    }

    /// The row of a set, with one reference more.
    pub(crate) fn acquire(&mut self, attributes: &PathAttributes, next_hop: NextHopKey) -> AttributeId {
        self.acquire_with(attributes, next_hop, None)
    }

    /// The row of a set with a priority of policy's, with one reference more.
    pub(crate) fn acquire_with(
        &mut self,
        attributes: &PathAttributes,
        next_hop: NextHopKey,
        priority: Option<NonZeroU32>,
    ) -> AttributeId {
        self.scratch.clear();
        attributes.encode_canonical(AsWidth::Four, &mut self.scratch);
        let next_hop = self.next_hops.acquire(next_hop);
        let hash = self.hasher.hash_one((&self.scratch[..], next_hop, priority));
        let found = self.index.find(hash, |id| {
            let row = &self.rows[*id];
            (row.next_hop, row.priority) == (next_hop, priority) && *row.octets == self.scratch[..]
        });
        if let Some(id) = found.copied() {
            self.next_hops.release(next_hop);
            self.retain(id);
            return id;
        }
        let row =
            Row { octets: self.scratch[..].into(), priority, ..Row::of(attributes, next_hop, self.identity) };
        let id = self.rows.insert(row);
        let Self { rows, index, hasher, .. } = self;
        index.insert_unique(hash, id, |id| hasher.hash_one(rows[*id].key()));
        id
    }

    /// Counts one reference more.
    pub(crate) fn retain(&mut self, id: AttributeId) {
        self.rows[id].references += 1;
    }

    /// Gives a reference back; the last one frees the row.
    pub(crate) fn release(&mut self, id: AttributeId) {
        let row = &mut self.rows[id];
        row.references -= 1;
        if row.references > 0 {
            return;
        }
        let hash = self.hasher.hash_one(row.key());
        if let Ok(entry) = self.index.find_entry(hash, |other| *other == id) {
            entry.remove();
        }
        let row = self.rows.remove(id);
        self.next_hops.release(row.next_hop);
        self.raw.forget(id);
    }

    /// Changes who we are, and with it what counts as a loop.
    pub(crate) fn set_identity(&mut self, identity: Identity) {
        self.identity = identity;
        for index in 0..self.rows.rows() {
            let id = AttributeId::from_index(index);
            if self.rows[id].references > 0 {
                let attributes = self.decode(id);
                let row = &mut self.rows[id];
                row.own_as = own_as(&attributes, identity);
                row.marks.set(Marks::OWN_CLUSTER, attributes.cluster_list.contains(&identity.cluster_id));
            }
        }
    }

    /// A row.
    pub(crate) fn row(&self, id: AttributeId) -> &Row {
        &self.rows[id]
    }

    /// Where the next hop of a set leads.
    pub(crate) fn reach(&self, id: AttributeId) -> Reach {
        self.next_hops.get(self.rows[id].next_hop).reach
    }

    /// The next hop of a set.
    pub(crate) fn next_hop(&self, id: AttributeId) -> NextHopKey {
        self.next_hops.get(self.rows[id].next_hop).key
    }

    /// A set in full.
    pub(crate) fn decode(&self, id: AttributeId) -> PathAttributes {
        parse_attributes(CANONICAL, &self.rows[id].octets).attributes
    }

    /// Number of distinct sets.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }
}

impl Row {
    fn of(attributes: &PathAttributes, next_hop: NextHopId, identity: Identity) -> Self {
        let mut marks = Marks::of(&attributes.communities);
        marks.set(Marks::OWN_CLUSTER, attributes.cluster_list.contains(&identity.cluster_id));
        marks.set(Marks::ONLY_TO_CUSTOMER, attributes.otc.is_some());
        let class = Class::learned(
            attributes.local_pref.unwrap_or(DEFAULT_LOCAL_PREF),
            attributes.as_path.length(),
            attributes.origin as u8,
        );
        Self {
            octets: Box::default(),
            class: if marks.contains(Marks::LLGR_STALE) { class.long_lived_stale() } else { class },
            next_hop,
            med: attributes.med.unwrap_or(0),
            neighbour: attributes.as_path.neighbor().map_or(0, u32::from),
            originator: attributes.originator_id.map_or(0, u32::from),
            origin_as: attributes.as_path.origin().map_or(0, u32::from),
            cluster_length: u16::try_from(attributes.cluster_list.len()).unwrap_or(u16::MAX),
            own_as: own_as(attributes, identity),
            marks,
            bandwidth: attributes.extended_communities.iter().find_map(|found| found.as_link_bandwidth()),
            priority: None,
            references: 1,
        }
    }

    /// What makes it distinct.
    fn key(&self) -> (&[u8], NextHopId, Option<NonZeroU32>) {
        (&self.octets, self.next_hop, self.priority)
    }
}

fn own_as(attributes: &PathAttributes, identity: Identity) -> u8 {
    u8::try_from(attributes.as_path.count(identity.asn)).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests;
