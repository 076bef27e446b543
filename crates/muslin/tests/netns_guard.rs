//! A router that announces what it must not: the import guard of a node, with policies that let everything in,
//! judged by the kernel's routes and by what the commands say.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/pair.rs"]
mod pair;

use std::collections::BTreeMap;

use daemon::{OURS, PATIENCE};
use ipnet::IpNet;
use pair::{Pair, ROUTER};

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

/// The router, with what it originates and the words of its filters that each test has.
fn router(originated: &[&str], filters: &str) -> String {
    let originate: Vec<_> = originated.iter().map(|prefix| format!("{{cidr: {prefix}}}")).collect();
    ROUTER
        .replace("{cidr: 10.50.0.0/16}", &originate.join(", "))
        .replace("filters: [everything]", &format!("filters: [{filters}]"))
}

struct World(Pair);

impl World {
    fn start(originated: &[&str], filters: &str) -> Self {
        Self(Pair::start(CLUSTER, &router(originated, filters)))
    }

    /// Waits until the kernel has exactly these learned routes (own blocks left out), and looks that nobody's
    /// default route changed.
    fn kernel_has(&self, expected: &[&str]) {
        let mut expected: Vec<IpNet> = expected.iter().map(|prefix| prefix.parse().unwrap()).collect();
        expected.sort();
        let own: IpNet = "10.244.1.0/24".parse().unwrap();
        let default: IpNet = "0.0.0.0/0".parse().unwrap();
        let mut last = Vec::new();
        let same = self.0.node.await_routes(PATIENCE, |routes| {
            let ours = routes.iter().filter(|route| route.protocol == OURS && route.prefix != own);
            last = ours.map(|route| route.prefix).collect();
            last.sort();
            last == expected
        });
        assert!(
            same.is_ok(),
            "{last:?}, expected {expected:?}\n{}",
            self.0.agent.text(&["routes", "received"])
        );
        let routes = self.0.node.routes().unwrap();
        let defaults: Vec<_> = routes.iter().filter(|route| route.prefix == default).collect();
        assert!(defaults.len() == 1 && defaults[0].protocol != OURS, "{defaults:?}");
    }

    /// Names of the reasons why routes were refused, as programs read them.
    fn refusals(&self) -> BTreeMap<String, String> {
        let received = self.0.agent.json(&["routes", "received", "--rejected", "--peer", "tor"]);
        let routes = received["bgp"][0]["routes"].as_array().unwrap();
        let text = |value: &serde_json::Value| value.as_str().unwrap_or("?").to_owned();
        routes.iter().map(|route| (text(&route["prefix"]), text(&route["refusal"]))).collect()
    }

    /// How often each reason applied to the peer's routes, as a metrics exporter would read it.
    fn counters(&self) -> BTreeMap<String, u64> {
        let status = self.0.agent.json(&["status"]);
        serde_json::from_value(status["peers"][0]["refused"].clone()).unwrap()
    }
}

#[test]
fn fault_17_a_leaked_default_route_is_not_installed_and_the_nodes_own_stays() {
    let world = World::start(&["0.0.0.0/0", "10.50.0.0/16"], "everything");
    world.kernel_has(&["10.50.0.0/16"]);
    assert_eq!(world.refusals(), BTreeMap::from([("0.0.0.0/0".to_owned(), "default-route".to_owned())]));
    let said = world.0.agent.text(&["routes", "received", "--rejected"]);
    assert!(said.contains("a default route is not allowed"), "{said}");
}

#[test]
fn fault_17_a_default_route_that_is_allowed_is_installed_beside_the_nodes_own() {
    let cluster =
        CLUSTER.replace("import: {cidrs: [0.0.0.0/0]}", "import: {cidrs: [0.0.0.0/0], defaultRoute: Accept}");
    let pair = Pair::start(&cluster, &router(&["0.0.0.0/0", "10.50.0.0/16"], "everything"));
    let default: IpNet = "0.0.0.0/0".parse().unwrap();
    let installed = pair.node.await_routes(PATIENCE, |routes| {
        routes.iter().any(|route| route.protocol == OURS && route.prefix == default)
    });
    assert!(installed.unwrap(), "{}", pair.agent.text(&["routes", "received"]));
    let routes = pair.node.routes().unwrap();
    let own: Vec<_> =
        routes.iter().filter(|route| route.prefix == default && route.protocol != OURS).collect();
    // Lower than ours, so it goes on being the one that is used.
    assert!(matches!(&own[..], [own] if own.metric < 77), "{own:?}");
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
    let said = world.0.agent.text(&["routes", "received", "--rejected"]);
    for cause in [
        "Node n1 .spec.podCIDRs[0]",
        "connected on eth0",
        "API server, EndpointSlice default/kubernetes",
        "BGPConfiguration default .spec.serviceClusterIPs[0]",
        "Service default/web .status.loadBalancer.ingress[0].ip",
    ] {
        assert!(said.contains(cause), "no `{cause}` in:\n{said}");
    }
    let peers = world.0.agent.text(&["peers"]);
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
    let said = world.0.agent.text(&["routes", "received", "--rejected"]);
    assert!(
        said.contains("Node n2 .spec.podCIDRs[0]") && said.contains("Node n3 .spec.podCIDRs[0]"),
        "{said}"
    );
}

/// A next hop that only a learned route reaches, the route itself or another, leads nowhere; nor does a pod.
#[test]
fn fault_20_next_hops_over_learned_routes_or_pods_are_not_used_and_better_ones_are_at_once() {
    let over = |prefix: &str, next_hop: &str| {
        format!("{{prefixes: [{{cidr: {prefix}}}], action: Accept, operations: {{nextHop: {next_hop}}}}}, ")
    };
    let rules = over("10.60.0.0/16", "10.244.1.7")
        + &over("10.61.0.0/16", "10.244.3.9")
        + &over("10.62.0.0/16", "10.62.0.1")
        + &over("10.63.0.0/16", "10.50.0.9");
    let originated = ["10.50.0.0/16", "10.60.0.0/16", "10.61.0.0/16", "10.62.0.0/16", "10.63.0.0/16"];
    let router = router(&originated, "everything").replace("export: [", &format!("export: [{rules}"));
    // What a peer on the link names has to be on the link as well.
    let cluster = CLUSTER.replace("peerASN: 65000", "peerASN: 65000, multihop: 2");
    let pair = Pair::start(&cluster, &router);
    let has = |expected: &[&str]| {
        let mut last = Vec::new();
        let own: IpNet = "10.244.1.0/24".parse().unwrap();
        let same = pair.node.await_routes(PATIENCE, |routes| {
            let ours = routes.iter().filter(|route| route.protocol == OURS && route.prefix != own);
            last = ours.map(|route| route.prefix.to_string()).collect();
            last.sort();
            last == expected
        });
        assert!(same.unwrap(), "{last:?}, not {expected:?}\n{}", pair.agent.text(&["routes", "received"]));
    };
    // Somebody else's default route leads everywhere, but not into a pod.
    has(&["10.50.0.0/16", "10.62.0.0/16", "10.63.0.0/16"]);
    pair.node.remove_route("0.0.0.0/0".parse().unwrap()).unwrap();
    has(&["10.50.0.0/16"]);
    let received = pair.agent.json(&["routes", "received", "--peer", "tor"]);
    let standing = |prefix: &str| {
        let routes = received["bgp"][0]["routes"].as_array().unwrap();
        let route = routes.iter().find(|route| route["prefix"] == prefix).unwrap();
        (route["state"].as_str().unwrap().to_owned(), route["refusal"].as_str().map(ToOwned::to_owned))
    };
    let pod = ("refused".to_owned(), Some("pod-next-hop".to_owned()));
    let nowhere = ("unreachable".to_owned(), None);
    assert_eq!([standing("10.60.0.0/16"), standing("10.61.0.0/16")], [pod.clone(), pod]);
    assert_eq!([standing("10.62.0.0/16"), standing("10.63.0.0/16")], [nowhere.clone(), nowhere]);
    // A way that is nobody's learned route opens one of them, and only that one.
    pair.node.add_route("10.50.0.9/32".parse().unwrap(), "172.30.1.1".parse().unwrap()).unwrap();
    has(&["10.50.0.0/16", "10.63.0.0/16"]);
}

#[test]
fn rfc8212_1_an_external_peer_without_filters_exchanges_nothing_and_both_commands_say_so() {
    let world = World::start(&["10.50.0.0/16"], "");
    world.0.router.await_log("session established");
    let said = world.0.router.text(&["peers"]);
    assert!(
        said.contains("nothing is accepted: RFC 8212") && said.contains("nothing is sent: RFC 8212"),
        "{said}"
    );
    let status = world.0.router.text(&["status"]);
    assert!(status.contains("RFC 8212"), "{status}");
    let sent = world.0.router.json(&["routes", "advertised"]);
    assert_eq!(sent["bgp"][0]["routes"].as_array().map(Vec::len), Some(0), "{sent}");
    world.kernel_has(&[]);
}
