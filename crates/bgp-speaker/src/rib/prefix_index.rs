//! Prefix to destination, per family: a trie for IPv4, a hash table for IPv6.
//!
//! A trie is smaller and faster than hashing for IPv4's dense tables and keeps order; for IPv6's sparse ones
//! hashing wins. Nobody outside this module knows which is which.

use std::hash::BuildHasher;
use std::net::{Ipv4Addr, Ipv6Addr};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use muslin_bgp_packet::Family;
use prefix_trie::PrefixMap;

use super::destination::DestinationId;
use super::slab::{Handle, Slab, handle};

handle!(
    /// A row of the IPv6 prefixes.
    Ipv6Row
);

/// An IPv6 prefix and where it leads.
#[derive(Clone, Copy, Debug, Default)]
struct Ipv6Entry {
    prefix: Ipv6Net,
    destination: u32,
}

/// A destination's prefix in eight octets: the IPv4 prefix itself, or the row of the IPv6 one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PrefixKey {
    value: u32,
    kind: u32,
}

impl PrefixKey {
    /// Marks a vacant destination.
    const VACANT: u32 = u32::MAX;
    const IPV6: u32 = 0x100;

    /// Whether no prefix is here.
    pub(crate) fn is_vacant(self) -> bool {
        self.kind == Self::VACANT
    }

    /// The family of the prefix.
    pub(crate) fn family(self) -> Family {
        if self.kind == Self::IPV6 { Family::Ipv6Unicast } else { Family::Ipv4Unicast }
    }
}

impl Default for PrefixKey {
    fn default() -> Self {
        Self { value: 0, kind: Self::VACANT }
    }
}

/// The index.
#[derive(Default)]
pub(crate) struct PrefixIndex {
    ipv4: PrefixMap<Ipv4Net, u32>,
    ipv6: HashTable<Ipv6Row>,
    ipv6_rows: Slab<Ipv6Row, Ipv6Entry>,
    hasher: RandomState,
}

impl PrefixIndex {
    /// The destination of a prefix.
    pub(crate) fn get(&self, prefix: IpNet) -> Option<DestinationId> {
        match prefix {
            IpNet::V4(prefix) => self.ipv4.get(&prefix).map(|index| DestinationId::from_index(*index)),
            IpNet::V6(prefix) => self
                .ipv6
                .find(self.hasher.hash_one(prefix), |row| self.ipv6_rows[*row].prefix == prefix)
                .map(|row| DestinationId::from_index(self.ipv6_rows[*row].destination)),
        }
    }

    /// The destination of a prefix, made by `create` if there is none.
    pub(crate) fn get_or_insert(
        &mut self,
        prefix: IpNet,
        create: impl FnOnce(PrefixKey) -> DestinationId,
    ) -> DestinationId {
        match prefix {
            IpNet::V4(prefix) => {
                let key = PrefixKey { value: prefix.addr().to_bits(), kind: u32::from(prefix.prefix_len()) };
                let index = self.ipv4.entry(prefix).or_insert_with(|| create(key).index());
                DestinationId::from_index(*index)
            }
            IpNet::V6(prefix) => {
                if let Some(found) = self.get(prefix.into()) {
                    return found;
                }
                let row = self.ipv6_rows.insert(Ipv6Entry { prefix, destination: 0 });
                let destination = create(PrefixKey { value: row.index(), kind: PrefixKey::IPV6 });
                self.ipv6_rows[row].destination = destination.index();
                let Self { ipv6, ipv6_rows, hasher, .. } = self;
                ipv6.insert_unique(hasher.hash_one(prefix), row, |row| {
                    hasher.hash_one(ipv6_rows[*row].prefix)
                });
                destination
            }
        }
    }

    /// Forgets a prefix; its key is void from now on.
    pub(crate) fn remove(&mut self, key: PrefixKey) {
        match self.prefix(key) {
            IpNet::V4(prefix) => {
                self.ipv4.remove(&prefix);
            }
            IpNet::V6(prefix) => {
                let hash = self.hasher.hash_one(prefix);
                if let Ok(entry) = self.ipv6.find_entry(hash, |row| row.index() == key.value) {
                    entry.remove();
                }
                self.ipv6_rows.remove(Ipv6Row::from_index(key.value));
            }
        }
    }

    /// The prefix of a key.
    pub(crate) fn prefix(&self, key: PrefixKey) -> IpNet {
        if key.kind == PrefixKey::IPV6 {
            return self.ipv6_rows[Ipv6Row::from_index(key.value)].prefix.into();
        }
        // The length came from a valid prefix, so it never has to be clamped.
        let length = u8::try_from(key.kind).unwrap_or(32).min(32);
        Ipv4Net::new_assert(Ipv4Addr::from_bits(key.value), length).into()
    }

    /// The destination of a prefix, or of the longest one that covers it.
    pub(crate) fn longest_match(&self, prefix: IpNet) -> Option<DestinationId> {
        match prefix {
            IpNet::V4(prefix) => {
                self.ipv4.get_lpm(&prefix).map(|(_, index)| DestinationId::from_index(*index))
            }
            IpNet::V6(prefix) => (0..=prefix.prefix_len())
                .rev()
                .filter_map(|length| Ipv6Net::new(prefix.addr(), length).ok())
                .find_map(|covering| self.get(covering.trunc().into())),
        }
    }

    /// Destinations of a family in the order of their prefixes, from after `after`.
    pub(crate) fn ordered(
        &self,
        family: Family,
        after: Option<IpNet>,
    ) -> Box<dyn Iterator<Item = DestinationId> + '_> {
        match family {
            Family::Ipv4Unicast => {
                let rows = match after {
                    Some(IpNet::V4(prefix)) => self.ipv4.iter_from(&prefix, false),
                    _ => self.ipv4.iter(),
                };
                Box::new(rows.map(|(_, index)| DestinationId::from_index(*index)))
            }
            Family::Ipv6Unicast => {
                let rows = self.ipv6.iter().map(|row| self.ipv6_rows[*row]);
                let mut rows: Vec<_> = match after {
                    Some(IpNet::V6(after)) => {
                        rows.filter(|entry| order(entry.prefix) > order(after)).collect()
                    }
                    _ => rows.collect(),
                };
                rows.sort_unstable_by_key(|entry| order(entry.prefix));
                Box::new(rows.into_iter().map(|entry| DestinationId::from_index(entry.destination)))
            }
        }
    }
}

/// Order of prefixes: by address, shorter ones before those that they cover.
fn order(prefix: Ipv6Net) -> (Ipv6Addr, u8) {
    (prefix.addr(), prefix.prefix_len())
}
