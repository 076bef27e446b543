//! What the node's packet filter does with pods' and Services' packets.

use ipnet::IpNet;
use muslin_bgp_speaker::config::{OriginatedRoute, SpeakerConfig};
use muslin_cluster::ClusterState;
use muslin_pod_network::{FirewallPlan, Masquerade, NodeGuard};

use crate::blocks::Ownership;
use crate::causes::host;
use crate::settings::Settings;

/// Masquerades this node's pods towards everything that is not the cluster's: pods, Services, nodes. Packets to
/// the Service addresses that the node announces are dropped when no rule translated them. No pod speaks routing
/// protocols with the node but one that a `BGPPeer` names.
pub(crate) fn firewall(
    state: &ClusterState,
    settings: &Settings,
    ownership: &Ownership,
    node: &str,
    speaker: &SpeakerConfig,
    services: &[OriginatedRoute],
) -> FirewallPlan {
    let mut pods: Vec<IpNet> = settings.cluster_cidrs.iter().map(|range| range.value).collect();
    pods.extend(ownership.blocks.keys());
    let pods = disjoint(pods);
    let mut never = pods.clone();
    never.extend(settings.service_cluster_ips.iter().map(|range| range.value));
    let addresses = state.nodes.values().flat_map(|node| node.internal_ips());
    never.extend(addresses.map(|address| host(address.value)));
    FirewallPlan {
        masquerade: Masquerade {
            pod_ranges: disjoint(ownership.blocks_of(node).map(|(range, _)| range).collect()),
            never: disjoint(never),
        },
        service_ranges_to_drop: disjoint(services.iter().map(|route| route.prefix).collect()),
        node_guard: NodeGuard { peers: peers_within(&pods, speaker), pod_ranges: pods },
    }
}

/// Peers with addresses of pods; they are few, and nodes that come and go are none of them.
fn peers_within(pods: &[IpNet], speaker: &SpeakerConfig) -> Vec<IpNet> {
    let named = speaker.peers.iter().map(|peer| host(peer.address));
    let ranges = speaker.listen_ranges.iter().map(|listen| listen.range);
    let overlaps = |range: &IpNet| pods.iter().any(|pods| pods.contains(range) || range.contains(pods));
    disjoint(named.chain(ranges).filter(overlaps).collect())
}

/// The same addresses in the fewest ranges, IPv4 before IPv6.
fn disjoint(mut ranges: Vec<IpNet>) -> Vec<IpNet> {
    ranges = IpNet::aggregate(&ranges);
    ranges.sort_unstable();
    ranges
}
