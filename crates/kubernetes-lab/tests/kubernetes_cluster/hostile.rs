//! A pod with bad intentions, and everything that a pod may do with its own interface.

use std::io::Read;
use std::net::{IpAddr, SocketAddr, SocketAddrV6, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use muslin_kubernetes_lab::pod::Pod;
use muslin_netns::Namespace;

use crate::cluster::{Cluster, FAMILIES, eventually};
use crate::status;

/// Where routing is spoken.
const BGP: u16 = 179;

pub(crate) fn hostile_pod(cluster: &Cluster) -> Result<()> {
    let pods = cluster.one_per_node();
    let [pod, victim, other] = pods[..] else { bail!("three nodes have three pods") };
    let before = ages(cluster)?;
    for (name, _, node) in &cluster.nodes {
        for to in FAMILIES.map(|family| (node.get(family), BGP).into()) {
            // It is open to those that may: silence towards others is no accident.
            let open = cluster.router.run(|| TcpStream::connect_timeout(&to, PATIENCE))?;
            open.with_context(|| format!("{to} of {name} is closed to its router"))?;
            let said = pod.network.run(|| greeting(to))?;
            ensure!(said.is_none(), "{} was let in by {to} of {name}", pod.name);
        }
    }
    for pod in &pods {
        for to in gateways(pod)? {
            let said = pod.network.run(|| greeting(to))?;
            ensure!(said.is_none(), "{} was let in by {to} of {}", pod.name, pod.node);
        }
    }
    for (before, after) in before.iter().zip(ages(cluster)?) {
        ensure!(after >= *before, "a session began anew: {after} s old, {before} s before");
    }
    for family in FAMILIES {
        let spoofed = other.addresses.get(family);
        pod.network.add_address("eth0", spoofed.into())?;
        let received = received_from(&pod.network, spoofed, &victim.network, victim.addresses.get(family));
        pod.network.remove_address("eth0", spoofed.into())?;
        ensure!(!received?, "{} was believed to be {}", pod.name, other.name);
        let own = pod.addresses.get(family);
        ensure!(
            received_from(&pod.network, own, &victim.network, victim.addresses.get(family))?,
            "{} is not heard by its own address any more",
            pod.name
        );
    }
    Ok(())
}

/// How old the router's sessions are, in seconds.
fn ages(cluster: &Cluster) -> Result<Vec<u64>> {
    let mut ages = Vec::new();
    for node in 0..cluster.nodes.len() {
        for session in status::established(cluster, node)? {
            ages.push(session["stateSeconds"].as_u64().context("no age of a session")?);
        }
    }
    Ok(ages)
}

/// The port at the addresses by which a pod knows its node.
fn gateways(pod: &Pod) -> Result<[SocketAddr; 2]> {
    let links = pod.network.links()?;
    let link = links.iter().find(|link| link.name == "eth0").context("a pod without eth0")?.index;
    Ok([
        SocketAddr::new([169, 254, 1, 1].into(), BGP),
        SocketAddrV6::new("fe80::1".parse()?, BGP, 0, link).into(),
    ])
}

/// How long something that is open may take to say so.
const PATIENCE: Duration = Duration::from_millis(500);

/// How much a server says to somebody who says nothing; nothing if it does not open.
fn greeting(to: SocketAddr) -> Option<usize> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    // Silence and a reset are no words.
    Some(stream.read(&mut [0; 64]).unwrap_or(0))
}

/// Whether a datagram arrives.
fn received_from(from: &Namespace, source: IpAddr, at: &Namespace, address: IpAddr) -> Result<bool> {
    let receiver = at.run(|| UdpSocket::bind((address, 0)))??;
    receiver.set_read_timeout(Some(Duration::from_secs(1)))?;
    let to = receiver.local_addr()?;
    // An IPv6 address is tentative for a moment, unless it is anycast or the link has no detection.
    let sender = eventually(|| Ok(from.run(|| UdpSocket::bind((source, 0)))??))?;
    sender.send_to(b"!", to)?;
    Ok(receiver.recv_from(&mut [0; 8]).is_ok())
}
