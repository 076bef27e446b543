//! What is never learned, whatever a policy says.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use muslin_bgp_packet::Asn;
use serde::{Deserialize, Serialize};

use super::Cause;

/// What is never learned, whatever a policy says. Refusals are counted and keep their reason.
///
/// There is no default: whoever makes a guard says whether it begins [`closed`](Self::closed) or
/// [`open`](Self::open).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportGuard {
    /// What may be learned besides the [`owned_blocks`](Self::owned_blocks).
    pub allowed: Allowed,
    /// Whether a default route may be learned; `allowed` says nothing about it.
    pub allow_default: bool,
    /// Our own addresses: no route equal to or within one.
    pub own_addresses: Vec<GuardRange>,
    /// Our own blocks: no route equal to or within one, and none whose next hop is in one.
    pub own_blocks: Vec<GuardRange>,
    /// What no route may cover, equal or lie within ("connected on eth0", "API server"), unless `allowed` names
    /// just that: the very prefix, or a range within the protected one.
    pub protected: Vec<GuardRange>,
    /// Ranges of Services: no route equal to or within one, unless `allowed` names it or a part of it.
    pub service_ranges: Vec<GuardRange>,
    /// Blocks of others: a route to one, or into one, has to come from its owner. No next hop is in one: a pod
    /// is no router.
    pub owned_blocks: Vec<OwnedBlock>,
}

/// Which prefixes may be learned at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Allowed {
    /// Any that nothing else refuses: a router, whose policies decide.
    Anything,
    /// Only those equal to or within one of these; without any, none.
    Within(Vec<GuardRange>),
}

impl ImportGuard {
    /// A guard that lets nothing in.
    pub const fn closed() -> Self {
        Self {
            allowed: Allowed::Within(Vec::new()),
            allow_default: false,
            own_addresses: Vec::new(),
            own_blocks: Vec::new(),
            protected: Vec::new(),
            service_ranges: Vec::new(),
            owned_blocks: Vec::new(),
        }
    }

    /// A guard that lets everything in but a default route: the policies decide.
    pub fn open() -> Self {
        Self { allowed: Allowed::Anything, ..Self::closed() }
    }
}

impl Allowed {
    /// The ranges, if only these are allowed.
    pub fn ranges(&self) -> Option<&[GuardRange]> {
        match self {
            Self::Anything => None,
            Self::Within(ranges) => Some(ranges),
        }
    }
}

/// A range with the reason for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardRange {
    /// The range.
    pub range: IpNet,
    /// Why it is here.
    pub cause: Cause,
}

/// An address block of another node: a learned route to it, or within it, must carry its owner's mark.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnedBlock {
    /// The block.
    pub block: IpNet,
    /// Name of the owner, for messages.
    pub owner: Arc<str>,
    /// The owner's AS, when it originates with another AS than we do (checked as origin AS over eBGP).
    pub origin_as: Option<Asn>,
    /// Whether other nodes have that AS too: then it can show that a route is not the owner's, not that it is.
    pub shares_as: bool,
    /// The owner's addresses (checked as NEXT_HOP where it is preserved: internal peers).
    pub addresses: Vec<IpAddr>,
    /// Why.
    pub cause: Cause,
}
