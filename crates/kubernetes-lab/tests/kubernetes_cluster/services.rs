//! Services, from pods, hosts and outside.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use ipnet::IpNet;
use muslin_lab::{Dual, ProxyMode};
use muslin_netns::Namespace;

use crate::cluster::{Cluster, eventually};
use crate::http::{client_address, get, host_name, name_and_client, same};

/// Most questions until every endpoint has answered one.
const TRIES: usize = 200;

/// Who answers until `all` of them have.
fn everybody(from: &Namespace, to: SocketAddr, all: usize) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for _ in 0..TRIES {
        names.insert(host_name(from, to)?);
        if names.len() == all {
            return Ok(names);
        }
    }
    anyhow::bail!("only {names:?} of {all} answered on {to}")
}

pub(crate) fn service(name: &str, selector: &str, more: &str) -> String {
    format!(
        "apiVersion: v1
kind: Service
metadata:
  name: {name}
spec:
  selector: {{{selector}}}
  ipFamilyPolicy: PreferDualStack
  ports: [{{name: http, port: 80, targetPort: http}}]
{more}"
    )
}

pub(crate) fn cluster_ip(cluster: &Cluster) -> Result<()> {
    cluster.kubectl.apply(&service("plain", "app: web", ""))?;
    let addresses = cluster.cluster_ips("plain")?;
    for &family in cluster.families {
        let to: SocketAddr = (addresses.get(family), 80).into();
        let pods = cluster.one_per_node();
        let pods = pods.iter().map(|pod| &pod.network);
        for from in pods.chain(cluster.nodes.iter().map(|(_, node, _)| node)) {
            eventually(|| host_name(from, to))?;
            // Itself is among them: a pod that reaches itself by its Service.
            everybody(from, to, cluster.web.len())?;
        }
    }
    Ok(())
}

pub(crate) fn node_port(cluster: &Cluster) -> Result<()> {
    cluster.kubectl.apply(&service("node-port", "app: web", "  type: NodePort\n"))?;
    let port = port_of_nodes(cluster, "node-port")?;
    for (_, _, addresses) in &cluster.nodes {
        for &family in cluster.families {
            let to: SocketAddr = (addresses.get(family), port).into();
            eventually(|| host_name(&cluster.outside, to))?;
            everybody(&cluster.outside, to, cluster.web.len())?;
        }
    }
    Ok(())
}

/// By which every node leads to a Service.
fn port_of_nodes(cluster: &Cluster, service: &str) -> Result<u16> {
    let found = cluster.kubectl.json(&["get", "service", service])?;
    Ok(u16::try_from(found["spec"]["ports"][0]["nodePort"].as_u64().context("no port of the nodes")?)?)
}

/// Neither is translated before it reaches a node: routes of both bring it there.
pub(crate) fn from_outside(cluster: &Cluster) -> Result<()> {
    let external = Dual { v4: "198.51.100.20".parse()?, v6: "2001:db8:51::20".parse()? };
    let ips = format!("  externalIPs: [\"{}\", \"{}\"]\n", external.v4, external.v6);
    cluster.kubectl.apply(&service("external", "app: web", &ips))?;
    for addresses in [external, cluster.cluster_ips("external")?] {
        for &family in cluster.families {
            let to: SocketAddr = (addresses.get(family), 80).into();
            // Every kube-proxy has to know it: which node a question comes to, is the router's choice.
            eventually(|| everybody(&cluster.outside, to, cluster.web.len()))?;
        }
    }
    for &family in cluster.families {
        same("ways to an external IP", &ways(cluster, external.get(family))?.len(), &cluster.nodes.len())?;
    }
    cluster.kubectl.run(&["delete", "service", "external"])?;
    Ok(())
}

/// Gives a Service the addresses that a controller of others would.
pub(crate) fn publish(cluster: &Cluster, service: &str, addresses: Dual) -> Result<()> {
    let ingress = cluster.families.iter().map(|family| serde_json::json!({"ip": addresses.get(*family)}));
    let ingress: Vec<_> = ingress.collect();
    let status = serde_json::json!({"status": {"loadBalancer": {"ingress": ingress}}}).to_string();
    let patch = ["patch", "service", service, "--subresource=status", "--type=merge", "--patch", &status];
    cluster.kubectl.run(&patch)?;
    Ok(())
}

/// The nodes that the router's routes to an address lead to.
pub(crate) fn ways(cluster: &Cluster, address: IpAddr) -> Result<BTreeSet<String>> {
    ways_to(cluster, address.into())
}

/// The nodes that the router's routes to a prefix lead to.
pub(crate) fn ways_to(cluster: &Cluster, prefix: IpNet) -> Result<BTreeSet<String>> {
    let routes = cluster.router.routes()?;
    let hops = routes.iter().filter(|route| route.prefix == prefix).flat_map(|route| &route.next_hops);
    if cluster.lab().fabric().is_one_link() {
        return hops.filter_map(|hop| hop.gateway).map(|gateway| whose(cluster, gateway)).collect();
    }
    let links: BTreeSet<u32> = hops.map(|hop| hop.interface).collect();
    // Its links are named for the nodes. Of IPv6 a gateway may be a link-local address, which tells nothing.
    let names = cluster.router.links()?.into_iter().filter(|link| links.contains(&link.index));
    Ok(names.map(|link| link.name).collect())
}

/// The node with this address on the link that all share.
pub(crate) fn whose(cluster: &Cluster, address: IpAddr) -> Result<String> {
    for (name, node, _) in &cluster.nodes {
        if node.addresses("eth0")?.iter().any(|own| own.addr() == address) {
            return Ok(name.clone());
        }
    }
    anyhow::bail!("{address} is no node's")
}

pub(crate) fn load_balancer_cluster(cluster: &Cluster) -> Result<()> {
    let addresses = Dual { v4: "192.0.2.20".parse()?, v6: "2001:db8:2::20".parse()? };
    cluster.kubectl.apply(&service("balanced", "app: web", "  type: LoadBalancer\n"))?;
    publish(cluster, "balanced", addresses)?;
    for &family in cluster.families {
        let to: SocketAddr = (addresses.get(family), 80).into();
        eventually(|| {
            same("ways to a load-balancer IP", &ways(cluster, to.ip())?.len(), &cluster.nodes.len())
        })?;
        eventually(|| host_name(&cluster.outside, to))?;
        everybody(&cluster.outside, to, cluster.web.len())?;
    }
    Ok(())
}

pub(crate) fn load_balancer_local(cluster: &Cluster) -> Result<()> {
    let addresses = Dual { v4: "192.0.2.21".parse()?, v6: "2001:db8:2::21".parse()? };
    // One pod, so that one node only has an endpoint.
    let pod = &cluster.web[0];
    cluster.kubectl.run(&["label", "pod", &pod.name, "chosen=yes", "--overwrite"])?;
    let local = "  type: LoadBalancer\n  externalTrafficPolicy: Local\n";
    cluster.kubectl.apply(&service("local", "chosen: \"yes\"", local))?;
    publish(cluster, "local", addresses)?;
    for &family in cluster.families {
        let to: SocketAddr = (addresses.get(family), 80).into();
        let way = BTreeSet::from([pod.node.clone()]);
        eventually(|| same("ways to a local load-balancer IP", &ways(cluster, to.ip())?, &way))?;
        let seen = eventually(|| client_address(&cluster.outside, to))?;
        same("the source", &seen, &cluster.outside_address.get(family))?;
        same("who answers", &host_name(&cluster.outside, to)?, &pod.name)?;
    }
    Ok(())
}

/// Where kube-proxy of a node says what it does.
const PROXY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 10249);

/// A kube-proxy that cannot do what it is told does something else.
pub(crate) fn proxy_mode(cluster: &Cluster) -> Result<()> {
    let wanted = match cluster.proxy_mode {
        ProxyMode::Nftables => "nftables",
        ProxyMode::Iptables => "iptables",
        ProxyMode::Ipvs => "ipvs",
    };
    for (name, node, _) in &cluster.nodes {
        let mode = eventually(|| get(node, PROXY, "/proxyMode"))?;
        same(format!("kube-proxy's mode on {name}"), &mode.trim(), &wanted)?;
    }
    Ok(())
}

/// Kubernetes' label of nodes that external traffic of Services is kept from.
const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// With an endpoint on every node and none passed on, whoever answers was led to by the router alone.
pub(crate) fn local_everywhere(cluster: &Cluster) -> Result<()> {
    let addresses = Dual { v4: "192.0.2.22".parse()?, v6: "2001:db8:2::22".parse()? };
    let local = "  type: LoadBalancer\n  externalTrafficPolicy: Local\n";
    cluster.kubectl.apply(&service("local-everywhere", "app: web", local))?;
    publish(cluster, "local-everywhere", addresses)?;
    for &family in cluster.families {
        let to: SocketAddr = (addresses.get(family), 80).into();
        eventually(|| same("ways to a local Service", &ways(cluster, to.ip())?.len(), &cluster.nodes.len()))?;
        // A kube-proxy knows the Service some time after the router does.
        eventually(|| (0..TRIES / 10).try_for_each(|_| host_name(&cluster.outside, to).map(drop)))?;
        let mut answered = BTreeSet::new();
        for _ in 0..TRIES {
            let (name, client) = name_and_client(&cluster.outside, to)?;
            same(format!("the source that {name} saw"), &client, &cluster.outside_address.get(family))?;
            answered.insert(name);
        }
        let all: BTreeSet<String> = cluster.web.iter().map(|pod| pod.name.clone()).collect();
        same(format!("who answers on {to}"), &answered, &all)?;
    }
    // A node that is to get no traffic of load balancers is no way any more, for as long as it has the label.
    let await_ways = |count: usize| {
        eventually(|| {
            for &family in cluster.families {
                same("ways to a local Service", &ways(cluster, addresses.get(family))?.len(), &count)?;
            }
            Ok(())
        })
    };
    cluster.kubectl.run(&["label", "node", "n3", &format!("{EXCLUDED}=")])?;
    let without = await_ways(cluster.nodes.len() - 1);
    cluster.kubectl.run(&["label", "node", "n3", &format!("{EXCLUDED}-")])?;
    without?;
    await_ways(cluster.nodes.len())
}

/// Asked from a pod by the cluster IP, and from outside by each node's port.
pub(crate) fn affinity(cluster: &Cluster) -> Result<()> {
    cluster.kubectl.apply(&service(
        "sticky",
        "app: web",
        "  type: NodePort\n  sessionAffinity: ClientIP\n",
    ))?;
    let (addresses, port) = (cluster.cluster_ips("sticky")?, port_of_nodes(cluster, "sticky")?);
    let by_cluster_ip = cluster.one_per_node().into_iter().map(|pod| (&pod.network, addresses, 80));
    let by_node = cluster.nodes.iter().map(|(_, _, node)| (&cluster.outside, *node, port));
    let mut asked = 0;
    for (from, addresses, port) in by_cluster_ip.chain(by_node) {
        for &family in cluster.families {
            let to: SocketAddr = (addresses.get(family), port).into();
            let first = eventually(|| host_name(from, to))?;
            for _ in 0..20 {
                same("who answers", &host_name(from, to)?, &first)?;
            }
            asked += 1;
        }
    }
    same("who asked", &asked, &(2 * cluster.families.len() * cluster.nodes.len()))
}
