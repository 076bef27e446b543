//! Next-hop objects: `RTM_NEWNEXTHOP` and `RTM_DELNEXTHOP` (linux/nexthop.h).
//!
//! An object is one next hop or a group of them. Routes name it by id, so that what many routes share is
//! written, and changed, once.

use smallvec::SmallVec;

use super::constants::{
    AF_UNSPEC, NEXTHOP_GRP_TYPE_RES, NHA_GATEWAY, NHA_GROUP, NHA_GROUP_TYPE, NHA_ID, NHA_OIF, NHA_RES_GROUP,
    NHA_RES_GROUP_BUCKETS, NHA_RES_GROUP_IDLE_TIMER, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST,
    RT_SCOPE_UNIVERSE, RTM_DELNEXTHOP, RTM_NEWNEXTHOP, RTNH_F_ONLINK,
};
use super::message::{MessageBuffer, attributes, u32_at};
use crate::config::Resilience;
use crate::path::{Family, Hop};

/// The members of a group: object id and weight.
pub(crate) type Members = SmallVec<[(u32, u8); 4]>;

/// A next-hop object as the kernel tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NextHopMessage {
    pub(crate) id: u32,
    pub(crate) protocol: u8,
    pub(crate) content: Content,
}

/// What an object holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Single(Hop),
    Group(Members),
    /// A kind that we never make (blackhole, forwarding database).
    Other,
}

impl NextHopMessage {
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        let (fixed, rest) = body.split_first_chunk::<8>()?;
        let [family, _scope, protocol, ..] = *fixed;
        let flags = u32_at(fixed, 4)?;
        let (mut id, mut gateway, mut interface, mut members) = (None, None, None, None);
        for attribute in attributes(rest) {
            match attribute.kind {
                NHA_ID => id = attribute.u32(),
                NHA_GATEWAY => gateway = attribute.address(),
                NHA_OIF => interface = attribute.u32(),
                // `struct nexthop_grp`: id, weight minus one, high byte of the weight, reserved.
                NHA_GROUP => {
                    let parse = |entry: &[u8]| Some((u32_at(entry, 0)?, entry.get(4)?.saturating_add(1)));
                    members = attribute.value.chunks_exact(8).map(parse).collect::<Option<Members>>();
                }
                _ => {}
            }
        }
        let onlink = flags & u32::from(RTNH_F_ONLINK) != 0;
        let content = match (members, interface, Family::from_number(family)) {
            (Some(members), ..) => Content::Group(members),
            (None, Some(interface), Some(family)) => {
                Content::Single(Hop::new(gateway, interface, onlink, family))
            }
            _ => Content::Other,
        };
        Some(Self { id: id?, protocol, content })
    }
}

/// Appends the message that makes an object of one next hop; the kernel picks its id.
pub(crate) fn encode_single(buffer: &mut MessageBuffer, protocol: u8, hop: &Hop, flags: u16, sequence: u32) {
    let hop_flags = if hop.onlink { RTNH_F_ONLINK } else { 0 };
    let fixed = nhmsg(hop.family.number(), protocol, hop_flags);
    buffer.message(RTM_NEWNEXTHOP, NLM_F_REQUEST | NLM_F_CREATE | flags, sequence, &fixed, |buffer| {
        buffer.attribute_u32(NHA_OIF, hop.interface);
        if let Some(gateway) = hop.gateway {
            buffer.attribute_address(NHA_GATEWAY, gateway);
        }
    });
}

/// A group to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GroupWrite<'a> {
    /// The group to change in place; nothing for a new one, whose id the kernel picks.
    pub(crate) id: Option<u32>,
    pub(crate) members: &'a [(u32, u8)],
    pub(crate) resilience: Option<Resilience>,
}

/// Appends the message that makes a group, or changes one in place.
pub(crate) fn encode_group(
    buffer: &mut MessageBuffer,
    protocol: u8,
    group: GroupWrite<'_>,
    flags: u16,
    sequence: u32,
) {
    let create = if group.id.is_some() { NLM_F_CREATE | NLM_F_REPLACE } else { NLM_F_CREATE };
    let fixed = nhmsg(AF_UNSPEC, protocol, 0);
    buffer.message(RTM_NEWNEXTHOP, NLM_F_REQUEST | create | flags, sequence, &fixed, |buffer| {
        if let Some(id) = group.id {
            buffer.attribute_u32(NHA_ID, id);
        }
        buffer.nested(NHA_GROUP, |buffer| {
            for (id, weight) in group.members {
                buffer.raw(&id.to_ne_bytes());
                buffer.raw(&[weight.saturating_sub(1), 0, 0, 0]);
            }
        });
        if let Some(resilience) = group.resilience {
            buffer.attribute(NHA_GROUP_TYPE, &NEXTHOP_GRP_TYPE_RES.to_ne_bytes());
            buffer.nested_marked(NHA_RES_GROUP, |buffer| {
                buffer.attribute(NHA_RES_GROUP_BUCKETS, &resilience.buckets.to_ne_bytes());
                // In hundredths of a second (USER_HZ), as all of the kernel's times of this age.
                let idle = u32::try_from(resilience.idle.as_millis() / 10).unwrap_or(u32::MAX);
                buffer.attribute_u32(NHA_RES_GROUP_IDLE_TIMER, idle);
            });
        }
    });
}

/// Appends the message that deletes an object. The kernel deletes the routes that still name it.
pub(crate) fn encode_delete(buffer: &mut MessageBuffer, id: u32, flags: u16, sequence: u32) {
    let fixed = nhmsg(AF_UNSPEC, 0, 0);
    buffer.message(RTM_DELNEXTHOP, NLM_F_REQUEST | flags, sequence, &fixed, |buffer| {
        buffer.attribute_u32(NHA_ID, id);
    });
}

/// A `struct nhmsg`: family, scope, protocol, reserved, flags.
fn nhmsg(family: u8, protocol: u8, flags: u8) -> [u8; 8] {
    let [a, b, c, d] = u32::from(flags).to_ne_bytes();
    [family, RT_SCOPE_UNIVERSE, protocol, 0, a, b, c, d]
}
