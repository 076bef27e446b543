//! A cluster of one node on a real API server, whose agent peers with the router of a [`Rack`](crate::pair::Rack).

use k8s_openapi::api::core::v1::Node;
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::objects::{install_crds, resource, resources};

/// Makes node n1, and the peer `tor` with this spec, from which 10.50.0.0/16 is taken.
pub(crate) async fn make_cluster(client: &Client, tor: &Value) {
    install_crds(client).await;
    let nodes: Api<Node> = Api::all(client.clone());
    let block = "10.244.1.0/24";
    let node = json!({"metadata": {"name": "n1"}, "spec": {"podCIDR": block, "podCIDRs": [block]}});
    nodes.create(&PostParams::default(), &serde_json::from_value(node).unwrap()).await.unwrap();
    let address = json!({"status": {"addresses": [{"type": "InternalIP", "address": "172.30.1.2"}]}});
    nodes.patch_status("n1", &PatchParams::default(), &Patch::Merge(address)).await.unwrap();
    for (kind, name, spec) in [
        ("BGPConfiguration", "default", &json!({"import": {"cidrs": ["10.50.0.0/16"]}})),
        ("BGPFilter", "everything", &json!({"import": [{"action": "Accept"}]})),
        ("BGPPeer", "tor", tor),
    ] {
        let object = resource(kind, name, spec);
        resources(client, kind).create(&PostParams::default(), &object).await.unwrap();
    }
}
