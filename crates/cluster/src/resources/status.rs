//! What is told of the resources: how they are doing, never what is wanted.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::problem::Effect;
use crate::state::Kind;

/// One aspect of an object's state, as everywhere in Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Which aspect: `Ready`, `Accepted`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Why, in one word for programs.
    pub reason: String,
    /// Why, and what to do about it, for people.
    #[schemars(extend("maxLength" = 32768))]
    pub message: String,
    /// When `status` changed last.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub last_transition_time: Time,
    /// The generation of the object that this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// How a resource of the cluster's configuration is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceStatus {
    /// What is true of it, with cause and remedy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// How a peer is doing, on all nodes that have it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BgpPeerStatus {
    /// Where the peers are: the address or the range that the specification has, else the addresses that nodes have
    /// found, else where they look for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Established sessions of all sessions: `3/4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<String>,
    /// What is true of it, with cause and remedy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// What comes of a `RouteAdvertisement`, on all nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteAdvertisementStatus {
    /// The kinds of routes that it speaks of: `PodCIDR,Service`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announces: Option<String>,
    /// Nodes that announce routes because of it.
    #[serde(default)]
    pub nodes: u64,
    /// Routes that they announce because of it, all together.
    #[serde(default)]
    pub routes: u64,
    /// What is true of it, with cause and remedy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// The status of a resource that belongs to no node, by its kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum ObjectStatus {
    /// Of a `BGPPeer`.
    Peer(BgpPeerStatus),
    /// Of a `RouteAdvertisement`.
    Advertisement(RouteAdvertisementStatus),
    /// Of the others.
    Other(ResourceStatus),
}

impl ObjectStatus {
    /// Reads the status of an object of `kind`; of what another version has written, nothing.
    pub fn read(kind: Kind, status: serde_json::Value) -> Self {
        match kind {
            Kind::BgpPeer => Self::Peer(serde_json::from_value(status).unwrap_or_default()),
            Kind::RouteAdvertisement => {
                Self::Advertisement(serde_json::from_value(status).unwrap_or_default())
            }
            _ => Self::Other(serde_json::from_value(status).unwrap_or_default()),
        }
    }

    /// What is true of the object.
    pub fn conditions(&self) -> &[Condition] {
        match self {
            Self::Peer(status) => &status.conditions,
            Self::Advertisement(status) => &status.conditions,
            Self::Other(status) => &status.conditions,
        }
    }

    /// The same, to change it.
    pub(crate) fn conditions_mut(&mut self) -> &mut Vec<Condition> {
        match self {
            Self::Peer(status) => &mut status.conditions,
            Self::Advertisement(status) => &mut status.conditions,
            Self::Other(status) => &mut status.conditions,
        }
    }

    /// Established sessions of all sessions, of a peer.
    pub fn sessions(&self) -> Option<&str> {
        match self {
            Self::Peer(status) => status.sessions.as_deref(),
            Self::Advertisement(_) | Self::Other(_) => None,
        }
    }
}

/// How a node's network is doing; its agent writes it, and nobody else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeNetworkStatusStatus {
    /// Version of the agent.
    #[serde(default)]
    pub version: String,
    /// When the agent wrote this. It does so at least once a minute, in a cluster of more than 1200 nodes more seldom;
    /// what has not been written for three times as long, nobody vouches for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub heartbeat: Option<Time>,
    /// The node's AS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asn: Option<u32>,
    /// The node's BGP identifier.
    #[serde(rename = "routerID", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub router_id: Option<Ipv4Addr>,
    /// Established sessions of all sessions: `3/4`.
    #[serde(default)]
    pub established: String,
    /// The sessions; those that are down first, at most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 100))]
    pub sessions: Vec<SessionStatus>,
    /// The node's routes.
    #[serde(default)]
    pub routes: RouteCounts,
    /// What the node announces because of each `RouteAdvertisement`, at most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 100))]
    pub advertisements: Vec<AdvertisementStatus>,
    /// Blocks that pods of the node have their addresses from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocks: Vec<BlockStatus>,
    /// What is wrong with objects, as this node sees them, at most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 32))]
    pub problems: Vec<ProblemStatus>,
    /// What is true of the node's network, with cause and remedy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// What is wrong with an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProblemStatus {
    /// The object: `BGPPeer tor`.
    pub object: String,
    /// The field; the whole object if absent.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(extend("maxLength" = 1024))]
    pub field: String,
    /// What was found.
    #[schemars(extend("maxLength" = 1024))]
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(extend("maxLength" = 1024))]
    pub remedy: String,
    /// What became of the object.
    pub effect: Effect,
}

/// A session of a node.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionStatus {
    /// The peer's name.
    pub peer: String,
    /// The object and field that it comes from.
    pub cause: String,
    /// The peer's address, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub address: Option<IpAddr>,
    /// The peer's AS, once it has told.
    #[serde(rename = "peerASN", default, skip_serializing_if = "Option::is_none")]
    pub peer_asn: Option<u32>,
    /// State of RFC 4271 §8.2.2; `Awaited` for a peer whose address is not known yet.
    pub state: String,
    /// Since when it is established.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub since: Option<Time>,
    /// Routes that the peer has announced.
    #[serde(default)]
    pub received: u64,
    /// Those of them that import accepts.
    #[serde(default)]
    pub accepted: u64,
    /// Routes that the peer was sent.
    #[serde(default)]
    pub advertised: u64,
    /// Why it is down, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = 1024))]
    pub last_error: Option<String>,
}

/// How many routes a node has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteCounts {
    /// Originated by this node.
    pub originated: u64,
    /// Wanted in the kernel.
    pub desired: u64,
    /// In the kernel.
    pub installed: u64,
}

/// What a node announces because of a `RouteAdvertisement`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AdvertisementStatus {
    /// Name of the `RouteAdvertisement`.
    pub name: String,
    /// How many routes.
    pub routes: u64,
}

/// A block of addresses.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BlockStatus {
    /// The block.
    #[schemars(with = "String")]
    pub cidr: IpNet,
    /// Addresses in use.
    pub allocated: u64,
}
