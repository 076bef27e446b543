//! The folder of manifests that the agents and the router read, as a real cluster would print them.

#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::path::Path;

use crate::LabError;
use crate::addresses::{Dual, DualNet, Family};
use crate::blueprint::{
    Blueprint, CLUSTER_ASN, EXTERNAL_RANGE, LOAD_BALANCER_RANGE, NodePart, POD_RANGE, REFLECTION_CLUSTER,
    ROUTER_ASN, ReflectorPart, SERVICE_RANGE, Web,
};
use crate::options::Topology;

/// Whether the nodes may speak BGP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sessions {
    Up,
    /// Every peer carries `shutdown`, and the mesh is off.
    Down,
}

impl Sessions {
    /// The line of a peer that must not speak.
    fn shutdown(self) -> &'static str {
        match self {
            Self::Up => "",
            Self::Down => "  shutdown: the lab proves that nothing passes without BGP\n",
        }
    }
}

/// A pod that exists.
#[derive(Clone, Debug)]
pub(crate) struct PodFacts {
    pub(crate) name: String,
    pub(crate) node: String,
    pub(crate) addresses: Dual,
}

/// Puts a file in place at once: whoever follows the folder never sees half of it.
pub(crate) fn write(folder: &Path, name: &str, text: &str) -> Result<(), LabError> {
    let path = folder.join(name);
    let draft = folder.join(format!(".{name}.new"));
    std::fs::write(&draft, text).map_err(LabError::file(&draft))?;
    std::fs::rename(&draft, &path).map_err(LabError::file(&path))
}

/// `nodes.yaml`: the Nodes with their pod CIDRs.
pub(crate) fn nodes(lab: &Blueprint) -> String {
    documents(lab.nodes.iter().map(|node| {
        let NodePart { name, block, .. } = node;
        let Dual { v4, v6 } = node.address();
        format!(
            "apiVersion: v1
kind: Node
metadata:
  name: {name}
  labels:
    kubernetes.io/hostname: {name}
    kubernetes.io/os: linux
spec:
  podCIDR: {block4}
  podCIDRs:
  - {block4}
  - {block6}
status:
  addresses:
  - address: {v4}
    type: InternalIP
  - address: {v6}
    type: InternalIP
  - address: {name}
    type: Hostname
",
            block4 = block.v4,
            block6 = block.v6,
        )
    }))
}

/// `bgp.yaml`: what the nodes announce and with whom they speak.
pub(crate) fn bgp(lab: &Blueprint, sessions: Sessions) -> String {
    let mesh = match (lab.topology, sessions) {
        (Topology::Mesh, Sessions::Down) | (Topology::Reflector, _) => "\n  nodeMesh:\n    enabled: false",
        _ => "",
    };
    let configuration = format!(
        "apiVersion: muslin.dev/v1alpha1
kind: BGPConfiguration
metadata:
  name: default
spec:
  asn: {CLUSTER_ASN}{mesh}
  clusterCIDRs:{}
  serviceClusterIPs:{}
  serviceExternalIPs:{}
  serviceLoadBalancerIPs:{}
",
        items(lab, "  - ", POD_RANGE),
        items(lab, "  - cidr: ", SERVICE_RANGE),
        items(lab, "  - cidr: ", EXTERNAL_RANGE),
        items(lab, "  - cidr: ", LOAD_BALANCER_RANGE),
    );
    if lab.topology == Topology::Unnumbered {
        return documents([configuration, unnumbered("tors", "eth*", sessions.shutdown())]);
    }
    let peers = lab.nodes.iter().flat_map(|node| node.uplinks.iter().map(move |uplink| (node, uplink)));
    let peers = peers.flat_map(|(node, uplink)| {
        lab.families.all().iter().map(move |family| {
            format!(
                "apiVersion: muslin.dev/v1alpha1
kind: BGPPeer
metadata:
  name: {node}-{router}-{family}
spec:
  nodeSelector:
    matchLabels:
      kubernetes.io/hostname: {node}
  peerAddress: \"{address}\"
  peerASN: {ROUTER_ASN}
{shutdown}",
                node = node.name,
                router = lab.routers[uplink.router].name,
                family = family.name().to_lowercase(),
                address = uplink.router_address.get(*family),
                shutdown = sessions.shutdown(),
            )
        })
    });
    documents(std::iter::once(configuration).chain(peers).chain(reflectors(lab, sessions)))
}

/// Every node speaks with every reflector.
fn reflectors(lab: &Blueprint, sessions: Sessions) -> impl Iterator<Item = String> {
    lab.reflectors.iter().flat_map(move |reflector| {
        Family::BOTH.map(|family| {
            format!(
                "apiVersion: muslin.dev/v1alpha1
kind: BGPPeer
metadata:
  name: {name}-{family}
spec:
  peerAddress: \"{address}\"
  peerASN: internal
{shutdown}",
                name = reflector.name,
                family = family.name().to_lowercase(),
                address = reflector.address.get(family),
                shutdown = sessions.shutdown(),
            )
        })
    })
}

/// `service.yaml`: the Service.
pub(crate) fn service() -> String {
    let (cluster, external, balancer) = (Web::CLUSTER_IP, Web::EXTERNAL_IP, Web::LOAD_BALANCER_IP);
    format!(
        "apiVersion: v1
kind: Service
metadata:
  name: web
  namespace: default
spec:
  type: LoadBalancer
  selector:
    app: web
  clusterIP: {c4}
  clusterIPs:
  - {c4}
  - {c6}
  externalIPs:
  - {e4}
  - {e6}
  externalTrafficPolicy: Local
  internalTrafficPolicy: Cluster
  ipFamilies:
  - IPv4
  - IPv6
  ipFamilyPolicy: PreferDualStack
  ports:
  - name: http
    port: 80
    protocol: TCP
    targetPort: 7777
    nodePort: 30080
status:
  loadBalancer:
    ingress:
    - ip: {b4}
    - ip: {b6}
",
        c4 = cluster.v4,
        c6 = cluster.v6,
        e4 = external.v4,
        e6 = external.v6,
        b4 = balancer.v4,
        b6 = balancer.v6,
    )
}

/// `pods.yaml`: the pods, with the addresses that the plugin gave them.
pub(crate) fn pods(pods: &[PodFacts]) -> String {
    documents(pods.iter().map(|PodFacts { name, node, addresses: Dual { v4, v6 } }| {
        format!(
            "apiVersion: v1
kind: Pod
metadata:
  name: {name}
  namespace: default
  labels:
    app: web
spec:
  nodeName: {node}
  containers:
  - name: web
    image: web
status:
  phase: Running
  podIP: {v4}
  podIPs:
  - ip: {v4}
  - ip: {v6}
"
        )
    }))
}

/// `endpoints.yaml`: the Service's endpoints, one slice per family as Kubernetes makes them.
pub(crate) fn endpoints(ready: &[PodFacts]) -> String {
    documents(Family::BOTH.into_iter().map(|family| {
        let mut slice = format!(
            "apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: web-{lower}
  namespace: default
  labels:
    kubernetes.io/service-name: web
addressType: {name}
ports:
- name: http
  port: 7777
  protocol: TCP
endpoints:
",
            lower = family.name().to_lowercase(),
            name = family.name(),
        );
        for PodFacts { name, node, addresses } in ready {
            let address = addresses.get(family);
            // Writing to a String cannot fail.
            let _ = write!(
                slice,
                "- addresses:
  - {address}
  conditions:
    ready: true
    serving: true
    terminating: false
  nodeName: {node}
  targetRef:
    kind: Pod
    name: {name}
    namespace: default
"
            );
        }
        slice
    }))
}

/// `router.yaml` of a router that is `muslin speaker`: whoever of the cluster connects is a peer, everything passes.
pub(crate) fn speaker(lab: &Blueprint, router: usize) -> String {
    let configuration = format!(
        "apiVersion: muslin.dev/v1alpha1
kind: BGPConfiguration
metadata:
  name: default
spec:
  asn: {ROUTER_ASN}
  routerID: {id}
",
        id = lab.routers[router].id,
    );
    let filter = "apiVersion: muslin.dev/v1alpha1
kind: BGPFilter
metadata:
  name: everything
spec:
  import:
  - action: Accept
  export:
  - action: Accept
"
    .to_owned();
    if lab.topology == Topology::Unnumbered {
        let nodes = unnumbered("nodes", "n*", "  filters:\n  - everything\n");
        return documents([configuration, filter, nodes]);
    }
    let ranges = [("ipv4", "0.0.0.0/0"), ("ipv6", "::/0")].map(|(family, range)| {
        format!(
            "apiVersion: muslin.dev/v1alpha1
kind: BGPPeer
metadata:
  name: nodes-{family}
spec:
  listenRange: \"{range}\"
  peerASN: {CLUSTER_ASN}
  filters:
  - everything
"
        )
    });
    documents([configuration, filter].into_iter().chain(ranges))
}

/// `router.yaml` of a reflector that is `muslin speaker`: it knows its clients by the range of their link.
pub(crate) fn reflector(part: &ReflectorPart) -> String {
    let configuration = format!(
        "apiVersion: muslin.dev/v1alpha1
kind: BGPConfiguration
metadata:
  name: default
spec:
  asn: {CLUSTER_ASN}
  routerID: {id}
  clusterID: {REFLECTION_CLUSTER}
",
        id = part.address.v4,
    );
    let ranges = Family::BOTH.map(|family| {
        let range = part.address.on_link(family).trunc();
        let family = family.name().to_lowercase();
        format!(
            "apiVersion: muslin.dev/v1alpha1
kind: BGPPeer
metadata:
  name: clients-{family}
spec:
  listenRange: \"{range}\"
  peerASN: internal
  routeReflectorClient: true
  addPath:
    send: All
"
        )
    });
    documents([configuration].into_iter().chain(ranges))
}

/// Whoever is at the other ends of the interfaces is a peer.
fn unnumbered(name: &str, interfaces: &str, more: &str) -> String {
    format!(
        "apiVersion: muslin.dev/v1alpha1
kind: BGPPeer
metadata:
  name: {name}
spec:
  interface: \"{interfaces}\"
  peerASN: external
  connectRetry: 1s
{more}"
    )
}

fn items(lab: &Blueprint, prefix: &str, range: DualNet) -> String {
    let families = lab.families.all().iter();
    let items = families.map(|family| format!("\n{prefix}\"{}\"", range.get(*family)));
    items.collect::<Vec<_>>().concat()
}

fn documents(documents: impl IntoIterator<Item = String>) -> String {
    documents.into_iter().collect::<Vec<_>>().join("---\n")
}
