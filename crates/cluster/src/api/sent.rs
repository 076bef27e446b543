//! Kubernetes' own objects as the API server sends them, of which no more is read than is used.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, ApiResource, GroupVersionKind};
use kube::core::DynamicResourceScope;
use kube::{Client, Resource};
use serde::Deserialize;

use crate::kubernetes::Written;
use crate::state::Kind;

/// An object that the API server has sent.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct Sent<W>(pub(super) W);

/// The objects of `kind` in all namespaces.
pub(super) fn sent<W: Written>(client: Client, kind: Kind) -> Api<Sent<W>> {
    Api::all_with(client, &resource_of(kind))
}

/// Where in the API a kind lives.
pub(super) fn resource_of(kind: Kind) -> ApiResource {
    let (group, version) = kind.api_version().split_once('/').unwrap_or(("", kind.api_version()));
    let gvk = GroupVersionKind::gvk(group, version, kind.name());
    ApiResource::from_gvk_with_plural(&gvk, &crate::plural(kind.name()))
}

impl<W: Written> Resource for Sent<W> {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(of: &ApiResource) -> Cow<'_, str> {
        of.kind.as_str().into()
    }

    fn group(of: &ApiResource) -> Cow<'_, str> {
        of.group.as_str().into()
    }

    fn version(of: &ApiResource) -> Cow<'_, str> {
        of.version.as_str().into()
    }

    fn plural(of: &ApiResource) -> Cow<'_, str> {
        of.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.metadata()
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.metadata_mut()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{Node, Pod, Service};
    use k8s_openapi::api::discovery::v1::EndpointSlice;
    use kube::core::{ObjectList, WatchEvent};
    use serde_json::json;

    use super::*;
    use crate::kubernetes::{WrittenEndpointSlice, WrittenNode, WrittenPod, WrittenService};

    #[test]
    fn objects_are_asked_for_where_they_are() {
        fn path<W: Written>(kind: Kind, namespace: Option<&str>) -> String {
            Sent::<W>::url_path(&resource_of(kind), namespace)
        }
        assert_eq!(path::<WrittenNode>(Kind::Node, None), Node::url_path(&(), None));
        assert_eq!(path::<WrittenService>(Kind::Service, None), Service::url_path(&(), None));
        let slices = path::<WrittenEndpointSlice>(Kind::EndpointSlice, None);
        assert_eq!(slices, EndpointSlice::url_path(&(), None));
        assert_eq!(path::<WrittenPod>(Kind::Pod, Some("shop")), Pod::url_path(&(), Some("shop")));
    }

    #[test]
    fn lists_and_events_are_read_with_what_a_watch_goes_on_from() {
        let node = json!({
            "kind": "Node", "apiVersion": "v1",
            "metadata": {"name": "n1", "uid": "f00", "resourceVersion": "7", "managedFields": [{"manager": "kubelet", "fieldsV1": {"f:spec": {}}}]},
            "spec": {"podCIDRs": ["10.244.1.0/24"], "taints": null},
            "status": {"images": [{"names": ["a"], "sizeBytes": 1}]},
        });
        let list = json!({"kind": "NodeList", "apiVersion": "v1", "metadata": {"resourceVersion": "9"}, "items": [node]});
        let list: ObjectList<Sent<WrittenNode>> = serde_json::from_value(list).unwrap();
        assert_eq!(list.metadata.resource_version.as_deref(), Some("9"));
        assert_eq!(list.items[0].meta().resource_version.as_deref(), Some("7"));
        assert_eq!(list.items[0].meta().managed_fields, None);

        let event = json!({"type": "MODIFIED", "object": node});
        let WatchEvent::Modified(Sent(node)) = serde_json::from_value(event).unwrap() else { panic!() };
        let node: crate::kubernetes::Node = WrittenNode::kept(node, &mut Vec::new());
        assert_eq!(node.pod_cidrs()[0].value, "10.244.1.0/24".parse().unwrap());
        let mark = json!({"type": "BOOKMARK", "object": {"kind": "Node", "apiVersion": "v1", "metadata": {"resourceVersion": "11", "creationTimestamp": null}}});
        let mark: WatchEvent<Sent<WrittenNode>> = serde_json::from_value(mark).unwrap();
        assert!(matches!(mark, WatchEvent::Bookmark(mark) if mark.metadata.resource_version == "11"));
    }
}
