//! The import guard: what is never learned, whatever a policy says.

use std::net::IpAddr;

use ipnet::IpNet;
use muslin_bgp_packet::Asn;
use prefix_trie::joint::{JointPrefixMap, JointPrefixSet};

use super::refusal::Refusal;
use crate::config::{Cause, GuardRange, ImportGuard, OwnedBlock};

/// Ranges with their place in the configuration.
type Ranges = JointPrefixMap<IpNet, usize>;

/// The guard with its ranges in tries.
pub(crate) struct Guard {
    config: ImportGuard,
    allowed: Ranges,
    own_addresses: Ranges,
    own_blocks: Ranges,
    protected: Ranges,
    services: Ranges,
    owned: Ranges,
    /// All of them but the allowed ones.
    guarded: JointPrefixSet<IpNet>,
}

/// What the guard looks at besides the prefix.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bearer {
    /// Whether the peer is external.
    pub(crate) external: bool,
    /// The AS that originated the route.
    pub(crate) origin: Option<Asn>,
    /// The route's next hop.
    pub(crate) next_hop: IpAddr,
}

/// A refusal with the range that led to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused<'a> {
    pub(crate) refusal: Refusal,
    pub(crate) range: Option<(IpNet, &'a Cause)>,
}

/// What a route tells about whether it is the owner's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Evidence {
    Owner,
    Nothing,
    SomebodyElse,
}

impl Guard {
    /// Builds the tries.
    pub(crate) fn new(config: ImportGuard) -> Self {
        let ranges = |ranges: &[GuardRange]| trie(ranges.iter().map(|range| range.range));
        Self {
            allowed: ranges(config.allowed.ranges().unwrap_or_default()),
            own_addresses: ranges(&config.own_addresses),
            own_blocks: ranges(&config.own_blocks),
            protected: ranges(&config.protected),
            services: ranges(&config.service_ranges),
            owned: trie(config.owned_blocks.iter().map(|owned| owned.block)),
            guarded: guarded(&config),
            config,
        }
    }

    /// The configuration in force.
    pub(crate) fn config(&self) -> &ImportGuard {
        &self.config
    }

    /// Whether routes over a next hop may be learned: a pod is no router, and whoever names one as next hop
    /// would draw its neighbours' packets through it.
    pub(crate) fn check_next_hop(&self, next_hop: IpAddr) -> Result<(), Refused<'_>> {
        let host = IpNet::from(next_hop);
        if let Some((_, index)) = covering(&self.own_blocks, &host) {
            return Err(refused(Refusal::PodNextHop, &self.config.own_blocks[*index]));
        }
        match covering(&self.owned, &host) {
            Some((_, index)) => Err(not_from_owner(Refusal::PodNextHop, &self.config.owned_blocks[*index])),
            None => Ok(()),
        }
    }

    /// Whether a guarded range covers the prefix or is within it.
    fn touches(&self, prefix: &IpNet) -> bool {
        !self.guarded.is_empty()
            && (self.guarded.get_lpm(prefix).is_some() || self.guarded.children(prefix).next().is_some())
    }

    /// Whether a route may be learned.
    pub(crate) fn check(&self, prefix: IpNet, bearer: Bearer) -> Result<(), Refused<'_>> {
        let config = &self.config;
        // Whoever allows a default route wants it though it covers everything that is protected.
        if prefix.prefix_len() == 0 {
            let refused = Refused { refusal: Refusal::DefaultRoute, range: None };
            return if config.allow_default { Ok(()) } else { Err(refused) };
        }
        if is_martian(prefix) {
            return Err(Refused { refusal: Refusal::Martian, range: None });
        }
        // Nearly every prefix of a full table has nothing to do with any of the ranges.
        if config.allowed.ranges().is_none() && !self.touches(&prefix) {
            return Ok(());
        }
        if let Some((_, index)) = covering(&self.own_addresses, &prefix) {
            return Err(refused(Refusal::OwnAddress, &config.own_addresses[*index]));
        }
        if let Some((_, index)) = covering(&self.own_blocks, &prefix) {
            return Err(refused(Refusal::OwnBlock, &config.own_blocks[*index]));
        }
        let block = covering(&self.owned, &prefix).map(|(_, index)| &config.owned_blocks[*index]);
        let named = covering(&self.allowed, &prefix).map(|(range, _)| range);
        if block.is_none() && named.is_none() && config.allowed.ranges().is_some() {
            return Err(Refused { refusal: Refusal::NotAllowed, range: None });
        }
        // A range that an operator names as narrowly as what it touches is meant.
        let names_within = |range: IpNet| named.is_some_and(|named| range.contains(&named));
        if let Some((_, index)) = covering(&self.protected, &prefix) {
            let range = &config.protected[*index];
            let is_block_on_link = block.is_some_and(|owned| range.range.contains(&owned.block));
            if !names_within(range.range) && !is_block_on_link {
                return Err(refused(Refusal::Protected, range));
            }
        }
        if named != Some(prefix)
            && !self.protected.is_empty()
            && let Some((_, index)) = self.protected.children(&prefix).find(|(range, _)| *range != prefix)
        {
            return Err(refused(Refusal::Protected, &config.protected[*index]));
        }
        if let Some((_, index)) = covering(&self.services, &prefix) {
            let range = &config.service_ranges[*index];
            if !names_within(range.range) {
                return Err(refused(Refusal::ServiceRange, range));
            }
        }
        match block {
            Some(owned) => match evidence(owned, bearer) {
                Evidence::Owner => Ok(()),
                // A part of a block takes the owner's traffic away; the block itself is what everybody announces.
                Evidence::Nothing if owned.block == prefix || names_within(owned.block) => Ok(()),
                Evidence::Nothing | Evidence::SomebodyElse => {
                    Err(not_from_owner(Refusal::ForeignBlock, owned))
                }
            },
            None => Ok(()),
        }
    }
}

fn guarded(config: &ImportGuard) -> JointPrefixSet<IpNet> {
    let ranges = [&config.own_addresses, &config.own_blocks, &config.protected, &config.service_ranges];
    let ranges = ranges.into_iter().flatten().map(|range| range.range);
    ranges.chain(config.owned_blocks.iter().map(|owned| owned.block)).map(|range| range.trunc()).collect()
}

/// Whether no packet with such an address may leave a link or a host (RFC 6890): a route to it does harm only.
/// Link-local addresses of IPv4 are left to policies: clouds give out Services there.
fn is_martian(prefix: IpNet) -> bool {
    let length = prefix.prefix_len();
    match prefix {
        // Half of all addresses begins with zero too, and stands for a default route.
        IpNet::V4(prefix) => match prefix.addr().octets()[0] {
            0 => length >= 8,
            first => matches!(first, 127 | 224..),
        },
        IpNet::V6(prefix) => match prefix.addr().segments()[0] {
            // Loopback and mapped IPv4.
            0 => length >= 16,
            first => matches!(first, 0xfe80..=0xfebf | 0xff00..),
        },
    }
}

/// The longest range that covers a prefix. Most of a node's sets are empty most of the time.
fn covering<'a>(ranges: &'a Ranges, prefix: &IpNet) -> Option<(IpNet, &'a usize)> {
    if ranges.is_empty() { None } else { ranges.get_lpm(prefix) }
}

fn trie(ranges: impl Iterator<Item = IpNet>) -> Ranges {
    ranges.enumerate().map(|(index, range)| (range.trunc(), index)).collect()
}

fn refused(refusal: Refusal, range: &GuardRange) -> Refused<'_> {
    Refused { refusal, range: Some((range.range, &range.cause)) }
}

fn not_from_owner(refusal: Refusal, owned: &OwnedBlock) -> Refused<'_> {
    Refused { refusal, range: Some((owned.block, &owned.cause)) }
}

/// Over external sessions the origin AS tells the owner, over internal ones the preserved next hop does.
fn evidence(owned: &OwnedBlock, bearer: Bearer) -> Evidence {
    #[cfg(feature = "planted-bugs")]
    if crate::planted::is_planted(crate::planted::Bug::ForeignBlockAccepted) {
        return Evidence::Owner;
    }
    let (telling, same) = if bearer.external {
        (owned.origin_as.is_some(), owned.origin_as == bearer.origin)
    } else {
        (!owned.addresses.is_empty(), owned.addresses.contains(&bearer.next_hop))
    };
    match (telling, same) {
        (true, false) => Evidence::SomebodyElse,
        (true, true) if !(bearer.external && owned.shares_as) => Evidence::Owner,
        _ => Evidence::Nothing,
    }
}

/// A refusal in words.
pub(crate) struct GuardRefusal {
    pub(crate) reason: Refusal,
    /// The range that led to it, with its cause.
    pub(crate) range: Option<String>,
}

/// What a guard says to a route that need not exist.
pub(crate) fn guard_verdict(guard: &ImportGuard, prefix: IpNet, bearer: Bearer) -> Result<(), GuardRefusal> {
    let guard = Guard::new(guard.clone());
    let verdict = guard.check_next_hop(bearer.next_hop).and_then(|()| guard.check(prefix, bearer));
    verdict.map_err(|refused| GuardRefusal {
        reason: refused.refusal,
        range: refused.range.map(|(range, cause)| format!("{range}, {cause}")),
    })
}
