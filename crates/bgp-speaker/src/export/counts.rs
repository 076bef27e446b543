//! How many routes a group was sent and from whom, so that each member's number is known without a walk.

use std::collections::BTreeMap;

use muslin_bgp_packet::Family;

use crate::rib::{PeerIndex, slot};

/// Routes in a group's table, by family.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    all: [u32; 2],
    /// Those of each source, which it is not sent itself.
    of_source: BTreeMap<PeerIndex, [u32; 2]>,
}

impl Counts {
    pub(crate) fn add(&mut self, family: Family, source: PeerIndex) {
        self.all[slot(family)] += 1;
        self.of_source.entry(source).or_default()[slot(family)] += 1;
    }

    pub(crate) fn remove(&mut self, family: Family, source: PeerIndex) {
        self.all[slot(family)] -= 1;
        if let Some(counts) = self.of_source.get_mut(&source) {
            counts[slot(family)] -= 1;
            if *counts == [0; 2] {
                self.of_source.remove(&source);
            }
        }
    }

    /// Routes that a member was sent, IPv4 and IPv6.
    pub(crate) fn sent_to(&self, member: PeerIndex) -> [u32; 2] {
        let own = self.of_source.get(&member).copied().unwrap_or_default();
        [self.all[0] - own[0], self.all[1] - own[1]]
    }
}
