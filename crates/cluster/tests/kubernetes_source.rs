//! The source and the resource definitions on a real etcd and kube-apiserver.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test")]

#[path = "support/control_plane.rs"]
mod control_plane;
#[path = "support/objects.rs"]
mod objects;
#[path = "../src/crds/refused.rs"]
mod refused;
#[path = "support/relay.rs"]
mod relay;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use control_plane::ControlPlane;
use futures::TryStreamExt;
use k8s_openapi::api::core::v1::{Namespace, Node, Secret};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use muslin_cluster::{ApiSource, ClusterState, connect};
use objects::{install_crds, resource, resources};
use refused::refused;
use relay::Relay;
use serde_json::{Value, json};
use tokio::sync::watch::Receiver;

const PATIENCE: Duration = Duration::from_mins(1);

async fn until(state: &mut Receiver<Arc<ClusterState>>, what: &str, holds: impl Fn(&ClusterState) -> bool) {
    let found = tokio::time::timeout(PATIENCE, state.wait_for(|state| holds(state))).await.map(|_| ());
    assert!(found.is_ok(), "{what}: {:#?}", state.borrow().problems);
}

fn make_node(name: &str, block: &str) -> Node {
    serde_json::from_value(
        json!({"metadata": {"name": name}, "spec": {"podCIDRs": [block], "podCIDR": block}}),
    )
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_takes_the_definitions_and_refuses_what_each_rule_refuses() {
    let plane = ControlPlane::start().await;
    let client = plane.client().await;
    install_crds(&client).await;
    let dry = PostParams { dry_run: true, ..PostParams::default() };

    let mut wrong = Vec::new();
    for case in refused() {
        let spec: Value = serde_saphyr::from_str(&case.spec).unwrap();
        // A definition is served a moment after it is established.
        match resources(&client, case.kind).create(&dry, &resource(case.kind, case.name, &spec)).await {
            Ok(_) => wrong.push(format!("taken: {case:?}")),
            Err(error) if error.to_string().contains(case.message) => {}
            Err(error) => wrong.push(format!("{case:?}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");

    let spec =
        json!({"peerAddress": "10.0.0.1", "peerASN": 65000, "password": {"secretKeyRef": {"name": "tor"}}});
    let made = resources(&client, "BGPPeer")
        .create(&PostParams::default(), &resource("BGPPeer", "tor", &spec))
        .await;
    let made = made.unwrap();
    assert_eq!(
        made.data["spec"]["password"]["secretKeyRef"],
        json!({"name": "tor", "namespace": "muslin-system", "key": "password"})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_22_fault_23_the_state_follows_the_api_server_and_outlives_it_and_its_memory() {
    let mut plane = ControlPlane::start().await;
    let client = plane.client().await;
    let kubeconfig = plane.kubeconfig();
    let nodes: Api<Node> = Api::all(client.clone());
    nodes.create(&PostParams::default(), &make_node("n1", "10.244.1.0/24")).await.unwrap();

    let kept = tempfile::tempdir().unwrap();
    let ours = connect(Some(&kubeconfig)).await.unwrap();
    let source = ApiSource::watch(&ours, "n1", Some(kept.path().join("last-known-good")));
    let mut state = source.state();
    // The kinds that nobody has defined yet are no hindrance.
    until(&mut state, "the node", |state| state.nodes.contains_key("n1")).await;

    install_crds(&client).await;
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace = serde_json::from_value(json!({"metadata": {"name": "muslin-system"}})).unwrap();
    namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    let secrets: Api<Secret> = Api::namespaced(client.clone(), "muslin-system");
    let secret = |password: &str| {
        serde_json::from_value(json!({"metadata": {"name": "tor"}, "stringData": {"password": password}}))
            .unwrap()
    };
    secrets.create(&PostParams::default(), &secret("sesame")).await.unwrap();
    let peers = resources(&client, "BGPPeer");
    let spec =
        json!({"peerAddress": "10.0.0.1", "peerASN": 65000, "password": {"secretKeyRef": {"name": "tor"}}});
    peers.create(&PostParams::default(), &resource("BGPPeer", "tor", &spec)).await.unwrap();
    let password = |state: &ClusterState| {
        let data = state.secrets.get("muslin-system/tor")?.data.as_ref()?.get("password")?;
        String::from_utf8(data.0.clone()).ok()
    };
    until(&mut state, "the peer and its password", |state| {
        state.bgp_peers.contains_key("tor") && password(state).as_deref() == Some("sesame")
    })
    .await;

    let rotated = Patch::Merge(json!({"stringData": {"password": "changed"}}));
    secrets.patch("tor", &PatchParams::default(), &rotated).await.unwrap();
    until(&mut state, "the new password", |state| password(state).as_deref() == Some("changed")).await;

    // The API server is away: nothing changes but what is said of it.
    let before = state.borrow().clone();
    plane.stop_api();
    until(&mut state, "the complaint", |state| {
        state.problems.iter().any(|problem| problem.object.starts_with("the watch of"))
    })
    .await;
    assert_eq!((&state.borrow().nodes, &state.borrow().bgp_peers), (&before.nodes, &before.bgp_peers));

    // An agent that starts now goes on with what the last one knew.
    let file = kept.path().join("last-known-good/cluster.json");
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut look = tokio::time::interval(Duration::from_millis(50));
    while !std::fs::read_to_string(&file).is_ok_and(|text| text.contains("BGPPeer")) {
        assert!(tokio::time::Instant::now() < deadline, "the peer is not on disk");
        look.tick().await;
    }
    let second = ApiSource::watch(&ours, "n1", Some(kept.path().join("last-known-good")));
    let known = second.state().borrow().clone();
    assert!(known.bgp_peers.contains_key("tor") && password(&known).is_some());
    drop(second);

    // It comes back: what changed meanwhile is seen.
    plane.start_api().await;
    nodes.create(&PostParams::default(), &make_node("n2", "10.244.2.0/24")).await.unwrap();
    peers.delete("tor", &DeleteParams::default()).await.unwrap();
    // As its kubelet would before long.
    let alive = Patch::Merge(json!({"metadata": {"labels": {"alive": "yes"}}}));
    nodes.patch("n1", &PatchParams::default(), &alive).await.unwrap();
    until(&mut state, "the new node, and no peer", |state| {
        state.nodes.contains_key("n2") && state.bgp_peers.is_empty() && state.problems.is_empty()
    })
    .await;

    // It comes back without its memory: nobody believes it.
    plane.stop_api();
    plane.wipe_etcd();
    until(&mut state, "the complaint", |state| !state.problems.is_empty()).await;
    plane.start_api().await;
    until(&mut state, "the doubt", |state| state.problems.iter().any(|problem| problem.object == "nodes"))
        .await;
    assert_eq!(state.borrow().nodes.len(), 2);
}

/// While a watch is silent the store forgets where it was, and the API server that answers it next says so (410).
#[tokio::test(flavor = "multi_thread")]
async fn fault_22_a_watch_whose_place_is_forgotten_lists_anew() {
    let mut plane = ControlPlane::start().await;
    let client = plane.client().await;
    install_crds(&client).await;
    let nodes: Api<Node> = Api::all(client.clone());
    for (name, block) in [("n1", "10.244.1.0/24"), ("n2", "10.244.2.0/24")] {
        nodes.create(&PostParams::default(), &make_node(name, block)).await.unwrap();
    }
    let relay = Relay::to(plane.api_address()).await;
    let ours = connect(Some(&plane.kubeconfig_by(relay.address()))).await.unwrap();
    let source = ApiSource::watch(&ours, "n1", None);
    let mut state = source.state();
    until(&mut state, "the nodes", |state| state.nodes.len() == 2 && state.problems.is_empty()).await;
    // Told by the watch, not by the list: so this is the place where the watch is.
    let label = Patch::Merge(json!({"metadata": {"labels": {"seen": "yes"}}}));
    let seen = nodes.patch("n1", &PatchParams::default(), &label).await.unwrap();
    until(&mut state, "the label", |state| format!("{:?}", state.nodes["n1"]).contains("seen")).await;

    relay.fall_silent();
    nodes.create(&PostParams::default(), &make_node("n3", "10.244.3.0/24")).await.unwrap();
    nodes.delete("n2", &DeleteParams::default()).await.unwrap();
    plane.compact_etcd();
    // One that has been running remembers by itself what the store has forgotten.
    plane.stop_api();
    plane.start_api().await;
    let place = seen.metadata.resource_version.unwrap();
    let refused = nodes.watch(&WatchParams::default(), &place).await;
    let code = match refused {
        Err(kube::Error::Api(status)) => status.code,
        Err(error) => panic!("{error}"),
        Ok(events) => match pin!(events).try_next().await.unwrap() {
            Some(WatchEvent::Error(status)) => status.code,
            other => panic!("the place is not forgotten: {other:?}"),
        },
    };
    assert_eq!(code, 410, "the place is not forgotten");
    assert!(state.borrow().nodes.contains_key("n2"), "the source was told nothing yet");

    relay.lose_and_pass();
    let names = |state: &ClusterState| state.nodes.keys().map(ToString::to_string).collect::<Vec<_>>();
    until(&mut state, "what changed meanwhile", |state| names(state) == ["n1", "n3"]).await;
    // And the watch goes on from there.
    nodes.create(&PostParams::default(), &make_node("n4", "10.244.4.0/24")).await.unwrap();
    until(&mut state, "what comes after", |state| names(state) == ["n1", "n3", "n4"]).await;
}
