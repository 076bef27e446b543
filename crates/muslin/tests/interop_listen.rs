//! A node on which another speaker has the port of BGP.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/pair.rs"]
mod pair;

use std::fs;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use daemon::{Daemon, OURS, PATIENCE, await_line, lines};
use ipnet::IpNet;
use muslin_netns::{Namespace, Route};
use pair::{CLUSTER, Pair, ROUTER};
use tempfile::TempDir;

/// BIRD with a neighbour that never comes, so that it listens.
const BIRD: &str = "
log stderr all;
router id 192.0.2.7;
protocol device {}
protocol bgp absent { local as 64999; neighbor 203.0.113.1 as 64998; multihop; passive; ipv4 { import all; export none; }; }
";

struct Bird(Child, #[expect(dead_code, reason = "its files go with it")] TempDir);

impl Bird {
    fn start(node: &Namespace) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("bird.conf"), BIRD).unwrap();
        let mut command = Command::new("/usr/sbin/bird");
        command.current_dir(folder.path()).args(["-f", "-c", "bird.conf", "-s", "control"]);
        let mut child = node.spawn(command.stderr(Stdio::piped())).unwrap();
        await_line(&lines(child.stderr.take().unwrap()), "Started");
        Self(child, folder)
    }
}

impl Drop for Bird {
    fn drop(&mut self) {
        let _dead_already = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn learned(routes: &[Route], prefix: &str) -> bool {
    let prefix: IpNet = prefix.parse().unwrap();
    routes.iter().any(|route| route.prefix == prefix && route.protocol == OURS)
}

/// The pair's agent again, with another configuration and BIRD on its node.
fn beside_bird(listen_port: &str) -> (Pair, Bird) {
    let spec = "spec: {import: {cidrs: [10.50.0.0/16]}";
    assert!(CLUSTER.contains(spec));
    let mut pair = Pair::start(&CLUSTER.replace(spec, &format!("{spec}{listen_port}")), ROUTER);
    pair.agent.child.kill().unwrap();
    pair.agent.child.wait().unwrap();
    let bird = Bird::start(&pair.node);
    let folder = pair.agent.socket.parent().unwrap().to_owned();
    pair.agent = Daemon::start(&pair.node, &folder, &["agent", "--node", "n1"], &pair.cluster);
    (pair, bird)
}

#[test]
fn without_a_port_of_its_own_an_agent_peers_out_beside_a_bird_that_has_it() {
    let (pair, mut bird) = beside_bird(", listenPort: 0");
    pair.agent.await_log("session established");
    assert!(pair.node.await_routes(PATIENCE, |routes| learned(routes, "10.50.0.0/16")).unwrap());
    assert!(pair.gateway.await_routes(PATIENCE, |routes| learned(routes, "10.244.1.0/24")).unwrap());
    let said = pair.agent.text(&["status"]);
    assert!(!said.contains("PROBLEMS"), "{said}");
    // The port is BIRD's now as before.
    let port = "172.30.1.2:179".parse().unwrap();
    pair.gateway.run(|| TcpStream::connect_timeout(&port, PATIENCE)).unwrap().unwrap();
    assert!(bird.0.try_wait().unwrap().is_none());
}

#[test]
fn an_agent_that_wants_the_port_that_a_bird_has_says_so_and_peers_out_all_the_same() {
    let (pair, _bird) = beside_bird("");
    let said = pair.agent.await_log("0.0.0.0:179");
    assert!(said.contains("in use"), "{said}");
    assert!(pair.node.await_routes(PATIENCE, |routes| learned(routes, "10.50.0.0/16")).unwrap());
}
