//! Route messages: `RTM_NEWROUTE` and `RTM_DELROUTE`.

use std::net::IpAddr;

use ipnet::IpNet;
use smallvec::SmallVec;

use super::constants::{
    AF_INET, AF_INET6, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, RT_SCOPE_LINK,
    RT_SCOPE_NOWHERE, RT_SCOPE_UNIVERSE, RT_TABLE_UNSPEC, RTA_DST, RTA_GATEWAY, RTA_METRICS, RTA_MULTIPATH,
    RTA_NH_ID, RTA_OIF, RTA_PREFSRC, RTA_PRIORITY, RTA_TABLE, RTA_VIA, RTAX_MTU, RTM_DELROUTE, RTM_F_CLONED,
    RTM_NEWROUTE, RTN_BLACKHOLE, RTN_UNICAST, RTN_UNSPEC, RTNH_F_ONLINK,
};
use super::message::{Attribute, MessageBuffer, address, attributes, u16_at, u32_at};
use crate::path::{Family, Hop, Path};

const RTMSG: usize = 12;

/// A route as the kernel tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RouteMessage {
    pub(crate) prefix: IpNet,
    pub(crate) table: u32,
    pub(crate) protocol: u8,
    pub(crate) kind: u8,
    /// Type of service, a part of the route's key in IPv4; ours have none.
    pub(crate) tos: u8,
    pub(crate) metric: u32,
    pub(crate) source: Option<IpAddr>,
    /// Next-hop object; the hops are then what it stands for.
    pub(crate) object: Option<u32>,
    pub(crate) hops: SmallVec<[HopMessage; 1]>,
    pub(crate) mtu: Option<u32>,
}

/// One next hop of a route as the kernel tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HopMessage {
    pub(crate) gateway: Option<IpAddr>,
    pub(crate) interface: u32,
    pub(crate) weight: u8,
    pub(crate) flags: u8,
}

impl RouteMessage {
    /// Nothing for other families, for cached copies, for routes by source, and for what is cut short.
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        let by_source = *body.get(2)? != 0;
        if u32_at(body, 8)? & RTM_F_CLONED != 0 || by_source { None } else { Self::read(body) }
    }

    /// The same of answers to a look-up, which are cached copies.
    pub(crate) fn read(body: &[u8]) -> Option<Self> {
        let (fixed, rest) = body.split_first_chunk::<RTMSG>()?;
        let [family, prefix_length, _source_length, tos, table, protocol, _scope, kind, ..] = *fixed;
        let flags = u32_at(fixed, 8)?;
        let unspecified: IpAddr = match family {
            AF_INET => std::net::Ipv4Addr::UNSPECIFIED.into(),
            AF_INET6 => std::net::Ipv6Addr::UNSPECIFIED.into(),
            _ => return None,
        };
        let mut destination = unspecified;
        let mut route = Self {
            prefix: IpNet::new(unspecified, prefix_length).ok()?,
            table: u32::from(table),
            protocol,
            kind,
            tos,
            metric: 0,
            source: None,
            object: None,
            hops: SmallVec::new(),
            mtu: None,
        };
        // The flags of a single hop ride in the low byte of the message's own (rtnetlink(7)).
        let mut single = HopMessage { gateway: None, interface: 0, weight: 1, flags: flags as u8 };
        for attribute in attributes(rest) {
            match attribute.kind {
                RTA_DST => destination = attribute.address()?,
                RTA_TABLE => route.table = attribute.u32()?,
                RTA_PRIORITY => route.metric = attribute.u32()?,
                RTA_PREFSRC => route.source = attribute.address(),
                RTA_NH_ID => route.object = attribute.u32(),
                RTA_OIF => single.interface = attribute.u32()?,
                RTA_GATEWAY | RTA_VIA => single.gateway = gateway(attribute),
                RTA_MULTIPATH => route.hops.extend(parse_hops(attribute.value)),
                RTA_METRICS => {
                    let mtu = attribute.nested().find(|metric| metric.kind == RTAX_MTU);
                    route.mtu = mtu.and_then(Attribute::u32);
                }
                _ => {}
            }
        }
        if route.hops.is_empty() && (single.interface != 0 || single.gateway.is_some()) {
            route.hops.push(single);
        }
        route.prefix = IpNet::new(destination, prefix_length).ok()?;
        Some(route)
    }

    /// The path in our terms, if it is one that we could have written without a next-hop object.
    pub(crate) fn path(&self) -> Option<Path> {
        match self.kind {
            RTN_BLACKHOLE => Some(Path::Blackhole),
            RTN_UNICAST if !self.hops.is_empty() => {
                let family = Family::of(self.prefix.addr());
                let hops = self.hops.iter().map(|hop| {
                    let onlink = hop.flags & RTNH_F_ONLINK != 0;
                    (Hop::new(hop.gateway, hop.interface, onlink, family), hop.weight)
                });
                Some(Path::unicast(hops, self.source))
            }
            _ => None,
        }
    }
}

fn gateway(attribute: Attribute<'_>) -> Option<IpAddr> {
    match attribute.kind {
        // A `struct rtvia`: the family, then the address.
        RTA_VIA => address(attribute.value.get(2..)?),
        _ => attribute.address(),
    }
}

fn parse_hops(bytes: &[u8]) -> impl Iterator<Item = HopMessage> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(rest, 0)?);
        let hop = rest.get(..length)?;
        let (fixed, inner) = hop.split_first_chunk::<8>()?;
        let gateway = attributes(inner)
            .find(|attribute| matches!(attribute.kind, RTA_GATEWAY | RTA_VIA))
            .and_then(gateway);
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(HopMessage {
            gateway,
            interface: u32_at(fixed, 4)?,
            weight: fixed[3].saturating_add(1),
            flags: fixed[2],
        })
    })
}

/// What a route points at, as written to the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A next-hop object of ours by its id.
    Object(u32),
    /// The path in the route itself: blackhole, or plain hops where objects are not to be had.
    Inline(std::sync::Arc<Path>),
}

/// Whether a route may take the place of another one with its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    /// Only where nothing with this key is.
    Add,
    /// In the place of ours. The kernel replaces whatever has the key, whoever's it is, so this is
    /// for keys that only we hold.
    Replace,
}

/// A route's own attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RouteWrite {
    pub(crate) prefix: IpNet,
    pub(crate) metric: u32,
    pub(crate) source: Option<IpAddr>,
    pub(crate) target: Target,
}

/// The marks that make a route ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) protocol: u8,
    pub(crate) table: u32,
}

/// Appends the message that adds or replaces a route.
pub(crate) fn encode_write(
    buffer: &mut MessageBuffer,
    owner: Owner,
    write: Write,
    route: &RouteWrite,
    flags: u16,
    sequence: u32,
) {
    let create = match write {
        Write::Add => NLM_F_CREATE | NLM_F_EXCL,
        Write::Replace => NLM_F_CREATE | NLM_F_REPLACE,
    };
    let mut fixed = rtmsg(route.prefix, owner.protocol, RT_SCOPE_UNIVERSE, RTN_UNICAST);
    if let Target::Inline(path) = &route.target {
        match &**path {
            Path::Blackhole => fixed[7] = RTN_BLACKHOLE,
            Path::Unicast { hops, .. } => {
                if hops.iter().all(|(hop, _)| hop.gateway.is_none()) {
                    fixed[6] = RT_SCOPE_LINK;
                }
                // A single hop's flags are the route's own.
                if let [(Hop { onlink: true, .. }, _)] = hops.as_slice() {
                    fixed[8..].copy_from_slice(&u32::from(RTNH_F_ONLINK).to_ne_bytes());
                }
            }
        }
    }
    buffer.message(RTM_NEWROUTE, NLM_F_REQUEST | create | flags, sequence, &fixed, |buffer| {
        encode_key(buffer, owner, route.prefix, route.metric);
        if let Some(source) = route.source {
            buffer.attribute_address(RTA_PREFSRC, source);
        }
        match &route.target {
            Target::Object(id) => buffer.attribute_u32(RTA_NH_ID, *id),
            Target::Inline(path) => {
                if let Path::Unicast { hops, .. } = &**path {
                    encode_hops(buffer, Family::of(route.prefix.addr()), hops);
                }
            }
        }
    });
}

/// Appends the message that deletes a route of ours. Protocol and metric are given, so no other matches.
pub(crate) fn encode_delete(
    buffer: &mut MessageBuffer,
    owner: Owner,
    prefix: IpNet,
    metric: u32,
    flags: u16,
    sequence: u32,
) {
    let fixed = rtmsg(prefix, owner.protocol, RT_SCOPE_NOWHERE, RTN_UNSPEC);
    buffer.message(RTM_DELROUTE, NLM_F_REQUEST | flags, sequence, &fixed, |buffer| {
        encode_key(buffer, owner, prefix, metric);
    });
}

fn rtmsg(prefix: IpNet, protocol: u8, scope: u8, kind: u8) -> [u8; RTMSG] {
    let family = Family::of(prefix.addr()).number();
    [family, prefix.prefix_len(), 0, 0, RT_TABLE_UNSPEC, protocol, scope, kind, 0, 0, 0, 0]
}

fn encode_key(buffer: &mut MessageBuffer, owner: Owner, prefix: IpNet, metric: u32) {
    buffer.attribute_address(RTA_DST, prefix.addr());
    buffer.attribute_u32(RTA_TABLE, owner.table);
    buffer.attribute_u32(RTA_PRIORITY, metric);
}

fn encode_hops(buffer: &mut MessageBuffer, family: Family, hops: &[(Hop, u8)]) {
    if let [(hop, _)] = hops {
        buffer.attribute_u32(RTA_OIF, hop.interface);
        encode_gateway(buffer, family, hop.gateway);
        return;
    }
    buffer.nested(RTA_MULTIPATH, |buffer| {
        for (hop, weight) in hops {
            let flags = if hop.onlink { RTNH_F_ONLINK } else { 0 };
            buffer.route_hop(flags, *weight, hop.interface, |buffer| {
                encode_gateway(buffer, family, hop.gateway);
            });
        }
    });
}

fn encode_gateway(buffer: &mut MessageBuffer, family: Family, gateway: Option<IpAddr>) {
    match gateway {
        // IPv4 by way of an IPv6 next hop (RFC 8950).
        Some(IpAddr::V6(address)) if family == Family::V4 => {
            let mut via = [0; 18];
            via[..2].copy_from_slice(&u16::from(AF_INET6).to_ne_bytes());
            via[2..].copy_from_slice(&address.octets());
            buffer.attribute(RTA_VIA, &via);
        }
        Some(address) => buffer.attribute_address(RTA_GATEWAY, address),
        None => {}
    }
}
