//! Policies that are alike become one value, so that a thousand peers of one policy compare it by its address, and
//! sessions that are one value stay one.

use std::collections::HashMap;
use std::sync::Arc;

use super::{ListenRange, PeerConfig, Policy, SessionConfig, Shared, SpeakerConfig};

/// Policies of which equal ones are one value.
#[derive(Debug, Default)]
pub struct SharedPolicies(HashMap<Arc<str>, Vec<Arc<Policy>>>);

impl SharedPolicies {
    /// The equal policy that was shared before, or this one.
    pub fn share(&mut self, policy: &Arc<Policy>) -> Arc<Policy> {
        let same_name = self.0.entry(policy.name.clone()).or_default();
        if let Some(equal) = same_name.iter().find(|known| *known == policy) {
            return equal.clone();
        }
        same_name.push(policy.clone());
        policy.clone()
    }
}

impl SpeakerConfig {
    /// Puts in place of every policy the equal one of `in_force`, or of a peer before it.
    pub(crate) fn share_policies(&mut self, in_force: &Self) {
        let mut known = SharedPolicies::default();
        let mut replaced: HashMap<*const Policy, Arc<Policy>> = HashMap::new();
        for policy in in_force.policies() {
            replaced.entry(Arc::as_ptr(policy)).or_insert_with(|| known.share(policy));
        }
        let mut share = |policy: &Arc<Policy>| {
            replaced.entry(Arc::as_ptr(policy)).or_insert_with(|| known.share(policy)).clone()
        };
        // What each was is kept until all are done: no other one gets its address meanwhile.
        let mut done: HashMap<*const SessionConfig, [Shared<SessionConfig>; 2]> = HashMap::new();
        for PeerConfig { session, .. } in &mut self.peers {
            let [_, shared] = done.entry(&raw const **session).or_insert_with(|| {
                let (own, mut shared) = (session.clone(), session.clone());
                let [import, export] = [share(&own.import), share(&own.export)];
                if !Arc::ptr_eq(&import, &own.import) || !Arc::ptr_eq(&export, &own.export) {
                    (shared.import, shared.export) = (import, export);
                }
                [own, shared]
            });
            *session = shared.clone();
        }
        for ListenRange { session, .. } in &mut self.listen_ranges {
            session.import = share(&session.import);
            session.export = share(&session.export);
        }
    }

    fn policies(&self) -> impl Iterator<Item = &Arc<Policy>> {
        let peers = self.peers.iter().map(|peer| &*peer.session);
        let sessions = peers.chain(self.listen_ranges.iter().map(|range| &range.session));
        sessions.flat_map(|session| [&session.import, &session.export])
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

    #[test]
    fn sessions_that_are_one_stay_one_and_get_the_policies_in_force() {
        let first = config(1, "all");
        let mut second = config(1, "all");
        let session = second.peers[0].session.clone();
        second.peers.push(PeerConfig::new(IpAddr::from([10, 0, 1, 0]), session));
        second.share_policies(&first);
        let [one, other] = [&second.peers[0].session, &second.peers[1].session];
        assert!(one.is_one_with(other));
        assert!(Arc::ptr_eq(&one.import, &first.peers[0].session.import));
        second.peers[0].session.allowed_own_as = 3;
        assert_eq!(second.peers[1].session.allowed_own_as, 0, "it is the other's no longer");
    }
}
