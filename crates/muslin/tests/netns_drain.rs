//! Nodes that leave: by command, by a taint, and with their machine.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/pod.rs"]
mod pod;
#[path = "support/traffic.rs"]
mod traffic;
#[path = "support/world.rs"]
mod world;

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

use daemon::{Daemon, PATIENCE, assert_prompt};
use ipnet::IpNet;
use muslin_netns::{Namespace, connect};
use muslin_pod_network::ipam::{Attachment, BootTime, Store, Wish};
use serde_json::Value;
use traffic::Traffic;
use world::World;

const POD: &str = "10.244.1.0/24";
const SERVICE: &str = "198.51.100.80/32";

/// The router's route of n1 for a prefix, with its communities.
fn at_router(world: &World, prefix: &str) -> Option<Value> {
    let tables = world.router.json(&["routes", "best"]);
    let routes = tables["bgp"][0]["routes"].as_array().unwrap().clone();
    routes.into_iter().find(|route| route["prefix"] == prefix)
}

fn await_at_router(world: &World, prefix: &str, wanted: impl Fn(Option<&Value>) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let route = at_router(world, prefix);
        if wanted(route.as_ref()) {
            return;
        }
        assert!(Instant::now() < deadline, "{prefix} at the router: {route:?}");
        // The commands only answer questions.
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

/// Waits until the router's ways to a prefix are so, in its kernel.
#[track_caller]
fn await_ways(world: &World, prefix: &str, wanted: impl Fn(&[IpAddr]) -> bool + Sync) {
    let prefix: IpNet = prefix.parse().unwrap();
    let mut ways = Vec::new();
    let came = world.gateway.await_routes(PATIENCE, |routes| {
        let hops = routes.iter().filter(|route| route.prefix == prefix).flat_map(|route| &route.next_hops);
        ways = hops.filter_map(|hop| hop.gateway).collect();
        wanted(&ways)
    });
    assert!(came.unwrap(), "{prefix} at the router leads over {ways:?}");
}

fn await_phase(world: &World, phase: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let drain = world.n1().json(&["status"])["drain"].clone();
        if drain["phase"] == phase {
            return;
        }
        assert!(Instant::now() < deadline, "not {phase}: {drain}");
        // The commands only answer questions.
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

fn is_last_resort(route: Option<&Value>) -> bool {
    route.is_some_and(|route| route["communities"].to_string().contains("graceful-shutdown"))
}

/// A pod's address, as the plugin would take it; `None` gives it back.
fn lease(world: &World, pod: Option<&str>) {
    let folder = world.n1().socket.parent().unwrap();
    let store = Store::lock(folder).unwrap();
    let mut ledger = store.load(|| Ok::<_, String>(Vec::new())).unwrap();
    for attachment in ledger.all_attachments() {
        ledger.release(&attachment, BootTime::default());
    }
    if let Some(name) = pod {
        let attachment =
            Attachment { network: "muslin".into(), container: name.into(), interface: "eth0".into() };
        let blocks = ["10.244.1.0/24".parse().unwrap()];
        let wish = Wish {
            attachment: &attachment,
            blocks: &blocks,
            reserved: &[],
            exactly: &[],
            within: &[],
            rest: Duration::ZERO,
        };
        ledger.allocate(&wish, BootTime::default()).unwrap();
    }
    store.save(&ledger).unwrap();
}

#[test]
fn fault_03_a_drained_node_moves_traffic_then_services_then_its_last_pod_and_says_good_bye() {
    let mut world = World::start();
    lease(&world, Some("last"));
    await_at_router(&world, SERVICE, |route| route.is_some());
    let drained = world.n1().ask(&["drain", "--wait", "1s", "--text", "new disks", "--timeout", "3s"]);
    let (said, told) =
        (String::from_utf8_lossy(&drained.stdout), String::from_utf8_lossy(&drained.stderr).into_owned());
    assert_eq!(drained.status.code(), Some(1), "a pod is left: {said}{told}");
    assert!(said.contains("1 pod left"), "{said}");
    let steps: Vec<_> = ["last resort", "Service routes are withdrawn"].map(|step| told.find(step)).to_vec();
    assert!(steps[0].is_some() && steps[0] < steps[1], "{told}");
    assert!(is_last_resort(at_router(&world, POD).as_ref()), "the pod is reached to the end");
    await_at_router(&world, SERVICE, |route| !is_from(route, "172.30.1.2"));
    let status = world.n1().json(&["status"]);
    assert_eq!(status["drain"]["phase"], "servicesWithdrawn");
    assert_eq!(status["drain"]["pods"], 1);

    // A restart in between is a restart, and forgets nothing.
    let (namespace, daemon) = &mut world.nodes[0];
    daemon.terminate();
    let folder = daemon.socket.parent().unwrap().to_owned();
    *daemon = Daemon::start(namespace, &folder, &["agent", "--node", "n1"], &world.state);
    daemon.await_log("session established");
    await_at_router(&world, POD, is_last_resort);

    lease(&world, None);
    let drained = world.n1().ask(&["drain", "--wait", "1s", "--text", "new disks", "--timeout", "30s"]);
    let said = String::from_utf8_lossy(&drained.stdout).into_owned();
    assert_eq!(drained.status.code(), Some(0), "{said}");
    assert!(said.contains("new disks"), "{said}");
    await_at_router(&world, POD, |route| route.is_none());
    world.nodes[0].1.terminate();
    let line = world.router.await_log("new disks");
    assert!(line.contains("administrative shutdown") || line.contains("shutdown"), "{line}");
}

/// The same in both families.
struct Family {
    settings: &'static str,
    everything: &'static str,
    /// Addresses of a client behind the router, and of the router on that link.
    client: [&'static str; 2],
    /// Of the router on the links to the nodes.
    routers: [&'static str; 2],
    service: &'static str,
}

const FAMILIES: [Family; 2] = [
    Family {
        settings: "net/ipv4",
        everything: "0.0.0.0/0",
        client: ["203.0.113.2/24", "203.0.113.1/24"],
        routers: ["172.30.1.1", "172.30.2.1"],
        service: "198.51.100.80",
    },
    Family {
        settings: "net/ipv6",
        everything: "::/0",
        client: ["2001:db8:113::2/64", "2001:db8:113::1/64"],
        routers: ["fd30:0:0:1::1", "fd30:0:0:2::1"],
        service: "2001:db8:51::80",
    },
];

/// Where pods serve.
const PORT: u16 = 8080;
/// Conversations with the Service: so many that a router that spreads them leaves out a node once in 30,000 times.
const CONVERSATIONS: usize = 16;

/// Somebody behind the router, which spreads conversations by their ports.
fn client(world: &World) -> Namespace {
    let client = Namespace::new("client").unwrap();
    connect(&client, "eth0", &world.gateway, "client").unwrap();
    world.gateway.sysctl("net/ipv6/conf/all/forwarding", "1").unwrap();
    for Family { settings, everything, client: [own, router], routers, .. } in FAMILIES {
        let (everything, router): (IpNet, IpNet) = (everything.parse().unwrap(), router.parse().unwrap());
        world.gateway.sysctl(&format!("{settings}/fib_multipath_hash_policy"), "1").unwrap();
        world.gateway.add_address("client", router).unwrap();
        client.add_address("eth0", own.parse().unwrap()).unwrap();
        client.add_route(everything, router.addr()).unwrap();
        for ((node, _), router) in world.nodes.iter().zip(routers) {
            node.add_route(everything, router.parse().unwrap()).unwrap();
        }
    }
    client
}

/// Has a node lead the Service to a pod of its own, as kube-proxy would.
fn translate(node: &Namespace, pod: &[IpAddr]) {
    let table = |(family, pod): (&Family, &IpAddr)| {
        let (word, service) = (if pod.is_ipv4() { "ip" } else { "ip6" }, family.service);
        let rule = format!("{word} daddr {service} udp dport 80 dnat to {}", SocketAddr::new(*pod, PORT));
        format!("table {word} proxy {{ chain c {{ type nat hook prerouting priority dstnat; {rule}; }}; }};")
    };
    let tables: String = FAMILIES.iter().zip(pod).map(table).collect();
    let output = node.run(|| Command::new("nft").arg(tables).output()).unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn fault_03_a_drain_loses_no_datagram_to_a_service_nor_to_the_last_pod() {
    let mut world = World::start();
    let client = client(&world);
    let pods = ["p1", "p2"].map(|name| Namespace::new(name).unwrap());
    let folders = world.nodes.each_ref().map(|(_, daemon)| daemon.socket.parent().unwrap().to_owned());
    let addresses = [0, 1].map(|node: usize| {
        pod::attach(&world.nodes[node].0, &pods[node], &folders[node]);
        pod::addresses(&pods[node])
    });
    let (mut to_service, mut to_pod) = (Traffic::default(), Traffic::default());
    for ((node, _), addresses) in world.nodes.iter().zip(&addresses) {
        translate(node, addresses);
    }
    for (number, family) in FAMILIES.iter().enumerate() {
        let service: IpAddr = family.service.parse().unwrap();
        await_ways(&world, &IpNet::from(service).to_string(), |ways| ways.len() == 2);
        let own = family.client[0].parse::<IpNet>().unwrap().addr();
        for (pod, addresses) in pods.iter().zip(&addresses) {
            to_service.receive(pod, SocketAddr::new(addresses[number], PORT));
        }
        to_service.send(&client, own, &[SocketAddr::new(service, 80); CONVERSATIONS]);
        let last = SocketAddr::new(addresses[0][number], PORT + 1);
        to_pod.receive(&pods[0], last);
        to_pod.send(&client, own, &[last]);
    }
    // Either node carries some of each family.
    for receiver in 0..4 {
        to_service.await_arrivals(receiver, 10);
    }

    let begun = world.n1().ask(&["drain", "--wait", "1s", "--no-follow"]);
    assert!(begun.status.success(), "{}", String::from_utf8_lossy(&begun.stderr));
    await_ways(&world, SERVICE, |ways| *ways == [IpAddr::from([172, 30, 2, 2])]);
    await_phase(&world, "servicesWithdrawn");
    let to_pod = to_pod.end();
    pod::detach(&world.nodes[0].0, &pods[0], &folders[0]);
    await_phase(&world, "drained");
    world.nodes[0].1.terminate();
    await_ways(&world, POD, <[IpAddr]>::is_empty);
    let to_service = to_service.end();
    println!("{} datagrams to the Service, {} to the last pod", to_service.sent, to_pod.sent);
    assert!(to_service.sent > 1000 && to_pod.sent > 50, "too few to tell anything");
    assert_eq!((to_service.lost, to_pod.lost), (Vec::new(), Vec::new()));
}

fn is_from(route: Option<&Value>, next_hop: &str) -> bool {
    route.is_some_and(|route| route["nextHop"] == next_hop)
}

#[test]
fn rfc8326_1_a_drain_that_is_taken_back_leaves_nothing_behind() {
    let world = World::start();
    let begun = world.n1().ask(&["drain", "--wait", "1h", "--no-follow"]);
    assert!(begun.status.success());
    await_at_router(&world, POD, is_last_resort);
    assert!(world.n1().text(&["status"]).contains("DRAIN\nevery route is announced as a last resort"));
    let taken_back = world.n1().ask(&["undrain"]);
    assert!(taken_back.status.success());
    await_at_router(&world, POD, |route| route.is_some() && !is_last_resort(route));
    assert!(!world.n1().text(&["status"]).contains("DRAIN"));
    let long = world.n1().ask(&["drain", "--text", &"x".repeat(256)]);
    let said = String::from_utf8_lossy(&long.stderr).into_owned();
    assert!(!long.status.success() && said.contains("255"), "{said}");
}

/// Gives the Node object of n1 this taint and no other, or none.
fn taint(world: &World, key: Option<&str>) {
    let path = world.state.join("nodes.yaml");
    let mut text = fs::read_to_string(&path).unwrap();
    if let Some(begin) = text.find("    taints:") {
        let end = begin + text[begin..].find('\n').unwrap() + 1;
        text.replace_range(begin..end, "");
    }
    if let Some(key) = key {
        // The first Node of the file.
        let taint = format!("    taints: [{{key: {key}, effect: NoSchedule}}]\n    podCIDRs:\n");
        text = text.replacen("    podCIDRs:\n", &taint, 1);
    }
    fs::write(&path, text).unwrap();
}

#[test]
fn a_taint_drains_the_node_and_says_how_it_is_taken_back() {
    const TAINT: &str = "muslin.dev/drain";
    let world = World::start();
    taint(&world, Some(TAINT));
    await_at_router(&world, POD, is_last_resort);
    let status = world.n1().text(&["status"]);
    assert!(status.contains("kubectl taint node NAME muslin.dev/drain-"), "{status}");
    let undrain = world.n1().ask(&["undrain"]);
    let said = String::from_utf8_lossy(&undrain.stdout).into_owned();
    assert_eq!(undrain.status.code(), Some(1), "{said}");
    assert!(said.contains("the drain goes on") && said.contains(TAINT), "{said}");

    // Who asks for more in so many words gets it, and the taint stays in force when that is taken back.
    assert!(
        world.n1().ask(&["drain", "--wait", "1h", "--text", "new disks", "--no-follow"]).status.success()
    );
    assert_eq!(world.n1().json(&["status"])["drain"]["cause"], "command");
    world.n1().ask(&["undrain"]);
    assert_eq!(world.n1().json(&["status"])["drain"]["cause"], "taint");

    taint(&world, None);
    await_at_router(&world, POD, |route| route.is_some() && !is_last_resort(route));
    assert_eq!(world.n1().json(&["status"])["drain"], Value::Null);
}

#[test]
fn fault_04_a_machine_that_goes_down_withdraws_at_once() {
    let mut world = World::start();
    lease(&world, Some("still here"));
    await_at_router(&world, SERVICE, |route| is_from(route, "172.30.1.2"));
    await_ways(&world, SERVICE, |ways| ways.len() == 2);
    let told = Instant::now();
    taint(&world, Some("node.cloudprovider.kubernetes.io/shutdown"));
    await_ways(&world, SERVICE, |ways| *ways == [IpAddr::from([172, 30, 2, 2])]);
    assert_prompt("a Service is not led to a node that goes down", told);
    await_at_router(&world, SERVICE, |route| !is_from(route, "172.30.1.2"));
    assert!(is_last_resort(at_router(&world, POD).as_ref()), "a pod that is not gone is reached");
    assert_eq!(world.n1().json(&["status"])["drain"]["cause"], "shutdown");

    // The router would keep the routes of a node that restarts for two minutes.
    let told = Instant::now();
    world.nodes[0].1.terminate();
    await_ways(&world, POD, <[IpAddr]>::is_empty);
    assert_prompt("the pods of a node that is down are not led to", told);
    world.router.await_log("the node shuts down");
    let kept = at_router(&world, POD);
    assert!(kept.is_none(), "{kept:?}");
}
