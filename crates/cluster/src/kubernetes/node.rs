//! Nodes.

use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};

use super::field::{Field, FieldPath, addresses, numbered, place, ranges};
use super::labels::Labels;
use super::written::{self, Written};
use crate::problem::Fault;

/// A Node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    /// What tells it from another one of its name.
    pub uid: Option<Box<str>>,
    /// When it was made; none for one that is written by hand.
    pub created: Option<Timestamp>,
    /// Its labels.
    pub labels: Labels,
    /// Whether it is about to leave.
    pub leaving: Option<Leaving>,
    pod_cidrs: Box<[Field<IpNet>]>,
    internal_ips: Box<[Field<IpAddr>]>,
}

/// Why a node is about to leave, the stronger reason last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Leaving {
    /// Somebody gave it the taint [`DRAIN_TAINT`].
    Drain,
    /// Its machine goes down, as its kubelet or the cloud's controller says.
    Shutdown,
}

/// The taint that drains a node, whatever its value and effect.
pub const DRAIN_TAINT: &str = "muslin.dev/drain";

/// The taint of a machine that its cloud has shut down.
const SHUTDOWN_TAINT: &str = "node.cloudprovider.kubernetes.io/shutdown";

/// What a kubelet says of a node that is not ready because its machine goes down, before it ends the pods.
const SHUTTING_DOWN: &str = "node is shutting down";

impl Node {
    /// The pod CIDRs, as assigned by Kubernetes.
    pub fn pod_cidrs(&self) -> &[Field<IpNet>] {
        &self.pod_cidrs
    }

    /// The addresses of type `InternalIP`, in their order: the first of a family is the node's own.
    pub fn internal_ips(&self) -> &[Field<IpAddr>] {
        &self.internal_ips
    }
}

const INTERNAL: &str = "InternalIP";

/// A Node as it is written.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WrittenNode {
    #[serde(deserialize_with = "written::metadata")]
    metadata: ObjectMeta,
    #[serde(skip_serializing_if = "Option::is_none")]
    spec: Option<Spec>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct Spec {
    #[serde(rename = "podCIDR", skip_serializing_if = "Option::is_none")]
    pod_cidr: Option<String>,
    #[serde(rename = "podCIDRs", skip_serializing_if = "Option::is_none")]
    pod_cidrs: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    taints: Option<Vec<Taint>>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct Taint {
    #[serde(default)]
    key: String,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct Status {
    addresses: Option<Vec<Address>>,
    #[serde(skip_serializing)]
    conditions: Option<Vec<Condition>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Condition {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    message: String,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct Address {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    address: String,
}

impl Written for WrittenNode {
    type Kept = Node;

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }

    fn kept(self, faults: &mut Vec<Fault>) -> Node {
        let Spec { pod_cidr, pod_cidrs, taints } = self.spec.unwrap_or_default();
        let Status { addresses: known, conditions } = self.status.unwrap_or_default();
        let leaving = leaving(&taints.unwrap_or_default(), &conditions.unwrap_or_default());
        let several = pod_cidrs.unwrap_or_default();
        let one = pod_cidr.filter(|one| several.is_empty() && !one.is_empty());
        let cidrs = numbered(FieldPath::PodCidrs, &several);
        let cidrs = cidrs.chain(one.as_deref().map(|one| (FieldPath::PodCidr, one)));
        let known = known.unwrap_or_default();
        let internal = known.iter().enumerate().filter(|(_, address)| address.kind == INTERNAL);
        let internal =
            internal.map(|(index, known)| (FieldPath::NodeAddress(place(index)), known.address.as_str()));
        Node {
            uid: self.metadata.uid.map(Into::into),
            created: self.metadata.creation_timestamp.map(|time| time.0),
            labels: self.metadata.labels.unwrap_or_default().into(),
            leaving,
            pod_cidrs: ranges(cidrs, faults),
            internal_ips: addresses(internal, faults),
        }
    }
}

fn leaving(taints: &[Taint], conditions: &[Condition]) -> Option<Leaving> {
    let by_taint = taints.iter().filter_map(|taint| match taint.key.as_str() {
        DRAIN_TAINT => Some(Leaving::Drain),
        SHUTDOWN_TAINT => Some(Leaving::Shutdown),
        _ => None,
    });
    let goes_down =
        |condition: &&Condition| condition.kind == "Ready" && condition.message.contains(SHUTTING_DOWN);
    by_taint.chain(conditions.iter().find(goes_down).map(|_| Leaving::Shutdown)).max()
}

impl From<&Node> for WrittenNode {
    fn from(node: &Node) -> Self {
        let one = node.pod_cidrs.iter().find(|cidr| cidr.path == FieldPath::PodCidr);
        let pod_cidrs = match one {
            None => Some(node.pod_cidrs.iter().map(|cidr| cidr.value.to_string()).collect()),
            Some(_) => None,
        };
        // A machine that went down has come back when this is read; a drain outlives that.
        let drained =
            (node.leaving == Some(Leaving::Drain)).then(|| vec![Taint { key: DRAIN_TAINT.to_owned() }]);
        let mut addresses = Vec::new();
        for internal in &node.internal_ips {
            // Those of other types keep the place of those behind them.
            addresses.resize_with(internal.path.index(), Address::default);
            addresses.push(Address { kind: INTERNAL.to_owned(), address: internal.value.to_string() });
        }
        Self {
            metadata: ObjectMeta {
                uid: node.uid.as_deref().map(str::to_owned),
                creation_timestamp: node.created.map(Time),
                labels: node.labels.written(),
                ..ObjectMeta::default()
            },
            spec: Some(Spec { pod_cidr: one.map(|one| one.value.to_string()), pod_cidrs, taints: drained }),
            status: Some(Status { addresses: Some(addresses), conditions: None }),
        }
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        WrittenNode::from(self).serialize(serializer)
    }
}
