//! A receiver that knows what it should have, and how much of it is not so.

use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};

use super::prefixes::{Prefix, Prefixes};
use crate::wire;

/// What tells one path from another: a hash of its AS_PATH, and of the next hop within an AS.
pub type Mark = u32;

/// No path.
pub const NONE: Mark = 0;

/// What a sink is to the speaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// Another AS: the speaker's own number stands before the path.
    External,
    /// The same AS: path and next hop are as the feeder sent them.
    Internal,
    /// The speaker passes on what it gets without a look at it: the path is as the feeder sent it.
    Copied,
}

/// The mark of a path.
pub(super) fn mark(path: impl IntoIterator<Item = u32>, next_hop: u32) -> Mark {
    let mix = |hash: u32, word: u32| (hash.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b1);
    path.into_iter().fold(mix(1, next_hop), mix).max(1)
}

/// What a sink should have: one array for many sinks, and for each what is its own. A reflector may send that back to
/// it, and any client ignores it then (RFC 4456 §8).
#[derive(Clone, Debug)]
pub struct Expected {
    /// Marks by number.
    pub marks: Arc<[Mark]>,
    /// Numbers that the sink feeds itself.
    pub own: Range<u32>,
}

impl Expected {
    /// Nothing at all.
    pub fn nothing(count: u32) -> Self {
        Self { marks: vec![NONE; count as usize].into(), own: 0..0 }
    }

    fn of(&self, number: u32) -> Mark {
        if self.own.contains(&number) { NONE } else { self.marks[number as usize] }
    }

    fn ignores(&self, number: u32) -> bool {
        self.own.contains(&number)
    }
}

/// What came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// UPDATEs.
    pub updates: u64,
    /// Prefixes announced.
    pub announced: u64,
    /// Prefixes withdrawn.
    pub withdrawn: u64,
}

/// A receiver.
#[derive(Debug)]
pub struct Sink {
    relation: Relation,
    prefixes: Prefixes,
    seen: Vec<Mark>,
    expected: Expected,
    wrong: usize,
    /// What came so far.
    pub counts: Counts,
}

impl Sink {
    /// One that expects nothing yet.
    pub fn new(relation: Relation, prefixes: Prefixes) -> Self {
        let count = prefixes.count();
        Self {
            relation,
            prefixes,
            seen: vec![NONE; count as usize],
            expected: Expected::nothing(count),
            wrong: 0,
            counts: Counts::default(),
        }
    }

    /// Expects something else from now on.
    pub(super) fn expect(&mut self, expected: Expected) {
        self.expected = expected;
        let numbers = 0_u32..;
        self.wrong =
            numbers.zip(&self.seen).filter(|(number, seen)| self.expected.of(*number) != **seen).count();
    }

    /// Has nothing any more.
    pub(super) fn forget(&mut self) {
        self.seen.fill(NONE);
        self.expect(self.expected.clone());
    }

    /// Prefixes of which it does not have what it should.
    pub fn wrong(&self) -> usize {
        self.wrong
    }

    /// A prefix that is wrong, for messages: its number, what is there, and what should be.
    pub fn example(&self) -> Option<(u32, Mark, Mark)> {
        let numbers = 0_u32..;
        let mut all = numbers.zip(&self.seen).map(|(number, seen)| (number, *seen, self.expected.of(number)));
        all.find(|(_, seen, expected)| seen != expected)
    }

    /// Takes the body of an UPDATE.
    ///
    /// # Errors
    /// When it cannot be read or names a prefix that nobody announced.
    pub(super) fn take(&mut self, body: &[u8]) -> Result<()> {
        let (withdrawn, rest) = counted(body).context("withdrawn routes")?;
        let (attributes, announced) = counted(rest).context("attributes")?;
        self.counts.updates += 1;
        self.counts.withdrawn += self.set(withdrawn, NONE)?;
        if !announced.is_empty() {
            let mark = self.mark_of(attributes)?;
            self.counts.announced += self.set(announced, mark)?;
        }
        Ok(())
    }

    fn set(&mut self, mut nlri: &[u8], mark: Mark) -> Result<u64> {
        let mut count = 0;
        while let [length, rest @ ..] = nlri {
            let octets = usize::from(*length).div_ceil(8);
            ensure!(octets <= 4 && octets <= rest.len(), "a prefix of {length} bits");
            let mut address = [0; 4];
            address[..octets].copy_from_slice(&rest[..octets]);
            nlri = &rest[octets..];
            let prefix = Prefix { address: u32::from_be_bytes(address), length: *length };
            let number = self.prefixes.number(prefix).with_context(|| format!("nobody has {prefix:x?}"))?;
            count += 1;
            if self.expected.ignores(number) {
                continue;
            }
            let wanted = self.expected.of(number);
            let before = std::mem::replace(&mut self.seen[number as usize], mark);
            self.wrong = self.wrong + usize::from(mark != wanted) - usize::from(before != wanted);
        }
        Ok(count)
    }

    fn mark_of(&self, mut attributes: &[u8]) -> Result<Mark> {
        let (mut path, mut next_hop): (&[u8], u32) = (&[], 0);
        while let [flags, kind, rest @ ..] = attributes {
            let (length, rest) = match (flags & wire::EXTENDED_LENGTH != 0, rest) {
                (false, [length, rest @ ..]) => (usize::from(*length), rest),
                (true, [high, low, rest @ ..]) => (usize::from(u16::from_be_bytes([*high, *low])), rest),
                _ => bail!("an attribute without length"),
            };
            let (value, rest) = rest.split_at_checked(length).context("an attribute that is too long")?;
            match kind {
                2 => path = value,
                3 if self.relation == Relation::Internal => {
                    next_hop = u32::from_be_bytes(value.try_into().context("NEXT_HOP")?);
                }
                _ => {}
            }
            attributes = rest;
        }
        let own = usize::from(self.relation == Relation::External);
        Ok(mark(numbers(path).skip(own), next_hop))
    }
}

/// AS numbers of a path, four octets each, whatever segments they stand in.
pub(super) fn numbers(mut path: &[u8]) -> impl Iterator<Item = u32> {
    let mut left = 0;
    std::iter::from_fn(move || {
        while left == 0 {
            let [_, count, rest @ ..] = path else { return None };
            (left, path) = (*count, rest);
        }
        let (number, rest) = path.split_first_chunk()?;
        (left, path) = (left - 1, rest);
        Some(u32::from_be_bytes(*number))
    })
}

/// A part behind its length, and the rest.
fn counted(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = octets.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{Feed, Place, internet, node, reflected};

    fn deliver(sink: &mut Sink, feed: &Feed) {
        let mut rest = &feed.octets[..];
        while let [header @ .., _, _] = &rest[..rest.len().min(21)] {
            let length = usize::from(u16::from_be_bytes([header[16], header[17]]));
            sink.take(&rest[19..length]).unwrap();
            rest = &rest[length..];
        }
    }

    #[test]
    fn a_sink_is_right_once_it_has_the_path_of_every_prefix() {
        let prefixes = Prefixes::internet(100);
        let feed = internet(&prefixes, 65001, 0x0a00_0001, Place::Alone);
        let mut sink = Sink::new(Relation::Internal, prefixes);
        // As if the speaker passed everything on as it came, next hops included.
        let marks: Vec<_> = feed.paths.iter().map(|path| mark(path.iter().copied(), 0x0a00_0001)).collect();
        let marks = feed.set_of.iter().map(|set| marks[*set as usize]).collect();
        sink.expect(Expected { marks, own: 0..0 });
        assert_eq!(sink.wrong(), 100);
        deliver(&mut sink, &feed);
        assert_eq!((sink.wrong(), sink.counts.announced), (0, 100));
        sink.expect(Expected::nothing(100));
        assert_eq!(sink.wrong(), 100);
    }

    #[test]
    fn a_path_by_another_next_hop_is_wrong_and_ones_own_is_ignored() {
        let prefixes = Prefixes::blocks(16);
        let marks = reflected(&[10, 20], 8);
        let mut sink = Sink::new(Relation::Internal, prefixes.clone());
        sink.expect(Expected { marks, own: 0..8 });
        assert_eq!(sink.wrong(), 8);
        deliver(&mut sink, &node(&prefixes, 8..16, 30));
        assert_eq!(sink.wrong(), 8, "all are there by a next hop that nobody announced");
        deliver(&mut sink, &node(&prefixes, 8..16, 20));
        assert_eq!(sink.wrong(), 0);
        deliver(&mut sink, &node(&prefixes, 0..8, 10));
        assert_eq!(sink.wrong(), 0, "what is its own is ignored");
    }
}
