//! What feeders send, encoded beforehand, and what should come of it.

use std::ops::Range;
use std::sync::Arc;

use super::prefixes::Prefixes;
use super::random::Random;
use super::sink::{Mark, NONE, mark};
use crate::wire;

/// Most octets of a message (RFC 4271 §4).
const LONGEST: usize = 4096;

/// A feeder's place among those that announce the same prefixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// There is no other one.
    Alone,
    /// One of up to ten, numbered from zero: for each prefix exactly one has the shortest path, and any two differ.
    Among(u32),
}

/// A feeder's UPDATEs.
#[derive(Clone, Debug)]
pub struct Feed {
    /// The messages, an End-of-RIB last.
    pub octets: Arc<[u8]>,
    /// How many UPDATEs announce something.
    pub updates: u64,
    /// The AS_PATH of each set of attributes.
    pub paths: Vec<Vec<u32>>,
    /// The set of each prefix.
    pub set_of: Vec<u32>,
}

impl Feed {
    fn mark_of(&self, number: usize) -> Mark {
        mark(self.paths[self.set_of[number] as usize].iter().copied(), 0)
    }

    fn length_of(&self, number: usize) -> usize {
        self.paths[self.set_of[number] as usize].len()
    }
}

/// A table as an Internet router sends it: about six prefixes that share attributes, paths of 2 to 7 ASes with every fifth
/// number of four octets, up to five communities, MED in one of four.
pub fn internet(prefixes: &Prefixes, asn: u32, next_hop: u32, place: Place) -> Feed {
    let mut shared = Random::new(2);
    let mut own = Random::new(100 + u64::from(asn));
    let (mut octets, mut paths, mut set_of) = (Vec::new(), Vec::new(), Vec::new());
    let mut first = 0;
    while first < prefixes.count() {
        // The same division into sets for all feeders; on average six.
        let size = [1, 1, 2, 3, 4, 6, 8, 10, 12, 13][shared.below(10) as usize];
        let last = prefixes.count().min(first + size);
        let length = match place {
            Place::Alone => 2 + shared.below(6),
            Place::Among(turn) => 2 + (shared.below(10) + turn) % 10,
        };
        let path: Vec<u32> = std::iter::once(asn)
            .chain((1..length).map(|_| match own.below(5) {
                0 => 131_072 + own.below(60_000),
                _ => 1000 + own.below(50_000),
            }))
            .collect();
        let mut attributes = wire::origin(0);
        attributes.extend(wire::as_path(&path));
        attributes.extend(wire::next_hop(next_hop.into()));
        if own.below(4) == 0 {
            attributes.extend(wire::med(own.below(1000)));
        }
        let communities: Vec<u32> = (0..own.below(6)).map(|_| 0xfc00_0000 + own.below(1 << 16)).collect();
        if !communities.is_empty() {
            attributes.extend(wire::communities(&communities));
        }
        announce(&mut octets, &attributes, prefixes, first..last);
        set_of.extend((first..last).map(|_| paths.len() as u32));
        paths.push(path);
        first = last;
    }
    octets.extend(wire::end_of_rib());
    Feed { octets: octets.into(), updates: paths.len() as u64, paths, set_of }
}

/// What a node announces to its reflector: its own prefixes with itself as next hop.
pub fn node(prefixes: &Prefixes, own: Range<u32>, next_hop: u32) -> Feed {
    let attributes =
        [wire::origin(0), wire::as_path(&[]), wire::next_hop(next_hop.into()), wire::local_pref(100)]
            .concat();
    let mut octets = Vec::new();
    announce(&mut octets, &attributes, prefixes, own.clone());
    octets.extend(wire::end_of_rib());
    Feed { octets: octets.into(), updates: 1, paths: vec![vec![]], set_of: own.map(|_| 0).collect() }
}

/// What the clients of a reflector should have when the nodes with these next hops are there, each with its prefixes;
/// zero stands for one that is not.
pub fn reflected(next_hops: &[u32], each: u32) -> Arc<[Mark]> {
    let of = |next_hop: &u32| if *next_hop == 0 { NONE } else { mark([], *next_hop) };
    next_hops.iter().flat_map(|next_hop| (0..each).map(move |_| of(next_hop))).collect()
}

/// What is chosen of what these feeders send: the shortest path of each prefix.
pub fn best_of(feeds: &[&Feed]) -> Arc<[Mark]> {
    let count = feeds.first().map_or(0, |feed| feed.set_of.len());
    let best = |number: usize| feeds.iter().min_by_key(|feed| feed.length_of(number));
    (0..count).map(|number| best(number).map_or(NONE, |feed| feed.mark_of(number))).collect()
}

/// UPDATEs that announce prefixes by one path and nothing else.
pub fn announcement(prefixes: &Prefixes, numbers: Range<u32>, path: &[u32], next_hop: u32) -> Vec<u8> {
    let attributes = [wire::origin(0), wire::as_path(path), wire::next_hop(next_hop.into())].concat();
    let mut octets = Vec::new();
    announce(&mut octets, &attributes, prefixes, numbers);
    octets
}

/// What a sink of another AS should have of a path.
pub fn path_mark(path: &[u32]) -> Mark {
    mark(path.iter().copied(), 0)
}

/// An UPDATE that withdraws prefixes, a few hundred at most.
pub fn withdrawal(prefixes: &Prefixes, numbers: Range<u32>) -> Vec<u8> {
    let mut nlri = Vec::new();
    numbers.for_each(|number| prefixes.get(number).write(&mut nlri));
    wire::raw_update(&nlri, [0, 0], &[], &[])
}

/// Appends UPDATEs of these prefixes, and says how many.
pub(super) fn announce(
    octets: &mut Vec<u8>,
    attributes: &[u8],
    prefixes: &Prefixes,
    numbers: Range<u32>,
) -> u64 {
    // Far below a message.
    let length = (attributes.len() as u16).to_be_bytes();
    let mut nlri = Vec::new();
    let mut updates = 1;
    for number in numbers {
        if 23 + attributes.len() + nlri.len() + 5 > LONGEST {
            octets.extend(wire::raw_update(&[], length, attributes, &nlri));
            nlri.clear();
            updates += 1;
        }
        prefixes.get(number).write(&mut nlri);
    }
    octets.extend(wire::raw_update(&[], length, attributes, &nlri));
    updates
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_ten_feeders_exactly_one_has_the_shortest_path() {
        let prefixes = Prefixes::internet(500);
        let feeds: Vec<Feed> =
            (0..10).map(|turn| internet(&prefixes, 65001 + turn, 1, Place::Among(turn))).collect();
        for number in 0..500 {
            let mut lengths: Vec<usize> = feeds.iter().map(|feed| feed.length_of(number)).collect();
            lengths.sort_unstable();
            assert!(lengths.windows(2).all(|pair| pair[0] < pair[1]), "{lengths:?}");
        }
        assert_eq!(best_of(&feeds.iter().collect::<Vec<_>>()).len(), 500);
    }

    #[test]
    fn the_same_table_comes_out_each_time() {
        let prefixes = Prefixes::internet(500);
        assert_eq!(
            internet(&prefixes, 65001, 1, Place::Alone).octets,
            internet(&prefixes, 65001, 1, Place::Alone).octets
        );
    }
}
