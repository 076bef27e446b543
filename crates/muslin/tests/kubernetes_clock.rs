//! A node's clock that is set by a day while its agent follows a real API server.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "support/clock.rs"]
mod clock;
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

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use control_plane::ControlPlane;
use daemon::{Daemon, OURS, PATIENCE};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use muslin_netns::Namespace;
use objects::resources;
use one_node::make_cluster;
use pair::{ROUTER, Rack};
use serde_json::{Value, json};

/// The agent's service account.
const NAMESPACE: &str = "default";
const ACCOUNT: &str = "agent";

/// An API server with a cluster of one node, and the token that the node's agent shows.
struct Cluster {
    plane: ControlPlane,
    client: Client,
    token: PathBuf,
}

impl Cluster {
    async fn start(token: PathBuf) -> Self {
        let plane = ControlPlane::start().await;
        let client = plane.client().await;
        let tor = json!({"peerAddress": "172.30.1.1", "peerASN": 65000, "filters": ["everything"]});
        make_cluster(&client, &tor).await;
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), NAMESPACE);
        let account = serde_json::from_value(json!({"metadata": {"name": ACCOUNT}})).unwrap();
        accounts.create(&PostParams::default(), &account).await.unwrap();
        let bindings: Api<ClusterRoleBinding> = Api::all(client.clone());
        let binding = json!({
            "metadata": {"name": ACCOUNT},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": NAMESPACE}],
        });
        bindings.create(&PostParams::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();
        Self { plane, client, token }
    }

    /// A token in the agent's file that is good for as long as there is a Secret of this name.
    async fn give_token(&self, bound_to: &str) {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), NAMESPACE);
        let secret = serde_json::from_value(json!({"metadata": {"name": bound_to}})).unwrap();
        let secret = secrets.create(&PostParams::default(), &secret).await.unwrap();
        let bound = BoundObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Secret".to_owned()),
            name: Some(bound_to.to_owned()),
            uid: secret.uid(),
        };
        let spec = TokenRequestSpec { bound_object_ref: Some(bound), ..TokenRequestSpec::default() };
        let asked = TokenRequest { spec, ..TokenRequest::default() };
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), NAMESPACE);
        let given = accounts.create_token_request(ACCOUNT, &PostParams::default(), &asked).await.unwrap();
        fs::write(&self.token, given.status.unwrap().token).unwrap();
    }

    async fn revoke_token(&self, bound_to: &str) {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), NAMESPACE);
        secrets.delete(bound_to, &DeleteParams::default()).await.unwrap();
    }

    /// What the agent is to announce from now on.
    async fn announce(&self, prefix: &str) {
        let spec = Patch::Merge(json!({"spec": {"originate": [{"cidr": prefix}]}}));
        let configurations = resources(&self.client, "BGPConfiguration");
        configurations.patch("default", &PatchParams::default(), &spec).await.unwrap();
    }

    async fn restart(&mut self) {
        self.plane.stop_api();
        self.plane.start_api().await;
    }

    /// Waits until the agent has told of itself after `before`, by its clock; what it told.
    async fn told(&self, holds: impl Fn(Timestamp) -> bool) -> Value {
        let mut look = tokio::time::interval(Duration::from_millis(200));
        let found = tokio::time::timeout(PATIENCE, async {
            loop {
                look.tick().await;
                let status = resources(&self.client, "NodeNetworkStatus").get_opt("n1").await.unwrap();
                let status = status.map(|object| object.data["status"].clone()).unwrap_or_default();
                if time(&status["heartbeat"]).is_some_and(&holds) {
                    return status;
                }
            }
        });
        found.await.expect("the agent tells nothing")
    }
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

const DAY: i64 = 86_400;

/// How far a time of the agent's is ahead of ours, in days.
fn days_ahead(time: Timestamp) -> i64 {
    let seconds = time.as_second() - Timestamp::now().as_second();
    (seconds + DAY / 2).div_euclid(DAY)
}

/// The router's kernel gets a route to what the agent announces.
fn await_route(router: &Namespace, prefix: &str) {
    let there = router.await_routes(PATIENCE, |routes| {
        routes.iter().any(|route| route.protocol == OURS && route.prefix.to_string() == prefix)
    });
    assert!(there.unwrap(), "the router has no route to {prefix}");
}

fn established(agent: &Daemon) -> u64 {
    agent.json(&["peers", "tor"])["messages"]["established"].as_u64().unwrap()
}

#[test]
fn fault_25_a_clock_that_jumps_a_day_ends_neither_watches_nor_leases_nor_the_agents_rights() {
    let Some(library) = clock::library() else { return clock::skipped() };
    let rack = Rack::start(ROUTER);
    let own = rack.folder("n1");
    let clock = own.join("clock");
    let set = |jump: &str| fs::write(&clock, jump).unwrap();
    set("+0");
    let variables = [
        ("LD_PRELOAD", library.to_str().unwrap()),
        ("FAKETIME_TIMESTAMP_FILE", clock.to_str().unwrap()),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ];
    let within = rack.node.block_on(async {
        let mut cluster = Cluster::start(own.join("token")).await;
        cluster.give_token("first").await;
        let kubeconfig = cluster.plane.kubeconfig_with_token(&cluster.token);
        let kept = own.join("last-known-good").display().to_string();
        let arguments = ["agent", "--node", "n1", "--last-known-good", &kept];
        let agent =
            Daemon::start_from(&rack.node, &own, &arguments, ("--kubeconfig", &kubeconfig), &variables);
        agent.await_log("session established");
        await_route(&rack.gateway, "10.244.1.0/24");
        cluster.told(|told| days_ahead(told) == 0).await;

        for (jump, days, prefix) in [("+1d", 1, "10.60.1.0/24"), ("-1d", -1, "10.60.2.0/24")] {
            set(jump);
            // By the watch that is under way; and the agent tells, with its own time, how old its session is.
            cluster.announce(prefix).await;
            await_route(&rack.gateway, prefix);
            let status = cluster.told(|told| days_ahead(told) == days).await;
            let since = time(&status["sessions"][0]["since"]).unwrap();
            let age = time(&status["heartbeat"]).unwrap().as_second() - since.as_second();
            assert!((0..3600).contains(&age), "{jump}: a session of {age} s: {status}");
        }
        // A new connection is another matter: by this clock the API server's certificate is of tomorrow. What stands stays.
        cluster.restart().await;
        agent.await_log("certificate");
        await_route(&rack.gateway, "10.60.2.0/24");

        // The clock is right again, and ahead of it the time at which the token was read last.
        set("+1d");
        cluster.announce("10.60.3.0/24").await;
        await_route(&rack.gateway, "10.60.3.0/24");
        set("+0");
        cluster.give_token("second").await;
        cluster.revoke_token("first").await;
        cluster.restart().await;
        cluster.announce("10.60.4.0/24").await;
        await_route(&rack.gateway, "10.60.4.0/24");
        cluster.told(|told| days_ahead(told) == 0).await;

        assert_eq!(established(&agent), 1, "the session was lost: {}", agent.text(&["peers", "tor"]));
        let leases: Api<Lease> = Api::namespaced(cluster.client.clone(), NAMESPACE);
        let lease = leases.get("muslin-status").await.unwrap().spec.unwrap();
        assert_eq!(lease.holder_identity.as_deref(), Some("n1"));
        assert_eq!(lease.lease_transitions, Some(1), "it was taken once: {lease:?}");
    });
    within.unwrap();
}
