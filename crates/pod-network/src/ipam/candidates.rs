//! The addresses of a node's blocks that pods may have, as runs that are counted through.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::cni::AddressRange;

/// A run of addresses that pods may have.
pub(super) struct Candidates {
    pub(super) first: IpAddr,
    pub(super) size: u128,
}

/// What pods may have of `blocks`, inside the ranges `within` if there are any.
pub(super) fn candidates(blocks: &[IpNet], within: &[AddressRange]) -> Vec<Candidates> {
    let whole = blocks.iter().map(|block| Candidates::of(*block));
    if within.is_empty() {
        return whole.collect();
    }
    whole.flat_map(|block| within.iter().filter_map(move |range| block.clip(range))).collect()
}

impl Candidates {
    /// All of `block` but the network address (in IPv6 the subnet-router anycast address, RFC 4291 §2.6.1) and
    /// the IPv4 broadcast address, unless the block is too small to have them.
    pub(super) fn of(block: IpNet) -> Self {
        let host_bits = u32::from(block.max_prefix_len() - block.prefix_len());
        let all = 1u128.checked_shl(host_bits).unwrap_or(u128::MAX);
        let excluded = match block {
            _ if host_bits < 2 => 0,
            IpNet::V4(_) => 2,
            IpNet::V6(_) => 1,
        };
        let first = offset(block.network(), u128::from(excluded > 0));
        Self { first, size: all - excluded }
    }

    fn clip(&self, range: &AddressRange) -> Option<Self> {
        if self.first.is_ipv4() != range.start().is_ipv4() {
            return None;
        }
        let last = self.at(self.size.checked_sub(1)?).min(*range.end());
        let first = self.first.max(*range.start());
        let size = Self { first, size: u128::MAX }.position(last)? + 1;
        Some(Self { first, size })
    }

    pub(super) fn at(&self, position: u128) -> IpAddr {
        offset(self.first, position)
    }

    pub(super) fn position(&self, address: IpAddr) -> Option<u128> {
        let distance = match (self.first, address) {
            (IpAddr::V4(first), IpAddr::V4(address)) => {
                u128::from(address.to_bits().checked_sub(first.to_bits())?)
            }
            (IpAddr::V6(first), IpAddr::V6(address)) => address.to_bits().checked_sub(first.to_bits())?,
            _ => return None,
        };
        (distance < self.size).then_some(distance)
    }
}

/// `distance` addresses behind `address`; callers stay inside a block.
fn offset(address: IpAddr, distance: u128) -> IpAddr {
    match address {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits().wrapping_add(distance as u32)).into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits().wrapping_add(distance)).into(),
    }
}
