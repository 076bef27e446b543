#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;

fn parse(text: &str) -> Result<TopologyFile, String> {
    TopologyFile::parse(text, "/".into(), |_| None).map_err(|trouble| trouble.to_string())
}

const TWO: &str = "
name: two
mgmt: {skip-when-unused: true, anything: else}
topology:
  defaults: {env: {A: one, B: two}}
  kinds:
    linux: {network-mode: none, image: some/image, sysctls: {net.ipv4.ip_forward: 1}, env: {B: three}}
  nodes:
    right: {kind: linux, cmd: sleep 1000}
    left:
      kind: linux
      image: '${FRR:=quay.io/frr}'
      binds: [etc:/etc/frr:ro, usr:/data]
      exec: [ip address add 10.0.0.1/24 dev lo, \"sh -c 'a; b'\"]
  links:
    - {endpoints: ['left:eth1', 'right:eth1'], mtu: 1500}
    - {endpoints: ['left:eth2', 'right:eth2']}
";

#[test]
fn a_node_has_what_its_defaults_and_its_kind_say_and_its_own_word_is_the_last() {
    let file = parse(TWO).unwrap();
    let [left, right] = &file.nodes[..] else { panic!("{:?}", file.nodes) };
    assert_eq!((&*left.name, &*left.image), ("left", "quay.io/frr"));
    assert_eq!(left.exec[1], ["sh", "-c", "a; b"]);
    let read_only = Bind { source: "/etc".into(), target: "/etc/frr".into(), access: Access::Read };
    assert_eq!(left.binds[0], read_only);
    assert_eq!(left.binds[1].access, Access::Write);
    assert_eq!(
        (&*right.image, right.command.as_deref()),
        ("some/image", Some(&["sleep".into(), "1000".into()][..]))
    );
    assert_eq!(right.environment["A"], "one");
    assert_eq!(right.environment["B"], "three");
    assert_eq!(right.sysctls["net/ipv4/ip_forward"], "1");
    assert_eq!((file.links[0].mtu, file.links[1].mtu), (1500, 9500));
    assert_eq!(file.links[1].ends[1], End { node: "right".to_owned(), interface: "eth2".to_owned() });
}

#[test]
fn what_is_not_known_is_named_with_the_nearest_that_is() {
    for (words, instead, expected) in [
        ("binds:", "bind:", "topology.nodes.left.bind: there is no key `bind`; did you mean `binds`?"),
        (
            "'left:eth1', '",
            "'letf:eth1', '",
            "topology.links[0].endpoints: there is no node `letf`; did you mean `left`?",
        ),
        (
            "kind: linux, cmd",
            "kind: linus, cmd",
            "topology.nodes.right.kind: there is no kind `linus`; did you mean `linux`?",
        ),
        (
            "kind: linux, cmd",
            "kind: nokia_srlinux, cmd",
            "topology.nodes.right.kind: `muslin lab` has no kind `nokia_srlinux`, only linux, k8s-kind, \
             ext-container; containerlab itself may run this topology",
        ),
        (
            "'left:eth2', 'right:eth2'",
            "'left:eth1', 'right:eth2'",
            "topology.links[1]: left:eth1 has a link already",
        ),
        ("'right:eth2'", "right", "topology.links[1].endpoints: found `right`; allowed is NODE:INTERFACE"),
        ("mtu: 1500", "mtu: big", "topology.links[0].mtu: found big; allowed are 68 to 65535 octets"),
        (
            "network-mode: none",
            "network-mode: host",
            "topology.kinds.linux.network-mode: found \"host\"; here every node has a network of its own (none)",
        ),
        (
            "net.ipv4.ip_forward",
            "kernel.panic",
            "topology.kinds.linux.sysctls: `kernel.panic` is the machine's, not a node's; only net.* can be set here",
        ),
        (
            "usr:/data",
            "nowhere:/data",
            "topology.nodes.left.binds: `nowhere:/data`: /nowhere: No such file or directory (os error 2)",
        ),
        (
            "usr:/data",
            "usr:../data",
            "topology.nodes.left.binds: `usr:../data`: the target has to be an absolute path",
        ),
        (
            "'a; b'",
            "'a; b",
            "topology.nodes.left.exec: `sh -c 'a; b` is no command: a quote is open, or it is empty",
        ),
    ] {
        assert_eq!(parse(&TWO.replacen(words, instead, 1)).unwrap_err(), expected);
    }
}

#[test]
fn every_topology_of_the_repository_is_understood() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../containerlab");
    let read = |scenario: &str| {
        TopologyFile::read(&folder.join(scenario).join(format!("{scenario}.clab.yml"))).unwrap()
    };
    for scenario in ["bgp-interop", "tor-clos", "route-reflector", "unnumbered"] {
        let file = read(scenario);
        assert!(file.nodes.len() >= 4 && file.links.len() >= 3 && file.cluster.is_none(), "{file:?}");
    }
    for (scenario, routers) in [("k8s-single-tor", 1), ("k8s-dual-tor", 2), ("k8s-dualstack", 1)] {
        let file = read(scenario);
        let cluster = file.cluster.unwrap();
        let names: Vec<&str> = file.cluster_nodes.iter().map(|node| &*node.name).collect();
        assert_eq!(cluster.nodes, names, "{scenario}");
        assert_eq!((file.nodes.len(), file.links.len()), (routers, 3 * routers), "{scenario}");
    }
}

const CLUSTER: &str = "
topology:
  nodes:
    tor: {kind: linux, cmd: sleep 1000}
    lab: {kind: k8s-kind, startup-config: containerlab/k8s-single-tor/cluster.yaml}
    lab-worker: {kind: ext-container, exec: [ip address add 10.0.0.2/30 dev net1]}
  links:
    - {endpoints: ['tor:eth1', 'lab-worker:net1']}
";

#[test]
fn what_is_said_of_a_cluster_is_checked() {
    let parse = |text: &str| {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        TopologyFile::parse(text, repository, |_| None).map_err(|trouble| trouble.to_string())
    };
    assert_eq!(parse(CLUSTER).unwrap().cluster_nodes[0].exec[0][..3], ["ip", "address", "add"]);
    for (words, instead, expected) in [
        (
            "lab-worker:",
            "lab-wroker:",
            "topology.nodes: there is no node of the cluster `lab-wroker`; did you mean `lab-worker`?",
        ),
        (", startup-config:", ", binds:", "topology.nodes.lab.binds: `muslin lab` has no key `binds`"),
        (
            ", startup-config: containerlab/k8s-single-tor/cluster.yaml",
            "",
            "topology.nodes.lab: it has no `startup-config`, which is kind's configuration",
        ),
        ("cluster.yaml", "nowhere.yaml", "nowhere.yaml: No such file or directory"),
        (
            "tor: {kind: linux, cmd: sleep 1000}",
            "tor: {kind: k8s-kind}",
            "topology.nodes.tor: there is a cluster already",
        ),
    ] {
        let text = CLUSTER.replacen(words, instead, 1);
        assert_ne!(text, CLUSTER);
        let told = parse(&text).unwrap_err();
        assert!(told.contains(expected), "{told}");
    }
}
