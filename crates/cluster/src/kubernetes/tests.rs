use serde_json::{Value, json};

use super::*;
use crate::ClusterState;
use crate::state::{AnyObject, Kind};

/// What is kept of an object that a program has written.
fn kept<W: Written>(value: Value) -> W::Kept {
    let mut faults = Vec::new();
    let kept = serde_json::from_value::<W>(value).unwrap().kept(&mut faults);
    assert_eq!(faults, []);
    kept
}

fn written_again(kind: Kind, name: &str, object: AnyObject) -> Value {
    let mut state = ClusterState::default();
    state.put(name.into(), object);
    let mut manifests = state.manifests();
    let value = manifests.next().unwrap().unwrap();
    assert_eq!((&value["kind"], manifests.count()), (&json!(kind.name()), 0));
    value
}

#[test]
fn a_heartbeat_changes_nothing() {
    let with = |time: &str| {
        kept::<WrittenNode>(json!({
            "metadata": {"name": "n1", "resourceVersion": time, "managedFields": [{"time": time}], "annotations": {"at": time}},
            "status": {"conditions": [{"type": "Ready", "lastHeartbeatTime": time}]},
        }))
    };
    assert_eq!(with("2026-01-01T00:00:00Z"), with("2026-01-01T00:00:10Z"));
}

#[test]
fn a_node_that_is_about_to_leave_says_so_by_taint_or_condition() {
    let node = |taints: Value, message: &str| {
        let condition =
            json!({"type": "Ready", "status": "False", "reason": "KubeletNotReady", "message": message});
        kept::<WrittenNode>(json!({
            "metadata": {"name": "n1"}, "spec": {"taints": taints}, "status": {"conditions": [condition]},
        }))
    };
    let (drain, down) =
        (json!([{"key": "muslin.dev/drain", "effect": "NoSchedule"}]), "node is shutting down");
    let leaving = |taints: &Value, message| node(taints.clone(), message).leaving;
    assert_eq!(leaving(&Value::Null, "container runtime is down"), None);
    assert_eq!(leaving(&json!([{"key": "node.kubernetes.io/unschedulable"}]), ""), None);
    assert_eq!(leaving(&drain, ""), Some(Leaving::Drain));
    assert_eq!(leaving(&drain, down), Some(Leaving::Shutdown));
    assert_eq!(leaving(&Value::Null, "[node is shutting down, and more]"), Some(Leaving::Shutdown));
    let shut_down = json!([{"key": "node.cloudprovider.kubernetes.io/shutdown"}]);
    assert_eq!(leaving(&shut_down, ""), Some(Leaving::Shutdown));

    // Whoever reads the last good state runs on a machine that is up; a drain goes on.
    let again = |node: Node| {
        kept::<WrittenNode>(written_again(Kind::Node, "n1", AnyObject::Node(node.into()))).leaving
    };
    assert_eq!(again(node(drain.clone(), "")), Some(Leaving::Drain));
    assert_eq!(again(node(drain, down)), None);
}

#[test]
fn lists_that_a_server_leaves_empty_are_empty() {
    let slice = json!({"metadata": {"name": "s"}, "addressType": "IPv4", "endpoints": null, "ports": null});
    assert_eq!(kept::<WrittenEndpointSlice>(slice).endpoints, [].into());
    let node = json!({"metadata": {"name": "n"}, "spec": {"podCIDRs": null}, "status": null});
    assert_eq!(kept::<WrittenNode>(node), Node::default());
}

#[test]
fn the_pod_behind_an_endpoint_is_kept_and_what_else_is() {
    let slice = kept::<WrittenEndpointSlice>(json!({
        "metadata": {"name": "web-x", "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "endpoints": [
            {"addresses": ["10.244.1.5"], "nodeName": "n1",
             "targetRef": {"kind": "Pod", "namespace": "shop", "name": "web-1", "uid": "f00"}},
            {"addresses": ["10.244.1.6"], "conditions": {"ready": false}, "targetRef": {"name": "vm"}},
        ],
    }));
    assert_eq!(slice.service.as_deref(), Some("shop/web"));
    assert_eq!(slice.endpoints[0].pod(), Some("shop/web-1"));
    assert_eq!(slice.endpoints[0].conditions, Conditions { ready: true, serving: true, terminating: false });
    assert_eq!((slice.endpoints[1].pod(), slice.endpoints[1].target.as_deref()), (None, Some(" default/vm")));
    assert_eq!(
        slice.endpoints[1].conditions,
        Conditions { ready: false, serving: false, terminating: false }
    );
}

#[test]
fn what_is_kept_is_written_so_that_it_is_read_the_same() {
    let service = json!({
        "metadata": {"labels": {"app": "web"}},
        "spec": {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "clusterIPs": ["10.96.0.1", "fd00::1"],
                 "externalIPs": ["192.0.2.1"]},
        "status": {"loadBalancer": {"ingress": [
            {"hostname": "a.example"}, {"ip": "192.0.2.7", "ipMode": "Proxy"}, {"ip": "192.0.2.8"},
        ]}},
    });
    let service = kept::<WrittenService>(service);
    let paths: Vec<_> = service.addresses().iter().map(|address| address.path.to_string()).collect();
    let expected = [
        ".spec.clusterIPs[0]",
        ".spec.clusterIPs[1]",
        ".spec.externalIPs[0]",
        ".status.loadBalancer.ingress[2].ip",
    ];
    assert_eq!(paths, expected);
    let manifest = written_again(Kind::Service, "shop/web", AnyObject::Service(service.clone().into()));
    assert_eq!(manifest["metadata"], json!({"name": "web", "namespace": "shop", "labels": {"app": "web"}}));
    assert_eq!(kept::<WrittenService>(manifest), service);

    let node = kept::<WrittenNode>(json!({
        "metadata": {"uid": "f00", "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"rack": "a"}},
        "spec": {"podCIDR": "10.244.1.0/24"},
        "status": {"addresses": [{"type": "Hostname", "address": "n1"}, {"type": "InternalIP", "address": "10.0.0.1"}]},
    }));
    let manifest = written_again(Kind::Node, "n1", AnyObject::Node(node.clone().into()));
    assert_eq!(manifest["status"]["addresses"][1], json!({"type": "InternalIP", "address": "10.0.0.1"}));
    assert_eq!(kept::<WrittenNode>(manifest), node);

    let slice = kept::<WrittenEndpointSlice>(json!({
        "metadata": {"namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv6",
        "endpoints": [
            {"addresses": ["fd00::5"], "nodeName": "n1", "conditions": {"ready": false, "serving": true, "terminating": true},
             "targetRef": {"kind": "Pod", "namespace": "shop", "name": "web-1"}},
            {"addresses": ["fd00::6"]},
        ],
    }));
    let manifest =
        written_again(Kind::EndpointSlice, "shop/web-x", AnyObject::EndpointSlice(slice.clone().into()));
    assert_eq!(kept::<WrittenEndpointSlice>(manifest), slice);

    let pod = kept::<WrittenPod>(json!({
        "metadata": {}, "spec": {"nodeName": "n1", "hostNetwork": true},
        "status": {"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]},
    }));
    let manifest = written_again(Kind::Pod, "shop/web-1", AnyObject::Pod(pod.clone().into()));
    assert_eq!(kept::<WrittenPod>(manifest), pod);
}

#[test]
fn what_is_not_known_is_the_least_that_it_can_be() {
    let service = json!({"metadata": {}, "spec": {"type": "Teleport", "externalTrafficPolicy": "Nearest"}});
    let service = kept::<WrittenService>(service);
    assert_eq!(service.kind, ServiceType::ClusterIp);
    assert_eq!(service.external_traffic_policy, Some(TrafficPolicy::Cluster));
}
