//! What the core asks of the kernel, one message each, and what comes back.

use ipnet::IpNet;

use super::objects::ObjectKey;
use super::paths::PathId;
use crate::path::Hop;
use crate::wire::nexthop::Members;
use crate::wire::refusal::KernelRefusal;
use crate::wire::route::{RouteWrite, Write};

/// One message to the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// The kernel picks the id.
    CreateNextHop {
        object: ObjectKey,
        hop: Hop,
    },
    /// The kernel picks the id.
    CreateGroup {
        object: ObjectKey,
        members: Members,
    },
    ReplaceGroup {
        object: ObjectKey,
        id: u32,
        members: Members,
    },
    DeleteNextHop {
        id: u32,
    },
    WriteRoute {
        write: Write,
        route: RouteWrite,
        path: PathId,
    },
    DeleteRoute {
        prefix: IpNet,
        metric: u32,
    },
}

impl Operation {
    /// Whether it makes an object whose id the kernel picks.
    pub(crate) fn creates(&self) -> bool {
        matches!(self, Self::CreateNextHop { .. } | Self::CreateGroup { .. })
    }
}

/// What became of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Done; of a new next-hop object with the id that the kernel gave it. Without one the answer was lost,
    /// and whether it is there is not known.
    Done(Option<u32>),
    Refused(KernelRefusal),
}
