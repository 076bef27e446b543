//! Prefixes as the disjoint intervals that sets of `nf_tables` want.

use ipnet::IpNet;

/// The first address of an interval, and the first one behind it (`None` at the end of the family), as octets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Interval {
    pub(super) first: Vec<u8>,
    pub(super) behind: Option<Vec<u8>>,
}

/// The family of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) const BOTH: [Self; 2] = [Self::V4, Self::V6];

    fn has(self, prefix: &IpNet) -> bool {
        prefix.addr().is_ipv4() == (self == Self::V4)
    }

    /// An address as octets of this family.
    fn octets(self, bits: u128) -> Vec<u8> {
        match self {
            Self::V4 => (bits as u32).to_be_bytes().to_vec(),
            Self::V6 => bits.to_be_bytes().to_vec(),
        }
    }

    fn last(self) -> u128 {
        match self {
            Self::V4 => u128::from(u32::MAX),
            Self::V6 => u128::MAX,
        }
    }
}

/// The intervals that the `prefixes` of `family` cover, in order, merged where they touch.
pub(super) fn intervals(prefixes: &[IpNet], family: Family) -> Vec<Interval> {
    let mut bounds: Vec<(u128, u128)> = prefixes
        .iter()
        .filter(|prefix| family.has(prefix))
        .map(|prefix| match prefix {
            IpNet::V4(net) => (net.network().to_bits().into(), net.broadcast().to_bits().into()),
            IpNet::V6(net) => (net.network().to_bits(), net.broadcast().to_bits()),
        })
        .collect();
    bounds.sort_unstable();
    let mut merged: Vec<(u128, u128)> = Vec::with_capacity(bounds.len());
    for (first, last) in bounds {
        match merged.last_mut() {
            Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
            _ => merged.push((first, last)),
        }
    }
    let interval = |(first, last): (u128, u128)| Interval {
        first: family.octets(first),
        behind: (last < family.last()).then(|| family.octets(last + 1)),
    };
    merged.into_iter().map(interval).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(texts: &[&str], family: Family) -> Vec<Interval> {
        let prefixes: Vec<IpNet> = texts.iter().map(|text| text.parse().unwrap()).collect();
        intervals(&prefixes, family)
    }

    #[test]
    fn overlapping_and_touching_prefixes_become_one_interval() {
        let merged =
            of(&["10.0.2.0/23", "10.0.0.0/24", "10.0.1.0/24", "10.0.1.7/32", "fd00::/8"], Family::V4);
        assert_eq!(merged, [Interval { first: vec![10, 0, 0, 0], behind: Some(vec![10, 0, 4, 0]) }]);
    }

    #[test]
    fn the_end_of_a_family_has_nothing_behind_it() {
        assert_eq!(of(&["0.0.0.0/0"], Family::V4), [Interval { first: vec![0; 4], behind: None }]);
        assert_eq!(of(&["::/0", "fd00::/8"], Family::V6), [Interval { first: vec![0; 16], behind: None }]);
    }

    #[test]
    fn apart_stays_apart() {
        assert_eq!(of(&["10.0.0.0/32", "10.0.0.2/32"], Family::V4).len(), 2);
    }
}
