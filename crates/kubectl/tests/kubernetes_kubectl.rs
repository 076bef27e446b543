//! The real command with a kubeconfig, on a real etcd and kube-apiserver.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test")]

#[path = "../../cluster/tests/support/control_plane.rs"]
mod control_plane;
#[path = "../../cluster/tests/support/objects.rs"]
mod objects;

use std::path::Path;
use std::process::{Command, Output};

use control_plane::ControlPlane;
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use muslin_cluster::resources::{NodeNetworkStatusStatus, RouteCounts, SessionStatus};
use muslin_cluster::{NodeReporter, condition, connect};
use objects::{install_crds, resource, resources};
use serde_json::{Value, json};

/// Makes an object of Kubernetes' own, with its status where it has one.
async fn make(client: &Client, plural: &str, object: &Value) {
    let (group, version) = match object["apiVersion"].as_str().unwrap().split_once('/') {
        Some((group, version)) => (group.to_owned(), version.to_owned()),
        None => (String::new(), object["apiVersion"].as_str().unwrap().to_owned()),
    };
    let gvk = GroupVersionKind::gvk(&group, &version, object["kind"].as_str().unwrap());
    let resource = ApiResource::from_gvk_with_plural(&gvk, plural);
    let api: Api<DynamicObject> = match object["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let made: DynamicObject = serde_json::from_value(object.clone()).unwrap();
    api.create(&PostParams::default(), &made).await.unwrap();
    if !object["status"].is_null() {
        let status = Patch::Merge(json!({"status": object["status"]}));
        let name = object["metadata"]["name"].as_str().unwrap();
        api.patch_status(name, &PatchParams::default(), &status).await.unwrap();
    }
}

/// Two nodes; a Service of type `LoadBalancer` whose one endpoint is on n2, where its Pod is; n1's session is down.
async fn make_cluster(client: &Client, kubeconfig: &Path) {
    install_crds(client).await;
    for number in [1, 2] {
        let node = json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": format!("n{number}")},
            "spec": {"podCIDR": format!("10.244.{number}.0/24"), "podCIDRs": [format!("10.244.{number}.0/24")]},
            "status": {"addresses": [{"type": "InternalIP", "address": format!("172.30.{number}.2")}]},
        });
        make(client, "nodes", &node).await;
    }
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "type": "LoadBalancer", "clusterIP": "10.96.0.80", "externalTrafficPolicy": "Local",
            "ports": [{"port": 80}],
        },
        "status": {"loadBalancer": {"ingress": [{"ip": "198.51.100.80"}]}},
    });
    make(client, "services", &service).await;
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "web-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
        "endpoints": [{"addresses": ["10.244.2.7"], "nodeName": "n2", "conditions": {"ready": true}}],
    });
    make(client, "endpointslices", &slice).await;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-0", "namespace": "default"},
        "spec": {"nodeName": "n2", "containers": [{"name": "c", "image": "c"}]},
        "status": {"podIP": "10.244.2.7", "podIPs": [{"ip": "10.244.2.7"}]},
    });
    make(client, "pods", &pod).await;
    let ours = [
        ("BGPConfiguration", "default", json!({"serviceLoadBalancerIPs": [{"cidr": "198.51.100.0/24"}]})),
        ("BGPPeer", "tor", json!({"peerAddress": "172.30.0.1", "peerASN": 65000})),
    ];
    for (kind, name, spec) in ours {
        resources(client, kind).create(&PostParams::default(), &resource(kind, name, &spec)).await.unwrap();
    }
    let connection = connect(Some(kubeconfig)).await.unwrap();
    for (node, state) in [("n1", "Connect"), ("n2", "Established")] {
        let up = state == "Established";
        let ready = if up {
            condition("Ready", true, "Converged", "every session is up".to_owned())
        } else {
            condition("Ready", false, "SessionsDown", "waiting for peer tor: Connect".to_owned())
        };
        let session = SessionStatus {
            peer: "tor".to_owned(),
            cause: "BGPPeer tor".to_owned(),
            address: Some("172.30.0.1".parse().unwrap()),
            peer_asn: up.then_some(65000),
            state: state.to_owned(),
            since: None,
            received: 4,
            accepted: 3,
            advertised: 2,
            last_error: (!up).then(|| "connection refused; start the peer".to_owned()),
        };
        let status = NodeNetworkStatusStatus {
            version: "0.1.0".to_owned(),
            asn: Some(64512),
            established: if up { "1/1" } else { "0/1" }.to_owned(),
            sessions: vec![session],
            routes: RouteCounts { originated: 2, desired: 1, installed: 1 },
            conditions: vec![ready],
            ..NodeNetworkStatusStatus::default()
        };
        NodeReporter::new(&connection, node).tell_status(&status).await.unwrap();
    }
}

struct Kubectl(std::path::PathBuf);

impl Kubectl {
    async fn ask(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-muslin"));
        command.args(args).env("KUBECONFIG", &self.0);
        tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap()
    }

    async fn text(&self, args: &[&str]) -> String {
        let output = self.ask(args).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    async fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.text(&[args, &["--output", "json"]].concat()).await).unwrap()
    }

    async fn refusal(&self, args: &[&str]) -> String {
        let output = self.ask(args).await;
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    }
}

/// The words of a line, without the spaces of its columns.
fn words(line: &str) -> Vec<&str> {
    line.split("   ").map(str::trim).filter(|word| !word.is_empty()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plugin_answers_for_the_whole_cluster_by_the_api_server_alone() {
    let plane = ControlPlane::start().await;
    let client = plane.client().await;
    make_cluster(&client, &plane.kubeconfig()).await;
    let kubectl = Kubectl(plane.kubeconfig());

    let status = kubectl.text(&["status"]).await;
    assert!(status.starts_with("! Node n1: waiting for peer tor: Connect (SessionsDown)"), "{status}");
    let n2 = status.lines().find(|line| line.starts_with("n2")).unwrap();
    assert_eq!(words(n2), ["n2", "True", "Converged", "64512", "1/1", "2", "1", "0.1.0"]);
    let status = kubectl.json(&["status"]).await;
    assert_eq!(status["nodes"][0]["ready"], "False");

    let peers = kubectl.text(&["peers", "tor"]).await;
    assert!(peers.contains("connection refused; start the peer"), "{peers}");
    let down = kubectl.json(&["peers", "--down"]).await;
    assert_eq!((down.as_array().unwrap().len(), &down[0]["node"]), (1, &json!("n1")));
    let yaml = kubectl.text(&["peers", "--node", "n2", "--output", "yaml"]).await;
    assert!(yaml.contains("state: Established") && yaml.contains("peerASN: 65000"), "{yaml}");
    let wrong = kubectl.refusal(&["peers", "torr"]).await;
    assert!(wrong.contains("there is no peer torr; did you mean `tor`?"), "{wrong}");

    let routes = kubectl.text(&["routes"]).await;
    let service = routes.lines().find(|line| line.starts_with("198.51.100.80/32")).unwrap();
    assert_eq!(words(service)[..3], ["198.51.100.80/32", "n2", "1/1"]);
    let pods = routes.lines().find(|line| line.starts_with("10.244.1.0/24")).unwrap();
    assert_eq!(words(pods)[..4], ["10.244.1.0/24", "n1", "0/1", "Node n1 .spec.podCIDRs[0]"]);
    let of_n1 = kubectl.json(&["routes", "--node", "n1"]).await;
    assert_eq!(of_n1.as_array().unwrap().len(), 1);

    let explained = kubectl.text(&["explain", "service/web"]).await;
    for line in [
        "Service default/web",
        "  externalTrafficPolicy Local",
        "  1 of 1 endpoints are ready, on n2",
        "  announced by n2 because of Service default/web .status.loadBalancer.ingress[0].ip; sessions: 1/1",
    ] {
        assert!(explained.lines().any(|found| found == line), "{line}\n{explained}");
    }
    assert!(explained.contains("not by n1, although Service default/web"), "{explained}");
    assert!(explained.contains("externalTrafficPolicy is Local and no endpoint on this node is ready"));
    assert_eq!(kubectl.text(&["explain", "web", "--namespace", "default"]).await, explained);

    let pod = kubectl.text(&["explain", "pod/web-0"]).await;
    assert!(pod.contains("it runs on Node n2"), "{pod}");
    let within = "announced by n2 within 10.244.2.0/24 because of Node n2 .spec.podCIDRs[0]; sessions: 1/1";
    assert!(pod.contains(within), "{pod}");
    assert!(kubectl.text(&["explain", "10.244.1.0/24"]).await.contains("announced by n1 because of"));

    let unknown = kubectl.ask(&["explain", "203.0.113.0/24"]).await;
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8(unknown.stdout).unwrap().contains("no object asks for it"));
    let wrong = kubectl.refusal(&["explain", "wep"]).await;
    assert!(
        wrong.contains("there is no Service or Pod wep in namespace default; did you mean `web`?"),
        "{wrong}"
    );
    let nowhere = Kubectl("/nonexistent/kubeconfig".into()).refusal(&["status"]).await;
    assert_eq!(nowhere.matches("No such file").count(), 1, "{nowhere}");
    assert!(nowhere.contains("name another one with --kubeconfig"), "{nowhere}");
}
