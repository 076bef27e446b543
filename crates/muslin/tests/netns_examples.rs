//! The examples that are whole networks, started as they are written, with real nodes as peers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests")]

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ipnet::IpNet;
use muslin_netns::{Namespace, Route, connect};
use tempfile::TempDir;

const MUSLIN: &str = env!("CARGO_BIN_EXE_muslin");
const PATIENCE: Duration = Duration::from_secs(30);
/// The protocol number of routes that Muslin learned.
const OURS: u8 = 77;

/// A host of the example's link with its daemon; killed with the test.
struct Host {
    namespace: Namespace,
    child: Child,
    folder: PathBuf,
}

impl Host {
    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// What a command says; shown with `--nocapture`, as the example's page prints it.
    fn ask(&self, args: &[&str]) -> String {
        let socket = self.folder.join("muslin.sock");
        let output = Command::new(MUSLIN).args(args).arg("--socket").arg(socket).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        println!("$ muslin {}\n{text}", args.join(" "));
        text
    }

    /// Waits until the kernel has learned a route by exactly these hosts, of whom the addresses are given.
    fn await_route(&self, network: &Network, prefix: &str, gateways: &[&str]) {
        let wanted: BTreeSet<IpAddr> = gateways.iter().map(|gateway| gateway.parse().unwrap()).collect();
        let prefix: IpNet = prefix.parse().unwrap();
        let link_locals = network.link_locals();
        let found = |routes: &[Route]| -> BTreeSet<IpAddr> {
            let learned = routes.iter().filter(|route| route.prefix == prefix && route.protocol == OURS);
            let ways = learned.flat_map(|route| &route.next_hops).filter_map(|way| way.gateway);
            ways.map(|gateway| link_locals.get(&gateway).copied().unwrap_or(gateway)).collect()
        };
        let there = self.namespace.await_routes(PATIENCE, |routes| found(routes) == wanted).unwrap();
        assert!(
            there,
            "{} has {prefix} by {:?}, wanted {wanted:?}\n{}\n{}",
            self.namespace.name(),
            found(&self.namespace.routes().unwrap()),
            self.ask(&["routes", "received"]),
            self.log(),
        );
    }

    /// Waits until our routes are to exactly these prefixes, the blackholes of the node's own blocks among them.
    fn await_routes_to(&self, prefixes: &[&str]) {
        let wanted: BTreeSet<IpNet> = prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect();
        let found = |routes: &[Route]| -> BTreeSet<IpNet> {
            routes.iter().filter(|route| route.protocol == OURS).map(|route| route.prefix).collect()
        };
        let there = self.namespace.await_routes(PATIENCE, |routes| found(routes) == wanted).unwrap();
        assert!(there, "{} has {:?}", self.namespace.name(), found(&self.namespace.routes().unwrap()));
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _dead_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// The link of an example.
struct Network {
    switch: Namespace,
    example: PathBuf,
    folder: TempDir,
    /// With their IPv6 addresses.
    hosts: RefCell<Vec<(Namespace, IpAddr)>>,
}

impl Network {
    fn new(example: &str) -> Self {
        let switch = Namespace::new("switch").unwrap();
        switch.bridge("link").unwrap();
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
        Self {
            switch,
            example: examples.join(example),
            folder: tempfile::tempdir().unwrap(),
            hosts: RefCell::default(),
        }
    }

    /// Whose link-local addresses are whose: on one link a next hop is handed on with both of its addresses.
    fn link_locals(&self) -> BTreeMap<IpAddr, IpAddr> {
        let mut all = BTreeMap::new();
        for (host, address) in &*self.hosts.borrow() {
            let own = host.addresses("eth0").unwrap();
            all.extend(
                own.into_iter().map(|found| (found.addr(), *address)).filter(|(found, _)| found.is_ipv6()),
            );
        }
        all
    }

    /// A host with a daemon that reads a folder of the example as it is.
    fn host(&self, name: &str, addresses: [&str; 2], args: &[&str], state: &str) -> Host {
        let namespace = Namespace::new(name).unwrap();
        connect(&self.switch, name, &namespace, "eth0").unwrap();
        self.switch.attach("link", name).unwrap();
        for (address, length) in addresses.iter().zip([24, 64]) {
            namespace.add_address("eth0", format!("{address}/{length}").parse().unwrap()).unwrap();
        }
        self.hosts.borrow_mut().push((namespace.clone(), addresses[1].parse().unwrap()));
        let folder = self.folder.path().join(name);
        fs::create_dir(&folder).unwrap();
        let log = fs::File::create(folder.join("log")).unwrap();
        let mut command = Command::new(MUSLIN);
        command.args(args).arg("--state").arg(self.example.join(state)).arg("--run-dir").arg(&folder);
        if args[0] == "agent" {
            command.arg("--data-dir").arg(&folder).arg("--cni-conf-dir").arg(folder.join("net.d"));
        }
        let child = namespace.spawn(command.stdin(Stdio::null()).stderr(log)).unwrap();
        Host { namespace, child, folder }
    }

    fn node(&self, number: u8, link: (&str, &str)) -> Host {
        let name = format!("n{number}");
        let addresses = [format!("{}.1{number}", link.0), format!("{}::1{number}", link.1)];
        let addresses = [addresses[0].as_str(), addresses[1].as_str()];
        self.host(&name, addresses, &["agent", "--node", &name], "cluster")
    }
}

#[test]
fn the_external_router_takes_the_racks_routes_and_tells_it_the_way_out() {
    let network = Network::new("external-router");
    let router = network.host("tor", ["192.168.10.1", "fd00:10::1"], &["speaker"], "router");
    let nodes = [1, 2].map(|number| network.node(number, ("192.168.10", "fd00:10")));
    for node in [1, 2] {
        let gateways = [format!("192.168.10.1{node}"), format!("fd00:10::1{node}")];
        router.await_route(&network, &format!("10.244.{node}.0/24"), &[&gateways[0]]);
        router.await_route(&network, &format!("fd44:0:0:{node}::/64"), &[&gateways[1]]);
    }
    router.await_route(&network, "10.96.0.0/16", &["192.168.10.11", "192.168.10.12"]);
    router.await_route(&network, "fd96::/112", &["fd00:10::11", "fd00:10::12"]);
    for node in &nodes {
        node.await_route(&network, "0.0.0.0/0", &["192.168.10.1"]);
        node.await_route(&network, "::/0", &["fd00:10::1"]);
        // Pods on the other node are reached straight, as neighbours on a link are; Services are not learned.
        let blocks = ["10.244.1.0/24", "10.244.2.0/24", "fd44:0:0:1::/64", "fd44:0:0:2::/64"];
        node.await_routes_to(&[&blocks[..], &["0.0.0.0/0", "::/0"]].concat());
    }
    let peers = router.ask(&["peers"]);
    assert!(peers.contains("rack-ipv4/192.168.10.11") && peers.contains("rack-ipv6/fd00:10::12"), "{peers}");
    let routes = router.ask(&["routes", "best"]);
    assert!(routes.contains("10.244.2.0/24") && routes.contains("64512"), "{routes}");
}

#[test]
fn the_reflectors_of_the_example_pass_every_path_and_touch_no_next_hop() {
    let network = Network::new("route-reflector");
    let mut reflectors = vec![
        network.host("rr1", ["192.168.20.2", "fd00:20::2"], &["speaker"], "reflector"),
        network.host("rr2", ["192.168.20.3", "fd00:20::3"], &["speaker"], "reflector"),
    ];
    let nodes = [1, 2, 3].map(|number| network.node(number, ("192.168.20", "fd00:20")));
    let border = network.host("border", ["192.168.20.1", "fd00:20::1"], &["speaker"], "border");
    let all = ["192.168.20.11", "192.168.20.12", "192.168.20.13"];
    let all6 = ["fd00:20::11", "fd00:20::12", "fd00:20::13"];
    let converged = || {
        for (index, node) in nodes.iter().enumerate() {
            for other in (0..3).filter(|other| *other != index) {
                // A block from its owner only: the guard finds the owner by the next hop, which no reflector touched.
                node.await_route(&network, &format!("10.244.{}.0/24", other + 1), &[all[other]]);
                node.await_route(&network, &format!("fd44:0:0:{}::/64", other + 1), &[all6[other]]);
            }
        }
        border.await_route(&network, "10.96.0.0/16", &all);
        border.await_route(&network, "fd96::/112", &all6);
    };
    converged();
    reflectors[0].ask(&["peers"]);
    let explained = border.ask(&["explain", "10.96.0.0/16"]);
    assert!(all.iter().all(|node| explained.contains(node)), "{explained}");
    border.ask(&["routes", "best"]);
    drop(reflectors.remove(0));
    converged();
}
