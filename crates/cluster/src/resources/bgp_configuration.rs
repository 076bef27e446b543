//! `BGPConfiguration`: what the cluster's speakers are and announce.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::bgp_peer::{GracefulRestart, PasswordSource};
use super::bmp::{self, BmpCollectorSpec};
use super::fields::{AsNumber, Cidr, CommunityValue, LargeCommunityValue, RouterId, TimeSpan};
use super::{Check, bgp_peer};
use crate::problem::Fault;

/// Specification of a `BGPConfiguration`.
///
/// The one named `default` holds for all; one named `node.NAME` replaces, for that node, the fields that it has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(extend("x-kubernetes-validations" = super::rules::BGP_CONFIGURATION))]
pub struct BgpConfigurationSpec {
    /// Our AS; 64512 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asn: Option<AsNumber>,
    /// The label whose value is the AS of nodes that have it, one for each rack say; `asn` holds for the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minLength" = 1, "maxLength" = 317))]
    pub asn_node_label: Option<String>,
    /// BGP identifier; a node's `InternalIP` if absent. Meant for `node.NAME` and for stand-alone speakers.
    #[serde(rename = "routerID", skip_serializing_if = "Option::is_none")]
    pub router_id: Option<RouterId>,
    /// Reflection cluster (RFC 4456), alike on reflectors that share their clients; the BGP identifier if absent.
    #[serde(rename = "clusterID", skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<RouterId>,
    /// The addresses that we speak from to each `BGPPeer` that names none, one of each family; if absent, the node's
    /// address on the link of the peer, else the kernel's choice. Meant for `node.NAME`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxItems" = 2))]
    pub local_addresses: Option<Vec<IpAddr>>,
    /// TCP port to listen on; 179 if absent, 0 to accept no connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen_port: Option<u16>,
    /// Whether peers are told our host's name; true if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub announce_hostname: Option<bool>,
    /// Whether peers are told our software and its version; true if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub announce_version: Option<bool>,
    /// Most equal paths that are used together; 16 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_paths: Option<u8>,
    /// Sessions between nodes that share a link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_mesh: Option<NodeMesh>,
    /// The ranges that pod addresses come from; if absent, the nodes' pod CIDRs as they are.
    #[serde(rename = "clusterCIDRs", skip_serializing_if = "Option::is_none")]
    pub cluster_cidrs: Option<Vec<Cidr>>,
    /// Ranges of Services' cluster IPs; each is announced as it stands by every node.
    #[serde(rename = "serviceClusterIPs", skip_serializing_if = "Option::is_none")]
    pub service_cluster_ips: Option<Vec<AdvertisedRange>>,
    /// External IPs of Services are announced, as host routes, if they are within one of these.
    #[serde(rename = "serviceExternalIPs", skip_serializing_if = "Option::is_none")]
    pub service_external_ips: Option<Vec<AdvertisedRange>>,
    /// Load-balancer IPs of Services are announced, as host routes, if they are within one of these.
    #[serde(rename = "serviceLoadBalancerIPs", skip_serializing_if = "Option::is_none")]
    pub service_load_balancer_ips: Option<Vec<AdvertisedRange>>,
    /// What may be learned beyond the pod ranges of the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub import: Option<ImportRanges>,
    /// Further prefixes to announce.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub originate: Option<Vec<StaticRoute>>,
    /// BMP collectors that are told of sessions and routes (RFC 7854).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bmp: Option<Vec<BmpCollectorSpec>>,
}

/// Sessions between nodes that share a link.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(extend("x-kubernetes-validations" = super::rules::NODE_MESH))]
pub struct NodeMesh {
    /// Whether there are any; true if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Hold time; 90 seconds if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_time: Option<TimeSpan>,
    /// Graceful restart of all sessions of the mesh, as in a `BGPPeer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub graceful_restart: Option<GracefulRestart>,
    /// TCP-MD5 password of all sessions of the mesh.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<PasswordSource>,
}

/// A range of Service addresses.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = super::rules::ADVERTISED_RANGE))]
pub struct AdvertisedRange {
    /// The range.
    pub cidr: Cidr,
}

/// What may be learned.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ImportRanges {
    /// Prefixes equal to or within one of these may be learned. If absent: on a node none, on a stand-alone
    /// speaker all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cidrs: Option<Vec<Cidr>>,
    /// Whether a default route may be learned; refused if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_route: Option<DefaultRoute>,
}

/// Whether a default route may be learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
pub enum DefaultRoute {
    /// It may.
    Accept,
    /// It may not.
    Reject,
}

/// A prefix that is announced because it stands here.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StaticRoute {
    /// The prefix.
    pub cidr: Cidr,
    /// `LOCAL_PREF`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_pref: Option<u32>,
    /// MED.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub med: Option<u32>,
    /// Communities.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub communities: Vec<CommunityValue>,
    /// Large communities.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub large_communities: Vec<LargeCommunityValue>,
}

/// Whether a label can have the name: at most 63 letters behind an optional domain.
fn is_label(name: &str) -> bool {
    let (domain, name) = name.split_once('/').map_or((None, name), |(domain, name)| (Some(domain), name));
    let is_word = |word: &str, most: usize, inner: &[char]| {
        let fits = |letter: char| letter.is_ascii_alphanumeric() || inner.contains(&letter);
        let ends = |letter: Option<char>| letter.is_some_and(|letter| letter.is_ascii_alphanumeric());
        word.len() <= most
            && word.chars().all(fits)
            && ends(word.chars().next())
            && ends(word.chars().next_back())
    };
    domain.is_none_or(|domain| is_word(domain, 253, &['-', '.'])) && is_word(name, 63, &['-', '_', '.'])
}

impl Check for BgpConfigurationSpec {
    fn check(&self, faults: &mut Vec<Fault>) {
        if self.max_paths == Some(0) {
            faults.push(Fault::new(".spec.maxPaths", "found 0", "write 1 for a single path, or more"));
        }
        if let Some([one, other]) = self.local_addresses.as_deref()
            && one.is_ipv4() == other.is_ipv4()
        {
            let found = format!("{one} and {other} are of one family");
            faults.push(Fault::new(".spec.localAddresses", found, "write one address of each family"));
        }
        if let Some(label) = &self.asn_node_label
            && !is_label(label)
        {
            let remedy = "write its name as it stands on nodes, as example.com/asn";
            faults.push(Fault::new(".spec.asnNodeLabel", format!("no label is called {label:?}"), remedy));
        }
        if let Some(NodeMesh { hold_time: Some(hold_time), .. }) = self.node_mesh {
            bgp_peer::check_hold_time(".spec.nodeMesh.holdTime", hold_time, faults);
        }
        if let Some(NodeMesh { graceful_restart: Some(restart), .. }) = self.node_mesh {
            restart.check(".spec.nodeMesh.gracefulRestart", faults);
        }
        bmp::check(self.bmp.as_deref().unwrap_or_default(), faults);
        let lists = [
            ("serviceClusterIPs", &self.service_cluster_ips),
            ("serviceExternalIPs", &self.service_external_ips),
            ("serviceLoadBalancerIPs", &self.service_load_balancer_ips),
        ];
        for (name, ranges) in lists {
            for (index, range) in ranges.iter().flatten().enumerate() {
                if range.cidr.0.prefix_len() == 0 {
                    let field = format!(".spec.{name}[{index}].cidr");
                    faults.push(Fault::new(
                        field,
                        "found all addresses",
                        "write the ranges that Services use",
                    ));
                }
            }
        }
    }
}
