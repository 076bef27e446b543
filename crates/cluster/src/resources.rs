//! Muslin's own resources, group `muslin.dev`, version `v1alpha1`.
//!
//! Every field is strict: an unknown one is refused with the name that was probably meant, and a value that
//! does not fit says what would.

mod bgp_configuration;
mod bgp_filter;
mod bgp_peer;
mod bmp;
mod fields;
mod route_advertisement;
pub(crate) mod rules;
pub(crate) mod schema;
mod selector;
mod status;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;

pub use bgp_configuration::{
    AdvertisedRange, BgpConfigurationSpec, DefaultRoute, ImportRanges, NodeMesh, StaticRoute,
};
pub use bgp_filter::{
    AsPathConditions, BgpFilterSpec, FilterAction, FilterNextHop, FilterOperations, FilterRule, FilterSource,
    PrefixRange, Prepend,
};
pub use bgp_peer::{
    AddPath, AddressFamily, AutoDiscovery, AutoDiscoveryMode, BgpPeerSpec, ConnectMode, GracefulRestart,
    LocalAsPrepend, MaxPrefixesAction, NextHop, PasswordSource, PeerAs, Role, SecretKeyRef, SentPaths, TcpAo,
    TcpAoAlgorithm, interface_matches,
};
pub use bmp::{BmpCollectorSpec, BmpTable};
pub use fields::{
    AnyCommunityValue, AsNumber, BitRate, Cidr, CommunityPattern, CommunityValue, LargeCommunityValue,
    PeerRef, RouterId, TimeSpan, usable_asn,
};
pub use route_advertisement::{
    Advertisement, AdvertisementType, RouteAdvertisementSpec, RouteAttributes, ServiceAddress,
    ServiceAdvertisement,
};
pub use selector::{LabelSelector, LabelSelectorRequirement, Operator};
pub use status::{
    AdvertisementStatus, BgpPeerStatus, BlockStatus, Condition, NodeNetworkStatusStatus, ObjectStatus,
    ProblemStatus, ResourceStatus, RouteAdvertisementStatus, RouteCounts, SessionStatus,
};

use crate::problem::Fault;

/// One of Muslin's resources: metadata as everywhere in Kubernetes, and its specification.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Resource<S> {
    /// Name, labels, creation time.
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: S,
}

/// How the cluster's speakers behave; `default` for all, `node.NAME` overrides field by field for one node.
pub type BgpConfiguration = Resource<BgpConfigurationSpec>;

/// A peer, or a range of peers, of the nodes that it selects.
pub type BgpPeer = Resource<BgpPeerSpec>;

/// A policy that peers refer to by name.
pub type BgpFilter = Resource<BgpFilterSpec>;

/// What nodes announce, with which attributes, to which peers.
pub type RouteAdvertisement = Resource<RouteAdvertisementSpec>;

/// A specification that can be checked beyond what single fields say.
pub(crate) trait Check {
    /// Appends what is wrong; fields are paths from the object's root (".spec.listenRange").
    fn check(&self, faults: &mut Vec<Fault>);
}
