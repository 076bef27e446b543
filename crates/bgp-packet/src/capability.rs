//! Capabilities (RFC 5492).

mod encode;
mod parse;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{AfiSafi, Asn};

/// One capability of a speaker. What is not known, or known but malformed, is kept as [`Capability::Unknown`]
/// and means nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Capability {
    /// 1: routes of this family (RFC 4760 §8).
    Multiprotocol(AfiSafi),
    /// 2: ROUTE-REFRESH (RFC 2918).
    RouteRefresh,
    /// 5: next hops of another family (RFC 8950 §4).
    ExtendedNextHop(Vec<ExtendedNextHop>),
    /// 6: messages of up to 65535 octets (RFC 8654).
    ExtendedMessage,
    /// 9: how the speaker stands to its peer in business (RFC 9234).
    Role(Role),
    /// 64: graceful restart (RFC 4724, RFC 8538).
    GracefulRestart(GracefulRestart),
    /// 65: AS numbers of four octets, and the speaker's own (RFC 6793).
    FourOctetAs(Asn),
    /// 69: several paths per prefix (RFC 7911).
    AddPath(Vec<AddPathFamily>),
    /// 70: `BoRR` and `EoRR` (RFC 7313).
    EnhancedRouteRefresh,
    /// 71: long-lived graceful restart (RFC 9494).
    LongLivedGracefulRestart(Vec<LongLivedFamily>),
    /// 73: the speaker's name (draft-walton-bgp-hostname-capability).
    Fqdn {
        /// Host name.
        host: String,
        /// Domain, which may be empty.
        domain: String,
    },
    /// 75: the speaker's software (draft-ietf-idr-software-version).
    SoftwareVersion(String),
    /// Anything else.
    Unknown {
        /// Its code.
        code: u8,
        /// Its value.
        value: Bytes,
    },
}

/// Routes of a family may have next hops of another one (RFC 8950 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ExtendedNextHop {
    /// The routes' family.
    pub family: AfiSafi,
    /// The next hops' address family.
    pub next_hop_afi: u16,
}

/// A speaker's place beside its peer (RFC 9234 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Role {
    /// Sells transit to the peer.
    Provider = 0,
    /// Route server of an exchange.
    RouteServer = 1,
    /// Client of a route server.
    RouteServerClient = 2,
    /// Buys transit from the peer.
    Customer = 3,
    /// Neither.
    Peer = 4,
}

impl Role {
    /// The code of the capability that carries it.
    pub const CODE: u8 = code::ROLE;

    pub(crate) const fn from_octet(octet: u8) -> Option<Self> {
        match octet {
            0 => Some(Self::Provider),
            1 => Some(Self::RouteServer),
            2 => Some(Self::RouteServerClient),
            3 => Some(Self::Customer),
            4 => Some(Self::Peer),
            _ => None,
        }
    }

    /// The only role that a peer of this one may have (RFC 9234 §4.2, table 2).
    #[must_use]
    pub const fn counterpart(self) -> Self {
        match self {
            Self::Provider => Self::Customer,
            Self::Customer => Self::Provider,
            Self::RouteServer => Self::RouteServerClient,
            Self::RouteServerClient => Self::RouteServer,
            Self::Peer => Self::Peer,
        }
    }
}

/// What a speaker says of its restarts (RFC 4724 §3).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct GracefulRestart {
    /// R bit: the speaker has just restarted.
    pub restarted: bool,
    /// N bit: a NOTIFICATION, too, leaves routes in use (RFC 8538).
    pub notification: bool,
    /// How long a restart may take, in seconds, at most 4095.
    pub restart_time: u16,
    /// Families whose routes survive a restart.
    pub families: Vec<GracefulFamily>,
}

/// One family of [`GracefulRestart`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GracefulFamily {
    /// The family.
    pub family: AfiSafi,
    /// F bit: packets were forwarded all the while.
    pub forwarding_kept: bool,
}

/// One family of long-lived graceful restart (RFC 9494 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LongLivedFamily {
    /// The family.
    pub family: AfiSafi,
    /// F bit: packets were forwarded all the while.
    pub forwarding_kept: bool,
    /// How long stale routes may be kept, in seconds, at most 16777215.
    pub stale_time: u32,
}

/// One family of ADD-PATH.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AddPathFamily {
    /// The family.
    pub family: AfiSafi,
    /// What the speaker can do.
    pub mode: AddPathMode,
}

/// Directions in which several paths can be exchanged (RFC 7911 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum AddPathMode {
    /// The speaker can receive them.
    Receive = 1,
    /// The speaker wants to send them.
    Send = 2,
    /// Both.
    Both = 3,
}

impl AddPathMode {
    /// Whether the speaker can receive several paths.
    pub const fn receives(self) -> bool {
        matches!(self, Self::Receive | Self::Both)
    }

    /// Whether the speaker wants to send several paths.
    pub const fn sends(self) -> bool {
        matches!(self, Self::Send | Self::Both)
    }
}

pub(crate) mod code {
    pub(crate) const MULTIPROTOCOL: u8 = 1;
    pub(crate) const ROUTE_REFRESH: u8 = 2;
    pub(crate) const EXTENDED_NEXT_HOP: u8 = 5;
    pub(crate) const EXTENDED_MESSAGE: u8 = 6;
    pub(crate) const ROLE: u8 = 9;
    pub(crate) const GRACEFUL_RESTART: u8 = 64;
    pub(crate) const FOUR_OCTET_AS: u8 = 65;
    pub(crate) const ADD_PATH: u8 = 69;
    pub(crate) const ENHANCED_ROUTE_REFRESH: u8 = 70;
    pub(crate) const LONG_LIVED_GRACEFUL_RESTART: u8 = 71;
    pub(crate) const FQDN: u8 = 73;
    pub(crate) const SOFTWARE_VERSION: u8 = 75;
}

impl Capability {
    /// The capability's code (IANA "Capability Codes").
    pub fn code(&self) -> u8 {
        match self {
            Self::Multiprotocol(_) => code::MULTIPROTOCOL,
            Self::RouteRefresh => code::ROUTE_REFRESH,
            Self::ExtendedNextHop(_) => code::EXTENDED_NEXT_HOP,
            Self::ExtendedMessage => code::EXTENDED_MESSAGE,
            Self::Role(_) => code::ROLE,
            Self::GracefulRestart(_) => code::GRACEFUL_RESTART,
            Self::FourOctetAs(_) => code::FOUR_OCTET_AS,
            Self::AddPath(_) => code::ADD_PATH,
            Self::EnhancedRouteRefresh => code::ENHANCED_ROUTE_REFRESH,
            Self::LongLivedGracefulRestart(_) => code::LONG_LIVED_GRACEFUL_RESTART,
            Self::Fqdn { .. } => code::FQDN,
            Self::SoftwareVersion(_) => code::SOFTWARE_VERSION,
            Self::Unknown { code, .. } => *code,
        }
    }
}
