//! A router that announces what it must not: the import guard of a node, with policies that let everything in,
//! judged by the kernel's routes and by what the commands say.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "support/daemon.rs"]
mod daemon;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use daemon::{Daemon, OURS, PATIENCE};
use ipnet::IpNet;
use muslin_netns::{Namespace, connect};
use tempfile::TempDir;

/// Three nodes, of which n1 runs: n2 has an AS of its own, n3 that of n1. Everything may be learned as far as
/// policies and `import.cidrs` go.
const CLUSTER: &str = "
apiVersion: v1
kind: Node
metadata: {name: n1}
spec: {podCIDRs: [10.244.1.0/24]}
status: {addresses: [{type: InternalIP, address: 172.30.1.2}]}
---
apiVersion: v1
kind: Node
metadata: {name: n2}
spec: {podCIDRs: [10.244.2.0/24]}
status: {addresses: [{type: InternalIP, address: 172.30.2.2}]}
---
apiVersion: v1
kind: Node
metadata: {name: n3}
spec: {podCIDRs: [10.244.3.0/24]}
status: {addresses: [{type: InternalIP, address: 172.30.3.2}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: kubernetes, namespace: default, labels: {kubernetes.io/service-name: kubernetes}}
addressType: IPv4
endpoints: [{addresses: [192.0.2.10]}]
ports: []
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {type: LoadBalancer, clusterIPs: [10.96.0.10]}
status: {loadBalancer: {ingress: [{ip: 198.51.100.80}]}}
---
apiVersion: muslin.dev/v1alpha1
kind: BGPConfiguration
metadata: {name: default}
spec:
  serviceClusterIPs: [{cidr: 10.96.0.0/16}]
  import: {cidrs: [0.0.0.0/0]}
---
apiVersion: muslin.dev/v1alpha1
kind: BGPConfiguration
metadata: {name: node.n2}
spec: {asn: 64999}
---
apiVersion: muslin.dev/v1alpha1
kind: BGPFilter
metadata: {name: everything}
spec: {import: [{action: Accept}]}
---
apiVersion: muslin.dev/v1alpha1
kind: BGPPeer
metadata: {name: tor}
spec: {peerAddress: 172.30.1.1, peerASN: 65000, filters: [everything]}
";

/// The router; `{originate}` and `{filters}` are each test's own.
const ROUTER: &str = "
apiVersion: muslin.dev/v1alpha1
kind: BGPConfiguration
metadata: {name: default}
spec: {asn: 65000, routerID: 172.30.1.1, originate: [{originate}]}
---
apiVersion: muslin.dev/v1alpha1
kind: BGPFilter
metadata: {name: everything}
spec: {import: [{action: Accept}], export: [{action: Accept}]}
---
apiVersion: muslin.dev/v1alpha1
kind: BGPPeer
metadata: {name: n1}
spec: {peerAddress: 172.30.1.2, peerASN: 64512, filters: [{filters}]}
";

struct World {
    node: Namespace,
    agent: Daemon,
    router: Daemon,
    _gateway: Namespace,
    _folder: TempDir,
}

impl World {
    /// A node whose default route, somebody else's, leads to the router.
    fn start(originated: &[&str], filters: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (gateway, node) = (Namespace::new("tor").unwrap(), Namespace::new("n1").unwrap());
        connect(&node, "eth0", &gateway, "n1").unwrap();
        gateway.add_address("n1", "172.30.1.1/24".parse().unwrap()).unwrap();
        node.add_address("eth0", "172.30.1.2/24".parse().unwrap()).unwrap();
        node.add_route("0.0.0.0/0".parse().unwrap(), "172.30.1.1".parse().unwrap()).unwrap();
        let manifests = |name: &str, text: &str| {
            let state = folder.path().join(name);
            fs::create_dir(&state).unwrap();
            fs::write(state.join("state.yaml"), text).unwrap();
            state
        };
        let run = |name: &str| {
            let path = folder.path().join(name);
            fs::create_dir(&path).unwrap();
            path
        };
        let originate: Vec<_> = originated.iter().map(|prefix| format!("{{cidr: {prefix}}}")).collect();
        let router = ROUTER.replace("{originate}", &originate.join(", ")).replace("{filters}", filters);
        let router = Daemon::start(&gateway, &run("tor"), &["speaker"], &manifests("router", &router));
        let cluster: &Path = &manifests("cluster", CLUSTER);
        let agent = Daemon::start(&node, &run("n1"), &["agent", "--node", "n1"], cluster);
        Self { node, agent, router, _gateway: gateway, _folder: folder }
    }

    /// Waits until the kernel has exactly these learned routes (own blocks left out), and looks that nobody's
    /// default route changed.
    fn kernel_has(&self, expected: &[&str]) {
        let mut expected: Vec<IpNet> = expected.iter().map(|prefix| prefix.parse().unwrap()).collect();
        expected.sort();
        let own: IpNet = "10.244.1.0/24".parse().unwrap();
        let default: IpNet = "0.0.0.0/0".parse().unwrap();
        let mut last = Vec::new();
        let same = self.node.await_routes(PATIENCE, |routes| {
            let ours = routes.iter().filter(|route| route.protocol == OURS && route.prefix != own);
            last = ours.map(|route| route.prefix).collect();
            last.sort();
            last == expected
        });
        assert!(
            same.is_ok(),
            "{last:?}, expected {expected:?}\n{}",
            self.agent.text(&["routes", "received"])
        );
        let routes = self.node.routes().unwrap();
        let defaults: Vec<_> = routes.iter().filter(|route| route.prefix == default).collect();
        assert!(defaults.len() == 1 && defaults[0].protocol != OURS, "{defaults:?}");
    }

    /// Names of the reasons why routes were refused, as programs read them.
    fn refusals(&self) -> BTreeMap<String, String> {
        let received = self.agent.json(&["routes", "received", "--rejected", "--peer", "tor"]);
        let routes = received["bgp"][0]["routes"].as_array().unwrap();
        let text = |value: &serde_json::Value| value.as_str().unwrap_or("?").to_owned();
        routes.iter().map(|route| (text(&route["prefix"]), text(&route["refusal"]))).collect()
    }

    /// How often each reason applied to the peer's routes, as a metrics exporter would read it.
    fn counters(&self) -> BTreeMap<String, u64> {
        let status = self.agent.json(&["status"]);
        serde_json::from_value(status["peers"][0]["refused"].clone()).unwrap()
    }
}

#[test]
fn fault_17_a_leaked_default_route_is_not_installed_and_the_nodes_own_stays() {
    let world = World::start(&["0.0.0.0/0", "10.50.0.0/16"], "everything");
    world.kernel_has(&["10.50.0.0/16"]);
    assert_eq!(world.refusals(), BTreeMap::from([("0.0.0.0/0".to_owned(), "default-route".to_owned())]));
    let said = world.agent.text(&["routes", "received", "--rejected"]);
    assert!(said.contains("a default route is not allowed"), "{said}");
}

#[test]
fn fault_18_nobody_takes_over_what_is_the_nodes_or_the_clusters() {
    let hostile = [
        ("10.244.1.0/24", "own-block"),
        ("10.244.1.7/32", "own-block"),
        ("172.30.1.2/32", "own-address"),
        ("172.30.1.0/24", "protected"),
        ("172.30.1.0/25", "protected"),
        ("172.30.0.0/16", "protected"),
        ("192.0.2.10/32", "protected"),
        ("192.0.2.0/24", "protected"),
        ("10.96.0.0/16", "service-range"),
        ("10.96.0.10/32", "service-range"),
        ("198.51.100.80/32", "service-range"),
    ];
    let announced: Vec<_> = hostile.iter().map(|(prefix, _)| *prefix).chain(["10.50.0.0/16"]).collect();
    let world = World::start(&announced, "everything");
    world.kernel_has(&["10.50.0.0/16"]);
    let expected = hostile.map(|(prefix, reason)| (prefix.to_owned(), reason.to_owned()));
    assert_eq!(world.refusals(), BTreeMap::from(expected));
    let counted = [("own-address", 1), ("own-block", 2), ("protected", 5), ("service-range", 3)];
    assert_eq!(world.counters(), counted.map(|(reason, count)| (reason.to_owned(), count)).into());
    let said = world.agent.text(&["routes", "received", "--rejected"]);
    for cause in [
        "Node n1 .spec.podCIDRs[0]",
        "connected on eth0",
        "API server, EndpointSlice default/kubernetes",
        "BGPConfiguration default .spec.serviceClusterIPs[0]",
        "Service default/web .status.loadBalancer.ingress[0].ip",
    ] {
        assert!(said.contains(cause), "no `{cause}` in:\n{said}");
    }
    let peers = world.agent.text(&["peers"]);
    assert!(peers.contains("refused: own-address 1, own-block 2, protected 5, service-range 3"), "{peers}");
}

#[test]
fn fault_19_a_block_or_a_part_of_one_comes_from_its_owner_or_not_at_all() {
    let announced = ["10.244.2.0/24", "10.244.2.128/25", "10.244.3.0/24", "10.244.3.128/25", "10.244.3.9/32"];
    let world = World::start(&announced, "everything");
    // n3 has our AS, so the block itself may have come from it; nobody can tell that of a part.
    world.kernel_has(&["10.244.3.0/24"]);
    let foreign = ["10.244.2.0/24", "10.244.2.128/25", "10.244.3.128/25", "10.244.3.9/32"];
    let foreign = foreign.map(|prefix| (prefix.to_owned(), "foreign-block".to_owned()));
    assert_eq!(world.refusals(), BTreeMap::from(foreign));
    let said = world.agent.text(&["routes", "received", "--rejected"]);
    assert!(
        said.contains("Node n2 .spec.podCIDRs[0]") && said.contains("Node n3 .spec.podCIDRs[0]"),
        "{said}"
    );
}

#[test]
fn rfc8212_1_an_external_peer_without_filters_exchanges_nothing_and_both_commands_say_so() {
    let world = World::start(&["10.50.0.0/16"], "");
    world.router.await_log("session established");
    let said = world.router.text(&["peers"]);
    assert!(
        said.contains("nothing is accepted: RFC 8212") && said.contains("nothing is sent: RFC 8212"),
        "{said}"
    );
    let status = world.router.text(&["status"]);
    assert!(status.contains("RFC 8212"), "{status}");
    let sent = world.router.json(&["routes", "advertised"]);
    assert_eq!(sent["bgp"][0]["routes"].as_array().map(Vec::len), Some(0), "{sent}");
    world.kernel_has(&[]);
}
