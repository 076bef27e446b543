//! The prefixes of a load, numbered: what a sink knows of them is one look at an array.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::random::Random;

/// An IPv4 prefix as it stands in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prefix {
    /// Address, host bits zero.
    pub address: u32,
    /// Length in bits.
    pub length: u8,
}

impl Prefix {
    /// Appends its octets.
    pub fn write(self, out: &mut Vec<u8>) {
        out.push(self.length);
        out.extend(&self.address.to_be_bytes()[..usize::from(self.length).div_ceil(8)]);
    }
}

/// How numbers and prefixes belong together.
#[derive(Clone, Debug)]
pub enum Prefixes {
    /// Of one length, one behind the other.
    Dense {
        /// The first address.
        first: u32,
        /// Length of all.
        length: u8,
        /// How many.
        count: u32,
    },
    /// Of many lengths, none within another one.
    Mixed {
        /// The prefixes by number.
        list: Arc<[Prefix]>,
        /// Number plus one by the upper 24 bits of the address; zero where none begins.
        numbers: Arc<[u32]>,
    },
    /// Any that there are, one within another too.
    Listed {
        /// The prefixes by number.
        list: Arc<[Prefix]>,
        /// Their numbers.
        numbers: Arc<HashMap<Prefix, u32>>,
    },
}

/// Lengths in a hundred prefixes, about as in the Internet's table; the shorter ones fewer, for want of room.
const LENGTHS: [(u32, u8); 8] = [(60, 24), (12, 23), (12, 22), (6, 21), (5, 20), (3, 19), (1, 18), (1, 16)];

/// First octet of the addresses into which no router takes routes.
const LOOPBACK: u32 = 127;

impl Prefixes {
    /// `/26` blocks of pods.
    pub fn blocks(count: u32) -> Self {
        Self::Dense { first: Ipv4Addr::new(100, 64, 0, 0).to_bits(), length: 26, count }
    }

    /// Prefixes of lengths as in the Internet's table, from 20.0.0.0 up; there is room for 1.2 million.
    pub fn internet(count: u32) -> Self {
        let mut random = Random::new(1);
        let mut numbers = vec![0; 1 << 24];
        let mut list = Vec::with_capacity(count as usize);
        // In units of a /24.
        let mut next = Ipv4Addr::new(20, 0, 0, 0).to_bits() >> 8;
        for number in 0..count {
            let mut draw = random.below(100);
            let mut length = 24;
            for (share, candidate) in LENGTHS {
                length = candidate;
                if draw < share {
                    break;
                }
                draw -= share;
            }
            let units = 1_u32 << (24 - length);
            let mut at = next.next_multiple_of(units);
            if at >> 16 == LOOPBACK {
                at = (LOOPBACK + 1) << 16;
            }
            next = at + units;
            numbers[at as usize] = number + 1;
            list.push(Prefix { address: at << 8, length });
        }
        Self::Mixed { list: list.into(), numbers: numbers.into() }
    }

    /// These, in this order.
    pub fn listed(list: Vec<Prefix>) -> Self {
        let numbers = list.iter().copied().zip(0..).collect();
        Self::Listed { list: list.into(), numbers: Arc::new(numbers) }
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        match self {
            Self::Dense { count, .. } => *count,
            // They were numbered in 32 bits.
            Self::Mixed { list, .. } | Self::Listed { list, .. } => list.len() as u32,
        }
    }

    /// The prefix of a number.
    pub fn get(&self, number: u32) -> Prefix {
        match self {
            Self::Dense { first, length, .. } => {
                Prefix { address: first + (number << (32 - length)), length: *length }
            }
            Self::Mixed { list, .. } | Self::Listed { list, .. } => list[number as usize],
        }
    }

    /// The number of a prefix; `None` if it is none of these.
    pub(super) fn number(&self, prefix: Prefix) -> Option<u32> {
        match self {
            Self::Dense { first, length, count } => {
                let number = prefix.address.checked_sub(*first)? >> (32 - length);
                (prefix.length == *length && number < *count).then_some(number)
            }
            Self::Mixed { list, numbers } => {
                let number = numbers[(prefix.address >> 8) as usize].checked_sub(1)?;
                (list[number as usize] == prefix).then_some(number)
            }
            Self::Listed { numbers, .. } => numbers.get(&prefix).copied(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prefix_has_the_number_that_it_was_made_under() {
        for prefixes in [Prefixes::blocks(1000), Prefixes::internet(10_000)] {
            assert!(
                (0..prefixes.count()).all(|number| prefixes.number(prefixes.get(number)) == Some(number))
            );
            assert_eq!(prefixes.number(Prefix { address: 0x0101_0100, length: 24 }), None);
        }
        let first = Prefixes::internet(10_000).get(0);
        assert_eq!(Prefixes::internet(10_000).number(Prefix { length: first.length - 1, ..first }), None);
    }
}
