//! What an agent may do with the rights that the chart gives it, on a real etcd and kube-apiserver.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test")]

#[path = "support/control_plane.rs"]
mod control_plane;
#[path = "support/objects.rs"]
mod objects;

use std::time::Duration;

use control_plane::ControlPlane;
use kube::Client;
use objects::install_crds;
use serde_json::{Value, json};

const MANIFESTS: &str = include_str!("../../../deploy/manifests/muslin.yaml");

/// The objects of the chart that give and take rights.
fn rights() -> Vec<(String, Value)> {
    let documents =
        MANIFESTS.split("\n---\n").filter(|text| text.contains("\nkind: ") || text.contains("kind: "));
    let objects = documents.map(|text| serde_saphyr::from_str::<Value>(text).unwrap());
    let path = |kind: &str| {
        Some(match kind {
            "ClusterRole" => "/apis/rbac.authorization.k8s.io/v1/clusterroles",
            "ClusterRoleBinding" => "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
            "Role" => "/apis/rbac.authorization.k8s.io/v1/namespaces/muslin-system/roles",
            "RoleBinding" => "/apis/rbac.authorization.k8s.io/v1/namespaces/muslin-system/rolebindings",
            "ValidatingAdmissionPolicy" => {
                "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
            }
            "ValidatingAdmissionPolicyBinding" => {
                "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings"
            }
            _ => return None,
        })
    };
    objects.filter_map(|object| Some((path(object["kind"].as_str()?)?.to_owned(), object))).collect()
}

/// Who asks: the administrator, or the agent of a node.
#[derive(Clone, Copy)]
enum As {
    Admin,
    AgentOf(&'static str),
}

/// The answer of the API server; its words, if it refuses.
async fn ask(
    client: &Client,
    who: As,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> Result<Value, String> {
    let mut request = http::Request::builder().method(method).uri(path);
    if let As::AgentOf(node) = who {
        request = request
            .header("Impersonate-User", "system:serviceaccount:muslin-system:muslin")
            .header("Impersonate-Group", "system:authenticated")
            .header("Impersonate-Extra-authentication.kubernetes.io%2Fnode-name", node);
    }
    let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let body = body.map(|body| serde_json::to_vec(body).unwrap()).unwrap_or_default();
    let request = request.header("Content-Type", kind).body(body).unwrap();
    client.request(request).await.map_err(|error| error.to_string())
}

async fn patch(client: &Client, who: As, path: &str, body: &Value) -> Result<Value, String> {
    ask(client, who, "PATCH", path, Some(body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_writes_of_its_own_node_only_and_reads_only_secrets_that_are_named() {
    let plane = ControlPlane::start().await;
    let client = plane.client().await;
    install_crds(&client).await;
    let make = async |path: &str, body: Value| {
        ask(&client, As::Admin, "POST", path, Some(&body)).await.unwrap();
    };
    make("/api/v1/namespaces", json!({"metadata": {"name": "muslin-system"}})).await;
    let startup = json!({"key": "muslin.dev/agent-not-ready", "effect": "NoSchedule"});
    let other = json!({"key": "example.com/mine", "effect": "NoSchedule"});
    for name in ["n1", "n2"] {
        make("/api/v1/nodes", json!({"metadata": {"name": name}, "spec": {"taints": [startup, other]}}))
            .await;
    }
    let rights = rights();
    assert_eq!(rights.len(), 6);
    for (path, object) in rights {
        make(&path, object).await;
    }
    let n1 = As::AgentOf("n1");
    let available =
        json!({"status": {"conditions": [{"type": "NetworkUnavailable", "status": "False", "reason": "x"}]}});

    // A policy takes a moment to come into force.
    let refused = tokio::time::timeout(Duration::from_mins(1), async {
        let mut pause = tokio::time::interval(Duration::from_millis(200));
        loop {
            pause.tick().await;
            let tried = patch(&client, n1, "/api/v1/nodes/n2/status", &available).await;
            if let Err(words) = tried {
                return words;
            }
        }
    });
    let refused = refused.await.unwrap();
    assert!(refused.contains("an agent of Muslin writes of its own node only"), "{refused}");

    patch(&client, n1, "/api/v1/nodes/n1/status", &available).await.unwrap();
    let words = |answer: Result<Value, String>| answer.err().unwrap_or_else(|| "taken".to_owned());
    let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True", "reason": "x"}]}});
    let told = words(patch(&client, n1, "/api/v1/nodes/n1/status", &ready).await);
    assert!(told.contains("the condition NetworkUnavailable"), "{told}");
    let told =
        words(patch(&client, n1, "/api/v1/nodes/n1", &json!({"metadata": {"labels": {"a": "b"}}})).await);
    assert!(told.contains("nothing of its Node but the startup taint"), "{told}");
    let told = words(patch(&client, n1, "/api/v1/nodes/n1", &json!({"spec": {"taints": []}})).await);
    assert!(told.contains("and no other"), "{told}");
    // The API server gave it one of its own when it was made.
    let node = ask(&client, n1, "GET", "/api/v1/nodes/n1", None).await.unwrap();
    let mut others = node["spec"]["taints"].as_array().unwrap().clone();
    others.retain(|taint| taint["key"] != startup["key"]);
    assert!(others.iter().any(|taint| taint["key"] == other["key"]));
    patch(&client, n1, "/api/v1/nodes/n1", &json!({"spec": {"taints": others}})).await.unwrap();
    let told = words(patch(&client, n1, "/api/v1/nodes/n2", &json!({"spec": {"taints": [other]}})).await);
    assert!(told.contains("its own node only"), "{told}");
    patch(&client, As::Admin, "/api/v1/nodes/n1", &json!({"metadata": {"labels": {"a": "b"}}}))
        .await
        .unwrap();

    let statuses = "/apis/muslin.dev/v1alpha1/nodenetworkstatuses";
    let status = |name: &str| json!({"apiVersion": "muslin.dev/v1alpha1", "kind": "NodeNetworkStatus", "metadata": {"name": name}});
    ask(&client, n1, "POST", statuses, Some(&status("n1"))).await.unwrap();
    let told = words(ask(&client, n1, "POST", statuses, Some(&status("n2"))).await);
    assert!(told.contains("its own node only"), "{told}");
    let asn = json!({"status": {"asn": 64512}});
    patch(&client, n1, &format!("{statuses}/n1/status"), &asn).await.unwrap();
    let told = words(patch(&client, As::AgentOf("n2"), &format!("{statuses}/n1/status"), &asn).await);
    assert!(told.contains("its own node only"), "{told}");

    // Peers' passwords, by name.
    let secrets = "/api/v1/namespaces/muslin-system/secrets";
    for name in ["muslin-bgp", "other"] {
        make(secrets, json!({"metadata": {"name": name}, "stringData": {"password": "sesame"}})).await;
    }
    let read = async |query: &str| ask(&client, n1, "GET", &format!("{secrets}{query}"), None).await;
    let named = read("?fieldSelector=metadata.name%3Dmuslin-bgp").await.unwrap();
    assert_eq!(named["items"].as_array().unwrap().len(), 1);
    for query in ["", "?fieldSelector=metadata.name%3Dother", "/other"] {
        let told = words(read(query).await);
        assert!(told.contains("is forbidden"), "{query}: {told}");
    }

    // The Lease, and what its holder tells.
    let leases = "/apis/coordination.k8s.io/v1/namespaces/muslin-system/leases";
    ask(&client, n1, "POST", leases, Some(&json!({"metadata": {"name": "muslin-status"}}))).await.unwrap();
    ask(&client, n1, "GET", &format!("{leases}/muslin-status"), None).await.unwrap();
    let told = words(ask(&client, n1, "GET", &format!("{leases}/other"), None).await);
    assert!(told.contains("is forbidden"), "{told}");
    ask(&client, n1, "GET", statuses, None).await.unwrap();
}
