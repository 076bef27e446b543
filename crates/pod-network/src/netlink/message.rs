//! Building and reading netlink messages: a header, a fixed part, and attributes, all aligned to four octets.

use std::net::IpAddr;

const HEADER: usize = 16;
const NESTED: u16 = 0x8000;
/// The two upper bits of an attribute's type are flags.
const TYPE_MASK: u16 = 0x3fff;

/// Requests that are sent to the kernel together and answered in order.
#[derive(Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    starts: Vec<usize>,
    purposes: Vec<String>,
}

impl Batch {
    /// Adds a request of `kind` with its `fixed` part and the attributes that `build` writes. `purpose` completes
    /// the sentence "the kernel refused to …"; the request's sequence number is its place in the batch from one.
    pub(crate) fn push(
        &mut self,
        purpose: impl Into<String>,
        (kind, flags): (u16, u16),
        fixed: &[u8],
        build: impl FnOnce(&mut Attributes<'_>),
    ) {
        let start = self.bytes.len();
        self.starts.push(start);
        self.purposes.push(purpose.into());
        let sequence = self.starts.len() as u32;
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&(flags | libc::NLM_F_REQUEST as u16).to_ne_bytes());
        self.bytes.extend_from_slice(&sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(fixed);
        pad(&mut self.bytes);
        build(&mut Attributes(&mut self.bytes));
        let length = (self.bytes.len() - start) as u32;
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// What the request with this sequence number was for.
    pub(super) fn purpose(&self, sequence: u32) -> String {
        let index = (sequence as usize).saturating_sub(1);
        self.purposes.get(index).cloned().unwrap_or_default()
    }

    /// Asks for an acknowledgement of the request `sequence`; errors are reported for each request anyway.
    pub(super) fn acknowledge(&mut self, sequence: u32) {
        if let Some(&start) = self.starts.get((sequence as usize).saturating_sub(1)) {
            let flags = u16::from_ne_bytes([self.bytes[start + 6], self.bytes[start + 7]]);
            let flags = flags | libc::NLM_F_ACK as u16;
            self.bytes[start + 6..start + 8].copy_from_slice(&flags.to_ne_bytes());
        }
    }

    /// How many requests there are.
    pub(crate) fn len(&self) -> u32 {
        self.starts.len() as u32
    }

    /// How many octets they take.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Writes the attributes of one message or of one nest.
pub(crate) struct Attributes<'a>(&'a mut Vec<u8>);

impl Attributes<'_> {
    pub(crate) fn bytes(&mut self, kind: u16, value: &[u8]) {
        self.raw(kind, |bytes| bytes.extend_from_slice(value));
    }

    /// In the host's byte order, as rtnetlink has it.
    pub(crate) fn u32(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_ne_bytes());
    }

    /// In network byte order, as `nf_tables` has it.
    pub(crate) fn be32(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// With the terminating zero that the kernel expects.
    pub(crate) fn string(&mut self, kind: u16, value: &str) {
        self.raw(kind, |bytes| {
            bytes.extend_from_slice(value.as_bytes());
            bytes.push(0);
        });
    }

    pub(crate) fn address(&mut self, kind: u16, value: IpAddr) {
        match value {
            IpAddr::V4(address) => self.bytes(kind, &address.octets()),
            IpAddr::V6(address) => self.bytes(kind, &address.octets()),
        }
    }

    pub(crate) fn nest(&mut self, kind: u16, build: impl FnOnce(&mut Attributes<'_>)) {
        self.raw(kind | NESTED, |bytes| build(&mut Attributes(bytes)));
    }

    /// A nest that begins with a fixed part of its own, as the peer of a veth pair does.
    pub(crate) fn nest_with_fixed(
        &mut self,
        kind: u16,
        fixed: &[u8],
        build: impl FnOnce(&mut Attributes<'_>),
    ) {
        self.raw(kind | NESTED, |bytes| {
            bytes.extend_from_slice(fixed);
            pad(bytes);
            build(&mut Attributes(bytes));
        });
    }

    fn raw(&mut self, kind: u16, value: impl FnOnce(&mut Vec<u8>)) {
        let start = self.0.len();
        self.0.extend_from_slice(&[0; 2]);
        self.0.extend_from_slice(&kind.to_ne_bytes());
        value(self.0);
        // Whoever builds a message keeps each attribute below 64 KiB: sets are split over several messages.
        let length = (self.0.len() - start) as u16;
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        pad(self.0);
    }
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// One message from the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    /// Everything after the header.
    pub(crate) payload: Vec<u8>,
}

impl Message {
    /// Takes the first message off `bytes`; `None` at the end and at anything that is not a message.
    pub(super) fn take(bytes: &mut &[u8]) -> Option<Self> {
        let length = read_u32(bytes.get(..4)?)? as usize;
        let body = bytes.get(HEADER..length)?;
        let message = Self {
            kind: u16::from_ne_bytes(bytes[4..6].try_into().ok()?),
            flags: u16::from_ne_bytes(bytes[6..8].try_into().ok()?),
            sequence: read_u32(&bytes[8..12])?,
            payload: body.to_vec(),
        };
        *bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    }

    /// The attributes behind a fixed part of `fixed` octets.
    pub(crate) fn attributes(&self, fixed: usize) -> impl Iterator<Item = (u16, &[u8])> {
        attributes(self.payload.get(fixed..).unwrap_or_default())
    }
}

/// The attributes in `bytes`, by type without its flag bits; ends at the first one that does not fit.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?) & TYPE_MASK;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The first attribute of type `wanted`.
pub(crate) fn find<'a>(attributes: impl Iterator<Item = (u16, &'a [u8])>, wanted: u16) -> Option<&'a [u8]> {
    let mut attributes = attributes;
    attributes.find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

/// An address, by the number of its octets.
pub(crate) fn read_address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from)).ok()
}

/// Four octets in the host's byte order.
pub(crate) fn read_u32(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_built_is_read_back() {
        let mut batch = Batch::default();
        batch.push("try", (16, 0x400), &[7; 5], |m| {
            m.string(3, "eth0");
            m.nest(18, |m| m.u32(1, 0xdead_beef));
        });
        batch.push("try again", (18, 0), &[], |_| {});
        batch.acknowledge(2);

        let mut rest = batch.bytes();
        let first = Message::take(&mut rest).unwrap();
        assert_eq!((first.kind, first.flags, first.sequence), (16, 0x401, 1));
        assert_eq!(find(first.attributes(8), 3), Some(&b"eth0\0"[..]));
        let nest = find(first.attributes(8), 18).unwrap();
        assert_eq!(find(attributes(nest), 1).and_then(read_u32), Some(0xdead_beef));
        let second = Message::take(&mut rest).unwrap();
        assert_eq!((second.kind, second.flags, second.payload.len()), (18, 5, 0));
        assert_eq!(Message::take(&mut rest), None);
        assert_eq!(batch.purpose(2), "try again");
    }

    proptest! {
        #[test]
        fn reading_never_panics_and_always_ends(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut rest = &bytes[..];
            while let Some(message) = Message::take(&mut rest) {
                prop_assert!(message.attributes(0).count() <= bytes.len());
            }
        }
    }
}
