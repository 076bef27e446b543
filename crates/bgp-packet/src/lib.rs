//! BGP-4 wire codec: messages, capabilities, path attributes, NLRI; RFC 7606 verdicts as values.

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
pub use community::{Community, ExtendedCommunity, LargeCommunity, ParseCommunityError};
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
