//! The import guard: what is never learned, whatever a policy says.

use std::net::IpAddr;

use ipnet::IpNet;
use muslin_bgp_packet::Asn;
use prefix_trie::joint::JointPrefixMap;

use super::refusal::Refusal;
use crate::config::{Cause, GuardRange, ImportGuard, OwnedBlock};

/// The guard with its ranges in tries.
#[derive(Default)]
pub(crate) struct Guard {
    config: ImportGuard,
    allowed: JointPrefixMap<IpNet, usize>,
    protected: JointPrefixMap<IpNet, usize>,
    own: JointPrefixMap<IpNet, usize>,
    owned: JointPrefixMap<IpNet, usize>,
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

impl Guard {
    /// Builds the tries.
    pub(crate) fn new(config: ImportGuard) -> Self {
        let ranges = |ranges: &[GuardRange]| -> JointPrefixMap<IpNet, usize> {
            ranges.iter().enumerate().map(|(index, range)| (range.range.trunc(), index)).collect()
        };
        Self {
            allowed: ranges(&config.allowed),
            protected: ranges(&config.protected),
            own: ranges(&config.own_blocks),
            owned: config
                .owned_blocks
                .iter()
                .enumerate()
                .map(|(index, owned)| (owned.block.trunc(), index))
                .collect(),
            config,
        }
    }

    /// The configuration in force.
    pub(crate) fn config(&self) -> &ImportGuard {
        &self.config
    }

    /// Whether a route may be learned.
    pub(crate) fn check(&self, prefix: IpNet, bearer: Bearer) -> Result<(), Refused<'_>> {
        // Whoever allows a default route wants it though it covers everything that is protected.
        if prefix.prefix_len() == 0 {
            let refused = Refused { refusal: Refusal::DefaultRoute, range: None };
            return if self.config.allow_default { Ok(()) } else { Err(refused) };
        }
        if !self.config.allowed.is_empty() && self.allowed.get_spm(&prefix).is_none() {
            return Err(Refused { refusal: Refusal::NotAllowed, range: None });
        }
        let covered =
            |map: &JointPrefixMap<IpNet, usize>| map.children(&prefix).next().map(|(_, index)| *index);
        let within = |map: &JointPrefixMap<IpNet, usize>| map.get_lpm(&prefix).map(|(_, index)| *index);
        if let Some(index) = within(&self.protected).or_else(|| covered(&self.protected)) {
            return Err(refused(Refusal::Protected, &self.config.protected[index]));
        }
        if let Some(index) = within(&self.own) {
            return Err(refused(Refusal::OwnBlock, &self.config.own_blocks[index]));
        }
        match within(&self.owned).map(|index| &self.config.owned_blocks[index]) {
            Some(owned) if !comes_from_owner(owned, bearer) => {
                Err(Refused { refusal: Refusal::ForeignBlock, range: Some((owned.block, &owned.cause)) })
            }
            _ => Ok(()),
        }
    }
}

fn refused(refusal: Refusal, range: &GuardRange) -> Refused<'_> {
    Refused { refusal, range: Some((range.range, &range.cause)) }
}

/// Over external sessions the origin AS tells the owner, over internal ones the preserved next hop does.
fn comes_from_owner(owned: &OwnedBlock, bearer: Bearer) -> bool {
    #[cfg(feature = "planted-bugs")]
    if crate::planted::is_planted(crate::planted::Bug::ForeignBlockAccepted) {
        return true;
    }
    if bearer.external {
        owned.origin_as.is_none() || owned.origin_as == bearer.origin
    } else {
        owned.addresses.is_empty() || owned.addresses.contains(&bearer.next_hop)
    }
}
