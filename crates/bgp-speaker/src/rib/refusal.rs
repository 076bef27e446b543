//! Why a received path is not used.

use std::fmt;

/// The reason for which a path was refused at import. The path stays in the Adj-RIB-In with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Refusal {
    /// Our own AS stands in the AS_PATH more often than allowed (RFC 4271 §9.1.2).
    OwnAs,
    /// ORIGINATOR_ID is our identifier (RFC 4456 §8).
    OwnOriginator,
    /// Our cluster stands in the CLUSTER_LIST (RFC 4456 §8).
    OwnCluster,
    /// ONLY_TO_CUSTOMER says that it should not have come from there (RFC 9234 §5).
    RouteLeak,
    /// NEXT_HOP is not a host's unicast address (RFC 4271 §6.3).
    NextHop,
    /// NEXT_HOP lies within a block of pod addresses.
    PodNextHop,
    /// The guard does not allow a default route.
    DefaultRoute,
    /// The prefix is of addresses that nobody routes: loopback, multicast, "this network" (RFC 6890).
    Martian,
    /// The prefix is one of our own addresses.
    OwnAddress,
    /// The prefix lies within one of our own blocks.
    OwnBlock,
    /// The prefix is within none of the ranges that may be learned.
    NotAllowed,
    /// The prefix covers, or lies within, something protected.
    Protected,
    /// The prefix lies within a range of Services.
    ServiceRange,
    /// The prefix lies within another node's block and is not known to come from there.
    ForeignBlock,
    /// The import policy rejects it.
    Policy,
    /// The peer has as many prefixes as it may. Such a path is not kept.
    PrefixLimit,
}

impl Refusal {
    /// Every reason, in the order of the checks.
    pub const ALL: [Self; 16] = [
        Self::OwnAs,
        Self::OwnOriginator,
        Self::OwnCluster,
        Self::RouteLeak,
        Self::NextHop,
        Self::PodNextHop,
        Self::DefaultRoute,
        Self::Martian,
        Self::OwnAddress,
        Self::OwnBlock,
        Self::NotAllowed,
        Self::Protected,
        Self::ServiceRange,
        Self::ForeignBlock,
        Self::Policy,
        Self::PrefixLimit,
    ];

    /// A name for programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OwnAs => "own-as",
            Self::OwnOriginator => "own-originator",
            Self::OwnCluster => "own-cluster",
            Self::RouteLeak => "route-leak",
            Self::NextHop => "next-hop",
            Self::PodNextHop => "pod-next-hop",
            Self::DefaultRoute => "default-route",
            Self::Martian => "martian",
            Self::OwnAddress => "own-address",
            Self::OwnBlock => "own-block",
            Self::NotAllowed => "not-allowed",
            Self::Protected => "protected",
            Self::ServiceRange => "service-range",
            Self::ForeignBlock => "foreign-block",
            Self::Policy => "policy",
            Self::PrefixLimit => "prefix-limit",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OwnAs => "our own AS is in the AS_PATH",
            Self::OwnOriginator => "ORIGINATOR_ID is our own identifier",
            Self::OwnCluster => "our own cluster is in the CLUSTER_LIST",
            Self::RouteLeak => "the route leaked: it was only for customers (ONLY_TO_CUSTOMER)",
            Self::NextHop => "NEXT_HOP is not a unicast address of a host",
            Self::PodNextHop => "NEXT_HOP lies within a block of pod addresses, and a pod is no router",
            Self::DefaultRoute => "a default route is not allowed",
            Self::Martian => "nobody routes these addresses: loopback, link-local, multicast or reserved",
            Self::OwnAddress => "the prefix is one of our own addresses",
            Self::OwnBlock => "the prefix lies within one of our own blocks",
            Self::NotAllowed => "the prefix is outside the ranges that may be learned",
            Self::Protected => "the prefix covers or lies within a protected range",
            Self::ServiceRange => "the prefix lies within a range of Services",
            Self::ForeignBlock => {
                "the prefix lies within a block of another node and is not known to come from there"
            }
            Self::Policy => "rejected by the import policy",
            Self::PrefixLimit => "the peer has as many prefixes as it may",
        })
    }
}

/// Counters of refusals, one per reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RefusalCounts([u64; Refusal::ALL.len()]);

impl RefusalCounts {
    /// Counts one.
    pub(crate) fn add(&mut self, refusal: Refusal) {
        self.0[refusal as usize] += 1;
    }

    /// How often each reason applied, those that never did left out.
    pub fn iter(&self) -> impl Iterator<Item = (Refusal, u64)> {
        Refusal::ALL.into_iter().zip(self.0).filter(|(_, count)| *count > 0)
    }
}
