//! A group's journal: messages that were encoded once, and of which each member reads what concerns it.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::rib::PeerIndex;

/// Most octets that a journal keeps for members that are behind; who is further behind is brought up to date
/// from the table. Tests have a small one, so that members fall behind it.
const LIMIT: usize = if cfg!(test) { 512 } else { 4 << 20 };

/// Messages that were encoded together. No destination occurs twice in one segment, so the order of its
/// parts does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Messages for all members.
    messages: Bytes,
    /// Parts of `messages` that their source is not sent, by peer.
    skips: Vec<Skip>,
    /// Messages for one member only, by peer.
    only: Vec<(PeerIndex, Bytes)>,
}

/// A part of a segment that one member is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Skip {
    pub(crate) peer: PeerIndex,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Segment {
    pub(crate) fn new(messages: Bytes, mut skips: Vec<Skip>, mut only: Vec<(PeerIndex, Bytes)>) -> Self {
        skips.sort_unstable();
        only.sort_by_key(|(peer, _)| *peer);
        Self { messages, skips, only }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.only.is_empty()
    }

    fn len(&self) -> usize {
        self.messages.len() + self.only.iter().map(|(_, messages)| messages.len()).sum::<usize>()
    }

    /// Appends what a member is sent; returns the number of octets.
    pub(crate) fn read(&self, peer: PeerIndex, out: &mut Vec<Bytes>) -> usize {
        let mut octets = 0;
        let mut push = |messages: Bytes| {
            if !messages.is_empty() {
                octets += messages.len();
                out.push(messages);
            }
        };
        let mut start = 0;
        for skip in of_peer(&self.skips, peer, |skip| skip.peer) {
            push(self.messages.slice(start..skip.start));
            start = skip.end;
        }
        push(self.messages.slice(start..));
        for (_, messages) in of_peer(&self.only, peer, |(only, _)| *only) {
            push(messages.clone());
        }
        octets
    }
}

/// The items of one peer in a list that is sorted by peer.
fn of_peer<T>(list: &[T], peer: PeerIndex, key: impl Fn(&T) -> PeerIndex) -> &[T] {
    let start = list.partition_point(|item| key(item) < peer);
    let end = start + list[start..].partition_point(|item| key(item) == peer);
    &list[start..end]
}

/// The segments that some member may still have to read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Journal {
    segments: VecDeque<Segment>,
    /// Number of the first segment kept.
    first: u64,
    octets: usize,
}

impl Journal {
    /// The number that the next segment will have.
    pub(crate) fn head(&self) -> u64 {
        self.first + self.segments.len() as u64
    }

    /// The number of the oldest segment that is still here.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    pub(crate) fn push(&mut self, segment: Segment) {
        self.octets += segment.len();
        self.segments.push_back(segment);
    }

    /// A segment, if it is still here.
    pub(crate) fn get(&self, number: u64) -> Option<&Segment> {
        self.segments.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// Drops what all members have read, `floor` being the first segment that one has not, and the oldest
    /// segments beyond the limit.
    pub(crate) fn trim(&mut self, floor: u64) {
        while (self.first < floor || self.octets > LIMIT)
            && let Some(segment) = self.segments.pop_front()
        {
            self.octets -= segment.len();
            self.first += 1;
        }
    }
}
