//! What the node's packet filter does with pods' and Services' packets.

use ipnet::IpNet;
use muslin_bgp_speaker::config::OriginatedRoute;
use muslin_cluster::{ClusterState, kubernetes};
use muslin_pod_network::{FirewallPlan, Masquerade};

use crate::blocks::Ownership;
use crate::causes::host;
use crate::settings::Settings;

/// Masquerades this node's pods towards everything that is not the cluster's: pods, Services, nodes. Packets to
/// the Service addresses that the node announces are dropped when no rule translated them.
pub(crate) fn firewall(
    state: &ClusterState,
    settings: &Settings,
    ownership: &Ownership,
    node: &str,
    services: &[OriginatedRoute],
) -> FirewallPlan {
    let mut never: Vec<IpNet> = settings.cluster_cidrs.iter().map(|range| range.value).collect();
    never.extend(ownership.blocks.keys());
    never.extend(settings.service_cluster_ips.iter().map(|range| range.value));
    let addresses = state.nodes.values().flat_map(|node| kubernetes::internal_ips(node));
    never.extend(addresses.map(|address| host(address.value)));
    FirewallPlan {
        masquerade: Masquerade {
            pod_ranges: disjoint(ownership.blocks_of(node).map(|(range, _)| range).collect()),
            never: disjoint(never),
        },
        service_ranges_to_drop: disjoint(services.iter().map(|route| route.prefix).collect()),
    }
}

/// The same addresses in the fewest ranges, IPv4 before IPv6.
fn disjoint(mut ranges: Vec<IpNet>) -> Vec<IpNet> {
    ranges = IpNet::aggregate(&ranges);
    ranges.sort_unstable();
    ranges
}
