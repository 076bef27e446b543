//! Netlink framing: a datagram is a row of messages, a message is a header, a fixed part and attributes.
//!
//! Everything is in host byte order (netlink(7)) and padded to four bytes.

use super::constants::{NLA_F_NESTED, NLA_TYPE_MASK};

const HEADER: usize = 16;

/// One message of a datagram.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    /// Port id of the socket whose request caused this message; zero when the kernel itself did.
    pub(crate) port: u32,
    pub(crate) body: &'a [u8],
}

/// The messages of a datagram; stops silently at the first one that is cut short.
pub(crate) fn messages(datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let length = u32_at(rest, 0)? as usize;
        let message = Message {
            kind: u16_at(rest, 4)?,
            flags: u16_at(rest, 6)?,
            sequence: u32_at(rest, 8)?,
            port: u32_at(rest, 12)?,
            body: rest.get(HEADER..length)?,
        };
        rest = rest.get(padded(length)..).unwrap_or_default();
        Some(message)
    })
}

/// One attribute, its nested and byte-order bits removed from the type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attribute<'a> {
    pub(crate) kind: u16,
    pub(crate) value: &'a [u8],
}

impl<'a> Attribute<'a> {
    pub(crate) fn u32(self) -> Option<u32> {
        u32_at(self.value, 0)
    }

    /// An address of either family, told apart by its length.
    pub(crate) fn address(self) -> Option<std::net::IpAddr> {
        address(self.value)
    }

    /// Text up to its terminating zero.
    pub(crate) fn text(self) -> String {
        let end = self.value.iter().position(|byte| *byte == 0).unwrap_or(self.value.len());
        String::from_utf8_lossy(&self.value[..end]).into_owned()
    }

    pub(crate) fn nested(self) -> impl Iterator<Item = Attribute<'a>> {
        attributes(self.value)
    }
}

/// The attributes in `bytes`; stops silently at the first one that is cut short.
pub(crate) fn attributes(bytes: &[u8]) -> impl Iterator<Item = Attribute<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(rest, 0)?);
        let attribute = Attribute { kind: u16_at(rest, 2)? & NLA_TYPE_MASK, value: rest.get(4..length)? };
        rest = rest.get(padded(length)..).unwrap_or_default();
        Some(attribute)
    })
}

pub(crate) fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    bytes.get(offset..)?.first_chunk().map(|chunk| u16::from_ne_bytes(*chunk))
}

pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..)?.first_chunk().map(|chunk| u32::from_ne_bytes(*chunk))
}

pub(crate) fn address(bytes: &[u8]) -> Option<std::net::IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Some(octets.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(Into::into)
}

fn padded(length: usize) -> usize {
    length.next_multiple_of(4)
}

/// Messages being written one behind the other, to be sent in one system call.
#[derive(Debug, Default)]
pub(crate) struct MessageBuffer {
    bytes: Vec<u8>,
}

impl MessageBuffer {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Appends one message: its fixed part, then the attributes that `write` adds.
    pub(crate) fn message(
        &mut self,
        kind: u16,
        flags: u16,
        sequence: u32,
        fixed: &[u8],
        write: impl FnOnce(&mut Self),
    ) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&flags.to_ne_bytes());
        self.bytes.extend_from_slice(&sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(fixed);
        write(self);
        let length = (self.bytes.len() - start) as u32;
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    }

    /// Adds flags to the message that starts at `offset`.
    pub(crate) fn add_flags(&mut self, offset: usize, flags: u16) {
        if let Some(field) = self.bytes.get_mut(offset + 6..).and_then(<[u8]>::first_chunk_mut) {
            *field = (u16::from_ne_bytes(*field) | flags).to_ne_bytes();
        }
    }

    pub(crate) fn attribute(&mut self, kind: u16, value: &[u8]) {
        let length = (4 + value.len()) as u16;
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.pad();
    }

    pub(crate) fn attribute_u32(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_ne_bytes());
    }

    pub(crate) fn attribute_address(&mut self, kind: u16, value: std::net::IpAddr) {
        match value {
            std::net::IpAddr::V4(address) => self.attribute(kind, &address.octets()),
            std::net::IpAddr::V6(address) => self.attribute(kind, &address.octets()),
        }
    }

    /// An attribute that holds what `write` adds. Some of the kernel's older nested attributes are
    /// refused with the nested bit in strict parsing, so the caller decides by `kind`.
    pub(crate) fn nested(&mut self, kind: u16, write: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        write(self);
        self.close(start);
        self.pad();
    }

    /// As [`nested`](Self::nested), with the nested bit set.
    pub(crate) fn nested_marked(&mut self, kind: u16, write: impl FnOnce(&mut Self)) {
        self.nested(kind | NLA_F_NESTED, write);
    }

    /// A `struct rtnexthop` (rtnetlink(7)): length, flags, weight minus one, interface, attributes.
    pub(crate) fn route_hop(&mut self, flags: u8, weight: u8, interface: u32, write: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0, 0, flags, weight.saturating_sub(1)]);
        self.bytes.extend_from_slice(&interface.to_ne_bytes());
        write(self);
        self.close(start);
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn close(&mut self, start: usize) {
        let length = (self.bytes.len() - start) as u16;
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    }

    fn pad(&mut self) {
        self.bytes.resize(padded(self.bytes.len()), 0);
    }
}
