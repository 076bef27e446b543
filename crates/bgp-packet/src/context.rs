//! What a session agreed on that changes the meaning of octets.

use crate::FamilySet;

/// Width of AS numbers in AS_PATH and AGGREGATOR (RFC 6793).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AsWidth {
    /// The peer did not offer 4-octet AS numbers.
    Two,
    /// Both sides did.
    Four,
}

/// How the peer stands to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PeerKind {
    /// In our AS.
    Internal,
    /// In another AS.
    External,
    /// In another member AS of our confederation (RFC 5065).
    Confederation,
}

/// What path attributes depend on: the same octets in the same context are the same attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttributeContext {
    /// Width of AS numbers.
    pub as_width: AsWidth,
    /// How the peer stands to us.
    pub peer: PeerKind,
}

/// What the decoding of an UPDATE depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DecodeContext {
    /// What its attributes depend on.
    pub attributes: AttributeContext,
    /// Negotiated families; routes of others are ignored (RFC 4760 §6).
    pub families: FamilySet,
    /// Families in which the peer's prefixes carry a path identifier (RFC 7911).
    pub add_path: FamilySet,
    /// Families that may have an IPv6 next hop though they are not IPv6 (RFC 8950).
    pub extended_next_hop: FamilySet,
}

impl DecodeContext {
    /// A session with 4-octet AS numbers, and neither path identifiers nor extended next hops.
    pub const fn new(peer: PeerKind, families: FamilySet) -> Self {
        Self {
            attributes: AttributeContext { as_width: AsWidth::Four, peer },
            families,
            add_path: FamilySet::EMPTY,
            extended_next_hop: FamilySet::EMPTY,
        }
    }
}
