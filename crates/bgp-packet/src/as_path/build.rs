//! Paths made by us.

use super::{AsPath, SEGMENT_HEADER, SEGMENT_MAX, SegmentKind};
use crate::Asn;

impl AsPath {
    /// A path of one sequence, or of as many as its length needs.
    pub fn from_sequence(asns: &[Asn]) -> Self {
        let mut path = Self::empty();
        for chunk in asns.chunks(SEGMENT_MAX) {
            path.push(SegmentKind::Sequence, chunk.iter().copied());
        }
        path
    }

    /// The path with `asn` put before it `times` times; a new segment begins when one is full (RFC 4271
    /// §5.1.2 b).
    #[must_use]
    pub fn prepended(&self, asn: Asn, times: u8) -> Self {
        self.prepended_as(SegmentKind::Sequence, asn, times)
    }

    /// The same towards a peer in another member AS of our confederation (RFC 5065 §4.1 b).
    #[must_use]
    pub fn prepended_in_confederation(&self, asn: Asn, times: u8) -> Self {
        self.prepended_as(SegmentKind::ConfedSequence, asn, times)
    }

    /// The path as it leaves our confederation: without leading confederation segments (RFC 5065 §4.1 c).
    #[must_use]
    pub fn without_confederation(&self) -> Self {
        let mut path = Self::empty();
        for segment in self.segments().filter(|segment| !segment.kind.is_confederation()) {
            path.push(segment.kind, segment.asns());
        }
        path
    }

    fn prepended_as(&self, kind: SegmentKind, asn: Asn, times: u8) -> Self {
        let first = self.segments().next().filter(|segment| segment.kind == kind);
        let (kept, rest) = match first {
            Some(segment) => (segment.len(), &self.octets[SEGMENT_HEADER + segment.len() * 4..]),
            None => (0, &self.octets[..]),
        };
        let times = usize::from(times);
        // What the old first segment has no room for goes before it in a segment of its own.
        let overflow = (times + kept).saturating_sub(SEGMENT_MAX);
        let mut path = Self::empty();
        path.push(kind, std::iter::repeat_n(asn, overflow));
        let asns = first.into_iter().flat_map(|segment| segment.asns());
        path.push(kind, std::iter::repeat_n(asn, times - overflow).chain(asns));
        path.octets.extend_from_slice(rest);
        path
    }

    /// Appends a segment; one without ASes is not written. There are never more than 255.
    pub(super) fn push(&mut self, kind: SegmentKind, asns: impl Iterator<Item = Asn>) {
        let header = self.octets.len();
        self.octets.extend_from_slice(&[kind as u8, 0]);
        let mut count = 0_u8;
        for asn in asns.take(SEGMENT_MAX) {
            self.octets.extend_from_slice(&asn.0.to_be_bytes());
            count += 1;
        }
        if count == 0 {
            self.octets.truncate(header);
        } else {
            self.octets[header + 1] = count;
        }
    }
}
