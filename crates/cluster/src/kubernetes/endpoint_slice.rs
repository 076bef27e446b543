//! Endpoints of Services.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize, Serializer};

use super::field::{address, no_address};
use super::written::{self, Written};
use crate::problem::Fault;

/// The label by which a slice names its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Some endpoints of a Service, all of one family.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EndpointSlice {
    /// The Service that they are of, by its key in the state ("namespace/name").
    pub service: Option<Arc<str>>,
    /// What their addresses are.
    pub address_type: AddressType,
    /// The endpoints.
    pub endpoints: Box<[Endpoint]>,
}

/// What the addresses of a slice are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AddressType {
    /// IPv4 addresses.
    IPv4,
    /// IPv6 addresses.
    IPv6,
    /// Names, which are not kept, or whatever else.
    #[default]
    Other,
}

/// Where packets to a Service may end.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Endpoint {
    /// Its addresses, of which Kubernetes itself uses the first.
    pub addresses: Box<[IpAddr]>,
    /// The node that it is on, where that is known.
    pub node: Option<Box<str>>,
    /// What stands behind it, as people say it: "Pod shop/web-1".
    pub target: Option<Box<str>>,
    /// What it offers.
    pub conditions: Conditions,
}

/// What an endpoint offers. The API: an unknown `ready` means ready, an unknown `serving` what `ready` means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conditions {
    /// It takes new connections.
    pub ready: bool,
    /// It serves, be it ending.
    pub serving: bool,
    /// It is ending.
    pub terminating: bool,
}

impl Default for Conditions {
    fn default() -> Self {
        Self { ready: true, serving: true, terminating: false }
    }
}

impl Endpoint {
    /// The Pod behind it ("namespace/name"), if there is one.
    pub fn pod(&self) -> Option<&str> {
        self.target.as_ref()?.strip_prefix("Pod ")
    }
}

/// A slice as it is written.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WrittenEndpointSlice {
    #[serde(deserialize_with = "written::metadata")]
    metadata: ObjectMeta,
    #[serde(default)]
    address_type: String,
    endpoints: Option<Vec<WrittenEndpoint>>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct WrittenEndpoint {
    addresses: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    conditions: Option<WrittenConditions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_ref: Option<Target>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct WrittenConditions {
    ready: Option<bool>,
    serving: Option<bool>,
    terminating: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct Target {
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    name: Option<String>,
}

impl Written for WrittenEndpointSlice {
    type Kept = EndpointSlice;

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }

    fn kept(self, faults: &mut Vec<Fault>) -> EndpointSlice {
        let namespace = self.metadata.namespace.as_deref().unwrap_or("default");
        let service = self.metadata.labels.as_ref().and_then(|labels| labels.get(SERVICE_NAME));
        let endpoints = self.endpoints.into_iter().flatten().enumerate();
        let is_named = self.address_type == "FQDN";
        let endpoints: Vec<Endpoint> = endpoints
            .map(|(index, endpoint)| {
                let mut unread = |place: usize, text: &str| {
                    if !is_named {
                        faults.push(no_address(format!(".endpoints[{index}].addresses[{place}]"), text));
                    }
                };
                endpoint.kept(&mut unread)
            })
            .collect();
        EndpointSlice {
            service: service.map(|service| format!("{namespace}/{service}").into()),
            address_type: match self.address_type.as_str() {
                "IPv4" => AddressType::IPv4,
                "IPv6" => AddressType::IPv6,
                _ => AddressType::Other,
            },
            endpoints: endpoints.into_boxed_slice(),
        }
    }
}

impl WrittenEndpoint {
    /// The endpoint; `unread` is told of each address that is none, and its place.
    fn kept(self, unread: &mut impl FnMut(usize, &str)) -> Endpoint {
        let WrittenConditions { ready, serving, terminating } = self.conditions.unwrap_or_default();
        let ready = ready.unwrap_or(true);
        let addresses = self.addresses.iter().flatten().enumerate().filter_map(|(place, text)| {
            let address = address(text);
            if address.is_none() {
                unread(place, text);
            }
            address
        });
        Endpoint {
            addresses: addresses.collect(),
            node: self.node_name.map(Into::into),
            target: self.target_ref.and_then(|target| {
                let name = target.name?;
                let kind = target.kind.as_deref().unwrap_or_default();
                let namespace = target.namespace.as_deref().unwrap_or("default");
                Some(format!("{kind} {namespace}/{name}").into())
            }),
            conditions: Conditions {
                ready,
                serving: serving.unwrap_or(ready),
                terminating: terminating == Some(true),
            },
        }
    }
}

impl From<&EndpointSlice> for WrittenEndpointSlice {
    fn from(slice: &EndpointSlice) -> Self {
        let service = slice.service.as_deref().and_then(|service| service.split_once('/'));
        let labels = service.map(|(_, name)| BTreeMap::from([(SERVICE_NAME.to_owned(), name.to_owned())]));
        Self {
            metadata: ObjectMeta { labels, ..ObjectMeta::default() },
            address_type: match slice.address_type {
                AddressType::IPv4 => "IPv4",
                AddressType::IPv6 => "IPv6",
                AddressType::Other => "FQDN",
            }
            .to_owned(),
            endpoints: Some(slice.endpoints.iter().map(WrittenEndpoint::from).collect()),
        }
    }
}

impl From<&Endpoint> for WrittenEndpoint {
    fn from(endpoint: &Endpoint) -> Self {
        let target = endpoint.target.as_deref().and_then(|target| {
            let (kind, name) = target.split_once(' ')?;
            let (namespace, name) = name.split_once('/')?;
            let texts = [kind, namespace, name].map(|text| Some(text.to_owned()));
            let [kind, namespace, name] = texts;
            Some(Target { kind: kind.filter(|kind| !kind.is_empty()), namespace, name })
        });
        let Conditions { ready, serving, terminating } = endpoint.conditions;
        Self {
            addresses: Some(endpoint.addresses.iter().map(ToString::to_string).collect()),
            conditions: Some(WrittenConditions {
                ready: Some(ready),
                serving: Some(serving),
                terminating: Some(terminating),
            }),
            node_name: endpoint.node.as_deref().map(str::to_owned),
            target_ref: target,
        }
    }
}

impl Serialize for EndpointSlice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        WrittenEndpointSlice::from(self).serialize(serializer)
    }
}
