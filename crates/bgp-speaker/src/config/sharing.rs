//! Policies that are alike become one value, so that a thousand peers of one policy compare it by its address.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Policy, SpeakerConfig};

impl SpeakerConfig {
    /// Puts in place of every policy the equal one of `in_force`, or of a peer before it.
    pub(crate) fn share_policies(&mut self, in_force: &Self) {
        let mut known: HashMap<Arc<str>, Vec<Arc<Policy>>> = HashMap::new();
        let mut replaced: HashMap<*const Policy, Arc<Policy>> = HashMap::new();
        for policy in in_force.policies() {
            let same_name = known.entry(policy.name.clone()).or_default();
            if same_name.iter().all(|known| !Arc::ptr_eq(known, policy)) {
                same_name.push(policy.clone());
            }
        }
        for policy in self.policies_mut() {
            let shared = replaced.entry(Arc::as_ptr(policy)).or_insert_with(|| {
                let same_name = known.entry(policy.name.clone()).or_default();
                if let Some(equal) = same_name.iter().find(|known| *known == policy) {
                    return equal.clone();
                }
                same_name.push(policy.clone());
                policy.clone()
            });
            *policy = shared.clone();
        }
    }

    fn policies(&self) -> impl Iterator<Item = &Arc<Policy>> {
        let peers = self.peers.iter().map(|peer| &peer.session);
        let sessions = peers.chain(self.listen_ranges.iter().map(|range| &range.session));
        sessions.flat_map(|session| [&session.import, &session.export])
    }

    fn policies_mut(&mut self) -> impl Iterator<Item = &mut Arc<Policy>> {
        let peers = self.peers.iter_mut().map(|peer| &mut peer.session);
        let sessions = peers.chain(self.listen_ranges.iter_mut().map(|range| &mut range.session));
        sessions.flat_map(|session| [&mut session.import, &mut session.export])
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use muslin_bgp_packet::Asn;

    use super::*;
    use crate::config::{PeerConfig, SessionConfig};

    fn config(peers: u8, policy: &str) -> SpeakerConfig {
        let mut config = SpeakerConfig::new(Asn(65000), Ipv4Addr::new(192, 0, 2, 1));
        for number in 0..peers {
            let own = || Policy::accept_all(policy);
            let session = SessionConfig::internal().with_policies(own(), own());
            config.peers.push(PeerConfig::new(IpAddr::from([10, 0, 0, number]), session));
        }
        config
    }

    #[test]
    fn equal_policies_of_many_peers_become_one_that_stays_over_changes() {
        let mut first = config(3, "all");
        first.share_policies(&config(0, ""));
        let one = first.peers[0].session.import.clone();
        assert!(first.policies().all(|policy| Arc::ptr_eq(policy, &one)));
        let mut second = config(4, "all");
        second.share_policies(&first);
        assert!(second.policies().all(|policy| Arc::ptr_eq(policy, &one)));
        let mut third = config(1, "others");
        third.share_policies(&second);
        assert_eq!(&*third.peers[0].session.import.name, "others");
    }
}
