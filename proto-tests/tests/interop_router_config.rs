//! What `muslin router-config` writes is loaded, as it is, into the router that two nodes' agents peer with: routes
//! flow both ways, what nobody should announce stops at the router, and a node that came later fits in.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use muslin_netns::{Namespace, connect};
use muslin_proto_tests::daemon::{Process, ask};
use muslin_proto_tests::daemons::{Candidate, Kind};
use muslin_proto_tests::router::Router;
use muslin_proto_tests::{muslin, wait};

/// The router's interface with all nodes, where they share one.
const SEGMENT: &str = "rack";

/// The protocol number of routes that our agent learned.
const OURS: u8 = 77;

/// A cluster of which the router knows; its password is not to be seen unless asked for.
const CLUSTER: &str = r#"
apiVersion: muslin.dev/v1alpha1
kind: BGPConfiguration
metadata: {name: default}
spec:
  asn: 64512
  clusterCIDRs: [10.244.0.0/16, "fd44::/48"]
  serviceClusterIPs: [{cidr: 10.96.0.0/16}, {cidr: "fd96::/112"}]
  import: {defaultRoute: Accept}
  nodeMesh: {enabled: false}
---
apiVersion: v1
kind: Secret
metadata: {name: rack, namespace: muslin-system}
stringData: {password: not-for-everyone}
"#;

/// What one node announces although the router was not told.
const STRAY: &str = "---\napiVersion: muslin.dev/v1alpha1\nkind: BGPConfiguration\nmetadata: {name: node.n1}\n\
                     spec: {originate: [{cidr: 203.0.113.0/24}]}\n";
const STRAY_PREFIX: &str = "203.0.113.0/24";

/// How the nodes and the router are set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// A link and an AS of its own for the router, and nothing else said.
    Plain,
    /// The same, with a password.
    Signed,
    /// The same, with sessions that take nothing from further away.
    Secure,
    /// One AS and one segment for all: the router reflects.
    Reflected,
    /// Links without addresses; the nodes' own are on their loopbacks.
    Unnumbered,
}

/// The router's sessions with one node.
fn peers(number: u8, shape: Shape) -> String {
    let more = match shape {
        Shape::Plain | Shape::Unnumbered => "peerASN: 65000",
        Shape::Signed => "peerASN: 65000, password: {secretKeyRef: {name: rack}}",
        Shape::Secure => "peerASN: 65000, ttlSecurity: 1",
        Shape::Reflected => "peerASN: internal",
    };
    let peer = |family: &str, place: &str| {
        format!(
            "---\napiVersion: muslin.dev/v1alpha1\nkind: BGPPeer\nmetadata: {{name: tor-{number}-{family}}}\n\
             spec: {{nodeSelector: {{matchLabels: {{link: l{number}}}}}, {place}, connectRetry: 1s, {more}}}\n"
        )
    };
    if shape == Shape::Unnumbered {
        return peer("link", "interface: eth0");
    }
    peer("ipv4", &format!("peerAddress: 172.30.{number}.1"))
        + &peer("ipv6", &format!("peerAddress: \"fd30:0:0:{number}::1\""))
}

fn node(number: u8) -> String {
    format!(
        "---\napiVersion: v1\nkind: Node\nmetadata: {{name: n{number}, labels: {{link: l{number}}}}}\n\
         spec: {{podCIDRs: [10.244.{number}.0/24, \"fd44:0:0:{number}::/64\"]}}\n\
         status: {{addresses: [{{type: InternalIP, address: 172.30.{number}.2}}, \
         {{type: InternalIP, address: \"fd30:0:0:{number}::2\"}}]}}\n"
    )
}

fn blocks(number: u8) -> Result<[IpNet; 2]> {
    Ok([format!("10.244.{number}.0/24").parse()?, format!("fd44:0:0:{number}::/64").parse()?])
}

/// A node with its agent.
struct Agent {
    host: Namespace,
    process: Process,
}

impl Agent {
    fn start(number: u8, tor: &Namespace, shape: Shape, manifests: &str) -> Result<Self> {
        let name = format!("n{number}");
        let host = Namespace::new(&name)?;
        connect(&host, "eth0", tor, &name)?;
        let (routers, nodes, lengths) = match shape {
            Shape::Reflected => (SEGMENT, "eth0", [16, 32]),
            Shape::Unnumbered => ("lo", "lo", [32, 128]),
            Shape::Plain | Shape::Signed | Shape::Secure => (&*name, "eth0", [24, 64]),
        };
        if shape == Shape::Reflected {
            tor.attach(SEGMENT, &name)?;
        }
        let links = [format!("172.30.{number}."), format!("fd30:0:0:{number}::")];
        for (link, length) in links.into_iter().zip(lengths) {
            tor.add_address(routers, format!("{link}1/{length}").parse()?)?;
            host.add_address(nodes, format!("{link}2/{length}").parse()?)?;
        }
        let folder = Process::folder()?;
        let state = folder.path().join("state");
        fs::create_dir(&state)?;
        fs::write(state.join("all.yaml"), manifests)?;
        let mut command = Command::new(muslin::binary()?);
        command.args(["agent", "--node", &name, "--state"]).arg(&state).arg("--run-dir").arg(folder.path());
        command.arg("--data-dir").arg(folder.path().join("cni"));
        let mut process = Process::start(&host, folder, &mut command)?;
        process.await_file("muslin.sock")?;
        Ok(Self { host, process })
    }

    /// Waits until the kernel has these routes, learned.
    fn await_learned(&self, wanted: &[IpNet], router: &mut Router) -> Result<()> {
        let waited = wait::until("the node has learned its routes", || {
            router.check()?;
            let routes = self.host.routes()?;
            let learned = |prefix: &&IpNet| {
                routes.iter().any(|route| route.prefix == **prefix && route.protocol == OURS)
            };
            let missing: Vec<_> = wanted.iter().filter(|prefix| !learned(prefix)).collect();
            Ok(if missing.is_empty() { Ok(()) } else { Err(format!("missing {missing:?}")) })
        });
        waited.with_context(|| {
            let said = muslin::command(self.process.path(""), &["status"]).unwrap_or_default();
            format!("{said}\n{}", router.log().unwrap_or_default())
        })
    }
}

/// What the command writes for the cluster in this folder.
fn written(daemon: &str, state: &Path, more: &[&str]) -> Result<String> {
    let mut command = Command::new(muslin::binary()?);
    command.args(["router-config", "--for", daemon, "--listen", "172.30.0.0/16", "--listen", "fd30::/32"]);
    ask(command.arg("--state").arg(state).args(more))
}

/// Loads what is written for a cluster of one node; a second node comes later, unless the daemon has to name it.
fn check(candidate: &Candidate, shape: Shape) -> Result<()> {
    let daemon = candidate.kind.name().to_lowercase();
    let version = candidate.version()?;
    let names_signed = candidate.kind == Kind::OpenBgpd;
    let release = ["--release", version.as_str()];
    let folder = tempfile::tempdir()?;
    let mut known = CLUSTER.to_owned() + &peers(1, shape) + &node(1);
    if shape == Shape::Signed && names_signed {
        known += &(peers(2, shape) + &node(2));
    }
    fs::write(folder.path().join("cluster.yaml"), known)?;
    let interfaces = match shape {
        Shape::Unnumbered => &["--interface", "n1", "--interface", "n2", "--router-id", "172.30.1.1"][..],
        _ => &[],
    };
    let text = written(&daemon, folder.path(), &[&release[..], interfaces, &["--show-secrets"]].concat())?;
    if shape == Shape::Signed {
        let hidden = written(&daemon, folder.path(), &release)?;
        ensure!(!hidden.contains("not-for-everyone"), "the password is shown:\n{hidden}");
        ensure!(hidden.contains("REPLACE-WITH-THE-PASSWORD"), "no place for the password:\n{hidden}");
    }
    // The lines that an operator is told to write where they are true.
    let text = text.replace("# network ", "network ");

    let tor = Namespace::new("tor")?;
    tor.sysctl("net/ipv4/ip_forward", "1")?;
    tor.sysctl("net/ipv6/conf/all/forwarding", "1")?;
    if shape == Shape::Reflected {
        tor.bridge(SEGMENT)?;
    }
    let state = CLUSTER.to_owned() + &peers(1, shape) + &peers(2, shape) + &node(1) + &node(2) + STRAY;
    let [n1, n2] = [Agent::start(1, &tor, shape, &state)?, Agent::start(2, &tor, shape, &state)?];
    // The way out of the rack, which nodes take.
    let uplink = Namespace::new("uplink")?;
    connect(&tor, "up", &uplink, "down")?;
    tor.add_address("up", "192.0.2.1/30".parse()?)?;
    uplink.add_address("down", "192.0.2.2/30".parse()?)?;
    tor.add_route("0.0.0.0/0".parse()?, "192.0.2.2".parse()?)?;
    let mut router = Router::start(candidate, &tor, &text)?;

    let mut wanted = [blocks(1)?, blocks(2)?];
    wanted.reverse();
    for (node, blocks) in [&n1, &n2].into_iter().zip(wanted) {
        node.await_learned(&blocks, &mut router).with_context(|| text.clone())?;
        // GoBGP has no routes but those of BGP.
        if candidate.kind != Kind::GoBgp {
            node.await_learned(&["0.0.0.0/0".parse()?], &mut router).with_context(|| text.clone())?;
        }
    }
    // What the router was not told of is announced to it, and to nobody from there.
    let stray = |words: &[&str], node: &Agent| -> Result<bool> {
        Ok(muslin::ask_json(&node.process, words)?.to_string().contains(STRAY_PREFIX))
    };
    ensure!(stray(&["routes", "advertised"], &n1)?, "the node does not announce {STRAY_PREFIX}");
    ensure!(!stray(&["routes", "received"], &n2)?, "{version} passes {STRAY_PREFIX} on:\n{text}");
    if matches!(candidate.kind, Kind::Frr | Kind::Bird | Kind::Bird3) {
        let own = tor.routes()?;
        for block in [blocks(1)?, blocks(2)?].concat() {
            ensure!(
                own.iter().any(|route| route.prefix == block),
                "the router's kernel lacks {block}: {own:?}"
            );
        }
    }
    Ok(())
}

#[test]
fn frr_as_installed() -> Result<()> {
    check(&Kind::Frr.installed(), Shape::Signed)
}

#[test]
fn frr_as_newest() -> Result<()> {
    check(&Kind::Frr.later()?, Shape::Signed)
}

#[test]
fn bird_2_as_installed() -> Result<()> {
    check(&Kind::Bird.installed(), Shape::Signed)
}

#[test]
fn bird_2_as_newest() -> Result<()> {
    check(&Kind::Bird.later()?, Shape::Signed)
}

#[test]
fn bird_3() -> Result<()> {
    check(&Kind::Bird3.later()?, Shape::Signed)
}

/// Version 3 keeps routes from whoever has the AS of their origin, which all nodes may share.
#[test]
fn gobgp_as_installed_is_refused_in_words() -> Result<()> {
    let version = Kind::GoBgp.installed().version()?;
    ensure!(version.starts_with('3'), "GoBGP {version} is new enough to be tried");
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("cluster.yaml"), CLUSTER.to_owned() + &peers(1, Shape::Plain) + &node(1))?;
    let refused = written("gobgp", folder.path(), &["--release", &version]).err().context("it is written")?;
    ensure!(format!("{refused:#}").contains("take a later one"), "{refused:#}");
    Ok(())
}

#[test]
fn gobgp_as_newest() -> Result<()> {
    check(&Kind::GoBgp.later()?, Shape::Signed)
}

#[test]
fn openbgpd_as_installed() -> Result<()> {
    check(&Kind::OpenBgpd.installed(), Shape::Signed)
}

#[test]
fn openbgpd_as_newest() -> Result<()> {
    check(&Kind::OpenBgpd.later()?, Shape::Signed)
}

#[test]
fn openbgpd_as_installed_takes_whoever_comes_without_a_password() -> Result<()> {
    check(&Kind::OpenBgpd.installed(), Shape::Plain)
}

#[test]
fn openbgpd_as_newest_takes_whoever_comes_without_a_password() -> Result<()> {
    check(&Kind::OpenBgpd.later()?, Shape::Plain)
}

/// A set-up with every daemon that router-config writes it for, as installed and as newest: what it refuses is tested
/// where it is written.
fn check_all(shape: Shape) -> Result<()> {
    let newest = [Kind::Frr, Kind::Bird, Kind::Bird3, Kind::GoBgp, Kind::OpenBgpd].map(Kind::later);
    let installed = [Kind::Frr, Kind::Bird, Kind::OpenBgpd].map(|kind| Ok(kind.installed()));
    for candidate in newest.into_iter().chain(installed) {
        let candidate = candidate?;
        let refused = match shape {
            // GoBGP's are written, and want somebody else to send the advertisements by which nodes find it.
            Shape::Unnumbered => [Kind::OpenBgpd, Kind::GoBgp].contains(&candidate.kind),
            Shape::Secure => candidate.kind == Kind::GoBgp,
            Shape::Plain | Shape::Signed | Shape::Reflected => false,
        };
        if refused {
            continue;
        }
        let name = || format!("{} {}", candidate.kind.name(), candidate.version().unwrap_or_default());
        check(&candidate, shape).with_context(name)?;
    }
    Ok(())
}

#[test]
fn sessions_that_take_nothing_from_further_away() -> Result<()> {
    check_all(Shape::Secure)
}

#[test]
fn a_router_of_the_cluster_s_as_reflects() -> Result<()> {
    check_all(Shape::Reflected)
}

#[test]
fn nodes_on_links_without_addresses() -> Result<()> {
    check_all(Shape::Unnumbered)
}
