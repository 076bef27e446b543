//! Path attributes (RFC 4271 §4.3 and §5 and the documents that add to it).

mod encode;
mod header;
mod parse;
mod rules;

use std::fmt;
use std::net::Ipv4Addr;

pub use header::AttributeFlags;
pub(crate) use header::{RawAttribute, put_header, raw_attribute, type_code};
pub use parse::{Absent, ParsedAttributes, parse_attributes};
pub(crate) use rules::conflicting_flags;

use crate::{AsPath, Asn, Community, ExtendedCommunity, LargeCommunity};

/// How a route came into BGP; a smaller one is preferred (RFC 4271 §5.1.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Origin {
    /// From within the originating AS.
    Igp = 0,
    /// From EGP (RFC 904).
    Egp = 1,
    /// By other means.
    #[default]
    Incomplete = 2,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Igp => "igp",
            Self::Egp => "egp",
            Self::Incomplete => "incomplete",
        })
    }
}

/// Who formed an aggregate (RFC 4271 §5.1.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Aggregator {
    /// Its AS.
    pub asn: Asn,
    /// Its identifier.
    pub address: Ipv4Addr,
}

/// An optional transitive attribute that we do not interpret but pass on (RFC 4271 §5).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UnknownAttribute {
    /// Its type.
    pub type_code: u8,
    /// Its value, unchanged.
    pub value: Box<[u8]>,
}

/// The attributes that the routes of an UPDATE share, in a canonical form: sets are sorted and free of
/// duplicates, so equal meaning is equal value. Next hops of MP_REACH_NLRI are not part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PathAttributes {
    /// ORIGIN.
    pub origin: Origin,
    /// AS_PATH, merged with AS4_PATH.
    pub as_path: AsPath,
    /// NEXT_HOP, which is of the IPv4 routes in the message's own fields only.
    pub next_hop: Option<Ipv4Addr>,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// LOCAL_PREF.
    pub local_pref: Option<u32>,
    /// ATOMIC_AGGREGATE is there.
    pub atomic_aggregate: bool,
    /// AGGREGATOR, merged with AS4_AGGREGATOR.
    pub aggregator: Option<Aggregator>,
    /// COMMUNITIES (RFC 1997), sorted.
    pub communities: Vec<Community>,
    /// EXTENDED COMMUNITIES (RFC 4360), sorted.
    pub extended_communities: Vec<ExtendedCommunity>,
    /// LARGE_COMMUNITY (RFC 8092), sorted.
    pub large_communities: Vec<LargeCommunity>,
    /// ORIGINATOR_ID (RFC 4456).
    pub originator_id: Option<Ipv4Addr>,
    /// CLUSTER_LIST (RFC 4456), the last reflector first.
    pub cluster_list: Vec<Ipv4Addr>,
    /// ONLY_TO_CUSTOMER (RFC 9234).
    pub otc: Option<Asn>,
    /// Attributes that we pass on, sorted by type; they are sent with the partial bit set.
    pub unknown: Vec<UnknownAttribute>,
}

/// An attribute's type in words.
pub(crate) struct AttributeName(pub(crate) u8);

impl fmt::Display for AttributeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match rules::of(self.0) {
            Some(rule) => f.write_str(rule.name),
            None => write!(f, "attribute {}", self.0),
        }
    }
}
