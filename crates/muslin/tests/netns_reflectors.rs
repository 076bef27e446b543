//! Nodes that become route reflectors, and cease to be, while their pods talk: no route and no packet is ever missing.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/pod.rs"]
mod pod;
#[path = "support/traffic.rs"]
mod traffic;

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use daemon::{Daemon, OURS, lines};
use muslin_netns::{LinkState, Namespace, connect};
use tempfile::TempDir;
use traffic::Traffic;

const NODES: [&str; 4] = ["n1", "n2", "n3", "n4"];

/// Longest wait for a topology: the old one lingers on purpose.
const HANDOVER: Duration = Duration::from_secs(90);

/// Where pods listen.
const PORT: u16 = 7000;

/// Four nodes on one link, n3 and n4 reflectors or not.
fn manifest(reflectors: &[&str]) -> String {
    let mut text = String::new();
    for (index, name) in (1..).zip(NODES) {
        let label = if reflectors.contains(&name) { "muslin.dev/route-reflector: \"true\"" } else { "" };
        write!(
            text,
            "---\napiVersion: v1\nkind: Node\nmetadata: {{name: {name}, labels: {{{label}}}}}\n\
             spec: {{podCIDRs: [10.244.{index}.0/24, \"fd44:0:0:{index}::/64\"]}}\n\
             status: {{addresses: [{{type: InternalIP, address: 192.168.7.{index}}}, \
             {{type: InternalIP, address: \"fd07::{index}\"}}]}}\n"
        )
        .unwrap();
    }
    text
}

/// Changes the folder at once, as an API server does.
fn write(state: &Path, text: &str) {
    let new = state.join(".new");
    fs::write(&new, text).unwrap();
    fs::rename(new, state.join("state.yaml")).unwrap();
}

struct World {
    nodes: Vec<(Namespace, Daemon, Receiver<String>)>,
    _monitors: Vec<Monitor>,
    state: PathBuf,
    _switch: Namespace,
    _folder: TempDir,
}

impl World {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        fs::create_dir(&state).unwrap();
        write(&state, &manifest(&[]));
        let switch = Namespace::new("switch").unwrap();
        switch.bridge("br0").unwrap();
        let mut monitors = Vec::new();
        let nodes = (1..).zip(NODES).map(|(index, name)| {
            let namespace = Namespace::new(name).unwrap();
            connect(&namespace, "eth0", &switch, name).unwrap();
            switch.attach("br0", name).unwrap();
            switch.set_link(name, LinkState::Up).unwrap();
            for address in [format!("192.168.7.{index}/24"), format!("fd07::{index}/64")] {
                namespace.add_address("eth0", address.parse().unwrap()).unwrap();
            }
            let own = folder.path().join(name);
            fs::create_dir(&own).unwrap();
            let daemon = Daemon::start(&namespace, &own, &["agent", "--node", name], &state);
            let mut monitor = Command::new("ip");
            monitor.args(["-o", "monitor", "route"]).stdout(Stdio::piped());
            let mut monitor = namespace.spawn(&mut monitor).unwrap();
            let changes = lines(monitor.stdout.take().unwrap());
            monitors.push(Monitor(monitor));
            (namespace, daemon, changes)
        });
        let nodes = nodes.collect();
        Self { nodes, _monitors: monitors, state, _switch: switch, _folder: folder }
    }

    /// The established sessions of each node, by the nodes at their other ends.
    fn sessions(&self) -> Vec<Vec<String>> {
        let of = |daemon: &Daemon| {
            let peers = daemon.json(&["peers"]);
            let peers = peers.as_array().unwrap().iter().filter(|peer| peer["established"] == true);
            peers.map(|peer| peer["key"].as_str().unwrap().to_owned()).collect()
        };
        self.nodes.iter().map(|(_, daemon, _)| of(daemon)).collect()
    }

    /// Until each node has a session of each family with these and nobody else.
    fn until_sessions(&self, nodes: [&[&str]; 4]) {
        let with = |name: &&str| ["ipv4", "ipv6"].map(|family| format!("node/{name}/{family}"));
        let wanted = nodes.map(|names| names.iter().flat_map(with).collect::<Vec<_>>());
        let deadline = Instant::now() + HANDOVER;
        loop {
            let sessions = self.sessions();
            if sessions == wanted {
                return;
            }
            assert!(Instant::now() < deadline, "{sessions:?}");
            // No event tells of the sessions of all four.
            std::thread::park_timeout(Duration::from_millis(200));
        }
    }

    fn until_routes(&self) {
        for (index, (namespace, daemon, _)) in (1..).zip(&self.nodes) {
            let others = (1..=4).filter(|other| *other != index);
            let of = |node: u8| [format!("10.244.{node}.0/24"), format!("fd44:0:0:{node}::/64")];
            let blocks: Vec<ipnet::IpNet> = others.flat_map(of).map(|block| block.parse().unwrap()).collect();
            let found = namespace.await_routes(HANDOVER, |routes| {
                let is_there = |block: &ipnet::IpNet| {
                    routes.iter().any(|route| route.prefix == *block && route.protocol == OURS)
                };
                blocks.iter().all(is_there)
            });
            assert!(found.unwrap(), "{}", daemon.text(&["status"]));
        }
    }

    /// Routes to pods that were taken out of a kernel since the last look.
    fn lost(&self) -> Vec<String> {
        let changes = self.nodes.iter().flat_map(|(_, _, changes)| changes.try_iter());
        let to_pods = |line: &String| line.contains("10.244.") || line.contains("fd44:");
        changes.filter(|line| line.contains("Deleted") && to_pods(line)).collect()
    }

    /// A pod on each node, each of which talks to all others in both families.
    fn talk(&self) -> Traffic {
        let pods = self.nodes.iter().zip(["p1", "p2", "p3", "p4"]).map(|((node, daemon, _), name)| {
            let pod = Namespace::new(name).unwrap();
            pod::attach(node, &pod, daemon.socket.parent().unwrap());
            let addresses = pod::addresses(&pod);
            (pod, addresses)
        });
        let pods: Vec<_> = pods.collect();
        let mut traffic = Traffic::default();
        for family in [0, 1] {
            for (pod, own) in &pods {
                traffic.receive(pod, SocketAddr::new(own[family], PORT));
            }
            for (pod, own) in &pods {
                let others =
                    pods.iter().map(|(_, other)| other[family]).filter(|other| *other != own[family]);
                let others: Vec<_> = others.map(|other| SocketAddr::new(other, PORT)).collect();
                traffic.send(pod, own[family], &others);
            }
        }
        for receiver in 0..2 * pods.len() {
            traffic.await_arrivals(receiver, 1);
        }
        traffic
    }
}

/// Ends with the test.
struct Monitor(Child);

impl Drop for Monitor {
    fn drop(&mut self) {
        let _dead_already = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[test]
fn reflectors_take_a_mesh_over_and_give_it_back_and_no_route_or_packet_is_ever_missing() {
    let world = World::start();
    let mesh: [&[&str]; 4] =
        [&["n2", "n3", "n4"], &["n1", "n3", "n4"], &["n1", "n2", "n4"], &["n1", "n2", "n3"]];
    world.until_sessions(mesh);
    world.until_routes();
    assert_eq!(world.lost(), Vec::<String>::new());
    let traffic = world.talk();

    write(&world.state, &manifest(&["n3", "n4"]));
    world.until_sessions([&["n3", "n4"], &["n3", "n4"], &["n1", "n2", "n4"], &["n1", "n2", "n3"]]);
    world.until_routes();
    let explained = world.nodes[0].1.text(&["explain", "10.244.2.0/24"]);
    assert!(explained.contains("node/n3/ipv4") || explained.contains("node/n4/ipv4"), "{explained}");
    assert_eq!(world.lost(), Vec::<String>::new(), "reflectors came");

    write(&world.state, &manifest(&[]));
    world.until_sessions(mesh);
    world.until_routes();
    // The reflectors stop when everybody had time.
    world.nodes[2].1.await_log("the new sessions between nodes carry the routes");
    world.until_routes();
    assert_eq!(world.lost(), Vec::<String>::new(), "reflectors went");
    let talked = traffic.end();
    println!("{} datagrams between pods", talked.sent);
    assert!(talked.sent > 1000, "too few to tell anything");
    assert_eq!(talked.lost, Vec::<String>::new());
}
