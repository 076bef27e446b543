//! What the node's packet filter does with pods' and Services' packets.

use std::net::IpAddr;

use ipnet::IpNet;
use muslin_bgp_speaker::config::OriginatedRoute;
use muslin_cluster::ClusterState;
use muslin_cluster::kubernetes;
use serde::Serialize;

use crate::blocks::Ownership;
use crate::causes::{Caused, host};
use crate::settings::Settings;

/// Address ranges for the packet filter, IPv4 before IPv6, each without overlaps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FirewallPlan {
    /// Packets from here that leave the cluster get the node's address: the node's own pods.
    pub masquerade_from: Vec<IpNet>,
    /// Packets to here are never masqueraded: pods, Services and nodes of the cluster.
    pub masquerade_never_to: Vec<IpNet>,
    /// Packets to here that are to be forwarded are dropped: addresses of Services that no rule translated.
    /// The route look-up knows nothing of this, so that the host's own connections to Services work.
    pub drop_untranslated: Vec<Caused<IpNet>>,
}

impl FirewallPlan {
    pub(crate) fn of(
        state: &ClusterState,
        settings: &Settings,
        ownership: &Ownership,
        node: &str,
        services: &[OriginatedRoute],
    ) -> Self {
        let own = ownership.blocks_of(node).map(|(range, _)| range).collect();
        let mut never: Vec<IpNet> = settings.cluster_cidrs.iter().map(|range| range.value).collect();
        never.extend(ownership.blocks.keys());
        never.extend(settings.service_cluster_ips.iter().map(|range| range.value));
        let addresses = state.nodes.values().flat_map(|node| kubernetes::internal_ips(node));
        never.extend(addresses.map(|address| host(address.value)));
        Self {
            masquerade_from: disjoint(own),
            masquerade_never_to: disjoint(never),
            drop_untranslated: services
                .iter()
                .map(|route| Caused::new(route.prefix, route.cause.clone()))
                .collect(),
        }
    }

    /// Whether a packet would get the node's address.
    pub fn masquerades(&self, from: IpAddr, to: IpAddr) -> bool {
        let has = |ranges: &[IpNet], address| ranges.iter().any(|range| range.contains(&address));
        has(&self.masquerade_from, from) && !has(&self.masquerade_never_to, to)
    }
}

/// The same addresses in the fewest ranges.
fn disjoint(mut ranges: Vec<IpNet>) -> Vec<IpNet> {
    ranges = IpNet::aggregate(&ranges);
    ranges.sort_unstable();
    ranges
}
