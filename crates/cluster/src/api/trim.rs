//! What is kept of an object: what a plan reads, and nothing that changes with every heartbeat.

use k8s_openapi::api::core::v1::{Node, NodeSpec, NodeStatus, Secret, Service, ServiceStatus};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::kubernetes::SERVICE_NAME;

/// Names, labels, our own annotations, and what tells two objects of one name apart.
pub(super) fn metadata(metadata: &mut ObjectMeta) {
    let whole = std::mem::take(metadata);
    let annotations = whole.annotations.map(|mut annotations| {
        annotations.retain(|key, _| key.starts_with("muslin.dev/"));
        annotations
    });
    *metadata = ObjectMeta {
        name: whole.name,
        namespace: whole.namespace,
        uid: whole.uid,
        creation_timestamp: whole.creation_timestamp,
        labels: whole.labels,
        annotations: annotations.filter(|annotations| !annotations.is_empty()),
        ..ObjectMeta::default()
    };
}

pub(super) fn node(mut node: Node) -> Node {
    metadata(&mut node.metadata);
    let spec = node.spec.map(|spec| NodeSpec {
        pod_cidr: spec.pod_cidr,
        pod_cidrs: spec.pod_cidrs,
        ..NodeSpec::default()
    });
    let status =
        node.status.map(|status| NodeStatus { addresses: status.addresses, ..NodeStatus::default() });
    Node { metadata: node.metadata, spec, status }
}

pub(super) fn service(mut service: Service) -> Service {
    metadata(&mut service.metadata);
    let load_balancer = service.status.and_then(|status| status.load_balancer);
    let status = ServiceStatus { load_balancer, ..ServiceStatus::default() };
    Service { status: Some(status), ..service }
}

pub(super) fn endpoint_slice(mut slice: EndpointSlice) -> EndpointSlice {
    metadata(&mut slice.metadata);
    // It is a reflection of the Service's, and there are more slices than anything else.
    if let Some(labels) = &mut slice.metadata.labels {
        labels.retain(|key, _| key == SERVICE_NAME);
    }
    let endpoints = slice.endpoints.into_iter().map(|endpoint| Endpoint {
        addresses: endpoint.addresses,
        conditions: endpoint.conditions,
        node_name: endpoint.node_name,
        ..Endpoint::default()
    });
    EndpointSlice { endpoints: endpoints.collect(), ports: None, ..slice }
}

pub(super) fn secret(mut secret: Secret) -> Secret {
    metadata(&mut secret.metadata);
    Secret { metadata: secret.metadata, data: secret.data, ..Secret::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::NodeCondition;

    #[test]
    fn a_heartbeat_changes_nothing() {
        let with = |seconds: i64| {
            let at = k8s_openapi::jiff::Timestamp::from_second(seconds).unwrap();
            let time = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at);
            let condition = NodeCondition {
                last_heartbeat_time: Some(time),
                type_: "Ready".to_owned(),
                ..NodeCondition::default()
            };
            let status = NodeStatus { conditions: Some(vec![condition]), ..NodeStatus::default() };
            let metadata =
                ObjectMeta { resource_version: Some(seconds.to_string()), ..ObjectMeta::default() };
            node(Node { metadata, status: Some(status), ..Node::default() })
        };
        assert_eq!(with(1), with(2));
    }

    #[test]
    fn only_our_own_annotations_are_kept() {
        let annotation = |key: &str| (key.to_owned(), "x".to_owned());
        let annotations =
            [annotation("muslin.dev/asn"), annotation("kubectl.kubernetes.io/last-applied-configuration")];
        let mut kept =
            ObjectMeta { annotations: Some(annotations.into_iter().collect()), ..ObjectMeta::default() };
        metadata(&mut kept);
        assert_eq!(kept.annotations.unwrap().keys().collect::<Vec<_>>(), ["muslin.dev/asn"]);
    }
}
