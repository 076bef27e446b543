//! Prefixes on the wire (RFC 4271 §4.3, RFC 7911 §3). Fields are checked once, then iterated without failure
//! or allocation.

use std::fmt::{Debug, Display};
use std::hash::Hash;
use std::marker::PhantomData;
use std::net::{Ipv4Addr, Ipv6Addr};

use bytes::{BufMut, BytesMut};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::Family;

/// A prefix of one address family. Implemented by [`Ipv4Net`] and [`Ipv6Net`] and by nothing else.
pub trait Prefix:
    Copy + Eq + Ord + Hash + Debug + Display + Into<IpNet> + Send + Sync + sealed::Wire + 'static
{
    /// The family.
    const FAMILY: Family;
    /// The longest prefix, in bits.
    const MAX_LENGTH: u8;
}

impl Prefix for Ipv4Net {
    const FAMILY: Family = Family::Ipv4Unicast;
    const MAX_LENGTH: u8 = 32;
}

impl Prefix for Ipv6Net {
    const FAMILY: Family = Family::Ipv6Unicast;
    const MAX_LENGTH: u8 = 128;
}

mod sealed {
    use bytes::BytesMut;

    /// How a prefix is read and written; not for callers.
    pub trait Wire: Sized {
        /// The prefix of `length` bits whose octets start `octets`; host bits are masked. `length` was
        /// checked.
        fn read(length: u8, octets: &[u8]) -> Self;
        /// Appends length and octets.
        fn write(self, out: &mut BytesMut);
        /// Octets that [`Wire::write`] appends.
        fn written(self) -> usize;
    }
}

/// Octets that hold a prefix of `length` bits.
const fn octets_of(length: u8) -> usize {
    (length as usize).div_ceil(8)
}

macro_rules! wire {
    ($net:ty, $address:ty, $integer:ty, $octets:literal) => {
        impl sealed::Wire for $net {
            #[inline]
            fn read(length: u8, octets: &[u8]) -> Self {
                // Mostly something follows the prefix, and one load of full width is cheaper than a copy of
                // some octets.
                let bits = match octets.first_chunk::<$octets>() {
                    Some(wide) => <$integer>::from_be_bytes(*wide),
                    None => {
                        octets.iter().zip((0..<$integer>::BITS).step_by(8)).fold(0, |bits, (octet, at)| {
                            bits | <$integer>::from(*octet) << (<$integer>::BITS - 8 - at)
                        })
                    }
                };
                let host_bits = <$integer>::BITS.saturating_sub(u32::from(length));
                let network = bits & <$integer>::MAX.checked_shl(host_bits).unwrap_or(0);
                Self::new(<$address>::from(network), length).unwrap_or_default()
            }

            #[inline]
            fn write(self, out: &mut BytesMut) {
                out.put_u8(self.prefix_len());
                out.put_slice(&self.network().octets()[..octets_of(self.prefix_len())]);
            }

            #[inline]
            fn written(self) -> usize {
                1 + octets_of(self.prefix_len())
            }
        }
    };
}

wire!(Ipv4Net, Ipv4Addr, u32, 4);
wire!(Ipv6Net, Ipv6Addr, u128, 16);

/// A prefix and, where ADD-PATH is in use, which of its paths is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Nlri<P> {
    /// The prefix, without host bits.
    pub prefix: P,
    /// The path identifier, which may be 0 (RFC 7911 §3).
    pub path_id: Option<u32>,
}

impl<P: Prefix> Nlri<P> {
    /// A prefix without path identifier.
    pub const fn new(prefix: P) -> Self {
        Self { prefix, path_id: None }
    }

    pub(crate) fn write(self, out: &mut BytesMut) {
        if let Some(id) = self.path_id {
            out.put_u32(id);
        }
        self.prefix.write(out);
    }

    pub(crate) fn written(self) -> usize {
        self.prefix.written() + if self.path_id.is_some() { 4 } else { 0 }
    }
}

/// Whether prefixes carry path identifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PathIds {
    /// Length and prefix (RFC 4271 §4.3).
    Absent,
    /// Path identifier, length and prefix (RFC 7911 §3).
    Present,
}

/// Why a field holds no prefixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("prefix at octet {offset}: {reason}")]
pub struct NlriError {
    /// Where the wrong prefix starts, in octets from the start of the field.
    pub offset: usize,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// A field of prefixes that was checked as a whole, so that iteration cannot fail.
#[derive(Clone, Copy, Debug)]
pub struct NlriField<'a, P> {
    octets: &'a [u8],
    count: usize,
    path_ids: PathIds,
    prefix: PhantomData<P>,
}

impl<'a, P: Prefix> NlriField<'a, P> {
    /// A field without prefixes.
    pub const EMPTY: Self = Self { octets: &[], count: 0, path_ids: PathIds::Absent, prefix: PhantomData };

    /// Checks every length in `octets`.
    ///
    /// # Errors
    /// A prefix that is longer than its family allows, or not complete.
    pub fn check(octets: &'a [u8], path_ids: PathIds) -> Result<Self, NlriError> {
        let mut rest = octets;
        let mut count = 0;
        while !rest.is_empty() {
            let fault = |reason| NlriError { offset: octets.len() - rest.len(), reason };
            let at_length = match path_ids {
                PathIds::Absent => rest,
                PathIds::Present => rest.get(4..).ok_or(fault("the path identifier is not complete"))?,
            };
            let (&length, at_prefix) =
                at_length.split_first().ok_or(fault("the length after the path identifier is missing"))?;
            if length > P::MAX_LENGTH {
                return Err(fault("the length is greater than the family allows"));
            }
            rest = at_prefix.get(octets_of(length)..).ok_or(fault("the prefix is not complete"))?;
            count += 1;
        }
        Ok(Self { octets, count, path_ids, prefix: PhantomData })
    }

    /// Number of prefixes.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there are no prefixes.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The field as received.
    pub const fn octets(&self) -> &'a [u8] {
        self.octets
    }

    /// The prefixes in the order of the wire.
    pub const fn iter(&self) -> NlriIter<'a, P> {
        NlriIter { rest: self.octets, left: self.count, path_ids: self.path_ids, prefix: PhantomData }
    }
}

impl<'a, P: Prefix> IntoIterator for NlriField<'a, P> {
    type Item = Nlri<P>;
    type IntoIter = NlriIter<'a, P>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a, P: Prefix> IntoIterator for &NlriField<'a, P> {
    type Item = Nlri<P>;
    type IntoIter = NlriIter<'a, P>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The prefixes of a checked field.
#[derive(Clone, Debug)]
pub struct NlriIter<'a, P> {
    rest: &'a [u8],
    left: usize,
    path_ids: PathIds,
    prefix: PhantomData<P>,
}

impl<P: Prefix> Iterator for NlriIter<'_, P> {
    type Item = Nlri<P>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let mut rest = self.rest;
        let path_id = match self.path_ids {
            PathIds::Absent => None,
            PathIds::Present => {
                let (id, after) = rest.split_first_chunk()?;
                rest = after;
                Some(u32::from_be_bytes(*id))
            }
        };
        let (&length, octets) = rest.split_first()?;
        self.rest = octets.get(octets_of(length)..)?;
        self.left -= 1;
        Some(Nlri { prefix: P::read(length, octets), path_id })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<P: Prefix> ExactSizeIterator for NlriIter<'_, P> {}

/// A checked field of the family that its attribute names.
#[derive(Clone, Copy, Debug)]
pub enum FamilyNlri<'a> {
    /// IPv4 unicast.
    Ipv4(NlriField<'a, Ipv4Net>),
    /// IPv6 unicast.
    Ipv6(NlriField<'a, Ipv6Net>),
}

impl<'a> FamilyNlri<'a> {
    /// Checks `octets` as a field of `family`.
    ///
    /// # Errors
    /// As [`NlriField::check`].
    pub fn check(family: Family, octets: &'a [u8], path_ids: PathIds) -> Result<Self, NlriError> {
        Ok(match family {
            Family::Ipv4Unicast => Self::Ipv4(NlriField::check(octets, path_ids)?),
            Family::Ipv6Unicast => Self::Ipv6(NlriField::check(octets, path_ids)?),
        })
    }

    /// The family.
    pub const fn family(&self) -> Family {
        match self {
            Self::Ipv4(_) => Family::Ipv4Unicast,
            Self::Ipv6(_) => Family::Ipv6Unicast,
        }
    }

    /// Number of prefixes.
    pub const fn len(&self) -> usize {
        match self {
            Self::Ipv4(field) => field.len(),
            Self::Ipv6(field) => field.len(),
        }
    }

    /// Whether there are no prefixes.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The prefixes of either family; code that must be fast matches on the family and iterates its field.
    pub fn iter(&self) -> impl Iterator<Item = Nlri<IpNet>> + use<'a> {
        let (ipv4, ipv6) = match *self {
            Self::Ipv4(field) => (field, NlriField::EMPTY),
            Self::Ipv6(field) => (NlriField::EMPTY, field),
        };
        ipv4.iter().map(widen).chain(ipv6.iter().map(widen))
    }
}

fn widen<P: Prefix>(nlri: Nlri<P>) -> Nlri<IpNet> {
    Nlri { prefix: nlri.prefix.into(), path_id: nlri.path_id }
}

#[cfg(test)]
mod tests;
