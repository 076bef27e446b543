//! What agents tell of the resources, on a real etcd and kube-apiserver.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test")]

#[path = "support/control_plane.rs"]
mod control_plane;
#[path = "support/meddler.rs"]
mod meddler;
#[path = "support/objects.rs"]
mod objects;

use std::time::Duration;

use control_plane::ControlPlane;
use http::Method;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use meddler::meddled;
use muslin_cluster::resources::{AdvertisementStatus, NodeNetworkStatusStatus, ProblemStatus, SessionStatus};
use muslin_cluster::{
    ApiClient, ApiSource, Effect, NodeNetwork, NodeReporter, STARTUP_TAINT, condition as condition_of,
    connect, report_objects,
};
use objects::{install_crds, resource, resources};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

const PATIENCE: Duration = Duration::from_mins(1);

/// Looks until it holds; the API has no way to wait for a table.
async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let mut last = String::new();
    let found = tokio::time::timeout(PATIENCE, async {
        let mut pause = tokio::time::interval(Duration::from_millis(100));
        loop {
            pause.tick().await;
            match look().await {
                Ok(found) => return found,
                Err(seen) => last = seen,
            }
        }
    });
    found.await.unwrap_or_else(|_| panic!("{what}: {last}"))
}

/// The row of `kubectl get KIND NAME`, by column; the words of the API server if there is none.
async fn columns(client: &Client, plural: &str, name: &str) -> Result<Value, String> {
    let request = http::Request::get(format!("/apis/muslin.dev/v1alpha1/{plural}/{name}"))
        .header("Accept", "application/json;as=Table;g=meta.k8s.io;v=v1")
        .body(Vec::new())
        .unwrap();
    let table: Value = client.request(request).await.map_err(|error| error.to_string())?;
    let names = table["columnDefinitions"].as_array().unwrap().iter().map(|column| column["name"].as_str());
    let cells = table["rows"][0]["cells"].as_array().unwrap().iter().cloned();
    Ok(names.map(|name| name.unwrap().to_owned()).zip(cells).collect::<serde_json::Map<_, _>>().into())
}

async fn until_columns(client: &Client, plural: &str, name: &str, wanted: &Value) {
    eventually(&format!("{plural} {name}"), async || {
        let row = columns(client, plural, name).await?;
        let differs = wanted.as_object().unwrap().iter().any(|(column, value)| row[column] != *value);
        if differs { Err(row.to_string()) } else { Ok(()) }
    })
    .await;
}

async fn condition(client: &Client, kind: &str, name: &str, wanted: &str) -> Value {
    let object = resources(client, kind).get(name).await.unwrap();
    let conditions = object.data["status"]["conditions"].as_array().unwrap().clone();
    conditions.into_iter().find(|condition| condition["type"] == wanted).unwrap()
}

/// The agent of a node, as far as it tells of objects.
fn agent(client: &ApiClient, node: &str) -> (ApiSource, JoinHandle<()>) {
    let source = ApiSource::watch(client, node, None);
    let told = tokio::spawn(report_objects(client.clone(), node.to_owned(), source.state()));
    (source, told)
}

fn session(peer: &str, address: &str, state: &str) -> SessionStatus {
    SessionStatus {
        peer: peer.to_owned(),
        cause: format!("BGPPeer {peer}"),
        address: Some(address.parse().unwrap()),
        peer_asn: None,
        state: state.to_owned(),
        since: None,
        received: 0,
        accepted: 0,
        advertised: 0,
        last_error: (state != "Established").then(|| "connection refused; start the peer".to_owned()),
    }
}

/// What a node tells whose session with `tor` is in this state.
fn status(state: &str, problems: &[ProblemStatus]) -> NodeNetworkStatusStatus {
    NodeNetworkStatusStatus {
        // As agents have it, for whose next one somebody waits.
        heartbeat: Some(Time(Timestamp::now())),
        sessions: vec![session("tor", "10.0.0.1", state), session("link", "fe80::1", "Established")],
        advertisements: vec![AdvertisementStatus { name: "both".to_owned(), routes: 3 }],
        conditions: vec![condition_of("Accepted", problems.is_empty(), "Accepted", String::new())],
        problems: problems.to_vec(),
        ..NodeNetworkStatusStatus::default()
    }
}

async fn holder(client: &Client) -> Option<String> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), "default");
    leases.get_opt("muslin-status").await.unwrap()?.spec?.holder_identity
}

/// Two nodes, and an object of each kind: of peers and of advertisements each that columns show in a way of its own.
async fn make_cluster(client: &Client) {
    let nodes: Api<Node> = Api::all(client.clone());
    for name in ["n1", "n2"] {
        let node = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
        nodes.create(&PostParams::default(), &node).await.unwrap();
    }
    let make = async |kind: &str, name: &str, spec: Value| {
        let object = resource(kind, name, &spec);
        resources(client, kind).create(&PostParams::default(), &object).await.unwrap();
    };
    make("BGPPeer", "tor", json!({"peerAddress": "10.0.0.1", "peerASN": 65000, "filters": ["none"]})).await;
    make("BGPFilter", "f", json!({"import": [{"action": "Accept"}]})).await;
    make("BGPConfiguration", "default", json!({"asn": 64512})).await;
    let pods = json!({"advertisements": [{"advertisementType": "PodCIDR"}]});
    make("RouteAdvertisement", "pods", pods).await;
    let both = json!({"advertisements": [
        {"advertisementType": "PodCIDR"},
        {"advertisementType": "Service", "service": {"addresses": ["LoadBalancerIP"]}},
    ]});
    make("RouteAdvertisement", "both", both).await;
    for (name, place) in [
        ("link", json!({"interface": "eth0"})),
        ("range", json!({"listenRange": "10.0.0.0/24"})),
        ("gateway", json!({"autoDiscovery": {"mode": "DefaultGateway"}})),
    ] {
        let mut spec = place;
        spec["peerASN"] = json!("external");
        make("BGPPeer", name, spec).await;
    }
}

/// What `kubectl get` prints of them, when one of two sessions with `tor` is up.
async fn rows_show_each_object(client: &Client) {
    let tor = json!({"Address": "10.0.0.1", "ASN": "65000", "Established": "1/2", "Accepted": "True"});
    until_columns(client, "bgppeers", "tor", &tor).await;
    for (name, address, established) in
        [("link", "fe80::1", "2/2"), ("range", "10.0.0.0/24", "0/0"), ("gateway", "DefaultGateway", "0/0")]
    {
        let row = json!({"Address": address, "Established": established, "Accepted": "True"});
        until_columns(client, "bgppeers", name, &row).await;
    }
    for (plural, name) in [("bgpfilters", "f"), ("bgpconfigurations", "default")] {
        until_columns(client, plural, name, &json!({"Accepted": "True"})).await;
    }
    let both = json!({"Announces": "PodCIDR,Service", "Nodes": 2, "Routes": 6, "Accepted": "True"});
    until_columns(client, "routeadvertisements", "both", &both).await;
    let pods = json!({"Announces": "PodCIDR", "Nodes": 0, "Routes": 0, "Accepted": "True"});
    until_columns(client, "routeadvertisements", "pods", &pods).await;
    until_columns(client, "nodenetworkstatuses", "n1", &json!({"Accepted": "True"})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_and_conditions_of_resources_are_what_all_nodes_tell_whichever_agent_writes() {
    let plane = ControlPlane::start().await;
    let client = plane.client().await;
    install_crds(&client).await;
    make_cluster(&client).await;

    let ours = connect(Some(&plane.kubeconfig())).await.unwrap();
    let mut reporters = ["n1", "n2"].map(|node| NodeReporter::new(&ours, node));
    reporters[0].tell_status(&status("Established", &[])).await.unwrap();
    reporters[1].tell_status(&status("Connect", &[])).await.unwrap();
    let (_first_source, first) = agent(&ours, "n1");
    eventually("a holder", async || holder(&client).await.ok_or_else(String::new)).await;
    let (_second_source, _second) = agent(&ours, "n2");

    rows_show_each_object(&client).await;
    let down = condition(&client, "BGPPeer", "tor", "Established").await;
    assert_eq!((&down["status"], &down["reason"]), (&json!("False"), &json!("SomeDown")));
    let message = "1 of 2 sessions are down\nn2: 10.0.0.1 is in Connect: connection refused; start the peer";
    assert_eq!(down["message"], message);
    assert_eq!(down["observedGeneration"], 1);

    // A session comes up.
    reporters[1].tell_status(&status("Established", &[])).await.unwrap();
    until_columns(&client, "bgppeers", "tor", &json!({"Established": "2/2"})).await;

    // Every node refuses a field of it.
    let refused = ProblemStatus {
        object: "BGPPeer tor".to_owned(),
        field: ".spec.filters[0]".to_owned(),
        message: "there is no BGPFilter none".to_owned(),
        remedy: "make the filter".to_owned(),
        effect: Effect::Refused,
    };
    for reporter in &mut reporters {
        reporter.tell_status(&status("Established", std::slice::from_ref(&refused))).await.unwrap();
    }
    until_columns(&client, "bgppeers", "tor", &json!({"Accepted": "False"})).await;
    until_columns(&client, "nodenetworkstatuses", "n1", &json!({"Accepted": "False"})).await;
    let events: Api<Event> = Api::all(client.clone());
    let event = eventually("an event of it", async || {
        let found = events.list(&ListParams::default()).await.unwrap().items.into_iter();
        let of_refusal = |event: &Event| {
            event.reason.as_deref() == Some("Refused") && event.type_.as_deref() == Some("Warning")
        };
        found.into_iter().find(of_refusal).ok_or_else(String::new)
    })
    .await;
    let of = event.regarding.clone().unwrap();
    let tor = resources(&client, "BGPPeer").get("tor").await.unwrap();
    assert_eq!((of.kind.as_deref(), of.name.as_deref(), of.uid), (Some("BGPPeer"), Some("tor"), tor.uid()));
    let note = ".spec.filters[0]: there is no BGPFilter none; make the filter (not applied)";
    assert_eq!(event.note.as_deref(), Some(note));
    let accepted = condition(&client, "BGPPeer", "tor", "Accepted").await;
    assert_eq!((&accepted["reason"], &accepted["message"]), (&json!("Refused"), &json!(note)));

    // The agent that writes dies: another one goes on, and says the new generation.
    assert_eq!(holder(&client).await.as_deref(), Some("n1"));
    first.abort();
    let corrected = Patch::Merge(json!({"spec": {"filters": []}}));
    resources(&client, "BGPPeer").patch("tor", &PatchParams::default(), &corrected).await.unwrap();
    for reporter in &mut reporters {
        reporter.tell_status(&status("Established", &[])).await.unwrap();
    }
    until_columns(&client, "bgppeers", "tor", &json!({"Established": "2/2", "Accepted": "True"})).await;
    assert_eq!(holder(&client).await.as_deref(), Some("n2"));
    assert_eq!(condition(&client, "BGPPeer", "tor", "Accepted").await["observedGeneration"], 2);

    // Nothing is written that has not changed.
    let version = async || resources(&client, "BGPPeer").get("tor").await.unwrap().resource_version();
    let before = version().await;
    for asn in [64513, 64514] {
        let change = Patch::Merge(json!({"spec": {"asn": asn}}));
        let configurations = resources(&client, "BGPConfiguration");
        configurations.patch("default", &PatchParams::default(), &change).await.unwrap();
    }
    eventually("the configuration", async || {
        let accepted = condition(&client, "BGPConfiguration", "default", "Accepted").await;
        if accepted["observedGeneration"] == 3 { Ok(()) } else { Err(accepted.to_string()) }
    })
    .await;
    assert_eq!(version().await, before);
}

/// Somebody else gives the node a taint of their own, between our look and our write.
async fn the_taint_goes_and_the_other_stays(client: &Client) {
    let nodes: Api<Node> = Api::all(client.clone());
    let taint = |key: &str| json!({"key": key, "effect": "NoSchedule"});
    let node = json!({"metadata": {"name": "n1"}, "spec": {"taints": [taint(STARTUP_TAINT)]}});
    nodes.create(&PostParams::default(), &serde_json::from_value(node).unwrap()).await.unwrap();
    let (others, mine) = (nodes.clone(), serde_json::from_value(taint("example.com/mine")).unwrap());
    let meddling = async move {
        let mut node = others.get("n1").await.unwrap();
        node.spec.as_mut().unwrap().taints.get_or_insert_default().push(mine);
        others.replace("n1", &PostParams::default(), &node).await.unwrap();
    };
    let (ours, answers) = meddled(client, &Method::PATCH, "/api/v1/nodes/n1", meddling);
    let network = NodeNetwork { available: true, reason: "Converged", message: "it is there".to_owned() };
    NodeReporter::new(&ours.into(), "n1").tell_network(&network).await.unwrap();
    assert_eq!(answers.codes(), [409, 200]);
    let node = nodes.get("n1").await.unwrap();
    let taints: Vec<_> = node.spec.unwrap().taints.unwrap().into_iter().map(|taint| taint.key).collect();
    assert!(taints.contains(&"example.com/mine".to_owned()), "{taints:?}");
    assert!(!taints.contains(&STARTUP_TAINT.to_owned()), "{taints:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_somebody_else_came_before_is_done_again_on_theirs() {
    let plane = ControlPlane::start().await;
    let client = plane.client().await;
    install_crds(&client).await;
    the_taint_goes_and_the_other_stays(&client).await;

    // Nobody holds the Lease, and somebody makes a note on it before we do.
    let leases: Api<Lease> = Api::namespaced(client.clone(), "default");
    let free = json!({"metadata": {"name": "muslin-status"}, "spec": {"holderIdentity": ""}});
    leases.create(&PostParams::default(), &serde_json::from_value(free).unwrap()).await.unwrap();
    let noting = leases.clone();
    let meddling = async move {
        let note = Patch::Merge(json!({"metadata": {"annotations": {"example.com/note": "mine"}}}));
        noting.patch("muslin-status", &PatchParams::default(), &note).await.unwrap();
    };
    let lease = "/apis/coordination.k8s.io/v1/namespaces/default/leases/muslin-status";
    let (ours, of_lease) = meddled(&client, &Method::PUT, lease, meddling);

    // The peer is made anew before its status is written, and somebody says something of the new one.
    let peers = resources(&client, "BGPPeer");
    let spec = |address: &str| json!({"peerAddress": address, "peerASN": 65000});
    let old = resource("BGPPeer", "tor", &spec("10.0.0.1"));
    let old = peers.create(&PostParams::default(), &old).await.unwrap().uid();
    let others = peers.clone();
    let new = resource("BGPPeer", "tor", &spec("10.0.0.2"));
    let meddling = async move {
        others.delete("tor", &DeleteParams::default()).await.unwrap();
        others.create(&PostParams::default(), &new).await.unwrap();
        let said = condition_of("example.com/Audited", true, "Audited", "by hand".to_owned());
        let said = json!({"apiVersion": "muslin.dev/v1alpha1", "kind": "BGPPeer", "metadata": {"name": "tor"},
                          "status": {"conditions": [said]}});
        others.patch_status("tor", &PatchParams::apply("auditor"), &Patch::Apply(said)).await.unwrap();
    };
    let status = "/apis/muslin.dev/v1alpha1/bgppeers/tor/status";
    let (ours, of_peer) = meddled(&ours, &Method::PATCH, status, meddling);
    let (_source, _told) = agent(&ours.into(), "n1");

    until_columns(&client, "bgppeers", "tor", &json!({"Address": "10.0.0.2", "Accepted": "True"})).await;
    assert_ne!(peers.get("tor").await.unwrap().uid(), old);
    assert_eq!(condition(&client, "BGPPeer", "tor", "example.com/Audited").await["message"], "by hand");
    assert_eq!(of_lease.codes()[..2], [409, 200]);
    assert_eq!(holder(&client).await.as_deref(), Some("n1"));
    let kept = leases.get("muslin-status").await.unwrap();
    assert_eq!(kept.annotations().get("example.com/note").map(String::as_str), Some("mine"));

    // And what somebody else says there is no reason to write again.
    let filter = resource("BGPFilter", "f", &json!({"import": [{"action": "Accept"}]}));
    resources(&client, "BGPFilter").create(&PostParams::default(), &filter).await.unwrap();
    until_columns(&client, "bgpfilters", "f", &json!({"Accepted": "True"})).await;
    assert_eq!(of_peer.codes(), [409, 200]);
}
