//! The octets of a record: a header, then entries, each with its kind, its length and the time since the last.
//!
//! ```text
//! record = "MUSLIN-RECORD" version  *entry
//! entry  = kind (1)  length (varint)  nanoseconds since the entry before (varint)  payload
//! ```
//!
//! Reading is total: any octets give entries or [`Corrupt`], never a panic. A record that ends within an entry
//! was cut off, which a crash does, and is read up to there.

use std::time::Duration;

use super::codec::{Reader, put_number};
use super::entry::Entry;

/// What every record begins with.
const MAGIC: &[u8] = b"MUSLIN-RECORD";

/// Version of the format.
const VERSION: u8 = 1;

/// A record that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Corrupt {
    /// It does not begin as records do.
    #[error("this is not a record: it does not begin with {}", String::from_utf8_lossy(MAGIC))]
    NoRecord,
    /// It is of another version.
    #[error(
        "the record is of version {found}, this program reads version {VERSION}: use the one that wrote it"
    )]
    Version {
        /// The version found.
        found: u8,
    },
    /// An entry makes no sense.
    #[error("the entry at octet {offset} cannot be read: {what}")]
    Entry {
        /// Where it begins.
        offset: usize,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// Appends what a record begins with.
pub(super) fn write_header(out: &mut Vec<u8>) {
    out.extend_from_slice(MAGIC);
    out.push(VERSION);
}

/// Appends an entry of this kind.
pub(super) fn write_entry(kind: u8, payload: &[u8], since_last: Duration, out: &mut Vec<u8>) {
    let mut time = Vec::new();
    // Nanoseconds, as clocks have them: a timer that is due by one must be due again. 64 bits are 500 years.
    put_number(since_last.as_nanos() as u64, &mut time);
    out.push(kind);
    put_number((time.len() + payload.len()) as u64, out);
    out.extend_from_slice(&time);
    out.extend_from_slice(payload);
}

/// The entries of a record.
#[derive(Clone, Debug)]
pub(super) struct Entries<'a> {
    octets: &'a [u8],
    offset: usize,
}

impl<'a> Entries<'a> {
    /// Reads the header.
    pub(super) fn new(record: &'a [u8]) -> Result<Self, Corrupt> {
        let rest = record.strip_prefix(MAGIC).ok_or(Corrupt::NoRecord)?;
        match rest.first() {
            Some(&VERSION) => Ok(Self { octets: record, offset: MAGIC.len() + 1 }),
            Some(found) => Err(Corrupt::Version { found: *found }),
            None => Err(Corrupt::NoRecord),
        }
    }

    /// The next entry with the time since the one before; `None` at the end, also in the middle of an entry.
    pub(super) fn next(&mut self) -> Result<Option<(Duration, Entry)>, Corrupt> {
        let start = self.offset;
        let corrupt = |what| Corrupt::Entry { offset: start, what };
        let mut head = Reader::new(&self.octets[start..]);
        let (Some(kind), Some(length)) = (head.octet(), head.number()) else { return Ok(None) };
        let Some(payload) = usize::try_from(length).ok().and_then(|length| head.octets(length)) else {
            return Ok(None);
        };
        self.offset = self.octets.len() - head.left();
        let mut reader = Reader::new(payload);
        let since = reader.number().ok_or(corrupt("it has no time"))?;
        let entry = Entry::read(kind, &mut reader).ok_or(corrupt("its payload does not fit its kind"))?;
        if reader.left() > 0 {
            return Err(corrupt("its payload is too long"));
        }
        Ok(Some((Duration::from_nanos(since), entry)))
    }

    /// Octets that were not read, because the last entry is cut off.
    pub(super) fn cut_off(&self) -> usize {
        self.octets.len() - self.offset
    }
}
