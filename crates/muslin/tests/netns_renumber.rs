//! A node's address changes while it runs: everybody finds it again, and nobody is restarted.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "support/daemon.rs"]
mod daemon;

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use daemon::{Daemon, OURS, PATIENCE};
use ipnet::IpNet;
use muslin_netns::{Namespace, connect};
use tempfile::TempDir;

const FORMER: &str = "172.30.1.2";
const LATER: &str = "172.30.1.12";

/// Two nodes on one link that peer with each other, n1 at 172.30.1.1 and n2 as is said.
fn manifests(second: &str) -> String {
    let node = |number: u8, address: &str| {
        format!(
            "---\napiVersion: v1\nkind: Node\nmetadata: {{name: n{number}}}\nspec: {{podCIDRs: [10.244.{number}.0/24]}}\n\
             status: {{addresses: [{{type: InternalIP, address: {address}}}]}}\n"
        )
    };
    node(1, "172.30.1.1") + &node(2, second)
}

/// Changes the folder at once, as an API server does.
fn write(state: &Path, text: &str) {
    let new = state.join(".new");
    fs::write(&new, text).unwrap();
    fs::rename(new, state.join("state.yaml")).unwrap();
}

fn range(address: &str) -> IpNet {
    format!("{address}/24").parse().unwrap()
}

struct Nodes {
    first: (Namespace, Daemon),
    second: (Namespace, Daemon),
    state: PathBuf,
    _folder: TempDir,
}

impl Nodes {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        fs::create_dir(&state).unwrap();
        write(&state, &manifests(FORMER));
        let [first, second] = ["n1", "n2"].map(|name| Namespace::new(name).unwrap());
        connect(&first, "eth0", &second, "eth0").unwrap();
        first.add_address("eth0", range("172.30.1.1")).unwrap();
        second.add_address("eth0", range(FORMER)).unwrap();
        let start = |namespace: &Namespace, name: &str| {
            let own = folder.path().join(name);
            fs::create_dir(&own).unwrap();
            Daemon::start(namespace, &own, &["agent", "--node", name], &state)
        };
        let (one, two) = (start(&first, "n1"), start(&second, "n2"));
        let nodes = Self { first: (first, one), second: (second, two), state, _folder: folder };
        nodes.await_each_other(FORMER);
        nodes
    }

    /// Until each has the other's block by the other's address.
    fn await_each_other(&self, second: &str) {
        let ways = [(&self.first, "10.244.2.0/24", second), (&self.second, "10.244.1.0/24", "172.30.1.1")];
        for ((namespace, daemon), block, gateway) in ways {
            let (block, gateway): (IpNet, IpAddr) = (block.parse().unwrap(), gateway.parse().unwrap());
            let found = namespace.await_routes(PATIENCE, |routes| {
                let to_block = |route: &&muslin_netns::Route| route.prefix == block && route.protocol == OURS;
                routes
                    .iter()
                    .find(to_block)
                    .is_some_and(|route| route.next_hops.iter().any(|hop| hop.gateway == Some(gateway)))
            });
            assert!(found.unwrap(), "no {block} by {gateway}:\n{}", daemon.text(&["status"]));
        }
    }

    /// Until n2 has its session, and from that address.
    fn await_session_from(&self, address: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let peers = self.second.1.json(&["peers"]);
            let local = peers[0]["negotiated"]["localAddress"].as_str().unwrap_or_default();
            if peers[0]["established"] == true && local.starts_with(&format!("{address}:")) {
                return;
            }
            assert!(Instant::now() < deadline, "{peers}");
            // A session that comes and goes is told of in no one place.
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }
}

#[test]
fn a_node_that_gets_a_second_address_and_moves_to_it_is_found_there() {
    let nodes = Nodes::start();
    let second = &nodes.second.0;
    // As distributions have it: without it the kernel takes the later address away with the former one.
    second.sysctl("net/ipv4/conf/all/promote_secondaries", "1").unwrap();
    second.add_address("eth0", range(LATER)).unwrap();
    write(&nodes.state, &manifests(LATER));
    nodes.await_each_other(LATER);
    second.remove_address("eth0", range(FORMER)).unwrap();
    let left = second.addresses("eth0").unwrap();
    assert!(left.contains(&range(LATER)) && !left.contains(&range(FORMER)), "{left:?}");
    nodes.await_session_from(LATER);
    nodes.await_each_other(LATER);
}

#[test]
fn a_node_whose_address_is_replaced_before_anybody_is_told_is_found_again() {
    let nodes = Nodes::start();
    let second = &nodes.second.0;
    second.remove_address("eth0", range(FORMER)).unwrap();
    second.add_address("eth0", range(LATER)).unwrap();
    write(&nodes.state, &manifests(LATER));
    nodes.await_each_other(LATER);
    nodes.await_session_from(LATER);
}
