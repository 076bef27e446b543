//! Our resources, as a test makes them.

#![allow(dead_code, reason = "not every test needs all of it")]

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DynamicObject, GroupVersionKind, PostParams};
use kube::core::ApiResource;
use kube::{Client, Resource};
use muslin_cluster::crds;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) fn resources(client: &Client, kind: &str) -> Api<DynamicObject> {
    let gvk = GroupVersionKind::gvk("muslin.dev", "v1alpha1", kind);
    let plural = format!("{}{}", kind.to_lowercase(), if kind.ends_with('s') { "es" } else { "s" });
    Api::all_with(client.clone(), &ApiResource::from_gvk_with_plural(&gvk, &plural))
}

pub(crate) fn resource(kind: &str, name: &str, spec: &Value) -> DynamicObject {
    let object =
        json!({"apiVersion": "muslin.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
    serde_json::from_value(object).unwrap()
}

pub(crate) async fn install_crds(client: &Client) {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let mut names = Vec::new();
    for crd in crds() {
        let crd: CustomResourceDefinition = serde_saphyr::from_str(&crd.yaml).unwrap();
        let name = crd.meta().name.clone().unwrap();
        let made = api.create(&PostParams::default(), &crd).await;
        made.unwrap_or_else(|error| panic!("{name}: {error}"));
        names.push(name);
    }
    for name in names {
        let established = kube::runtime::conditions::is_crd_established();
        let waited = kube::runtime::wait::await_condition(api.clone(), &name, established);
        tokio::time::timeout(PATIENCE, waited).await.unwrap().unwrap();
    }
}
