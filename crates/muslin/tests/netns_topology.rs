//! `muslin lab --topology FILE` as a person meets it: what a node has, what is refused, and that nothing is left.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Two speakers on a link, each with a network of its own.
const TWO: &str = r#"
name: two
topology:
  kinds:
    linux: {network-mode: none, cmd: muslin speaker --state /etc/muslin, env: {GREETING: hello}}
  nodes:
    left:
      kind: linux
      binds: [left:/etc/muslin:ro]
      exec: [ip address add 192.0.2.1/24 dev eth1, ip address add 10.1.0.1/24 dev lo]
    right:
      kind: linux
      binds: [right:/etc/muslin:ro]
      exec: [ip address add 192.0.2.2/24 dev eth1, ip address add 10.2.0.1/24 dev lo]
  links:
    - {endpoints: ["left:eth1", "right:eth1"], mtu: 1500}
"#;
/// Asks until the other side answers: its route takes a moment.
const VERIFY: &str = r"#!/bin/sh
for _ in $(seq 100); do
    $LAB_EXEC left -- ping -c 1 -W 1 -I 10.1.0.1 10.2.0.1 && exit 0
    sleep 0.1
done
exit 1
";

/// A folder with the topology, and one for the note of a standing lab.
struct World(tempfile::TempDir);

impl World {
    fn new(topology: &str) -> Self {
        let world = Self(tempfile::tempdir().unwrap());
        fs::create_dir(world.path().join("tmp")).unwrap();
        fs::write(world.path().join("two.clab.yml"), topology).unwrap();
        for (name, asn, peer, peer_asn, network) in [
            ("left", 65001, "192.0.2.2", 65002, "10.1.0.0/24"),
            ("right", 65002, "192.0.2.1", 65001, "10.2.0.0/24"),
        ] {
            let folder = world.path().join(name);
            fs::create_dir(&folder).unwrap();
            let text = format!(
                "apiVersion: muslin.dev/v1alpha1
kind: BGPConfiguration
metadata: {{name: default}}
spec: {{asn: {asn}, routerID: 192.0.2.{asn}, originate: [{{cidr: {network}}}]}}
---
apiVersion: muslin.dev/v1alpha1
kind: BGPFilter
metadata: {{name: all}}
spec: {{import: [{{action: Accept}}], export: [{{action: Accept}}]}}
---
apiVersion: muslin.dev/v1alpha1
kind: BGPPeer
metadata: {{name: other}}
spec: {{peerAddress: {peer}, peerASN: {peer_asn}, filters: [all]}}
"
            );
            let text = text.replace("192.0.2.6500", "192.0.2.");
            fs::write(folder.join("bgp.yaml"), text).unwrap();
        }
        world
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn lab(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_muslin"));
        command.arg("lab").args(arguments).current_dir(self.path());
        command.env("TMPDIR", self.path().join("tmp")).stdin(Stdio::null()).output().unwrap()
    }

    fn verify(&self, script: &str) {
        let file = self.path().join("verify.sh");
        fs::write(&file, script).unwrap();
        fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }

    /// What a command in a node says, which has to be content.
    fn ask(&self, node: &str, command: &[&str]) -> String {
        let output = self.lab(&[&["shell", node, "--"], command].concat());
        assert!(output.status.success(), "{command:?}: {}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&*output.stdout, &*output.stderr].concat()).into_owned()
}

#[test]
fn a_topology_is_deployed_and_what_its_verify_says_is_the_exit_code() {
    let world = World::new(TWO);
    world.verify(VERIFY);
    let output = world.lab(&["--topology", "two.clab.yml"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    world.verify("#!/bin/sh\nexit 7\n");
    assert_eq!(world.lab(&["--topology", "two.clab.yml"]).status.code(), Some(1));
}

/// An example as it is, on namespaces: every route and every packet that its `verify.sh` knows of.
fn example(name: &str, checks: usize) {
    let folder = tempfile::tempdir().unwrap();
    let topology = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name);
    let topology = topology.join(format!("{name}.clab.yml"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_muslin"));
    command.args(["lab", "--topology"]).arg(topology).env("TMPDIR", folder.path()).stdin(Stdio::null());
    let output = command.output().unwrap();
    let said = text(&output);
    assert!(
        output.status.success() && said.contains(&format!("{name}: {checks} passed, 0 failed")),
        "{said}"
    );
}

#[test]
fn a_kept_node_has_its_own_files_and_writes_none_of_the_machines() {
    let world = World::new(TWO);
    let kept = world.lab(&["--topology", "two.clab.yml", "--keep"]);
    assert_eq!(kept.status.code(), Some(0), "{}", text(&kept));
    assert!(text(&kept).contains("lab shell left"), "{}", text(&kept));
    assert_eq!(world.ask("right", &["hostname"]), "right\n");
    assert_eq!(world.ask("right", &["sh", "-c", "echo $GREETING"]), "hello\n");
    let established = world.ask("right", &["timeout", "30", "sh", "-c", "until muslin peers; do :; done"]);
    assert!(established.contains("192.0.2.1"), "{established}");
    assert!(world.ask("left", &["cat", "/etc/muslin/bgp.yaml"]).contains("65001"));
    let refused = world.lab(&["shell", "left", "--", "touch", "/etc/muslin/file"]);
    assert!(text(&refused).contains("Read-only file system"), "{}", text(&refused));
    let name = format!("muslin-test-{}", std::process::id());
    for folder in ["/etc", "/var/lib", "/run"] {
        let file = format!("{folder}/{name}");
        world.ask("left", &["touch", &file]);
        assert!(!Path::new(&file).exists(), "{file} is the node's own");
    }
    world.ask("left", &["ip", "netns", "add", &name]);
    let other = world.ask("right", &["ip", "netns", "list"]);
    assert!(!other.contains(&name), "a node's namespaces are its own: {other}");
    let down = world.lab(&["down"]);
    assert!(down.status.success(), "{}", text(&down));
    assert_eq!(fs::read_dir(world.path().join("tmp")).unwrap().count(), 0, "nothing is left");
}

#[test]
fn what_a_topology_file_cannot_have_is_named_before_anything_starts() {
    for (words, instead, expected) in [
        (
            "binds: [left",
            "bind: [left",
            "two.clab.yml: topology.nodes.left.bind: there is no key `bind`; did you mean `binds`?",
        ),
        ("cmd: muslin", "cmd: muslim", "node left needs muslim, which this machine lacks: install it"),
        ("kind: linux", "kind: ceos", "has no kind `ceos`, only linux"),
    ] {
        let world = World::new(&TWO.replacen(words, instead, 1));
        let output = world.lab(&["--topology", "two.clab.yml", "--keep"]);
        assert_eq!(output.status.code(), Some(2), "{}", text(&output));
        assert!(text(&output).contains(expected), "{}", text(&output));
    }
    let world = World::new(TWO);
    let output = world.lab(&["--topology", "two.clab.yml", "--nodes", "4"]);
    assert!(text(&output).contains("--nodes does not go with a topology file"), "{}", text(&output));
    let output = world.lab(&["--topology", "two.clab.yml"]);
    assert!(text(&output).contains("leave it standing with --keep"), "{}", text(&output));
    let output = world.lab(&["--topology", "dual-torr"]);
    assert!(text(&output).contains("dual-tor"), "{}", text(&output));
}

#[test]
fn a_node_whose_program_ends_or_whose_command_fails_ends_the_topology_with_a_word() {
    for (words, instead, expected) in [
        ("cmd: muslin speaker", "cmd: muslin speeker", "muslin of left ended by itself"),
        (
            "dev lo]\n    right",
            "dev nowhere]\n    right",
            "`ip address add 10.1.0.1/24 dev nowhere` in left failed",
        ),
    ] {
        let world = World::new(&TWO.replacen(words, instead, 1));
        let output = world.lab(&["--topology", "two.clab.yml", "--keep"]);
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        assert!(text(&output).contains(expected), "{}", text(&output));
    }
}

#[test]
fn a_mesh_of_nodes_on_one_link_needs_no_configuration() {
    example("mesh", 27);
}

#[test]
fn nodes_behind_one_router_reach_each_other_and_the_outside() {
    example("three-nodes", 34);
}

#[test]
fn nodes_with_two_routers_a_rack_and_an_as_a_rack_use_both() {
    example("dual-tor", 20);
}

#[test]
fn nodes_and_routers_find_each_other_on_links_without_addresses() {
    example("unnumbered", 16);
}

#[test]
fn both_families_have_sessions_routes_and_packets_of_their_own() {
    example("dual-stack", 17);
}

#[test]
fn services_are_announced_to_the_router_of_their_class_alone() {
    example("service-classes", 12);
}

#[test]
fn two_routers_from_folders_exchange_their_networks() {
    example("bare-router", 4);
}
