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
