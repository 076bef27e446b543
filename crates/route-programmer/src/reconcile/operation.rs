//! What the core asks of the kernel, one message each, and what comes back.

use ipnet::IpNet;

use super::objects::ObjectKey;
use super::paths::PathId;
use crate::config::Resilience;
use crate::path::Hop;
use crate::wire::constants::NLM_F_ECHO;
use crate::wire::message::MessageBuffer;
use crate::wire::nexthop::{self, GroupWrite, Members};
use crate::wire::refusal::KernelRefusal;
use crate::wire::route::{self, Owner, RouteWrite, Write};

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

    /// Appends it as a message of that number.
    pub(crate) fn encode(
        &self,
        buffer: &mut MessageBuffer,
        owner: Owner,
        resilience: Option<Resilience>,
        sequence: u32,
    ) {
        let protocol = owner.protocol;
        match self {
            Self::CreateNextHop { hop, .. } => {
                nexthop::encode_single(buffer, protocol, hop, NLM_F_ECHO, sequence);
            }
            Self::CreateGroup { members, .. } => {
                let group = GroupWrite { id: None, members, resilience };
                nexthop::encode_group(buffer, protocol, group, NLM_F_ECHO, sequence);
            }
            Self::ReplaceGroup { id, members, .. } => {
                let group = GroupWrite { id: Some(*id), members, resilience };
                nexthop::encode_group(buffer, protocol, group, 0, sequence);
            }
            Self::DeleteNextHop { id } => nexthop::encode_delete(buffer, *id, 0, sequence),
            Self::WriteRoute { write, route, .. } => {
                route::encode_write(buffer, owner, *write, route, 0, sequence);
            }
            Self::DeleteRoute { prefix, metric } => {
                route::encode_delete(buffer, owner, *prefix, *metric, 0, sequence);
            }
        }
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
