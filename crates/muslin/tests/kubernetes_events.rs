//! Events about routes, as a real API server has them: an agent that follows it, and a router that sends what it must not
//! and then dies.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "../../cluster/tests/support/control_plane.rs"]
mod control_plane;
#[path = "support/daemon.rs"]
mod daemon;
#[path = "../../cluster/tests/support/objects.rs"]
mod objects;

use std::fs;
use std::time::Duration;

use control_plane::ControlPlane;
use daemon::Daemon;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use muslin_netns::{Namespace, connect};
use objects::{install_crds, resource, resources};
use serde_json::{Value, json};

/// Three prefixes where two are allowed, and a default route. Its routes outlive it for a second or two, then as a last
/// resort for as long again.
const ROUTER: &str = "
apiVersion: muslin.dev/v1alpha1
kind: BGPConfiguration
metadata: {name: default}
spec:
  asn: 65000
  routerID: 172.30.1.1
  originate: [{cidr: 10.50.0.0/24}, {cidr: 10.50.1.0/24}, {cidr: 10.50.2.0/24}, {cidr: 0.0.0.0/0}]
---
apiVersion: muslin.dev/v1alpha1
kind: BGPFilter
metadata: {name: everything}
spec: {import: [{action: Accept}], export: [{action: Accept}]}
---
apiVersion: muslin.dev/v1alpha1
kind: BGPPeer
metadata: {name: n1}
spec:
  peerAddress: 172.30.1.2
  peerASN: 64512
  filters: [everything]
  gracefulRestart: {restartTime: 2s, longLivedStaleTime: 2s}
";

/// The peer as the cluster has it.
fn tor() -> Value {
    json!({
        "peerAddress": "172.30.1.1",
        "peerASN": 65000,
        "filters": ["everything"],
        "maxPrefixes": 2,
        "maxPrefixesAction": "Discard",
        "gracefulRestart": {"restartTime": "2s", "longLivedStaleTime": "2s"},
    })
}

async fn make_cluster(client: &Client) {
    install_crds(client).await;
    let nodes: Api<Node> = Api::all(client.clone());
    let node = json!({"metadata": {"name": "n1"}, "spec": {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24"]}});
    nodes.create(&PostParams::default(), &serde_json::from_value(node).unwrap()).await.unwrap();
    let address =
        Patch::Merge(json!({"status": {"addresses": [{"type": "InternalIP", "address": "172.30.1.2"}]}}));
    nodes.patch_status("n1", &PatchParams::default(), &address).await.unwrap();
    for (kind, name, spec) in [
        ("BGPConfiguration", "default", json!({"import": {"cidrs": ["10.50.0.0/16"]}})),
        ("BGPFilter", "everything", json!({"import": [{"action": "Accept"}]})),
        ("BGPPeer", "tor", tor()),
    ] {
        let object = resource(kind, name, &spec);
        resources(client, kind).create(&PostParams::default(), &object).await.unwrap();
    }
}

/// Waits for the event of this reason, and looks that it is a warning about the peer whose note has these words.
async fn warned(client: &Client, reason: &str, words: &str) {
    let events: Api<Event> = Api::all(client.clone());
    let of_reason = ListParams::default().fields(&format!("reason={reason}"));
    let mut look = tokio::time::interval(Duration::from_millis(200));
    let found = tokio::time::timeout(daemon::PATIENCE, async {
        loop {
            look.tick().await;
            if let Some(event) = events.list(&of_reason).await.unwrap().items.pop() {
                return event;
            }
        }
    });
    let Ok(event) = found.await else {
        let all = events.list(&ListParams::default()).await.unwrap().items;
        panic!(
            "no {reason} among {:?}",
            all.iter().map(|event| (&event.reason, &event.note)).collect::<Vec<_>>()
        );
    };
    let tor = resources(client, "BGPPeer").get("tor").await.unwrap();
    let of = event.regarding.unwrap();
    assert_eq!((of.kind.as_deref(), of.name.as_deref(), of.uid), (Some("BGPPeer"), Some("tor"), tor.uid()));
    assert_eq!(event.type_.as_deref(), Some("Warning"));
    let note = event.note.unwrap();
    assert!(note.starts_with("n1: ") && note.contains(words), "{note}");
}

#[test]
fn refused_routes_a_limit_and_routes_that_outlive_their_router_are_events_of_the_peer() {
    let folder = tempfile::tempdir().unwrap();
    let (gateway, node) = (Namespace::new("tor").unwrap(), Namespace::new("n1").unwrap());
    connect(&node, "eth0", &gateway, "n1").unwrap();
    gateway.add_address("n1", "172.30.1.1/24".parse().unwrap()).unwrap();
    node.add_address("eth0", "172.30.1.2/24".parse().unwrap()).unwrap();
    node.add_route("0.0.0.0/0".parse().unwrap(), "172.30.1.1".parse().unwrap()).unwrap();
    let [router_state, of_router, of_agent] = ["state", "tor", "n1"].map(|name| {
        let path = folder.path().join(name);
        fs::create_dir(&path).unwrap();
        path
    });
    fs::write(router_state.join("state.yaml"), ROUTER).unwrap();
    let mut router = Daemon::start(&gateway, &of_router, &["speaker"], &router_state);
    let within = node.block_on(async {
        let plane = ControlPlane::start().await;
        let client = plane.client().await;
        make_cluster(&client).await;
        let kept = of_agent.join("last-known-good").display().to_string();
        let arguments = ["agent", "--node", "n1", "--last-known-good", &kept];
        let agent =
            Daemon::start_from(&node, &of_agent, &arguments, ("--kubeconfig", &plane.kubeconfig()), &[]);

        warned(&client, "PrefixLimitExceeded", "more than 2").await;
        warned(&client, "RoutesRefused", "routes of tor are refused").await;
        router.child.kill().unwrap();
        router.child.wait().unwrap();
        warned(&client, "SessionDown", "the session with tor went down").await;
        warned(&client, "RoutesStale", "are a last resort now").await;
        warned(&client, "RoutesExpired", "its routes are removed").await;
        drop(agent);
    });
    within.unwrap();
}
