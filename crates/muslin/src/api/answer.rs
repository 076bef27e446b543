//! What the API answers, beyond the views that the crates have of themselves.

use std::net::Ipv4Addr;

use ipnet::IpNet;
use muslin_bgp_speaker::PeerStatus;
use muslin_bgp_speaker::rib::RouteView;
use muslin_cluster::Problem;
use muslin_pod_network::ipam::BlockUsage;
use muslin_route_programmer::{RouteReport, Status as KernelStatus};
use serde::{Deserialize, Serialize};

use crate::daemon::Readiness;

/// A daemon on one screen.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Version of the daemon.
    pub version: String,
    /// Name of the node; none for a stand-alone speaker.
    pub node: Option<String>,
    /// Our AS, once there is a plan.
    pub asn: Option<u32>,
    /// Our BGP identifier, once there is a plan.
    pub router_id: Option<Ipv4Addr>,
    /// How long it has been running.
    pub uptime_seconds: u64,
    /// How far it has arrived.
    pub readiness: Readiness,
    /// What is wrong with the cluster state.
    pub problems: Vec<Problem>,
    /// What could not be carried out.
    pub faults: Vec<String>,
    /// What is worth knowing and is not wrong.
    pub notes: Vec<String>,
    /// The peers.
    pub peers: Vec<PeerStatus>,
    /// Routes that we originate.
    pub originated: usize,
    /// The kernel's routes.
    pub kernel: KernelStatus,
    /// The node's address blocks.
    pub blocks: Vec<BlockUsage>,
}

/// The query of `/v1/routes/{view}`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteQuery {
    /// Only this peer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// Only refused routes.
    #[serde(default)]
    pub rejected: bool,
    /// Most routes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// Routes of one view.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Routes {
    /// Of the speaker: a table a peer, or one for all peers.
    Bgp(Vec<PeerRoutes>),
    /// Of the kernel.
    Kernel(Vec<RouteReport>),
}

/// Routes to or from one peer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerRoutes {
    /// The peer; none for the Loc-RIB.
    pub peer: Option<String>,
    /// The routes, at most as many as were asked for.
    pub routes: Vec<RouteView>,
    /// Whether there are more.
    pub more: bool,
}

/// Why a prefix is here or not.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explained {
    /// The prefix that was asked for.
    pub asked: IpNet,
    /// What the plan says of it: originated because, or withheld because.
    pub plan: Vec<String>,
    /// What the speaker knows.
    pub speaker: Option<muslin_bgp_speaker::rib::Explanation>,
    /// Where the kernel stands.
    pub kernel: Option<RouteReport>,
}
