//! What the API answers, beyond the views that the crates have of themselves.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::IpNet;
use muslin_bgp_speaker::PeerStatus;
use muslin_bgp_speaker::net::CollectorStatus;
use muslin_bgp_speaker::rib::RouteView;
use muslin_cluster::Problem;
use muslin_node_plan::AwaitedPeer;
use muslin_pod_network::ipam::BlockUsage;
use muslin_route_programmer::{RouteReport, Status as KernelStatus};
use serde::{Deserialize, Serialize};

use crate::daemon::{DrainStatus, Readiness};

/// A daemon on one screen.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Status {
    /// Version of the daemon.
    pub(crate) version: String,
    /// Name of the node; none for a stand-alone speaker.
    pub(crate) node: Option<String>,
    /// Our AS, once there is a plan.
    pub(crate) asn: Option<u32>,
    /// Our BGP identifier, once there is a plan.
    pub(crate) router_id: Option<Ipv4Addr>,
    /// How long it has been running.
    pub(crate) uptime_seconds: u64,
    /// How far it has arrived.
    pub(crate) readiness: Readiness,
    /// Whether the node is being taken out of service; none if it is not.
    pub(crate) drain: Option<DrainStatus>,
    /// What is wrong with the cluster state.
    pub(crate) problems: Vec<Problem>,
    /// What could not be carried out.
    pub(crate) faults: Vec<String>,
    /// What is worth knowing and is not wrong.
    pub(crate) notes: Vec<String>,
    /// The peers.
    pub(crate) peers: Vec<PeerStatus>,
    /// BMP collectors.
    #[serde(default)]
    pub(crate) collectors: Vec<CollectorStatus>,
    /// Peers that have no address yet.
    #[serde(default)]
    pub(crate) awaited: Vec<AwaitedPeer>,
    /// Routes that we originate.
    pub(crate) originated: usize,
    /// How many of them each `RouteAdvertisement` asks for.
    #[serde(default)]
    pub(crate) advertisements: BTreeMap<String, usize>,
    /// The kernel's routes.
    pub(crate) kernel: KernelStatus,
    /// The node's address blocks.
    pub(crate) blocks: Vec<BlockUsage>,
}

/// The query of `/v1/routes/{view}`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RouteQuery {
    /// Only this peer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peer: Option<String>,
    /// Only refused routes.
    #[serde(default)]
    pub(crate) rejected: bool,
    /// Most routes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<usize>,
}

/// Routes of one view.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Routes {
    /// Of the speaker: a table a peer, or one for all peers.
    Bgp(Vec<PeerRoutes>),
    /// Of the kernel.
    Kernel(KernelRoutes),
}

/// What Muslin wants in the kernel, and whether it is there.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KernelRoutes {
    /// The routes, at most as many as were asked for.
    pub(crate) routes: Vec<RouteReport>,
    /// Names of the interfaces that they name by index.
    pub(crate) interfaces: Interfaces,
}

/// Interfaces by index.
pub(crate) type Interfaces = BTreeMap<u32, String>;

/// Routes to or from one peer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PeerRoutes {
    /// The peer; none for the Loc-RIB.
    pub(crate) peer: Option<String>,
    /// The routes, at most as many as were asked for.
    pub(crate) routes: Vec<RouteView>,
    /// Whether there are more.
    pub(crate) more: bool,
}

/// Why a prefix is here or not.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Explained {
    /// The prefix that was asked for.
    pub(crate) asked: IpNet,
    /// What the plan says of it: originated because, or withheld because.
    pub(crate) plan: Vec<String>,
    /// What the speaker knows.
    pub(crate) speaker: Option<muslin_bgp_speaker::rib::Explanation>,
    /// Where the kernel stands.
    pub(crate) kernel: Option<RouteReport>,
    /// Names of the interfaces that it names by index.
    pub(crate) interfaces: Interfaces,
    /// Objects of the cluster that have the prefix, or an address in it, with the field.
    #[serde(default)]
    pub(crate) objects: Vec<String>,
    /// Other programs' routes for the prefix in the kernel.
    #[serde(default)]
    pub(crate) foreign: Vec<String>,
    /// What is missing on the way from the object to the kernel, each with the reason and what helps.
    #[serde(default)]
    pub(crate) missing: Vec<String>,
}
