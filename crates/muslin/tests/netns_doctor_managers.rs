//! What the real systemd-networkd and the real `NetworkManager` do to a node's routes and pods, and that exactly what
//! `muslin doctor` prints keeps them from it.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/managers.rs"]
mod managers;
#[path = "support/pair.rs"]
mod pair;
#[path = "support/pod.rs"]
mod pod;

use std::path::Path;
use std::process::Command;

use daemon::{Daemon, OURS, PATIENCE};
use ipnet::IpNet;
use managers::{Machine, Manager};
use muslin_netns::{Namespace, Route};
use muslin_pod_network::POD_ROUTE_PROTOCOL;
use pair::{CLUSTER, Pair, ROUTER};
use pod::attach;
use rustix::process::Signal;

/// What the router tells.
const OUTSIDE: &str = "10.50.0.0/16";
/// The address of every pod's gateway, on the node's side of its link.
const GATEWAY: &str = "fe80::1/64";
/// The node's uplink, as `Pair` sets it up.
const UPLINK: &str = "
[Match]
Name=eth0
[Network]
Address=172.30.1.2/24
Gateway=172.30.1.1
IPv6AcceptRA=no
";
/// All links, as a file may say that was written for a machine without pods.
const EVERYTHING: &str = "[Match]\nName=*\n[Network]\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n";
/// A bus on which everybody may do everything.
const BUS: &str = r#"<busconfig>
<type>system</type><listen>unix:path=/run/dbus/system_bus_socket</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/></policy>
</busconfig>"#;

/// A node whose agent learned a route from a router; the agent comes and goes, and what it wrote stays.
struct Node {
    pair: Pair,
    pods: Vec<Namespace>,
}

/// What the kernel has of ours.
#[derive(Debug, PartialEq, Eq)]
struct Ours {
    routes: Vec<Route>,
    next_hops: String,
}

impl Node {
    fn start() -> Self {
        let cluster = CLUSTER.replace("[10.244.1.0/24]", "[10.244.1.0/24, 'fd44:0:0:1::/64']");
        Self { pair: Pair::start(&cluster, ROUTER), pods: Vec::new() }
    }

    fn namespace(&self) -> &Namespace {
        &self.pair.node
    }

    /// Kills the agent once it has learned the route, so that nobody repairs what others remove.
    fn kill_agent(&mut self) -> Ours {
        let outside: IpNet = OUTSIDE.parse().unwrap();
        let learned =
            |routes: &[Route]| routes.iter().any(|route| route.prefix == outside && route.protocol == OURS);
        let came = self.namespace().await_routes(PATIENCE, learned).unwrap();
        assert!(came, "{}", self.pair.agent.text(&["status"]));
        self.pair.agent.child.kill().unwrap();
        self.pair.agent.child.wait().unwrap();
        let ours = self.ours();
        assert!(learned(&ours.routes) && !ours.next_hops.is_empty(), "{ours:?}");
        ours
    }

    /// An agent comes, writes what is missing, and goes.
    fn repair(&mut self) -> Ours {
        let folder = self.pair.agent.socket.parent().unwrap().to_owned();
        let agent = ["agent", "--node", "n1"];
        self.pair.agent = Daemon::start(&self.pair.node, &folder, &agent, &self.pair.cluster);
        self.kill_agent()
    }

    fn ours(&self) -> Ours {
        let mut ip = Command::new("ip");
        ip.args(["nexthop", "show", "proto", &OURS.to_string()]);
        let output = self.namespace().run(|| ip.output()).unwrap().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut routes = self.namespace().routes().unwrap();
        routes.retain(|route| route.protocol == OURS);
        Ours { routes, next_hops: String::from_utf8(output.stdout).unwrap() }
    }

    /// One more pod; returns its link.
    fn attach(&mut self) -> String {
        let pod = Namespace::new(&format!("pod{}", self.pods.len())).unwrap();
        let link = attach(self.namespace(), &pod, self.pair.agent.socket.parent().unwrap());
        self.pods.push(pod);
        assert!(self.has_gateway(&link) && self.pod_routes(&link) == 2, "{:?}", self.namespace().routes());
        link
    }

    fn has_gateway(&self, link: &str) -> bool {
        self.namespace().addresses(link).unwrap().contains(&GATEWAY.parse().unwrap())
    }

    /// Waits until a pod's link has lost the gateway's address, and all but this many of the pod's routes.
    #[track_caller]
    fn await_loss(&self, link: &str, left: usize) {
        let index = self.index(link);
        let is_local: IpNet = "fe80::1/128".parse().unwrap();
        let lost = self.namespace().await_routes(PATIENCE, |routes| {
            let its =
                || routes.iter().filter(|route| route.next_hops.iter().any(|hop| hop.interface == index));
            let pods = its().filter(|route| route.protocol == POD_ROUTE_PROTOCOL).count();
            pods == left && !its().any(|route| route.prefix == is_local)
        });
        assert!(lost.unwrap() && !self.has_gateway(link), "{:?}", self.namespace().routes());
    }

    fn index(&self, link: &str) -> u32 {
        self.namespace().links().unwrap().iter().find(|found| found.name == link).unwrap().index
    }

    fn pod_routes(&self, link: &str) -> usize {
        let index = self.index(link);
        let leads_there = |route: &&Route| {
            route.protocol == POD_ROUTE_PROTOCOL && route.next_hops.iter().any(|hop| hop.interface == index)
        };
        self.namespace().routes().unwrap().iter().filter(leads_there).count()
    }
}

/// Starts it and waits until it has done with these links.
fn start_networkd(machine: &Machine, node: &Namespace, links: &[&str]) -> Manager {
    let networkd = machine.start(node, &["/usr/lib/systemd/systemd-networkd"]);
    let done = |link: &&str| format!("{link}: State changed: configuring -> configured");
    networkd.await_logs(&links.iter().map(done).collect::<Vec<_>>());
    networkd
}

fn networkd_takes_what_it_may_and_leaves_it_once_it_is_told(programs: &Path) {
    let mut node = Node::start();
    node.kill_agent();
    let machine = Machine::new(programs);
    machine.write("etc/systemd/network/10-eth0.network", UPLINK);
    machine.write("etc/systemd/network/90-all.network", EVERYTHING);
    // It was there first, as on every machine: the uplink's address is its own.
    start_networkd(&machine, node.namespace(), &["eth0"]).stop(Signal::USR2);
    node.repair();
    let taken = node.attach();

    let mut networkd = start_networkd(&machine, node.namespace(), &["eth0", &taken]);
    assert_eq!(node.ours(), Ours { routes: Vec::new(), next_hops: String::new() });
    assert_eq!(node.pod_routes(&taken), 0, "{:?}", node.namespace().routes());
    for words in ["removes our routes", "pods' interfaces"] {
        let fix = machine.fix(node.namespace(), "systemd-networkd", words);
        assert_eq!(machine.apply(node.namespace(), &fix), "restart systemd-networkd");
    }
    networkd.stop(Signal::USR2);
    // What runs now was told, and nothing of it is in the way of what comes back.
    let mut networkd = start_networkd(&machine, node.namespace(), &["eth0"]);
    let ours = node.repair();
    let left = node.attach();

    networkd.stop(Signal::USR2);
    let _networkd = start_networkd(&machine, node.namespace(), &["eth0"]);
    assert_eq!(node.ours(), ours);
    assert!(node.has_gateway(&left) && node.pod_routes(&left) == 2, "{:?}", node.namespace().routes());
    machine.is_content(node.namespace(), "systemd-networkd");
}

#[test]
fn networkd_of_the_installed_release_leaves_our_routes_and_pods_once_it_is_told_what_the_doctor_says() {
    networkd_takes_what_it_may_and_leaves_it_once_it_is_told(Path::new("/usr"));
}

#[test]
fn networkd_of_the_newest_release_leaves_our_routes_and_pods_once_it_is_told_what_the_doctor_says() {
    networkd_takes_what_it_may_and_leaves_it_once_it_is_told(&managers::newest());
}

/// A node on which `NetworkManager` has taken over the interface of a running pod.
struct Taken {
    node: Node,
    machine: Machine,
    manager: Manager,
    pod: String,
    _bus: Manager,
}

impl Taken {
    fn start() -> Self {
        let mut node = Node::start();
        node.kill_agent();
        let pod = node.attach();
        let machine = Machine::new(&managers::newest());
        machine.write("etc/bus.conf", BUS);
        machine.write("etc/NetworkManager/NetworkManager.conf", "[main]\nplugins=keyfile\n");
        for folder in ["run/dbus", "var/lib/NetworkManager"] {
            std::fs::create_dir(machine.path(folder)).unwrap();
        }
        let bus =
            ["dbus-daemon", "--config-file=/etc/bus.conf", "--nofork", "--nopidfile", "--print-address=2"];
        let bus = machine.start(node.namespace(), &bus);
        bus.await_log("unix:path=");
        let manager = start_network_manager(&machine, node.namespace());
        // It asks the pod for an address.
        manager.await_log(&format!("dhcp4 ({pod}): activation"));
        // The route of IPv4 is left.
        node.await_loss(&pod, 1);
        let taken = Self { node, machine, manager, pod, _bus: bus };
        assert!(!taken.is_unmanaged(&taken.pod));
        taken
    }

    /// Does as the doctor says, up to what the service manager has to do.
    #[track_caller]
    fn apply_fix(&self) {
        let fix = self.machine.fix(self.node.namespace(), "network-manager", "takes over pods' interfaces");
        assert_eq!(self.machine.apply(self.node.namespace(), &fix), "restart NetworkManager");
    }

    fn is_unmanaged(&self, link: &str) -> bool {
        let question = ["nmcli", "--get-values", "GENERAL.STATE", "device", "show", link];
        self.machine.ask(self.node.namespace(), &question).contains("unmanaged")
    }
}

fn start_network_manager(machine: &Machine, node: &Namespace) -> Manager {
    machine.start(node, &["/usr/sbin/NetworkManager", "--debug", "--log-level=INFO"])
}

#[test]
fn network_manager_leaves_our_routes_and_pods_once_it_is_told_what_the_doctor_says() {
    let mut taken = Taken::start();
    taken.apply_fix();
    taken.manager.stop(Signal::TERM);
    let ours = taken.node.repair();
    let pod = taken.node.attach();

    taken.manager = start_network_manager(&taken.machine, taken.node.namespace());
    taken.manager.await_log("startup complete");
    let node = &taken.node;
    assert!(node.has_gateway(&pod), "{:?}", node.namespace().addresses(&pod));
    assert_eq!(
        (node.pod_routes(&pod), node.pod_routes(&taken.pod)),
        (2, 1),
        "{:?}",
        node.namespace().routes()
    );
    assert!(taken.is_unmanaged(&pod) && taken.is_unmanaged(&taken.pod));
    assert_eq!(node.ours(), ours);
    taken.machine.is_content(node.namespace(), "network-manager");
}

/// Why the doctor wants a restart.
#[test]
fn network_manager_switches_off_the_interface_of_a_running_pod_when_it_lets_go_of_it_at_a_reload() {
    let taken = Taken::start();
    taken.apply_fix();
    taken.manager.signal(Signal::HUP);
    taken.node.await_loss(&taken.pod, 0);
    assert!(taken.is_unmanaged(&taken.pod));
}
