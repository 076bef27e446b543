//! AS_PATH (RFC 4271 §4.3 and §5.1.2, RFC 5065, RFC 6793).

mod build;
mod merge;

use std::fmt;

use bytes::{BufMut, BytesMut};
use smallvec::SmallVec;

use crate::{AsWidth, Asn, PeerKind};

/// The path that a route took, as checked segments of 4-octet AS numbers.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AsPath {
    /// Segments as on the wire: kind, number of ASes, ASes of four octets. Five hops fit without an
    /// allocation.
    octets: SmallVec<[u8; 24]>,
}

/// The kind of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SegmentKind {
    /// Unordered: one of these was passed.
    Set = 1,
    /// Ordered: all of these were passed, the last one first.
    Sequence = 2,
    /// Ordered, within our confederation (RFC 5065).
    ConfedSequence = 3,
    /// Unordered, within our confederation (RFC 5065).
    ConfedSet = 4,
}

impl SegmentKind {
    const fn from_octet(octet: u8) -> Option<Self> {
        match octet {
            1 => Some(Self::Set),
            2 => Some(Self::Sequence),
            3 => Some(Self::ConfedSequence),
            4 => Some(Self::ConfedSet),
            _ => None,
        }
    }

    /// Whether the segment names member ASes of a confederation, which do not count in the path's length.
    pub const fn is_confederation(self) -> bool {
        matches!(self, Self::ConfedSequence | Self::ConfedSet)
    }
}

/// Most ASes in a segment: its count is one octet.
const SEGMENT_MAX: usize = 255;
/// Octets of kind and count.
const SEGMENT_HEADER: usize = 2;

/// One segment of a path.
#[derive(Clone, Copy)]
pub struct Segment<'a> {
    /// What the segment means.
    pub kind: SegmentKind,
    octets: &'a [u8],
}

impl<'a> Segment<'a> {
    /// The ASes in the order of the wire.
    pub fn asns(&self) -> impl DoubleEndedIterator<Item = Asn> + ExactSizeIterator + use<'a> {
        self.octets.as_chunks::<4>().0.iter().map(|octets| Asn(u32::from_be_bytes(*octets)))
    }

    /// Number of ASes, at least 1.
    pub fn len(&self) -> usize {
        self.octets.len() / 4
    }

    /// Never true: an empty segment is malformed (RFC 7606 §7.2).
    pub fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    /// What the segment adds to the path's length (RFC 4271 §9.1.2.2, RFC 5065 §5.3).
    fn path_length(&self) -> usize {
        match self.kind {
            SegmentKind::Sequence => self.len(),
            SegmentKind::Set => 1,
            SegmentKind::ConfedSequence | SegmentKind::ConfedSet => 0,
        }
    }
}

impl AsPath {
    /// The path of a route that was originated within the AS.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Reads the value of an AS_PATH attribute.
    ///
    /// # Errors
    /// What is malformed about it (RFC 7606 §7.2, RFC 7607 §2, RFC 5065 §5).
    pub fn decode(octets: &[u8], width: AsWidth, peer: PeerKind) -> Result<Self, &'static str> {
        let path = Self::read(octets, width)?;
        let first = path.segments().next().map(|segment| segment.kind);
        match peer {
            PeerKind::External if path.segments().any(|segment| segment.kind.is_confederation()) => {
                Err("a confederation segment from outside the confederation")
            }
            PeerKind::Confederation if first != Some(SegmentKind::ConfedSequence) => {
                Err("does not start with the member AS of the peer")
            }
            PeerKind::Internal | PeerKind::External | PeerKind::Confederation => Ok(path),
        }
    }

    /// Reads segments of any kind.
    fn read(octets: &[u8], width: AsWidth) -> Result<Self, &'static str> {
        let asn_octets = match width {
            AsWidth::Two => 2,
            AsWidth::Four => 4,
        };
        let mut path = Self { octets: SmallVec::with_capacity(octets.len() * 4 / asn_octets) };
        let mut rest = octets;
        while let Some((header, body)) = rest.split_first_chunk::<SEGMENT_HEADER>() {
            let [kind, count] = *header;
            if SegmentKind::from_octet(kind).is_none() {
                return Err("a segment of unknown kind");
            }
            if count == 0 {
                return Err("a segment without an AS");
            }
            let (asns, after) = body
                .split_at_checked(usize::from(count) * asn_octets)
                .ok_or("a segment that is longer than the attribute")?;
            path.octets.extend_from_slice(header);
            match width {
                AsWidth::Four => path.octets.extend_from_slice(asns),
                AsWidth::Two => {
                    for asn in asns.as_chunks::<2>().0 {
                        path.octets.extend_from_slice(&[0, 0]);
                        path.octets.extend_from_slice(asn);
                    }
                }
            }
            rest = after;
        }
        if !rest.is_empty() {
            return Err("an octet after the last segment");
        }
        if path.contains(Asn::ZERO) {
            return Err("AS 0");
        }
        Ok(path)
    }

    /// The segments in the order of the wire.
    pub fn segments(&self) -> Segments<'_> {
        Segments { rest: &self.octets }
    }

    /// Whether there is no segment.
    pub fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    /// Length as the decision process counts it: a set is 1, confederation segments are 0 (RFC 4271 §9.1.2.2,
    /// RFC 5065 §5.3).
    pub fn length(&self) -> usize {
        self.segments().map(|segment| segment.path_length()).sum()
    }

    /// All ASes, of all segments.
    pub fn asns(&self) -> impl Iterator<Item = Asn> {
        self.segments().flat_map(|segment| segment.asns())
    }

    /// The AS next to us: the first one, if the path starts with a sequence of either kind.
    pub fn first(&self) -> Option<Asn> {
        let segment = self.segments().next()?;
        match segment.kind {
            SegmentKind::Sequence | SegmentKind::ConfedSequence => segment.asns().next(),
            SegmentKind::Set | SegmentKind::ConfedSet => None,
        }
    }

    /// The AS next to our AS or confederation, to which MED belongs (RFC 4271 §9.1.2.2, RFC 5065 §5.3).
    pub fn neighbor(&self) -> Option<Asn> {
        let segment = self.segments().find(|segment| !segment.kind.is_confederation())?;
        match segment.kind {
            SegmentKind::Sequence => segment.asns().next(),
            _ => None,
        }
    }

    /// The AS that originated the route, if the path ends with a sequence (RFC 6811 §2).
    pub fn origin(&self) -> Option<Asn> {
        let segment = self.segments().last()?;
        match segment.kind {
            SegmentKind::Sequence => segment.asns().next_back(),
            _ => None,
        }
    }

    /// How often `asn` stands in the path.
    pub fn count(&self, asn: Asn) -> usize {
        self.asns().filter(|found| *found == asn).count()
    }

    /// Whether `asn` stands in the path.
    pub fn contains(&self, asn: Asn) -> bool {
        self.asns().any(|found| found == asn)
    }

    /// Whether every AS fits into two octets.
    pub fn fits_two_octets(&self) -> bool {
        self.asns().all(Asn::fits_two_octets)
    }

    /// Appends the value of an AS_PATH attribute; [`Asn::TRANS`] stands for what does not fit (RFC 6793
    /// §4.2.2).
    pub(crate) fn write(&self, width: AsWidth, out: &mut BytesMut) {
        match width {
            AsWidth::Four => out.put_slice(&self.octets),
            AsWidth::Two => {
                for segment in self.segments() {
                    out.put_slice(&[segment.kind as u8, segment.len() as u8]);
                    segment.asns().for_each(|asn| out.put_u16(asn.to_two_octets()));
                }
            }
        }
    }
}

/// The segments of a path.
#[derive(Clone)]
pub struct Segments<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Segments<'a> {
    type Item = Segment<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let ([kind, count], body) = self.rest.split_first_chunk::<SEGMENT_HEADER>()?;
        let kind = SegmentKind::from_octet(*kind)?;
        let (octets, rest) = body.split_at_checked(usize::from(*count) * 4)?;
        self.rest = rest;
        Some(Segment { kind, octets })
    }
}

impl fmt::Display for AsPath {
    /// `65001 65002 {65003,65004}`, confederation segments as `(65005 65006)` and `[65007,65008]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, segment) in self.segments().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            let (open, separator, close) = match segment.kind {
                SegmentKind::Sequence => ("", " ", ""),
                SegmentKind::Set => ("{", ",", "}"),
                SegmentKind::ConfedSequence => ("(", " ", ")"),
                SegmentKind::ConfedSet => ("[", ",", "]"),
            };
            f.write_str(open)?;
            for (index, asn) in segment.asns().enumerate() {
                if index > 0 {
                    f.write_str(separator)?;
                }
                fmt::Display::fmt(&asn, f)?;
            }
            f.write_str(close)?;
        }
        Ok(())
    }
}

impl fmt::Debug for AsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AsPath({self})")
    }
}
