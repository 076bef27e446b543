//! What is kept of an object: what a plan reads, and nothing that changes with every heartbeat.
//!
//! A list that grew while it was read has room for four items, and an item of some has hundreds of octets.

use k8s_openapi::api::core::v1::{
    Node, NodeSpec, NodeStatus, ObjectReference, Secret, Service, ServiceStatus,
};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::kubernetes::SERVICE_NAME;

/// Names, labels, our own annotations, and what tells two objects of one name apart.
pub(crate) fn metadata(metadata: &mut ObjectMeta) {
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

pub(crate) fn node(mut node: Node) -> Node {
    metadata(&mut node.metadata);
    let spec = node.spec.map(|spec| NodeSpec {
        pod_cidr: spec.pod_cidr,
        pod_cidrs: shrunk(spec.pod_cidrs),
        ..NodeSpec::default()
    });
    let status =
        node.status.map(|status| NodeStatus { addresses: shrunk(status.addresses), ..NodeStatus::default() });
    Node { metadata: node.metadata, spec, status }
}

pub(crate) fn service(mut service: Service) -> Service {
    metadata(&mut service.metadata);
    let mut load_balancer = service.status.and_then(|status| status.load_balancer);
    if let Some(load_balancer) = &mut load_balancer {
        load_balancer.ingress = shrunk(load_balancer.ingress.take());
    }
    if let Some(spec) = &mut service.spec {
        spec.ports = shrunk(spec.ports.take());
        spec.cluster_ips = shrunk(spec.cluster_ips.take());
        spec.external_ips = shrunk(spec.external_ips.take());
        spec.ip_families = shrunk(spec.ip_families.take());
    }
    let status = ServiceStatus { load_balancer, ..ServiceStatus::default() };
    Service { status: Some(status), ..service }
}

pub(crate) fn endpoint_slice(mut slice: EndpointSlice) -> EndpointSlice {
    metadata(&mut slice.metadata);
    // It is a reflection of the Service's, and there are more slices than anything else.
    if let Some(labels) = &mut slice.metadata.labels {
        labels.retain(|key, _| key == SERVICE_NAME);
    }
    let endpoints = slice.endpoints.into_iter().map(|endpoint| Endpoint {
        addresses: endpoint.addresses.into_boxed_slice().into_vec(),
        conditions: endpoint.conditions,
        node_name: endpoint.node_name,
        // By it a pod of another node is found, and one with two addresses counted once.
        target_ref: endpoint.target_ref.map(|target| ObjectReference {
            kind: target.kind,
            namespace: target.namespace,
            name: target.name,
            ..ObjectReference::default()
        }),
        ..Endpoint::default()
    });
    let endpoints: Box<[Endpoint]> = endpoints.collect();
    EndpointSlice { endpoints: endpoints.into_vec(), ports: None, ..slice }
}

/// As it was written, but for room that nothing fills: by what it says of its pods they are found.
pub(crate) fn written_endpoint_slice(mut slice: EndpointSlice) -> EndpointSlice {
    metadata(&mut slice.metadata);
    slice.ports = shrunk(slice.ports.take());
    for endpoint in &mut slice.endpoints {
        endpoint.addresses.shrink_to_fit();
    }
    slice.endpoints.shrink_to_fit();
    slice
}

fn shrunk<T>(items: Option<Vec<T>>) -> Option<Vec<T>> {
    items.map(|items| items.into_boxed_slice().into_vec())
}

pub(crate) fn secret(mut secret: Secret) -> Secret {
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
    fn the_pod_behind_an_endpoint_is_kept() {
        let target = |uid: Option<&str>| ObjectReference {
            kind: Some("Pod".to_owned()),
            namespace: Some("shop".to_owned()),
            name: Some("web-1".to_owned()),
            uid: uid.map(str::to_owned),
            ..ObjectReference::default()
        };
        let endpoint = Endpoint {
            addresses: vec!["10.244.1.5".to_owned()],
            target_ref: Some(target(Some("f00"))),
            ..Endpoint::default()
        };
        let kept = endpoint_slice(EndpointSlice { endpoints: vec![endpoint], ..EndpointSlice::default() });
        assert_eq!(kept.endpoints[0].target_ref, Some(target(None)));
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
