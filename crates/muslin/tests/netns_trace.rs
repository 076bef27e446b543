//! `muslin trace` between pods of two nodes, whole and broken in several ways.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/world.rs"]
mod world;

use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::{Duration, Instant};

use daemon::{MUSLIN, PATIENCE};
use muslin_netns::{Namespace, connect};
use serde_json::Value;
use tempfile::TempDir;
use world::World;

const HERE: &str = "10.244.1.9";
const THERE: &str = "10.244.2.9";

/// The world with a pod on each node, set up as the plugin does it.
struct Pods {
    world: World,
    here: Namespace,
    there: Namespace,
    /// A root folder whose `run/netns` names the pods' namespaces.
    root: TempDir,
}

impl Pods {
    fn start() -> Self {
        let world = World::start();
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("run/netns")).unwrap();
        let [here, there] = [(0, HERE), (1, THERE)].map(|(index, address)| {
            let node = &world.nodes[index].0;
            let pod = Namespace::new(address).unwrap();
            connect(node, "msltest", &pod, "eth0").unwrap();
            pod.add_address("eth0", format!("{address}/32").parse().unwrap()).unwrap();
            let ip = |namespace: &Namespace, args: &str| {
                let output =
                    namespace.run(|| Command::new("ip").args(args.split(' ')).output()).unwrap().unwrap();
                assert!(output.status.success(), "ip {args}: {}", String::from_utf8_lossy(&output.stderr));
            };
            node.add_address("msltest", "169.254.1.1/32".parse().unwrap()).unwrap();
            ip(&pod, "route add 169.254.1.1 dev eth0");
            ip(&pod, "route add default via 169.254.1.1 dev eth0");
            ip(node, &format!("route add {address} dev msltest proto 78"));
            pod
        });
        symlink(here.path(), root.path().join("run/netns/here")).unwrap();
        Self { world, here, there, root }
    }

    fn trace(&self, to: &str) -> (Value, i32) {
        let (namespace, agent) = &self.world.nodes[0];
        let mut command = Command::new(MUSLIN);
        command.args(["trace", HERE, to, "--output", "json", "--socket"]).arg(&agent.socket);
        command.arg("--root").arg(self.root.path());
        let output = namespace.run(|| command.output()).unwrap().unwrap();
        let trace = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
        (trace, output.status.code().unwrap())
    }

    /// The trace, once it says this; the agent and the kernel take their time to follow.
    #[track_caller]
    fn says(&self, to: &str, words: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (trace, code) = self.trace(to);
            if trace["broken"].to_string().contains(words) {
                assert_eq!(code, 1);
                return trace;
            }
            assert!(Instant::now() < deadline, "no `{words}`: {trace:#}");
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }
}

#[test]
fn a_way_that_is_whole_shows_every_look_up_what_bgp_says_and_who_answers() {
    let pods = Pods::start();
    let (trace, code) = pods.trace(THERE);
    assert_eq!((&trace["broken"], code), (&Value::Array(Vec::new()), 0), "{trace:#}");
    let said = trace["steps"].to_string();
    for words in [
        "via 169.254.1.1 dev eth0, MTU 1500",
        "via 172.30.1.1 dev eth0, MTU 1500, by 10.244.2.0/24 of protocol 77 (learned by BGP)",
        "BGP: 10.244.2.0/24 from tor-1-ipv4, AS path 65000 64512",
        "hops that answered: 169.254.1.1, 172.30.1.1, 172.30.2.2, 10.244.2.9",
        "10.244.2.9 answers packets of 1500 octets",
    ] {
        assert!(said.contains(words), "no `{words}`: {trace:#}");
    }
}

#[test]
fn a_route_that_is_gone_is_found_on_the_hop_that_lacks_it() {
    let pods = Pods::start();
    // Nobody announces it.
    pods.says("10.244.77.1", "on this node");
    // The router loses its way to the other node.
    pods.world.gateway.sysctl("net/ipv4/ip_forward", "0").unwrap();
    // The looks before have used up what a kernel says to one address about lifetimes: some six words, then one a second.
    let trace = pods.says(THERE, "the last that answers is");
    assert!(trace["broken"].to_string().contains("does not answer"), "{trace:#}");
}

#[test]
fn a_link_that_swallows_large_packets_is_found() {
    let pods = Pods::start();
    // The other end of the second node's uplink takes less than the routers send.
    pods.world.nodes[1].0.set_mtu("eth0", 1400).unwrap();
    let trace = pods.says(THERE, "packets larger than 1400 octets vanish");
    assert!(trace["steps"].to_string().contains("not of 1500"), "{trace:#}");
}

#[test]
fn a_pod_that_sends_no_packet_to_the_node_is_told_from_one_that_is_not_here() {
    let pods = Pods::start();
    pods.here.remove_route("0.0.0.0/0".parse().unwrap()).unwrap();
    pods.says(THERE, "in the pod: there is no route");
    drop(pods.there);
}

#[test]
fn a_service_is_followed_to_an_endpoint_by_its_name_and_by_its_address() {
    let pods = Pods::start();
    // The one endpoint of the example's Service `mail` moves in with the pod there.
    let ip = |args: &str| {
        let node = &pods.world.nodes[1].0;
        assert!(node.run(|| Command::new("ip").args(args.split(' ')).status()).unwrap().unwrap().success());
    };
    pods.there.add_address("eth0", "10.244.2.3/32".parse().unwrap()).unwrap();
    ip("route add 10.244.2.3 dev msltest proto 78");
    for asked in ["default/mail", "192.0.2.25"] {
        let (trace, code) = pods.trace(asked);
        assert_eq!((&trace["to"], code), (&Value::from("10.244.2.3"), 0), "{trace:#}");
        let service = &trace["steps"][0];
        assert_eq!(service["place"], "Service default/mail");
        let found = service["found"][0].as_str().unwrap();
        assert!(found.contains("1 ready") && found.ends_with("the way to 10.244.2.3 on n2"), "{found}");
    }
    // Nothing is behind this one.
    let slices = pods.world.state.join("endpointslices.yaml");
    assert!(slices.exists(), "the example has its EndpointSlices in a file of their own");
    std::fs::remove_file(slices).unwrap();
    pods.says("default/mail", "Service default/mail has no ready endpoint");
}
