//! Pods.

use std::net::IpAddr;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize, Serializer};

use super::field::{Field, FieldPath, addresses, numbered};
use super::written::{self, Written};
use crate::problem::Fault;

/// A Pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pod {
    /// The node that it is on, once it is on one.
    pub node: Option<Box<str>>,
    /// Where in its life it is, as Kubernetes says it.
    pub phase: Option<Box<str>>,
    /// Whether it has the network of its node.
    pub host_network: bool,
    /// Its addresses.
    pub addresses: Box<[Field<IpAddr>]>,
}

/// A Pod as it is written.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct WrittenPod {
    #[serde(deserialize_with = "written::metadata")]
    metadata: ObjectMeta,
    spec: Option<Spec>,
    status: Option<Status>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(skip_serializing_if = "Option::is_none")]
    node_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host_network: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct Status {
    #[serde(skip_serializing_if = "Option::is_none")]
    phase: Option<String>,
    #[serde(rename = "podIPs", skip_serializing_if = "Option::is_none")]
    pod_ips: Option<Vec<PodIp>>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct PodIp {
    #[serde(default)]
    ip: String,
}

impl Written for WrittenPod {
    type Kept = Pod;

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }

    fn kept(self, faults: &mut Vec<Fault>) -> Pod {
        let spec = self.spec.unwrap_or_default();
        let status = self.status.unwrap_or_default();
        let known = status.pod_ips.unwrap_or_default();
        Pod {
            node: spec.node_name.map(Into::into),
            phase: status.phase.map(Into::into),
            host_network: spec.host_network == Some(true),
            addresses: addresses(numbered(FieldPath::PodIps, known.iter().map(|known| &known.ip)), faults),
        }
    }
}

impl From<&Pod> for WrittenPod {
    fn from(pod: &Pod) -> Self {
        let pod_ips = pod.addresses.iter().map(|address| PodIp { ip: address.value.to_string() });
        Self {
            metadata: ObjectMeta::default(),
            spec: Some(Spec {
                node_name: pod.node.as_deref().map(str::to_owned),
                host_network: pod.host_network.then_some(true),
            }),
            status: Some(Status {
                phase: pod.phase.as_deref().map(str::to_owned),
                pod_ips: Some(pod_ips.collect()),
            }),
        }
    }
}

impl Serialize for Pod {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        WrittenPod::from(self).serialize(serializer)
    }
}
