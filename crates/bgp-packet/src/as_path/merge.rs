//! AS_PATH and AS4_PATH from a speaker that knows only 2-octet AS numbers (RFC 6793 §4.2.3).

use super::{AsPath, AsWidth, SEGMENT_MAX, SegmentKind};

impl AsPath {
    /// Reads the value of an AS4_PATH attribute. Confederation segments in it are dropped (RFC 6793 §6).
    ///
    /// # Errors
    /// What is malformed about it.
    pub(crate) fn decode_as4(octets: &[u8]) -> Result<Self, &'static str> {
        if octets.is_empty() {
            return Err("no segment");
        }
        Self::read(octets, AsWidth::Four).map(|path| path.without_confederation())
    }

    /// The true path of a route that came with this AS_PATH of 2-octet numbers and that AS4_PATH: what the
    /// AS_PATH has more in front, then the AS4_PATH. An AS4_PATH that is longer than the AS_PATH is ignored.
    #[must_use]
    pub fn merged_with_as4(&self, as4_path: &Self) -> Self {
        let Some(mut missing) = self.length().checked_sub(as4_path.length()) else { return self.clone() };
        let mut path = Self::empty();
        for segment in self.segments() {
            match segment.kind {
                // Kept when it leads or follows what is kept, which is the only way to get here.
                SegmentKind::ConfedSequence | SegmentKind::ConfedSet => {
                    path.push(segment.kind, segment.asns());
                }
                SegmentKind::Set | SegmentKind::Sequence if missing == 0 => break,
                SegmentKind::Set => {
                    path.push(segment.kind, segment.asns());
                    missing -= 1;
                }
                SegmentKind::Sequence if segment.len() <= missing => {
                    path.push(segment.kind, segment.asns());
                    missing -= segment.len();
                }
                SegmentKind::Sequence => {
                    path.push(segment.kind, segment.asns().take(missing));
                    break;
                }
            }
        }
        path.append(as4_path);
        path
    }

    /// Puts `tail` behind; a sequence goes on in one segment where it fits.
    fn append(&mut self, tail: &Self) {
        let mut segments = tail.segments();
        let last =
            self.segments().last().filter(|last| last.kind == SegmentKind::Sequence).map(|last| last.len());
        if let (Some(last), Some(first)) = (last, segments.clone().next())
            && first.kind == SegmentKind::Sequence
            && last + first.len() <= SEGMENT_MAX
        {
            let header = self.octets.len() - last * 4 - 2;
            self.octets[header + 1] = (last + first.len()) as u8;
            self.octets.extend_from_slice(first.octets);
            segments.next();
        }
        self.octets.extend_from_slice(segments.rest);
    }
}
