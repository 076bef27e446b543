//! Nodes that have no IPv4 address at all, behind a router: sessions, routes and the guard.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/pod.rs"]
mod pod;

use std::fs;
use std::net::{IpAddr, TcpListener, TcpStream};

use daemon::{Daemon, OURS, PATIENCE};
use ipnet::IpNet;
use muslin_netns::{Namespace, Route, connect};
use tempfile::TempDir;

const CLUSTER: &str = "
apiVersion: v1
kind: Node
metadata: {name: n1, labels: {rack: r1}}
spec: {podCIDR: \"fd44:0:0:1::/64\", podCIDRs: [\"fd44:0:0:1::/64\"]}
status: {addresses: [{type: InternalIP, address: \"fd30:0:0:1::2\"}]}
---
apiVersion: v1
kind: Node
metadata: {name: n2, labels: {rack: r2}}
spec: {podCIDR: \"fd44:0:0:2::/64\", podCIDRs: [\"fd44:0:0:2::/64\"]}
status: {addresses: [{type: InternalIP, address: \"fd30:0:0:2::2\"}]}
---
apiVersion: muslin.dev/v1alpha1
kind: BGPConfiguration
metadata: {name: default}
spec: {clusterCIDRs: [\"fd44::/48\"]}
---
apiVersion: muslin.dev/v1alpha1
kind: BGPPeer
metadata: {name: tor-1}
spec: {nodeSelector: {matchLabels: {rack: r1}}, peerAddress: \"fd30:0:0:1::1\", peerASN: 65000}
---
apiVersion: muslin.dev/v1alpha1
kind: BGPPeer
metadata: {name: tor-2}
spec: {nodeSelector: {matchLabels: {rack: r2}}, peerAddress: \"fd30:0:0:2::1\", peerASN: 65000}
";

/// Whatever it is told to originate it tells everybody.
const ROUTER: &str = "
apiVersion: muslin.dev/v1alpha1
kind: BGPConfiguration
metadata: {name: default}
spec: {asn: 65000, routerID: 192.0.2.1, originate: []}
---
apiVersion: muslin.dev/v1alpha1
kind: BGPFilter
metadata: {name: everything}
spec: {import: [{action: Accept}], export: [{action: Accept}]}
---
apiVersion: muslin.dev/v1alpha1
kind: BGPPeer
metadata: {name: racks}
spec: {listenRange: \"fd30::/48\", peerASN: 64512, filters: [everything]}
";

struct World {
    nodes: [(Namespace, Daemon); 2],
    router: Daemon,
    gateway: Namespace,
    folder: TempDir,
}

impl World {
    fn start(cluster: &str, router: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let own = |name: &str| {
            let path = folder.path().join(name);
            fs::create_dir(&path).unwrap();
            path
        };
        let manifests = |name: &str, text: &str| {
            let state = own(name);
            fs::write(state.join("state.yaml"), text).unwrap();
            state
        };
        let gateway = Namespace::new("tor").unwrap();
        gateway.sysctl("net/ipv6/conf/all/forwarding", "1").unwrap();
        let nodes = ["n1", "n2"].map(|name| (name, Namespace::new(name).unwrap()));
        for (number, (name, node)) in (1..).zip(&nodes) {
            connect(node, "eth0", &gateway, name).unwrap();
            let address = |host: u8| format!("fd30:0:0:{number}::{host}").parse::<IpAddr>().unwrap();
            gateway.add_address(name, IpNet::new(address(1), 64).unwrap()).unwrap();
            node.add_address("eth0", IpNet::new(address(2), 64).unwrap()).unwrap();
            node.add_route("::/0".parse().unwrap(), address(1)).unwrap();
        }
        let router = Daemon::start(&gateway, &own("tor"), &["speaker"], &manifests("router", router));
        let state = manifests("cluster", cluster);
        let nodes = nodes.map(|(name, node)| {
            let daemon = Daemon::start(&node, &own(name), &["agent", "--node", name], &state);
            (node, daemon)
        });
        Self { nodes, router, gateway, folder }
    }

    /// Waits until a node has this learned route.
    fn await_learned(&self, node: usize, prefix: &str) {
        let prefix: IpNet = prefix.parse().unwrap();
        let (namespace, daemon) = &self.nodes[node];
        let learned =
            |routes: &[Route]| routes.iter().any(|route| route.prefix == prefix && route.protocol == OURS);
        let came = namespace.await_routes(PATIENCE, learned).unwrap();
        assert!(came, "no {prefix}: {}", daemon.text(&["status"]));
    }
}

#[test]
fn nodes_without_an_ipv4_address_have_sessions_routes_and_pods_that_reach_each_other() {
    let world = World::start(CLUSTER, ROUTER);
    world.await_learned(0, "fd44:0:0:2::/64");
    world.await_learned(1, "fd44:0:0:1::/64");
    let arrived = world.gateway.await_routes(PATIENCE, |routes| {
        ["fd44:0:0:1::/64", "fd44:0:0:2::/64"].iter().all(|prefix| {
            let prefix: IpNet = prefix.parse().unwrap();
            routes.iter().any(|route| route.prefix == prefix && route.protocol == OURS)
        })
    });
    assert!(arrived.unwrap(), "{}", world.router.text(&["routes", "received"]));

    // Each has an identifier of its own, made from its name, and the session is one of IPv6 alone.
    let ids = world.nodes.each_ref().map(|(_, daemon)| daemon.json(&["status"])["routerId"].clone());
    assert_ne!(ids[0], ids[1]);
    let seen: Vec<_> = world.router.json(&["peers"]).as_array().unwrap().clone();
    for (peer, (_, daemon)) in seen.iter().zip(&world.nodes) {
        assert!(peer["state"].to_string().contains("stablished"), "{peer:#}");
        assert!(peer.to_string().contains("fd30:0:0:"), "{peer:#}");
        assert!(!daemon.text(&["peers"]).contains("ipv4 "), "{}", daemon.text(&["peers"]));
    }
    for (node, (namespace, daemon)) in (1..).zip(&world.nodes) {
        let said = daemon.text(&["status"]);
        assert!(!said.contains("PROBLEMS"), "n{node}: {said}");
        assert!(namespace.addresses("eth0").unwrap().iter().all(|address| address.addr().is_ipv6()));
    }

    let pods = ["p1", "p2"].map(|name| Namespace::new(name).unwrap());
    let addresses = [0, 1].map(|number: usize| {
        let (namespace, daemon) = &world.nodes[number];
        pod::attach(namespace, &pods[number], daemon.socket.parent().unwrap());
        pod::addresses(&pods[number])[0]
    });
    for (from, to) in [(0, 1), (1, 0)] {
        let listener = pods[to].run(|| TcpListener::bind((addresses[to], 0)).unwrap()).unwrap();
        let target = listener.local_addr().unwrap();
        let _connected = pods[from].run(|| TcpStream::connect_timeout(&target, PATIENCE)).unwrap().unwrap();
        assert_eq!(listener.accept().unwrap().1.ip(), addresses[from]);
    }
    assert!(world.folder.path().exists());
}

#[test]
fn fault_17_a_leaked_ipv6_default_route_is_installed_only_where_it_is_allowed() {
    let leaking = ROUTER.replace("originate: []", "originate: [{cidr: \"::/0\"}, {cidr: \"fd50::/48\"}]");
    for allowed in [false, true] {
        let import =
            ["{cidrs: [\"::/0\"]}", "{cidrs: [\"::/0\"], defaultRoute: Accept}"][usize::from(allowed)];
        let cluster = CLUSTER.replace(
            "spec: {clusterCIDRs: [\"fd44::/48\"]}",
            &format!("spec: {{clusterCIDRs: [\"fd44::/48\"], import: {import}}}"),
        );
        let world = World::start(&cluster, &leaking);
        world.await_learned(0, "fd50::/48");
        if allowed {
            world.await_learned(0, "::/0");
        }
        // What the router told with it is in the kernel, so it was seen as well.
        let (node, daemon) = &world.nodes[0];
        let default: IpNet = "::/0".parse().unwrap();
        let routes = node.routes().unwrap();
        let defaults: Vec<_> = routes.iter().filter(|route| route.prefix == default).collect();
        let (ours, others): (Vec<&Route>, Vec<&Route>) =
            defaults.iter().copied().partition(|route| route.protocol == OURS);
        assert_eq!((ours.len(), others.len()), (usize::from(allowed), 1), "{defaults:?}");
        let refused = daemon.text(&["routes", "received", "--rejected"]);
        assert_eq!(refused.contains("a default route is not allowed"), !allowed, "{refused}");
    }
}
