//! Equal paths through a reflector, down to the kernel and to packets.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use muslin_netns::{Namespace, Route};
use muslin_proto_tests::daemon::Process;
use muslin_proto_tests::muslin;
use muslin_proto_tests::segment::Segment;

const PATIENCE: Duration = Duration::from_secs(30);
const NODES: [&str; 3] = ["192.0.2.11", "192.0.2.12", "192.0.2.13"];
const REFLECTORS: [&str; 2] = ["192.0.2.101", "192.0.2.102"];
const BORDER: &str = "192.0.2.20";
const SERVICE: &str = "10.66.0.0/24";
/// On the loopback of every node.
const ANYCAST: &str = "10.66.0.10";
const PORT: u16 = 7000;

fn peer(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: muslin.dev/v1alpha1\nkind: BGPPeer\nmetadata: {{name: {name}}}\n\
         spec: {{peerASN: internal, {spec}}}\n"
    )
}

fn configuration(id: &str, further: &str) -> String {
    format!(
        "apiVersion: muslin.dev/v1alpha1\nkind: BGPConfiguration\nmetadata: {{name: default}}\n\
         spec: {{asn: 65000, routerID: {id}{further}}}\n"
    )
}

/// Manifests of a speaker that is a client of both reflectors.
fn client(id: &str, further: &str) -> String {
    let peers = REFLECTORS.map(|reflector| {
        peer(&format!("rr-{reflector}"), &format!("peerAddress: {reflector}, connectRetry: 1s"))
    });
    configuration(id, further) + &peers.concat()
}

/// Nodes that announce one prefix, reflectors between, and a router that uses it.
struct Cluster {
    nodes: Vec<(Namespace, Process)>,
    reflectors: Vec<Process>,
    border: Namespace,
    border_speaker: Process,
    _segment: Segment,
}

impl Cluster {
    /// `sends` is what the reflectors are told of several paths.
    fn new(sends: &str) -> Result<Self> {
        let mut segment = Segment::new()?;
        let mut reflectors = Vec::new();
        for address in REFLECTORS {
            let host = segment.host("reflector", &[&format!("{address}/24")])?;
            let clients = format!("listenRange: 192.0.2.0/24, routeReflectorClient: true{sends}");
            let text = configuration(address, ", clusterID: 10.0.0.9") + &peer("clients", &clients);
            reflectors.push(muslin::start_speaker(&host, &text)?);
        }
        let mut nodes = Vec::new();
        for address in NODES {
            let host = segment.host("node", &[&format!("{address}/24")])?;
            host.add_address("lo", format!("{ANYCAST}/32").parse()?)?;
            let text = client(address, &format!(", originate: [{{cidr: {SERVICE}}}]"));
            let speaker = muslin::start_speaker(&host, &text)?;
            nodes.push((host, speaker));
        }
        let border = segment.host("border", &[&format!("{BORDER}/24")])?;
        border.sysctl("net/ipv4/fib_multipath_hash_policy", "1")?;
        let border_speaker = muslin::start_speaker(&border, &client(BORDER, ""))?;
        Ok(Self { nodes, reflectors, border, border_speaker, _segment: segment })
    }

    /// Waits until the border's kernel reaches the prefix by exactly these nodes.
    fn await_gateways(&self, wanted: &[&str]) -> Result<()> {
        let wanted: BTreeSet<IpAddr> = wanted.iter().filter_map(|text| text.parse().ok()).collect();
        let found = |routes: &[Route]| gateways(routes);
        let there = self.border.await_routes(PATIENCE, |routes| found(routes) == wanted)?;
        ensure!(
            there,
            "the kernel has {:?}, wanted {wanted:?}\n{}\n{}",
            found(&self.border.routes()?),
            self.border_speaker.log()?,
            muslin::routes(self.border_speaker.path(""))?
        );
        Ok(())
    }

    /// Nodes at which packets of many flows arrive; the border's kernel looks each flow up.
    fn reached(&self) -> Result<BTreeSet<&'static str>> {
        let anycast = SocketAddr::new(ANYCAST.parse()?, PORT);
        let mut sockets = Vec::new();
        for (host, _) in &self.nodes {
            let socket = host.run(|| UdpSocket::bind(anycast))??;
            socket.set_nonblocking(true)?;
            sockets.push(socket);
        }
        let mut reached = BTreeSet::new();
        let deadline = Instant::now() + PATIENCE;
        // Sixty-four flows take all ways, but for a chance of one in billions; the first packets wait for neighbours.
        while reached.len() < self.border_ways()? && Instant::now() < deadline {
            self.border.run(|| -> std::io::Result<()> {
                for _ in 0..64 {
                    let flow = UdpSocket::bind("0.0.0.0:0")?;
                    flow.send_to(b"?", anycast)?;
                }
                Ok(())
            })??;
            for (socket, name) in sockets.iter().zip(NODES) {
                let mut octets = [0; 8];
                loop {
                    match socket.recv(&mut octets) {
                        Ok(_) => drop(reached.insert(name)),
                        Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                        Err(error) => return Err(error).context("receiving"),
                    }
                }
            }
            std::thread::yield_now();
        }
        Ok(reached)
    }

    fn border_ways(&self) -> Result<usize> {
        Ok(gateways(&self.border.routes()?).len())
    }
}

fn gateways(routes: &[Route]) -> BTreeSet<IpAddr> {
    let service: Option<IpNet> = SERVICE.parse().ok();
    let routes = routes.iter().filter(|route| Some(route.prefix) == service);
    routes.flat_map(|route| &route.next_hops).filter_map(|way| way.gateway).collect()
}

#[test]
fn rfc7911_1_equal_paths_survive_reflection_into_the_kernel() -> Result<()> {
    let mut cluster = Cluster::new(", addPath: {send: All}")?;
    cluster.await_gateways(&NODES)?;
    ensure!(cluster.reached()? == NODES.into(), "not every node was reached");
    // Each reflector brings every path: with one less nothing changes.
    drop(cluster.reflectors.remove(0));
    let log = || cluster.border_speaker.log().unwrap_or_default();
    muslin_proto_tests::wait::until("the border sees that a reflector is gone", || {
        let peers = muslin::ask_json(&cluster.border_speaker, &["peers"])?;
        let up = peers.as_array().into_iter().flatten().filter(|peer| peer["established"] == true).count();
        Ok(if up == 1 { Ok(()) } else { Err(format!("{up} established")) })
    })
    .with_context(log)?;
    ensure!(cluster.border_ways()? == NODES.len(), "a way went with a reflector");
    ensure!(cluster.reached()? == NODES.into(), "not every node was reached by one reflector");
    Ok(())
}

#[test]
fn rfc4456_1_without_several_paths_a_reflector_leaves_one_way() -> Result<()> {
    let cluster = Cluster::new("")?;
    cluster.await_gateways(&NODES[..1])?;
    ensure!(cluster.reached()? == [NODES[0]].into(), "a node was reached that is not the best");
    Ok(())
}

#[test]
fn rfc7911_1_the_best_two_are_two_ways() -> Result<()> {
    let cluster = Cluster::new(", addPath: {send: 2}")?;
    cluster.await_gateways(&NODES[..2])
}
