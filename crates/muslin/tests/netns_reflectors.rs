//! Nodes that become route reflectors, and cease to be, while packets would flow: no route is ever missing.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "support/daemon.rs"]
mod daemon;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use daemon::{Daemon, OURS, lines};
use muslin_netns::{LinkState, Namespace, connect};
use tempfile::TempDir;

const NODES: [&str; 4] = ["n1", "n2", "n3", "n4"];

/// Longest wait for a topology: the old one lingers on purpose.
const HANDOVER: Duration = Duration::from_secs(90);

/// Four nodes on one link, n3 and n4 reflectors or not.
fn manifest(reflectors: &[&str]) -> String {
    let mut text = String::new();
    for (index, name) in (1..).zip(NODES) {
        let label = if reflectors.contains(&name) { "muslin.dev/route-reflector: \"true\"" } else { "" };
        write!(
            text,
            "---\napiVersion: v1\nkind: Node\nmetadata: {{name: {name}, labels: {{{label}}}}}\n\
             spec: {{podCIDRs: [10.244.{index}.0/24]}}\n\
             status: {{addresses: [{{type: InternalIP, address: 192.168.7.{index}}}]}}\n"
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
            namespace.add_address("eth0", format!("192.168.7.{index}/24").parse().unwrap()).unwrap();
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

    /// The nodes with which each node has an established session.
    fn sessions(&self) -> Vec<Vec<String>> {
        let of = |daemon: &Daemon| {
            let peers = daemon.json(&["peers"]);
            let peers = peers.as_array().unwrap().iter().filter(|peer| peer["established"] == true);
            peers.map(|peer| peer["key"].as_str().unwrap()[5..7].to_owned()).collect()
        };
        self.nodes.iter().map(|(_, daemon, _)| of(daemon)).collect()
    }

    fn until_sessions(&self, wanted: [&[&str]; 4]) {
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
            let blocks: Vec<ipnet::IpNet> =
                others.map(|other| format!("10.244.{other}.0/24").parse().unwrap()).collect();
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
        changes.filter(|line| line.contains("Deleted") && line.contains("10.244.")).collect()
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
fn reflectors_take_a_mesh_over_and_give_it_back_and_no_route_is_ever_missing() {
    let world = World::start();
    let mesh: [&[&str]; 4] =
        [&["n2", "n3", "n4"], &["n1", "n3", "n4"], &["n1", "n2", "n4"], &["n1", "n2", "n3"]];
    world.until_sessions(mesh);
    world.until_routes();
    assert_eq!(world.lost(), Vec::<String>::new());

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
}
