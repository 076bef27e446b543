//! `RouteAdvertisement`: what nodes announce, with which attributes, to whom.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::Check;
use super::bgp_filter::Prepend;
use super::fields::{AnyCommunityValue, Cidr};
use super::selector::LabelSelector;
use crate::problem::Fault;

/// Specification of a `RouteAdvertisement`.
///
/// What no advertisement speaks of is announced as ever. A kind of route that one speaks of (pod CIDRs, or one
/// kind of Service address) is announced only as advertisements say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(extend("x-kubernetes-validations" = super::rules::ROUTE_ADVERTISEMENT))]
pub struct RouteAdvertisementSpec {
    /// The nodes that announce; all if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<LabelSelector>,
    /// Names of the `BGPPeer`s that are told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peers: Option<Vec<String>>,
    /// `BGPPeer`s that are told, by their labels. Without this and `peers` all peers are told, those of the node
    /// mesh included; with both, whoever is in either.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_selector: Option<LabelSelector>,
    /// What is announced.
    pub advertisements: Vec<Advertisement>,
}

/// One kind of routes with their attributes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = super::rules::ADVERTISEMENT))]
pub struct Advertisement {
    /// What is announced.
    pub advertisement_type: AdvertisementType,
    /// The Services, by their labels; all if absent. Only with `Service`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
    /// Which addresses of Services. Only with `Service`, and needed there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceAdvertisement>,
    /// The prefixes. Only with `Prefix`, and needed there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prefixes: Vec<Cidr>,
    /// What the routes carry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attributes: Option<RouteAttributes>,
}

/// A kind of routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
pub enum AdvertisementType {
    /// The blocks that pods of the node have their addresses from.
    PodCIDR,
    /// Addresses of Services.
    Service,
    /// Prefixes that stand in the advertisement: for other controllers, which make and delete such objects.
    Prefix,
}

/// Which addresses of Services are announced, and how.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = super::rules::SERVICE_ADVERTISEMENT))]
pub struct ServiceAdvertisement {
    /// The kinds of addresses.
    pub addresses: Vec<ServiceAddress>,
    /// Only addresses within one of these. External IPs need it, or `BGPConfiguration.spec.serviceExternalIPs`:
    /// whoever may write a Service may claim any of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cidrs: Vec<Cidr>,
    /// Announce the IPv4 range of this length instead of each address in it; 32 if absent.
    #[serde(default, rename = "aggregationLengthIPv4", skip_serializing_if = "Option::is_none")]
    pub aggregation_length_ipv4: Option<u8>,
    /// Announce the IPv6 range of this length instead of each address in it; 128 if absent.
    #[serde(default, rename = "aggregationLengthIPv6", skip_serializing_if = "Option::is_none")]
    pub aggregation_length_ipv6: Option<u8>,
}

/// A kind of address that a Service has.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, schemars::JsonSchema,
)]
#[allow(clippy::enum_variant_names, reason = "the words of Kubernetes")]
pub enum ServiceAddress {
    /// `.spec.clusterIPs`.
    ClusterIP,
    /// `.spec.externalIPs`.
    ExternalIP,
    /// `.status.loadBalancer.ingress`.
    LoadBalancerIP,
}

/// What a route carries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RouteAttributes {
    /// `LOCAL_PREF`, which only internal peers are told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_pref: Option<u32>,
    /// MED.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub med: Option<u32>,
    /// Communities of any kind.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub communities: Vec<AnyCommunityValue>,
    /// Lengthen the AS path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prepend: Option<Prepend>,
}

impl Check for RouteAdvertisementSpec {
    fn check(&self, faults: &mut Vec<Fault>) {
        if let Some(selector) = &self.node_selector {
            selector.check(".spec.nodeSelector", faults);
        }
        if let Some(selector) = &self.peer_selector {
            selector.check(".spec.peerSelector", faults);
        }
        if self.peers.as_ref().is_some_and(Vec::is_empty) && self.peer_selector.is_none() {
            let remedy = "name peers, or leave `peers` out to tell all of them";
            faults.push(Fault::new(".spec.peers", "there are none, so nobody would be told", remedy));
        }
        if self.advertisements.is_empty() {
            let remedy = "write what is to be announced, such as `advertisementType: PodCIDR`";
            faults.push(Fault::new(".spec.advertisements", "there are none", remedy));
        }
        for (index, advertisement) in self.advertisements.iter().enumerate() {
            advertisement.check(&format!(".spec.advertisements[{index}]"), faults);
        }
    }
}

impl Advertisement {
    fn check(&self, at: &str, faults: &mut Vec<Fault>) {
        let mut fault = |field: &str, message: &str, remedy: &str| {
            faults.push(Fault::new(format!("{at}{field}"), message, remedy));
        };
        let kind = self.advertisement_type;
        match (&self.service, kind) {
            (None, AdvertisementType::Service) => {
                let remedy = "write `service: {addresses: [LoadBalancerIP]}`, or other kinds of addresses";
                fault(".service", "there is none, so no address would be announced", remedy);
            }
            (Some(_), AdvertisementType::PodCIDR | AdvertisementType::Prefix) => {
                fault(".service", "only `advertisementType: Service` has it", "leave it out");
            }
            _ => {}
        }
        if self.selector.is_some() && kind != AdvertisementType::Service {
            let remedy = "leave it out; nodes are selected by `.spec.nodeSelector`";
            fault(".selector", "it selects Services, and no Service is announced here", remedy);
        }
        match (self.prefixes.is_empty(), kind) {
            (true, AdvertisementType::Prefix) => {
                fault(".prefixes", "there are none", "write the prefixes that are to be announced");
            }
            (false, AdvertisementType::PodCIDR | AdvertisementType::Service) => {
                fault(".prefixes", "only `advertisementType: Prefix` has them", "leave them out");
            }
            _ => {}
        }
        if let Some(Prepend { times, .. }) = self.attributes.as_ref().and_then(|set| set.prepend)
            && !(1..=10).contains(&times)
        {
            fault(".attributes.prepend.times", &format!("found {times}"), "write 1 to 10");
        }
        if let Some(service) = &self.service {
            service.check(&format!("{at}.service"), faults);
        }
        if let Some(selector) = &self.selector {
            selector.check(&format!("{at}.selector"), faults);
        }
    }
}

impl ServiceAdvertisement {
    fn check(&self, at: &str, faults: &mut Vec<Fault>) {
        if self.addresses.iter().collect::<BTreeSet<_>>().len() != self.addresses.len()
            || self.addresses.is_empty()
        {
            let found = format!("found {} kinds, or one of them twice", self.addresses.len());
            let remedy = "write each of ClusterIP, ExternalIP, LoadBalancerIP at most once, and at least one";
            faults.push(Fault::new(format!("{at}.addresses"), found, remedy));
        }
        let lengths = [
            ("aggregationLengthIPv4", self.aggregation_length_ipv4, 32),
            ("aggregationLengthIPv6", self.aggregation_length_ipv6, 128),
        ];
        for (field, length, longest) in lengths {
            if let Some(length) = length.filter(|length| !(1..=longest).contains(length)) {
                let remedy = format!("write 1 to {longest}");
                faults.push(Fault::new(format!("{at}.{field}"), format!("found {length}"), remedy));
            }
        }
    }
}
