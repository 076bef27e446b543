//! BGP-4 wire codec: messages, capabilities, path attributes, NLRI; RFC 7606 verdicts as values.
//!
//! Octets become values here, and values octets. What is wrong with octets is a value as well: a
//! [`Notification`] when the session cannot go on, and otherwise a [`Treatment`] of RFC 7606 with an
//! [`AttributeFault`] that says why. There is no I/O, no clock and no policy in this crate, nothing in it
//! panics on what a peer sends, and nothing is allocated per prefix.
//!
//! ```
//! use bytes::BytesMut;
//! use muslin_bgp_packet::*;
//!
//! // We announce 10.1.0.0/16 ...
//! let attributes = PathAttributes { as_path: AsPath::from_sequence(&[Asn(65001)]), ..Default::default() };
//! let mut block = BytesMut::new();
//! attributes.encode_canonical(AsWidth::Four, &mut block);
//! let next_hop = NextHop::new("192.0.2.1".parse()?);
//! let route = Nlri::new("10.1.0.0/16".parse::<ipnet::Ipv4Net>()?);
//! let mut stream = BytesMut::new();
//! UpdateEncoder::new(frame::MAX_LENGTH).announce(&mut stream, &block, &next_hop, [route])?;
//!
//! // ... and an external peer cuts the message from its stream,
//! let Some(Frame { kind: MessageType::Update, body }) = next_frame(&mut stream, frame::MAX_LENGTH)? else {
//!     panic!("no whole UPDATE");
//! };
//! // checks lengths and prefixes, which allocates nothing,
//! let context = DecodeContext::new(PeerKind::External, FamilySet::ALL);
//! let update = UpdateView::parse(context, &body)?;
//! // interprets the attributes, unless it has met the same block before,
//! let mut scratch = Vec::new();
//! let block = update.attribute_block().contiguous(&mut scratch);
//! let parsed = parse_attributes(context.attributes, block);
//! // and learns the route, as nothing is wrong with it.
//! assert_eq!(update.verdict(parsed.absent, &parsed.faults), Treatment::None);
//! assert_eq!(parsed.attributes.as_path.first(), Some(Asn(65001)));
//! assert!(update.announced().iter().eq([route]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod as_path;
mod asn;
mod attribute;
mod capability;
mod community;
mod context;
mod encode;
mod family;
pub mod frame;
mod next_hop;
mod nlri;
mod notification;
mod open;
mod route_refresh;
mod treatment;
mod update;
mod wire;

pub use as_path::{AsPath, Segment, SegmentKind, Segments};
pub use asn::{Asn, ParseAsnError};
pub use attribute::{
    Absent, Aggregator, AttributeFlags, Origin, ParsedAttributes, PathAttributes, UnknownAttribute,
    parse_attributes,
};
pub use capability::{
    AddPathFamily, AddPathMode, Capability, ExtendedNextHop, GracefulFamily, GracefulRestart,
    LongLivedFamily, Role,
};
pub use community::{
    AnyCommunity, Community, CommunityKind, ExtendedCommunity, LargeCommunity, ParseCommunityError,
};
pub use context::{AsWidth, AttributeContext, DecodeContext, PeerKind};
pub use encode::{TooLong, UpdateEncoder};
pub use family::{AFI_IPV4, AFI_IPV6, AfiSafi, Family, FamilySet};
pub use frame::{Frame, MessageType, next_frame};
pub use next_hop::NextHop;
pub use nlri::{FamilyNlri, Nlri, NlriError, NlriField, NlriIter, PathIds, Prefix};
pub use notification::{Cease, Notification, UnexpectedIn, UpdateError};
pub use open::Open;
pub use route_refresh::{RefreshSubtype, RouteRefresh};
pub use treatment::{AttributeFault, Treatment};
pub use update::{AttributeBlock, MpReach, MpUnreach, UpdateView};
