use super::{node, state};
use crate::{find, objects_at};

const OBJECTS: &str = "---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {type: ClusterIP, clusterIP: 10.96.0.7, clusterIPs: [10.96.0.7], externalIPs: [192.0.2.1]}
---
apiVersion: v1
kind: Service
metadata: {name: dns, namespace: kube-system}
spec: {type: ClusterIP, clusterIP: 10.96.0.10, clusterIPs: [10.96.0.10], internalTrafficPolicy: Local}
---
apiVersion: v1
kind: Service
metadata: {name: dns, namespace: shop}
spec: {type: LoadBalancer}
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: shop}
spec: {nodeName: a}
status: {phase: Running, podIPs: [{ip: 10.244.1.5}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
addressType: IPv4
metadata: {name: web-x, namespace: shop, labels: {kubernetes.io/service-name: web}}
endpoints:
- {addresses: [10.244.1.5], nodeName: a, targetRef: {kind: Pod, name: web-1, namespace: shop}}
- {addresses: [10.244.2.5], nodeName: b, targetRef: {kind: Pod, name: web-2, namespace: shop}, conditions: {ready: false}}
";

fn cluster() -> muslin_cluster::ClusterState {
    state(&(node("a", &["172.30.1.2"], &["10.244.1.0/24"]) + OBJECTS))
}

#[test]
fn a_service_is_found_by_its_name_with_its_endpoints() {
    for name in ["shop/web", "web", "service/shop/web", "SVC/shop/web"] {
        let found = find(&cluster(), name).unwrap();
        assert_eq!(found.object, "Service shop/web");
        let addresses: Vec<_> = found.addresses.iter().map(|one| one.address.to_string()).collect();
        assert_eq!(addresses, ["10.96.0.7", "192.0.2.1"]);
        assert_eq!(found.remarks[1], "endpoints: 1 ready (on a), 0 ending, 1 not ready");
    }
    let local = find(&cluster(), "kube-system/dns").unwrap();
    assert!(
        local.remarks.iter().any(|remark| remark.contains("internalTrafficPolicy is Local")),
        "{local:?}"
    );
    assert!(local.remarks.iter().any(|remark| remark.contains("it has no endpoint")), "{local:?}");
    let unborn = find(&cluster(), "shop/dns").unwrap();
    assert!(
        unborn.remarks.iter().any(|remark| remark.contains("nobody has given it an address")),
        "{unborn:?}"
    );
}

#[test]
fn a_pod_is_found_here_and_behind_a_service() {
    let here = find(&cluster(), "web-1").unwrap();
    assert_eq!((&*here.object, &*here.remarks[0]), ("Pod shop/web-1", "on a, Running"));
    let there = find(&cluster(), "pod/shop/web-2").unwrap();
    assert_eq!(there.addresses[0].address.to_string(), "10.244.2.5");
    assert_eq!(there.remarks[0], "on b, known as an endpoint of Service shop/web");
}

#[test]
fn a_name_that_is_wrong_or_not_enough_is_answered_with_what_helps() {
    let wrong = find(&cluster(), "shop/wbe").unwrap_err();
    assert!(wrong.contains("did you mean `shop/web`?"), "{wrong}");
    let many = find(&cluster(), "dns").unwrap_err();
    assert!(many.contains("`kube-system/dns` and `shop/dns`"), "{many}");
    let nothing = find(&cluster(), "payments/checkout").unwrap_err();
    assert!(nothing.contains("an address always works"), "{nothing}");
}

#[test]
fn an_address_names_its_objects_and_a_pod_range_its_node() {
    let at = |prefix: &str| objects_at(&cluster(), prefix.parse().unwrap());
    assert_eq!(at("192.0.2.1/32"), ["Service shop/web .spec.externalIPs[0]"]);
    assert_eq!(at("10.244.1.5/32"), ["Node a .spec.podCIDRs[0]", "Pod shop/web-1 .status.podIPs[0]"]);
    assert_eq!(at("203.0.113.0/24"), Vec::<String>::new());
}
