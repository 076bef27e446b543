//! Events about routes, as a real API server has them: an agent that follows it, and a router that sends what it must not
//! and then dies.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "../../cluster/tests/support/control_plane.rs"]
mod control_plane;
#[path = "support/daemon.rs"]
mod daemon;
#[path = "../../cluster/tests/support/objects.rs"]
mod objects;
#[path = "support/one_node.rs"]
mod one_node;
#[path = "support/pair.rs"]
mod pair;

use std::time::Duration;

use control_plane::ControlPlane;
use daemon::Daemon;
use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};
use objects::resources;
use one_node::make_cluster;
use pair::Rack;
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
    let mut rack = Rack::start(ROUTER);
    let own = rack.folder("n1");
    let within = rack.node.block_on(async {
        let plane = ControlPlane::start().await;
        let client = plane.client().await;
        make_cluster(&client, &tor()).await;
        let kept = own.join("last-known-good").display().to_string();
        let arguments = ["agent", "--node", "n1", "--last-known-good", &kept];
        let agent =
            Daemon::start_from(&rack.node, &own, &arguments, ("--kubeconfig", &plane.kubeconfig()), &[]);

        warned(&client, "PrefixLimitExceeded", "more than 2").await;
        warned(&client, "RoutesRefused", "routes of tor are refused").await;
        rack.router.child.kill().unwrap();
        rack.router.child.wait().unwrap();
        warned(&client, "SessionDown", "the session with tor went down").await;
        warned(&client, "RoutesStale", "are a last resort now").await;
        warned(&client, "RoutesExpired", "its routes are removed").await;
        drop(agent);
    });
    within.unwrap();
}
