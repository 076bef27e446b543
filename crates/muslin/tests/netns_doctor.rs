//! `muslin doctor` on nodes where the real thing is set wrong.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/daemon.rs"]
mod daemon;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

use daemon::MUSLIN;
use muslin_netns::{Namespace, connect};
use serde_json::Value;
use tempfile::TempDir;

/// A node with one uplink to a router, and a root folder of its own; nothing runs on it.
struct Node {
    namespace: Namespace,
    router: Namespace,
    root: TempDir,
}

impl Node {
    /// Everything as it should be.
    fn new() -> Self {
        let (namespace, router) = (Namespace::new("n1").unwrap(), Namespace::new("tor").unwrap());
        connect(&namespace, "eth0", &router, "n1").unwrap();
        for (family, length) in [("172.30.1.", 24), ("fd30:0:0:1::", 64)] {
            router.add_address("n1", format!("{family}1/{length}").parse().unwrap()).unwrap();
            namespace.add_address("eth0", format!("{family}2/{length}").parse().unwrap()).unwrap();
        }
        namespace.add_route("0.0.0.0/0".parse().unwrap(), "172.30.1.1".parse().unwrap()).unwrap();
        for (setting, value) in [
            ("ipv4/ip_forward", "1"),
            ("ipv4/conf/all/rp_filter", "0"),
            ("ipv4/conf/eth0/rp_filter", "0"),
            ("ipv4/fib_multipath_hash_policy", "1"),
            ("ipv6/fib_multipath_hash_policy", "1"),
            ("ipv6/conf/eth0/accept_ra", "2"),
            ("ipv6/conf/all/forwarding", "1"),
        ] {
            namespace.sysctl(&format!("net/{setting}"), value).unwrap();
        }
        let root = tempfile::tempdir().unwrap();
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self { namespace, router, root }
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(MUSLIN);
        let folder = |name: &str| self.root.path().join(name);
        command.args(["doctor", "--root"]).arg(self.root.path()).args(args);
        command.arg("--socket").arg(folder("run/muslin/muslin.sock"));
        command.arg("--data-dir").arg(folder("var/lib/muslin/cni"));
        command
            .arg("--cni-conf-dir")
            .arg(folder("etc/cni/net.d"))
            .arg("--cni-bin-dir")
            .arg(folder("opt/cni/bin"));
        command
    }

    fn output(&self, mut command: Command) -> Output {
        self.namespace.run(|| command.output()).unwrap().unwrap()
    }

    /// The findings, and whether the doctor says that something has to be done.
    fn examine(&self) -> (Vec<Value>, i32) {
        let output = self.output(self.command(&["--output", "json"]));
        let report: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
        (report["findings"].as_array().unwrap().clone(), output.status.code().unwrap())
    }

    /// The finding of a check; what is wrong makes the command fail.
    #[track_caller]
    fn finds(&self, check: &str, words: &str) -> Value {
        let (findings, code) = self.examine();
        let finding = findings.iter().find(|finding| finding["check"] == check);
        let finding = finding.unwrap_or_else(|| panic!("nothing of {check}: {findings:#?}"));
        assert!(finding.to_string().contains(words), "no `{words}` in {finding:#}");
        assert_eq!(code, 1, "{findings:#?}");
        finding.clone()
    }
}

#[test]
fn a_node_that_is_set_up_right_needs_nothing_but_an_agent() {
    let node = Node::new();
    let (findings, code) = node.examine();
    let checks: Vec<_> = findings.iter().filter_map(|finding| finding["check"].as_str()).collect();
    assert_eq!((checks, code), (vec!["agent"], 0), "{findings:#?}");
    let page = String::from_utf8(node.output(node.command(&[])).stdout).unwrap();
    assert!(
        page.contains("note: no agent answers") && page.contains("checks found nothing: kernel"),
        "{page}"
    );
}

#[test]
fn kernel_settings_that_stop_packets_are_found_with_what_helps_and_gone_when_it_was_done() {
    let node = Node::new();
    for (setting, bad, good, check) in [
        ("ipv4/ip_forward", "0", "1", "forwarding"),
        ("ipv6/conf/all/forwarding", "0", "1", "forwarding"),
        ("ipv4/conf/all/rp_filter", "1", "0", "reverse-path-filter"),
        ("ipv6/conf/eth0/accept_ra", "1", "2", "router-advertisements"),
        ("ipv4/fib_multipath_hash_policy", "0", "1", "multipath-hash"),
    ] {
        node.namespace.sysctl(&format!("net/{setting}"), bad).unwrap();
        let finding = node.finds(check, &setting.replace('/', "."));
        assert!(finding["fix"].as_str().unwrap().starts_with("sysctl -w net."), "{finding:#}");
        node.namespace.sysctl(&format!("net/{setting}"), good).unwrap();
        let (findings, code) = node.examine();
        assert_eq!(code, 0, "{setting}: {findings:#?}");
    }
}

#[test]
fn a_stranger_on_the_port_of_bgp_is_found() {
    let node = Node::new();
    // Held by this test, which the doctor's own `/proc` shows only where `--root` is the machine's.
    let _taken = node.namespace.run(|| TcpListener::bind("0.0.0.0:179").unwrap()).unwrap();
    node.finds("bgp-port", "0.0.0.0 port 179");
}

#[test]
fn a_router_that_takes_smaller_packets_than_the_link_is_found_by_asking_it() {
    let node = Node::new();
    node.router.set_mtu("n1", 1400).unwrap();
    let finding = node.finds("path-mtu", "172.30.1.1");
    assert!(finding["what"].as_str().unwrap().contains("1400"), "{finding:#}");
    let output = node.output(node.command(&["--no-probes"]));
    assert!(output.status.success(), "nobody asked");
}

#[test]
fn pods_that_send_more_than_the_uplink_carries_are_found() {
    let node = Node::new();
    let network = r#"{"version": 1, "blocks": ["10.244.1.0/24"], "mtu": 1500}"#;
    node.write("var/lib/muslin/cni/network.json", network);
    node.namespace.set_mtu("eth0", 1400).unwrap();
    node.router.set_mtu("n1", 1400).unwrap();
    node.finds("mtu", "1500 of pods, 1400 of eth0");
}

#[test]
fn chains_that_drop_what_is_forwarded_and_two_modes_of_kube_proxy_are_found() {
    let node = Node::new();
    let nft = |script: &str| {
        let output = node.namespace.run(|| Command::new("nft").arg(script).output()).unwrap().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    nft(
        "add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }",
    );
    node.finds("packet-filter", "filter FORWARD");
    nft("delete table ip filter");
    nft(
        "add table ip nat; add chain ip nat KUBE-SERVICES; add table ip kube-proxy; add chain ip kube-proxy services",
    );
    node.finds("kube-proxy", "nftables, iptables");
}

#[test]
fn managers_of_routes_and_other_cni_configurations_are_found_in_the_nodes_files() {
    let node = Node::new();
    node.write("proc/71/comm", "systemd-network\n");
    node.finds("systemd-networkd", "ManageForeignRoutes");
    node.write(
        "etc/systemd/networkd.conf.d/10-muslin.conf",
        "[Network]\nManageForeignRoutes=no\nManageForeignNextHops=no\n",
    );
    node.write("proc/72/comm", "NetworkManager\n");
    let finding = node.finds("network-manager", "interface-name:msl*");
    assert!(finding["fix"].as_str().unwrap().contains("/etc/NetworkManager/conf.d"), "{finding:#}");
    node.write("etc/NetworkManager/conf.d/10.conf", "[keyfile]\nunmanaged-devices=interface-name:msl*\n");
    node.write("proc/73/comm", "calico-node\n");
    node.finds("other-routing", "Calico");
    fs::remove_dir_all(node.root.path().join("proc/73")).unwrap();
    node.write("etc/cni/net.d/10-muslin.conflist", r#"{"plugins": [{"type": "muslin-cni"}]}"#);
    node.write("opt/cni/bin/muslin-cni", "");
    node.write("etc/cni/net.d/05-bridge.conf", r#"{"type": "bridge"}"#);
    node.finds("cni", "05-bridge.conf");
    fs::remove_file(node.root.path().join("etc/cni/net.d/05-bridge.conf")).unwrap();
    assert_eq!(node.examine().1, 0);
}

#[test]
fn an_ordinary_user_sees_what_is_wrong_and_is_told_what_only_root_can_see() {
    let node = Node::new();
    node.namespace.sysctl("net/ipv4/ip_forward", "0").unwrap();
    // Where the test's own folder is closed to others, they have a copy.
    let program = node.root.path().join("muslin");
    fs::copy(MUSLIN, &program).unwrap();
    let mut command = Command::new(&program);
    command.args(node.command(&["--output", "json"]).get_args().map(ToOwned::to_owned));
    command.uid(65_534).gid(65_534);
    let output = node.output(command);
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let severity = |check: &str| {
        let findings = report["findings"].as_array().unwrap();
        findings.iter().find(|finding| finding["check"] == check).map(|finding| finding["severity"].clone())
    };
    assert_eq!(severity("forwarding"), Some("error".into()), "{report:#}");
    assert_eq!(severity("packet-filter"), Some("unknown".into()), "{report:#}");
    assert_eq!(output.status.code(), Some(1));
}
