//! A node's way into the cluster and out of it: when pods may come, and what is left in the end.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/pair.rs"]
mod pair;
#[path = "support/pod.rs"]
mod pod;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use daemon::{Daemon, MUSLIN, OURS, PATIENCE};
use ipnet::IpNet;
use muslin_netns::Namespace;
use muslin_pod_network::{HOST_INTERFACE_PREFIX, POD_ROUTE_PROTOCOL, firewall};
use pair::{CLUSTER, Pair, ROUTER};
use pod::{addresses, attach};

/// A router that does not know the node.
const STRANGER: &str = "
apiVersion: muslin.dev/v1alpha1
kind: BGPConfiguration
metadata: {name: default}
spec: {asn: 65000, routerID: 172.30.1.1, originate: [{cidr: 10.50.0.0/16}]}
";

/// What the router tells.
const OUTSIDE: &str = "10.50.0.0/16";

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn conflist(folder: &Path) -> PathBuf {
    folder.join("net.d/10-muslin.conflist")
}

/// The agent's folder: socket, address store and CNI configuration.
fn folder(agent: &Daemon) -> PathBuf {
    agent.socket.parent().unwrap().to_owned()
}

/// Waits until the kernel has, or has not, the route that the router tells.
fn await_outside(pair: &Pair, there: bool) -> bool {
    let prefix: IpNet = OUTSIDE.parse().unwrap();
    let has = |routes: &[muslin_netns::Route]| routes.iter().any(|route| route.prefix == prefix);
    pair.node.await_routes(PATIENCE, |routes| has(routes) == there).unwrap()
}

#[test]
fn pods_may_come_once_a_session_stands_and_its_routes_are_in_the_kernel() {
    let pair = Pair::start(CLUSTER, STRANGER);
    let folder = folder(&pair.agent);
    let unready = pair.agent.ask(&["probe", "ready", "--timeout", "600ms"]);
    assert_eq!(unready.status.code(), Some(1));
    assert!(words(&unready).contains("peer tor"), "{}", words(&unready));
    assert!(pair.agent.ask(&["probe", "live"]).status.success(), "a restart would not bring the router back");
    assert!(!conflist(&folder).exists());

    pair.manifests("router", ROUTER);
    assert!(await_outside(&pair, true), "{}", pair.agent.text(&["status"]));
    pair.agent.await_log("CNI configuration is in place");
    assert!(conflist(&folder).exists());
    let ready = pair.agent.ask(&["probe", "ready"]);
    assert!(ready.status.success(), "{}", words(&ready));

    // A session that is lost later makes the node unready, and takes nothing from its pods.
    pair.manifests("router", STRANGER);
    assert!(await_outside(&pair, false), "{}", pair.agent.text(&["status"]));
    assert!(!pair.agent.ask(&["probe", "ready", "--timeout", "600ms"]).status.success());
    assert!(conflist(&folder).exists());
}

/// A machine gets another name: its Node goes and another one comes, with another block.
#[test]
fn fault_32_a_renamed_node_announces_and_gives_out_the_block_of_its_new_name_only() {
    let mut pair = Pair::start(CLUSTER, ROUTER);
    let folder = folder(&pair.agent);
    let [former, later]: [IpNet; 2] = ["10.244.1.0/24", "10.244.9.0/24"].map(|block| block.parse().unwrap());
    let announced = |pair: &Pair, there: IpNet, gone: Option<IpNet>| {
        let has = |routes: &[muslin_netns::Route], block| routes.iter().any(|route| route.prefix == block);
        let holds =
            |routes: &[muslin_netns::Route]| has(routes, there) && gone.is_none_or(|gone| !has(routes, gone));
        assert!(pair.gateway.await_routes(PATIENCE, holds).unwrap(), "{:?}", pair.gateway.routes());
    };
    announced(&pair, former, None);
    let pods = ["before", "after"].map(|name| Namespace::new(name).unwrap());
    attach(&pair.node, &pods[0], &folder);
    assert!(former.contains(&addresses(&pods[0])[0]));

    // The agent of a Node that is deleted ends as at a restart: peers keep its routes.
    pair.agent.terminate();
    let renamed = CLUSTER.replace("name: n1,", "name: n9,").replace("10.244.1.0/24", "10.244.9.0/24");
    fs::write(pair.cluster.join("state.yaml"), renamed).unwrap();
    pair.agent = Daemon::start(&pair.node, &folder, &["agent", "--node", "n9"], &pair.cluster);
    announced(&pair, later, Some(former));
    attach(&pair.node, &pods[1], &folder);
    let given = addresses(&pods[1]);
    assert!(given.iter().all(|address| later.contains(address)), "{given:?}");
    // Nor does the node keep packets to the former block, which may be another node's.
    let kept = |routes: &[muslin_netns::Route], block| {
        routes.iter().any(|route| route.protocol == OURS && route.prefix == block)
    };
    let moved = |routes: &[muslin_netns::Route]| kept(routes, later) && !kept(routes, former);
    assert!(pair.node.await_routes(PATIENCE, moved).unwrap(), "{:?}", pair.node.routes());
}

#[test]
fn fault_46_a_node_that_is_given_up_is_left_as_it_was_found() {
    let mut pair = Pair::start(CLUSTER, ROUTER);
    let folder = folder(&pair.agent);
    pair.agent.await_log("CNI configuration is in place");
    let pod = Namespace::new("pod").unwrap();
    attach(&pair.node, &pod, &folder);
    let ours = || {
        let mut routes = pair.node.routes().unwrap();
        routes.retain(|route| [OURS, POD_ROUTE_PROTOCOL].contains(&route.protocol));
        routes.len()
    };
    assert!(ours() >= 3, "the block, the pod and what the router told");

    let bin = folder.with_file_name("bin");
    fs::create_dir(&bin).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_muslin-cni"), bin.join("muslin-cni")).unwrap();
    let uninstall = || {
        let mut command = Command::new(MUSLIN);
        command.arg("uninstall").arg("--cni-bin-dir").arg(&bin);
        command.arg("--cni-conf-dir").arg(folder.join("net.d"));
        command.arg("--state-dir").arg(&folder).arg("--run-dir").arg(&folder);
        pair.node.spawn(command.stderr(Stdio::piped())).unwrap().wait_with_output().unwrap()
    };
    let refused = uninstall();
    assert!(!refused.status.success() && words(&refused).contains("end it first"), "{}", words(&refused));
    assert!(ours() >= 3 && conflist(&folder).exists(), "nothing was touched");

    let agent = rustix::process::Pid::from_child(&pair.agent.child);
    rustix::process::kill_process(agent, rustix::process::Signal::TERM).unwrap();
    assert!(pair.agent.child.wait().unwrap().success());
    let done = uninstall();
    assert!(done.status.success() && words(&done).contains("1 pods of this node"), "{}", words(&done));

    assert_eq!(ours(), 0);
    let links = pair.node.links().unwrap();
    assert!(!links.iter().any(|link| link.name.starts_with(HOST_INTERFACE_PREFIX)), "{links:?}");
    assert!(!pair.node.run(firewall::is_present).unwrap().unwrap());
    assert!(!folder.exists() && !bin.join("muslin-cni").exists());
    let default = pair.node.routes().unwrap().into_iter().find(|route| route.prefix.prefix_len() == 0);
    assert!(default.is_some(), "the node's own default route is nobody's to remove");
    assert!(uninstall().status.success(), "a second time there is nothing to do");
}
