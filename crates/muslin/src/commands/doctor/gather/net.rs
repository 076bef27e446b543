//! What the network answers.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use muslin_bgp_speaker::PeerStatus;
use muslin_route_programmer::KernelView;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::commands::doctor::facts::PathMtu;
use crate::path_mtu;

/// Where kube-proxy says its mode, unless its configuration has another `metricsBindAddress`.
const PROXY_METRICS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 10_249);
/// Longest wait for it.
const PROXY_PATIENCE: Duration = Duration::from_secs(1);
/// An answer longer than this is not kube-proxy's.
const LONGEST_ANSWER: u64 = 4_096;
/// Most ways that are measured.
const MOST_PATHS: usize = 16;

/// The mode of the node's kube-proxy, by its own word.
pub(super) async fn proxy_mode() -> Option<String> {
    let ask = async {
        let mut stream = TcpStream::connect(PROXY_METRICS).await.ok()?;
        stream.write_all(b"GET /proxyMode HTTP/1.0\r\nHost: localhost\r\n\r\n").await.ok()?;
        let mut answer = String::new();
        stream.take(LONGEST_ANSWER).read_to_string(&mut answer).await.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let known = ["nftables", "iptables", "ipvs", "kernelspace"].contains(&body.trim());
        (head.split(' ').nth(1) == Some("200") && known).then(|| body.trim().to_owned())
    };
    tokio::time::timeout(PROXY_PATIENCE, ask).await.ok().flatten()
}

/// A way to be measured.
pub(super) struct Target {
    path: PathMtu,
    interface: u32,
}

/// Peers, and default gateways that are none.
pub(super) fn targets(view: &KernelView, peers: &[PeerStatus]) -> Vec<Target> {
    let mut targets = BTreeMap::new();
    let gateways = view.default_gateways();
    let gateways = gateways
        .iter()
        .map(|default| (default.gateway, Some(default.interface), "the default gateway".to_owned()));
    let peers = peers.iter().map(|peer| {
        let interface = peer.interface.as_deref().and_then(|name| view.link_named(name));
        (peer.address, interface.map(|link| link.index), format!("peer {}", peer.key))
    });
    for (address, interface, whose) in gateways.chain(peers) {
        let resolved = match interface {
            Some(interface) => view.route_on_link(address, interface),
            None => view.route_to(address),
        };
        let Some(resolved) = resolved else { continue };
        let Some(link) = view.link(resolved.interface) else { continue };
        let path = PathMtu {
            whose,
            address,
            link: link.name.clone(),
            link_mtu: resolved.mtu.min(link.mtu),
            answered: None,
        };
        targets.insert((address, link.index), Target { path, interface: link.index });
    }
    targets.into_values().take(MOST_PATHS).collect()
}

/// Measures all of them at once.
pub(super) async fn measure(targets: Vec<Target>) -> Vec<PathMtu> {
    let mut set = JoinSet::new();
    for Target { mut path, interface } in targets {
        set.spawn_blocking(move || {
            path.answered =
                path_mtu::largest_answered(path.address, interface, path.link_mtu).unwrap_or_default();
            path
        });
    }
    let mut paths = set.join_all().await;
    paths.sort_by(|a, b| (a.address, &a.link).cmp(&(b.address, &b.link)));
    paths
}
