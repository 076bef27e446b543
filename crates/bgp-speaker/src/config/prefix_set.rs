//! Sets of prefixes with ranges of lengths.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use ipnet::IpNet;
use prefix_trie::joint::JointPrefixMap;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

/// Prefixes within a range, of lengths between two bounds (both inclusive).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PrefixMatch {
    /// The covering range.
    pub within: IpNet,
    /// Shortest length that matches.
    pub min_length: u8,
    /// Longest length that matches.
    pub max_length: u8,
}

impl PrefixMatch {
    /// `prefix` itself.
    pub fn exact(prefix: IpNet) -> Self {
        Self { within: prefix, min_length: prefix.prefix_len(), max_length: prefix.prefix_len() }
    }

    /// `range` and everything in it.
    pub fn or_longer(range: IpNet) -> Self {
        Self { within: range, min_length: range.prefix_len(), max_length: range.max_prefix_len() }
    }

    fn covers(&self, prefix: IpNet) -> bool {
        (self.min_length..=self.max_length).contains(&prefix.prefix_len()) && self.within.contains(&prefix)
    }
}

/// Up to so many ranges are looked at one by one, which is faster than a trie.
const FEW: usize = 8;

/// Shortest and longest lengths that match within each range.
type LengthsByRange = JointPrefixMap<IpNet, SmallVec<[(u8, u8); 1]>>;

/// A set of prefixes: those that one of its ranges matches. Shared, not copied, when it is cloned.
#[derive(Clone, Serialize, Deserialize)]
#[serde(from = "Vec<PrefixMatch>", into = "Vec<PrefixMatch>")]
pub struct PrefixSet {
    ranges: Arc<[PrefixMatch]>,
    /// Bounds of lengths by range, for large sets.
    trie: Option<Arc<LengthsByRange>>,
}

impl PrefixSet {
    /// The ranges, in the order in which they were given.
    pub fn ranges(&self) -> &[PrefixMatch] {
        &self.ranges
    }

    /// Whether a range matches the prefix.
    pub fn contains(&self, prefix: IpNet) -> bool {
        let length = prefix.prefix_len();
        match &self.trie {
            None => self.ranges.iter().any(|range| range.covers(prefix)),
            Some(trie) => trie
                .cover(&prefix)
                .flat_map(|(_, bounds)| bounds)
                .any(|(shortest, longest)| (*shortest..=*longest).contains(&length)),
        }
    }
}

impl<R: Into<Arc<[PrefixMatch]>>> From<R> for PrefixSet {
    fn from(ranges: R) -> Self {
        let ranges = ranges.into();
        let trie = (ranges.len() > FEW).then(|| {
            let mut trie: JointPrefixMap<IpNet, SmallVec<[(u8, u8); 1]>> = JointPrefixMap::new();
            for range in ranges.iter() {
                let bounds = trie.entry(range.within.trunc()).or_default();
                bounds.push((range.min_length, range.max_length));
            }
            Arc::new(trie)
        });
        Self { ranges, trie }
    }
}

impl From<PrefixSet> for Vec<PrefixMatch> {
    fn from(set: PrefixSet) -> Self {
        set.ranges.to_vec()
    }
}

impl PartialEq for PrefixSet {
    fn eq(&self, other: &Self) -> bool {
        self.ranges == other.ranges
    }
}

impl Eq for PrefixSet {}

impl Hash for PrefixSet {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.ranges.hash(state);
    }
}

impl fmt::Debug for PrefixSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ranges.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prefix() -> impl Strategy<Value = IpNet> {
        let v4 = (0..4_u32, 28..=32_u8).prop_map(|(low, length)| {
            ipnet::Ipv4Net::new_assert((0x0A00_0000 + low * 5).into(), length).into()
        });
        let v6 = (0..4_u128, 124..=128_u8)
            .prop_map(|(low, length)| ipnet::Ipv6Net::new_assert((low * 5).into(), length).into());
        prop_oneof![v4, v6]
    }

    proptest! {
        #[test]
        fn a_large_set_holds_what_its_ranges_say_one_by_one(
            ranges in proptest::collection::vec((prefix(), 26..=128_u8, 26..=128_u8), 0..40),
            asked in proptest::collection::vec(prefix(), 1..40),
        ) {
            let ranges: Vec<_> = ranges
                .into_iter()
                .map(|(within, min_length, max_length)| PrefixMatch { within, min_length, max_length })
                .collect();
            let set = PrefixSet::from(ranges.clone());
            for prefix in asked {
                let prefix = prefix.trunc();
                let expected = ranges.iter().any(|range| {
                    range.within.contains(&prefix)
                        && prefix.prefix_len() >= range.min_length
                        && prefix.prefix_len() <= range.max_length
                });
                prop_assert_eq!(set.contains(prefix), expected, "{}", prefix);
            }
        }
    }
}
