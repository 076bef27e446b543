//! What we originate: paths of ourselves, above all learned ones.

use std::net::Ipv4Addr;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use ipnet::IpNet;
use muslin_bgp_packet::{Origin, PathAttributes};

use super::destination::PathState;
use super::loc_rib::{Judged, LocRib};
use super::next_hops::NextHopKey;
use super::peers::PeerIndex;
use crate::config::OriginatedRoute;

/// Originated routes by prefix.
pub(crate) type Originated = HashMap<IpNet, OriginatedRoute, RandomState>;

impl LocRib {
    /// Makes exactly `routes` the originated ones. Of two for one prefix the first counts.
    pub(crate) fn originate(&mut self, routes: &[OriginatedRoute]) {
        let mut wanted = Originated::with_capacity_and_hasher(routes.len(), RandomState::default());
        for route in routes {
            wanted.entry(route.prefix.trunc()).or_insert_with(|| route.clone());
        }
        let mut gone: Vec<_> =
            self.originated.keys().filter(|prefix| !wanted.contains_key(*prefix)).copied().collect();
        gone.sort_unstable();
        for prefix in gone {
            self.withdraw(PeerIndex::LOCAL, prefix, 0);
        }
        let before = std::mem::take(&mut self.originated);
        let mut changed: Vec<_> = wanted
            .iter()
            .filter(|(prefix, route)| before.get(*prefix) != Some(*route))
            .map(|(prefix, route)| (*prefix, attributes_of(route)))
            .collect();
        changed.sort_unstable_by_key(|(prefix, _)| *prefix);
        // Policies match on the source, though it is no attribute.
        let source = |routes: &Originated, prefix: &IpNet| routes.get(prefix).map(|route| route.source);
        let moved: Vec<_> = changed
            .iter()
            .map(|(prefix, _)| *prefix)
            .filter(|prefix| source(&self.originated, prefix) != source(&wanted, prefix))
            .collect();
        self.originated = wanted;
        for (prefix, attributes) in changed {
            // Policies tell routes apart by source and label, which are no attributes.
            let kind =
                |routes: &Originated| routes.get(&prefix).map(|route| (route.source, route.label.clone()));
            if kind(&before).is_some_and(|before| Some(before) != kind(&self.originated))
                && let Some(id) = self.destinations.find(prefix)
            {
                self.changes.push(id, &mut self.destinations);
            }
            let id = self.attributes.acquire(&attributes, NextHopKey::LOCAL);
            let judged = Judged { received: id, attributes: id, state: PathState::Accepted };
            self.put(PeerIndex::LOCAL, prefix, 0, judged);
            self.attributes.release(id);
        }
        for prefix in moved {
            if let Some(id) = self.destinations.find(prefix) {
                self.changes.push(id, &mut self.destinations);
            }
        }
    }
}

/// The attributes of an originated route.
pub(crate) fn attributes_of(route: &OriginatedRoute) -> PathAttributes {
    let mut communities = route.communities.clone();
    communities.sort_unstable();
    communities.dedup();
    let mut large_communities = route.large_communities.clone();
    large_communities.sort_unstable();
    large_communities.dedup();
    PathAttributes {
        origin: Origin::Igp,
        next_hop: None::<Ipv4Addr>,
        local_pref: route.local_pref,
        med: route.med,
        communities,
        large_communities,
        ..PathAttributes::default()
    }
}
