//! The header of a path attribute (RFC 4271 §4.3).

use bitflags::bitflags;
use bytes::{BufMut, BytesMut};
use nom::number::complete::be_u8;

use crate::wire::{self, Parsed};

bitflags! {
    /// The flags octet of a path attribute. The lower four bits are ignored when received.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct AttributeFlags: u8 {
        /// Not every speaker knows the attribute.
        const OPTIONAL = 0x80;
        /// It is passed on, also by who does not know it.
        const TRANSITIVE = 0x40;
        /// Somebody passed it on who did not know it.
        const PARTIAL = 0x20;
        /// The length has two octets.
        const EXTENDED_LENGTH = 0x10;
    }
}

/// Attribute types (IANA "BGP Path Attributes").
pub(crate) mod type_code {
    pub(crate) const ORIGIN: u8 = 1;
    pub(crate) const AS_PATH: u8 = 2;
    pub(crate) const NEXT_HOP: u8 = 3;
    pub(crate) const MULTI_EXIT_DISC: u8 = 4;
    pub(crate) const LOCAL_PREF: u8 = 5;
    pub(crate) const ATOMIC_AGGREGATE: u8 = 6;
    pub(crate) const AGGREGATOR: u8 = 7;
    pub(crate) const COMMUNITIES: u8 = 8;
    pub(crate) const ORIGINATOR_ID: u8 = 9;
    pub(crate) const CLUSTER_LIST: u8 = 10;
    pub(crate) const MP_REACH_NLRI: u8 = 14;
    pub(crate) const MP_UNREACH_NLRI: u8 = 15;
    pub(crate) const EXTENDED_COMMUNITIES: u8 = 16;
    pub(crate) const AS4_PATH: u8 = 17;
    pub(crate) const AS4_AGGREGATOR: u8 = 18;
    pub(crate) const PMSI_TUNNEL: u8 = 22;
    pub(crate) const TUNNEL_ENCAPSULATION: u8 = 23;
    pub(crate) const IPV6_EXTENDED_COMMUNITIES: u8 = 25;
    pub(crate) const AIGP: u8 = 26;
    pub(crate) const LARGE_COMMUNITY: u8 = 32;
    pub(crate) const ONLY_TO_CUSTOMER: u8 = 35;
    pub(crate) const PREFIX_SID: u8 = 40;
}

/// An attribute before its value is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawAttribute<'a> {
    pub(crate) flags: AttributeFlags,
    pub(crate) type_code: u8,
    pub(crate) value: &'a [u8],
}

/// The next attribute. It fails when the header or the value is not complete, which is all that can be wrong
/// here.
pub(crate) fn raw_attribute(input: &[u8]) -> Parsed<'_, RawAttribute<'_>> {
    let (rest, flags) = be_u8(input)?;
    let flags = AttributeFlags::from_bits_retain(flags);
    let tlv = if flags.contains(AttributeFlags::EXTENDED_LENGTH) { wire::tlv16 } else { wire::tlv8 };
    let (rest, (type_code, value)) = tlv(rest)?;
    Ok((rest, RawAttribute { flags, type_code, value }))
}

/// Appends the header of an attribute whose value has `length` octets.
pub(crate) fn put_header(out: &mut BytesMut, flags: AttributeFlags, type_code: u8, length: usize) {
    if let Ok(short) = u8::try_from(length) {
        out.put_slice(&[flags.bits(), type_code, short]);
    } else {
        out.put_slice(&[(flags | AttributeFlags::EXTENDED_LENGTH).bits(), type_code]);
        out.put_u16(length as u16);
    }
}
