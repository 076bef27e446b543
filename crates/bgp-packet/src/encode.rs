//! UPDATE messages packed from routes that share their attributes.

use std::iter::Peekable;
use std::net::{IpAddr, Ipv4Addr};

use bytes::{BufMut, BytesMut};

use crate::attribute::{AttributeFlags, put_header, raw_attribute, type_code};
use crate::frame::{self, HEADER_LENGTH, MAX_EXTENDED_LENGTH, MAX_LENGTH, MessageType, patch_u16};
use crate::{AfiSafi, Family, NextHop, Nlri, Prefix};

/// Packs routes into as few UPDATE messages as their greatest length allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpdateEncoder {
    max: usize,
}

/// A route whose attributes leave no room for a prefix. It cannot be announced, and what was announced for it
/// before must be withdrawn (RFC 4271 §9.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the attributes of a route need a message of {needed} octets, but the session allows {max}")]
pub struct TooLong {
    /// Octets of the shortest message that would hold the route.
    pub needed: usize,
    /// Octets that a message may have.
    pub max: usize,
}

/// Lengths of withdrawn routes and attributes.
const FIXED: usize = HEADER_LENGTH + 2 + 2;
/// Flags, type and extended length.
const LONG_HEADER: usize = 4;
/// NEXT_HOP with an IPv4 address.
const NEXT_HOP_LENGTH: usize = 7;

impl UpdateEncoder {
    /// An encoder of messages of at most `max` octets, header included: what the session negotiated.
    pub fn new(max: usize) -> Self {
        Self { max: max.clamp(MAX_LENGTH, MAX_EXTENDED_LENGTH) }
    }

    /// Appends messages that announce `routes` with `attributes`, which are canonical octets of
    /// [`encode_canonical`](crate::PathAttributes::encode_canonical). Each item with a path identifier is
    /// written with it.
    ///
    /// IPv4 prefixes with an IPv4 next hop go into the message's own fields, everything else into
    /// MP_REACH_NLRI, which comes first (RFC 7606 §5.1). Nothing is appended for no routes.
    ///
    /// # Errors
    /// [`TooLong`] when not even one prefix fits; messages that were complete before are appended
    /// nevertheless.
    pub fn announce<P: Prefix>(
        &self,
        out: &mut BytesMut,
        attributes: &[u8],
        next_hop: &NextHop,
        routes: impl IntoIterator<Item = Nlri<P>>,
    ) -> Result<(), TooLong> {
        let mut routes = routes.into_iter().peekable();
        while let Some(first) = routes.peek() {
            let needed = first.written()
                + match own_next_hop::<P>(next_hop) {
                    Some(_) => FIXED + NEXT_HOP_LENGTH + attributes.len(),
                    None => FIXED + LONG_HEADER + 4 + next_hop.written(P::FAMILY) + attributes.len(),
                };
            if needed > self.max {
                return Err(TooLong { needed, max: self.max });
            }
            match own_next_hop::<P>(next_hop) {
                Some(address) => self.announce_own(out, attributes, address, &mut routes),
                None => self.announce_multiprotocol(out, attributes, next_hop, &mut routes),
            }
        }
        Ok(())
    }

    fn announce_own<P: Prefix>(
        self,
        out: &mut BytesMut,
        attributes: &[u8],
        next_hop: Ipv4Addr,
        routes: &mut Peekable<impl Iterator<Item = Nlri<P>>>,
    ) {
        let start = frame::begin(out, MessageType::Update);
        out.put_u16(0);
        out.put_u16((attributes.len() + NEXT_HOP_LENGTH) as u16);
        let (before, after) = attributes.split_at(place_of_next_hop(attributes));
        out.put_slice(before);
        put_header(out, AttributeFlags::TRANSITIVE, type_code::NEXT_HOP, 4);
        out.put_slice(&next_hop.octets());
        out.put_slice(after);
        fill(out, start + self.max, routes);
        frame::finish(out, start);
    }

    fn announce_multiprotocol<P: Prefix>(
        self,
        out: &mut BytesMut,
        attributes: &[u8],
        next_hop: &NextHop,
        routes: &mut Peekable<impl Iterator<Item = Nlri<P>>>,
    ) {
        let start = frame::begin(out, MessageType::Update);
        out.put_u16(0);
        put_multiprotocol(out, type_code::MP_REACH_NLRI, P::FAMILY.into(), |out| {
            next_hop.write(P::FAMILY, out);
            out.put_u8(0);
            fill(out, start + self.max - attributes.len(), routes);
        });
        out.put_slice(attributes);
        let length = out.len() - start - FIXED;
        patch_u16(out, start + FIXED - 2, length);
        frame::finish(out, start);
    }

    /// Appends messages that withdraw `routes`: IPv4 in the message's own field, IPv6 in MP_UNREACH_NLRI.
    pub fn withdraw<P: Prefix>(&self, out: &mut BytesMut, routes: impl IntoIterator<Item = Nlri<P>>) {
        let mut routes = routes.into_iter().peekable();
        while routes.peek().is_some() {
            let start = frame::begin(out, MessageType::Update);
            let field = out.len();
            out.put_u16(0);
            match P::FAMILY {
                Family::Ipv4Unicast => {
                    // The length of the attributes, which are none, follows.
                    fill(out, start + self.max - 2, &mut routes);
                    let length = out.len() - field - 2;
                    patch_u16(out, field, length);
                    out.put_u16(0);
                }
                Family::Ipv6Unicast => {
                    put_multiprotocol(out, type_code::MP_UNREACH_NLRI, P::FAMILY.into(), |out| {
                        fill(out, start + self.max, &mut routes);
                    });
                    let length = out.len() - field - 4;
                    patch_u16(out, field + 2, length);
                }
            }
            frame::finish(out, start);
        }
    }

    /// Appends the message that ends the initial routes of `family` (RFC 4724 §2).
    pub fn end_of_rib(family: Family, out: &mut BytesMut) {
        frame::message(out, MessageType::Update, |out| {
            out.put_u16(0);
            match family {
                Family::Ipv4Unicast => out.put_u16(0),
                Family::Ipv6Unicast => {
                    put_multiprotocol(out, type_code::MP_UNREACH_NLRI, family.into(), |_| {});
                    let at = out.len() - LONG_HEADER - 3 - 2;
                    patch_u16(out, at, LONG_HEADER + 3);
                }
            }
        });
    }
}

/// The address of a NEXT_HOP attribute, for routes that need no MP_REACH_NLRI.
fn own_next_hop<P: Prefix>(next_hop: &NextHop) -> Option<Ipv4Addr> {
    match (P::FAMILY, next_hop.global) {
        (Family::Ipv4Unicast, IpAddr::V4(address)) => Some(address),
        _ => None,
    }
}

/// Where NEXT_HOP stands in ascending order of types (RFC 4271 §5).
fn place_of_next_hop(attributes: &[u8]) -> usize {
    let mut rest = attributes;
    while let Ok((after, raw)) = raw_attribute(rest)
        && raw.type_code < type_code::NEXT_HOP
    {
        rest = after;
    }
    attributes.len() - rest.len()
}

/// Appends the length of attributes, to be patched, and a multiprotocol attribute with what `value` appends
/// after the family.
fn put_multiprotocol(out: &mut BytesMut, type_code: u8, family: AfiSafi, value: impl FnOnce(&mut BytesMut)) {
    out.put_u16(0);
    let flags = AttributeFlags::OPTIONAL | AttributeFlags::EXTENDED_LENGTH;
    out.put_slice(&[flags.bits(), type_code, 0, 0]);
    let start = out.len();
    out.put_u16(family.afi);
    out.put_u8(family.safi);
    value(out);
    let length = out.len() - start;
    patch_u16(out, start - 2, length);
}

/// Appends routes while they end before `end`.
fn fill<P: Prefix>(out: &mut BytesMut, end: usize, routes: &mut Peekable<impl Iterator<Item = Nlri<P>>>) {
    while let Some(route) = routes.next_if(|route| out.len() + route.written() <= end) {
        route.write(out);
    }
}
