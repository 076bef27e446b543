//! The definitions of Muslin's resources for the API server, made from the very types that read them.

use serde_json::{Value, json};

use crate::resources::rules::CONFIGURATION_NAME;
use crate::resources::schema::{Rule, structural};
use crate::resources::{
    BgpConfigurationSpec, BgpFilterSpec, BgpPeerSpec, BgpPeerStatus, NodeNetworkStatusStatus, ResourceStatus,
    RouteAdvertisementSpec, RouteAdvertisementStatus,
};
use crate::{API_VERSION, plural};

/// A definition as YAML, and the file that it belongs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crd {
    /// `muslin.dev_bgppeers.yaml`.
    pub file: String,
    /// The definition.
    pub yaml: String,
}

/// All definitions.
pub fn crds() -> Vec<Crd> {
    definitions().into_iter().map(|(plural, definition)| crd(&plural, &definition)).collect()
}

/// All definitions by plural name, as JSON.
///
/// `kubectl` prints the first of several values that a column's path leads to, and what has a choice of fields has no one
/// path: such columns show a field of the status that holds the whole.
pub(crate) fn definitions() -> Vec<(String, Value)> {
    let column = |name: &str, path: &str, kind: &str| json!({"name": name, "type": kind, "jsonPath": path});
    let accepted = || column("Accepted", ".status.conditions[?(@.type=='Accepted')].status", "string");
    let age = || column("Age", ".metadata.creationTimestamp", "date");
    vec![
        definition(&Definition {
            kind: "BGPConfiguration",
            short: "bgpconf",
            description: "How the cluster's speakers behave: `default` for all nodes, `node.NAME` for one.",
            spec: Some(structural::<BgpConfigurationSpec>()),
            status: structural::<ResourceStatus>(),
            rules: CONFIGURATION_NAME,
            columns: vec![column("ASN", ".spec.asn", "string"), accepted(), age()],
        }),
        definition(&Definition {
            kind: "BGPPeer",
            short: "bgpp",
            description: "A peer, or a range of peers, of the nodes that it selects.",
            spec: Some(structural::<BgpPeerSpec>()),
            status: structural::<BgpPeerStatus>(),
            rules: &[],
            columns: vec![
                column("Address", ".status.address", "string"),
                column("ASN", ".spec.peerASN", "string"),
                column("Established", ".status.sessions", "string"),
                accepted(),
                age(),
            ],
        }),
        definition(&Definition {
            kind: "BGPFilter",
            short: "bgpf",
            description: "A policy that peers name: rules in order, the first that matches decides.",
            spec: Some(structural::<BgpFilterSpec>()),
            status: structural::<ResourceStatus>(),
            rules: &[],
            columns: vec![accepted(), age()],
        }),
        definition(&Definition {
            kind: "RouteAdvertisement",
            short: "routeadv",
            description: "What nodes announce, with which attributes, to which peers.",
            spec: Some(structural::<RouteAdvertisementSpec>()),
            status: structural::<RouteAdvertisementStatus>(),
            rules: &[],
            columns: vec![
                column("Announces", ".status.announces", "string"),
                column("Nodes", ".status.nodes", "integer"),
                column("Routes", ".status.routes", "integer"),
                accepted(),
                age(),
            ],
        }),
        definition(&Definition {
            kind: "NodeNetworkStatus",
            short: "nns",
            description: "How the network of the node of the same name is doing. The node's agent writes it.",
            spec: None,
            status: structural::<NodeNetworkStatusStatus>(),
            rules: &[],
            columns: vec![
                column("ASN", ".status.asn", "integer"),
                column("Router-ID", ".status.routerID", "string"),
                column("Established", ".status.established", "string"),
                column("Routes", ".status.routes.installed", "integer"),
                column("Ready", ".status.conditions[?(@.type=='Ready')].status", "string"),
                column("Reason", ".status.conditions[?(@.type=='Ready')].reason", "string"),
                accepted(),
                column("Told", ".status.heartbeat", "date"),
                age(),
            ],
        }),
    ]
}

struct Definition {
    kind: &'static str,
    short: &'static str,
    description: &'static str,
    spec: Option<Value>,
    status: Value,
    rules: &'static [Rule],
    columns: Vec<Value>,
}

fn definition(of: &Definition) -> (String, Value) {
    let (group, version) = API_VERSION.split_once('/').unwrap_or((API_VERSION, ""));
    let plural = plural(of.kind);
    let mut properties =
        json!({"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}});
    let mut required = Vec::new();
    if let Some(spec) = &of.spec {
        properties["spec"] = spec.clone();
        required.push("spec");
    }
    properties["status"] = of.status.clone();
    let mut schema = json!({"type": "object", "description": of.description, "properties": properties});
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    if !of.rules.is_empty() {
        schema["x-kubernetes-validations"] = json!(of.rules);
    }
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {
            "group": group,
            "scope": "Cluster",
            "names": {
                "kind": of.kind,
                "listKind": format!("{}List", of.kind),
                "plural": plural,
                "singular": of.kind.to_lowercase(),
                "shortNames": [of.short],
                "categories": ["muslin"],
            },
            "versions": [{
                "name": version,
                "served": true,
                "storage": true,
                "subresources": {"status": {}},
                "additionalPrinterColumns": of.columns,
                "schema": {"openAPIV3Schema": schema},
            }],
        },
    });
    (plural, definition)
}

fn crd(plural: &str, definition: &Value) -> Crd {
    let head = "# Made by `cargo xtask crds` from the types in crates/cluster/src/resources.\n";
    let yaml = serde_saphyr::to_string(definition).unwrap_or_else(|_| definition.to_string());
    let (group, _) = API_VERSION.split_once('/').unwrap_or((API_VERSION, ""));
    Crd { file: format!("{group}_{plural}.yaml"), yaml: format!("{head}{yaml}") }
}

#[cfg(test)]
mod refused;
#[cfg(test)]
mod tests;
