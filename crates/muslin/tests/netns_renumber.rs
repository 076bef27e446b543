//! A node's address changes while it runs: everybody finds it again, and nobody is restarted.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "support/daemon.rs"]
mod daemon;

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use daemon::{Daemon, OURS, PATIENCE};
use ipnet::IpNet;
use muslin_netns::{LinkState, Namespace, connect};
use tempfile::TempDir;

/// What each case is tried in.
struct Family {
    blocks: [&'static str; 2],
    /// Of n1, and of n2 before and after.
    first: &'static str,
    former: &'static str,
    later: &'static str,
    /// Of both on a network of their own.
    elsewhere: [&'static str; 2],
    length: u8,
}

const FAMILIES: [Family; 2] = [
    Family {
        blocks: ["10.244.1.0/24", "10.244.2.0/24"],
        first: "172.30.1.1",
        former: "172.30.1.2",
        later: "172.30.1.12",
        elsewhere: ["172.30.2.1", "172.30.2.2"],
        length: 24,
    },
    Family {
        blocks: ["fd44:0:0:1::/64", "fd44:0:0:2::/64"],
        first: "fd30:0:0:1::1",
        former: "fd30:0:0:1::2",
        later: "fd30:0:0:1::12",
        elsewhere: ["fd30:0:0:2::1", "fd30:0:0:2::2"],
        length: 64,
    },
];

/// Changes the folder at once, as an API server does.
fn write(state: &Path, text: &str) {
    let new = state.join(".new");
    fs::write(&new, text).unwrap();
    fs::rename(new, state.join("state.yaml")).unwrap();
}

/// How a node is led to: by this address, or by the link-local one of that link (RFC 2545 §3).
fn gateways(node: &Namespace, link: &str, address: &str) -> Vec<IpAddr> {
    let of_link = node.addresses(link).unwrap().into_iter().map(|net| net.addr());
    let link_local =
        |address: &IpAddr| matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
    of_link.filter(link_local).chain([address.parse().unwrap()]).collect()
}

/// Two nodes that peer with each other: `eth0` of n1, and `eth0` and `eth1` of n2, on one switch.
struct Nodes<'a> {
    family: &'a Family,
    first: (Namespace, Daemon),
    second: (Namespace, Daemon),
    state: PathBuf,
    _switch: Namespace,
    _folder: TempDir,
}

impl<'a> Nodes<'a> {
    fn start(family: &'a Family) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        fs::create_dir(&state).unwrap();
        write(&state, &family.manifests([family.first, family.former]));
        let [first, second, switch] = ["n1", "n2", "switch"].map(|name| Namespace::new(name).unwrap());
        switch.bridge("br0").unwrap();
        for (node, link, port) in
            [(&first, "eth0", "n1"), (&second, "eth0", "n2"), (&second, "eth1", "n2-other")]
        {
            connect(node, link, &switch, port).unwrap();
            switch.attach("br0", port).unwrap();
        }
        first.add_address("eth0", family.net(family.first)).unwrap();
        second.add_address("eth0", family.net(family.former)).unwrap();
        let start = |namespace: &Namespace, name: &str| {
            let own = folder.path().join(name);
            fs::create_dir(&own).unwrap();
            Daemon::start(namespace, &own, &["agent", "--node", name], &state)
        };
        let (one, two) = (start(&first, "n1"), start(&second, "n2"));
        let (first, second) = ((first, one), (second, two));
        let nodes = Self { family, first, second, state, _switch: switch, _folder: folder };
        nodes.await_each_other([family.first, family.former], ["eth0"; 2]);
        nodes
    }

    /// Says in the Node objects where they are.
    fn tell(&self, addresses: [&str; 2]) {
        write(&self.state, &self.family.manifests(addresses));
    }

    /// Until each has the other's block by the other's address, between these links.
    #[track_caller]
    fn await_each_other(&self, addresses: [&str; 2], links: [&str; 2]) {
        for (own, other) in [(0, 1), (1, 0)] {
            let nodes = [&self.first, &self.second];
            let (namespace, daemon) = nodes[own];
            let block: IpNet = self.family.blocks[other].parse().unwrap();
            let known = namespace.links().unwrap();
            let link = known.iter().find(|known| known.name == links[own]).unwrap().index;
            let gateways = gateways(&nodes[other].0, links[other], addresses[other]);
            let mut seen = Vec::new();
            let found = namespace.await_routes(PATIENCE, |routes| {
                let ours = routes.iter().filter(|route| route.prefix == block && route.protocol == OURS);
                seen = ours.flat_map(|route| route.next_hops.clone()).collect();
                matches!(seen[..], [hop] if hop.interface == link && gateways.contains(&hop.gateway.unwrap()))
            });
            let said = || daemon.text(&["status"]);
            assert!(found.unwrap(), "{block} leads over {seen:?}, not {gateways:?} on {link}:\n{}", said());
        }
    }

    /// Until n2 has its one session, and from that address.
    #[track_caller]
    fn await_session_from(&self, address: &str) {
        let address: IpAddr = address.parse().unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let peers = self.second.1.json(&["peers"]);
            let local = peers[0]["negotiated"]["localAddress"].as_str().and_then(|local| local.parse().ok());
            if peers[0]["established"] == true && local.is_some_and(|local: SocketAddr| local.ip() == address)
            {
                return;
            }
            assert!(Instant::now() < deadline, "{peers}");
            // A session that comes and goes is told of in no one place.
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }
}

impl Family {
    fn net(&self, address: &str) -> IpNet {
        IpNet::new(address.parse().unwrap(), self.length).unwrap()
    }

    /// Two nodes at these addresses.
    fn manifests(&self, addresses: [&str; 2]) -> String {
        let node = |(number, (block, address)): (u8, (&str, &str))| {
            format!(
                "---\napiVersion: v1\nkind: Node\nmetadata: {{name: n{number}}}\nspec: {{podCIDRs: [\"{block}\"]}}\n\
                 status: {{addresses: [{{type: InternalIP, address: \"{address}\"}}]}}\n"
            )
        };
        (1..).zip(self.blocks.into_iter().zip(addresses)).map(node).collect()
    }
}

#[test]
fn a_node_that_gets_a_second_address_and_moves_to_it_is_found_there() {
    for family in &FAMILIES {
        let nodes = Nodes::start(family);
        let second = &nodes.second.0;
        // As distributions have it: without it the kernel takes the later IPv4 address away with the former one.
        second.sysctl("net/ipv4/conf/all/promote_secondaries", "1").unwrap();
        let (former, later) = (family.net(family.former), family.net(family.later));
        second.add_address("eth0", later).unwrap();
        nodes.tell([family.first, family.later]);
        nodes.await_each_other([family.first, family.later], ["eth0"; 2]);
        second.remove_address("eth0", former).unwrap();
        let left = second.addresses("eth0").unwrap();
        assert!(left.contains(&later) && !left.contains(&former), "{left:?}");
        nodes.await_session_from(family.later);
        nodes.await_each_other([family.first, family.later], ["eth0"; 2]);
    }
}

#[test]
fn a_node_whose_address_is_replaced_before_anybody_is_told_is_found_again() {
    for family in &FAMILIES {
        let nodes = Nodes::start(family);
        let second = &nodes.second.0;
        second.remove_address("eth0", family.net(family.former)).unwrap();
        second.add_address("eth0", family.net(family.later)).unwrap();
        nodes.tell([family.first, family.later]);
        nodes.await_each_other([family.first, family.later], ["eth0"; 2]);
        nodes.await_session_from(family.later);
    }
}

/// As when a bond or a bridge is put over an interface: nobody's object changes.
#[test]
fn a_node_whose_address_moves_to_another_interface_goes_on_there() {
    for family in &FAMILIES {
        let nodes = Nodes::start(family);
        let second = &nodes.second.0;
        second.remove_address("eth0", family.net(family.former)).unwrap();
        second.set_link("eth0", LinkState::Down).unwrap();
        second.add_address("eth1", family.net(family.former)).unwrap();
        nodes.await_each_other([family.first, family.former], ["eth0", "eth1"]);
        nodes.await_session_from(family.former);
    }
}

#[test]
fn nodes_that_move_to_a_network_on_another_interface_find_each_other_there() {
    for family in &FAMILIES {
        let nodes = Nodes::start(family);
        let (first, second) = (&nodes.first.0, &nodes.second.0);
        connect(first, "eth2", second, "eth2").unwrap();
        for (node, address) in [first, second].into_iter().zip(family.elsewhere) {
            node.add_address("eth2", family.net(address)).unwrap();
        }
        nodes.tell(family.elsewhere);
        nodes.await_each_other(family.elsewhere, ["eth2"; 2]);
        second.set_link("eth0", LinkState::Down).unwrap();
        nodes.await_session_from(family.elsewhere[1]);
        nodes.await_each_other(family.elsewhere, ["eth2"; 2]);
    }
}
