//! BGP-4 wire codec: messages, capabilities, path attributes, NLRI; RFC 7606 verdicts as values.

mod asn;
mod community;
mod family;

pub use asn::{Asn, ParseAsnError};
pub use community::{Community, ExtendedCommunity, LargeCommunity, ParseCommunityError};
pub use family::{AFI_IPV4, AFI_IPV6, AfiSafi, Family, FamilySet};
