//! The judges: from evidence to proofs, without touching anything.

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use super::ServiceRoute;
use super::evidence::{Evidence, Kind, Member, Probe};
use crate::LabError;
use crate::addresses::Family;
use crate::blueprint::{FIRST_TTL, Place, Web};
use crate::capture::{Carried, Direction};
use crate::kernel_routes::{KernelRoutes, list};
use crate::lab::Lab;
use crate::options::Topology;
use crate::probe::{Answer, Protocol};
use crate::report::{Proof, ProofId};

/// Pods of one node reach each other.
pub(super) fn same_node(evidence: &Evidence) -> Proof {
    let mut proof = Proof::new(ProofId::SameNode, "Pods reach pods of the same node (TCP, UDP, ICMP)");
    for probe in evidence.between_pods().filter(|probe| probe.from.place == probe.to.place) {
        reached(&mut proof, &probe);
    }
    if evidence.blueprint.nodes.iter().all(|node| node.pods.len() < 2) {
        // Nothing to prove is no failure here, and says so.
        proof.statement.push_str(": one pod per node");
        for family in Family::BOTH {
            proof.judge(family, true, String::new);
        }
    }
    proof
}

/// Pods of different nodes reach each other.
pub(super) fn other_node(evidence: &Evidence) -> Proof {
    let mut proof = Proof::new(ProofId::OtherNode, "Pods reach pods of other nodes (TCP, UDP, ICMP)");
    for probe in evidence.between_pods().filter(|probe| probe.from.place != probe.to.place) {
        reached(&mut proof, &probe);
    }
    proof
}

fn reached(proof: &mut Proof, probe: &Probe<'_>) {
    proof.judge(probe.family, probe.answer() != Answer::None, || format!("{}: no answer", probe.name()));
}

/// The receiver sees the pod's own address: its sockets say so, and so does the capture at its interface.
pub(super) fn source(evidence: &Evidence) -> Proof {
    let mut proof = Proof::new(ProofId::Source, "The source address that the receiver sees is the pod's own");
    for probe in evidence.between_pods() {
        right_source(&mut proof, evidence, &probe);
    }
    proof
}

fn right_source(proof: &mut Proof, evidence: &Evidence, probe: &Probe<'_>) {
    let rightful = probe.rightful_sources(&evidence.blueprint);
    let seen = probe.arrived().any(|(source, _)| rightful.contains(&source));
    let told = match probe.answer() {
        Answer::From(Some(source)) => rightful.contains(&source),
        Answer::From(None) => true,
        Answer::None => false,
    };
    proof.judge(probe.family, seen && told, || {
        let found = match probe.answer() {
            Answer::From(Some(source)) if !told => format!("the receiver saw {source}"),
            Answer::From(_) => "the receiver's interface saw no such packet".to_owned(),
            Answer::None => "no answer".to_owned(),
        };
        format!("{}: {found}, expected {}", probe.name(), list(rightful.iter()))
    });
}

/// TTL and hop limit fall by exactly the hops.
pub(super) fn hops(evidence: &Evidence) -> Proof {
    let between = evidence.blueprint.hops(Place::Node(0), Place::Node(1));
    let statement =
        format!("TTL falls by exactly the hops: 1 on a node, {between} between nodes, 2 out and in");
    let mut proof = Proof::new(ProofId::Hops, statement);
    for probe in evidence.probes() {
        let rightful = probe.rightful_sources(&evidence.blueprint);
        let expected = FIRST_TTL - evidence.blueprint.hops(probe.from.place, probe.to.place);
        let ttls: Vec<u8> =
            probe.arrived().filter(|(source, _)| rightful.contains(source)).map(|(_, ttl)| ttl).collect();
        let holds = !ttls.is_empty() && ttls.iter().all(|ttl| *ttl == expected);
        proof.judge(probe.family, holds, || match ttls.as_slice() {
            [] => format!("{}: did not arrive from {}", probe.name(), list(rightful.iter())),
            found => format!("{}: arrived with {}, expected {expected}", probe.name(), list(found.iter())),
        });
    }
    proof
}

/// Between nodes the packets carry pod source and pod destination, one hop after the other.
pub(super) fn wire(evidence: &Evidence) -> Proof {
    let place = match evidence.blueprint.topology {
        Topology::Mesh | Topology::Reflector => "the shared link",
        Topology::Tor | Topology::DualTor | Topology::Unnumbered => "the router's links",
    };
    let statement = format!("A capture on {place} shows pod source and pod destination");
    let mut proof = Proof::new(ProofId::Wire, statement);
    for probe in evidence.between_pods() {
        let (Place::Node(from), Place::Node(to)) = (probe.from.place, probe.to.place) else { continue };
        if from == to {
            continue;
        }
        let leaving = FIRST_TTL - 1;
        let arriving = FIRST_TTL + 1 - evidence.blueprint.hops(probe.from.place, probe.to.place);
        let holds = evidence.wires.iter().any(|wire| {
            wire.ttls(from, Direction::In, probe.kind()).contains(&leaving)
                && wire.ttls(to, Direction::Out, probe.kind()).contains(&arriving)
        });
        proof.judge(probe.family, holds, || format!("{}: not seen on the way", probe.name()));
    }
    proof
}

/// No tunnel device anywhere, no tunnelled packet between nodes.
pub(super) fn no_tunnel(evidence: &Evidence, devices: &[String]) -> Proof {
    let mut proof =
        Proof::new(ProofId::NoTunnel, "No tunnel device exists, no tunnelled packet between nodes");
    for family in Family::BOTH {
        proof.judge(family, devices.is_empty(), || format!("found {}", list(devices.iter())));
        for wire in &evidence.wires {
            let of_family = wire.seen.keys().filter(|sighting| Family::of(sighting.source) == family);
            let tunnelled = of_family.filter(|sighting| sighting.carried == Carried::Tunnel);
            let found: Vec<String> =
                tunnelled.map(|sighting| format!("{} → {}", sighting.source, sighting.destination)).collect();
            proof.judge(family, found.is_empty(), || format!("tunnelled: {}", list(found.iter())));
        }
    }
    proof
}

/// Pods reach the outside host, which sees a node's address.
pub(super) fn masquerade(evidence: &Evidence) -> Proof {
    let statement = "Pods reach the outside host, which sees the node's address (masquerade)";
    let mut proof = Proof::new(ProofId::Masquerade, statement);
    for probe in evidence.probes().filter(|probe| probe.to.place == Place::Outside) {
        right_source(&mut proof, evidence, &probe);
    }
    proof
}

/// The outside host reaches pods by their own addresses, unchanged both ways.
pub(super) fn from_outside(evidence: &Evidence) -> Proof {
    let mut proof =
        Proof::new(ProofId::FromOutside, "The outside host reaches every pod by the pod's own address");
    for probe in evidence.probes().filter(|probe| probe.from.place == Place::Outside) {
        right_source(&mut proof, evidence, &probe);
    }
    proof
}

/// The kernels of nodes and routers have the learned routes.
pub(super) fn routes(lab: &Lab) -> Result<Proof, LabError> {
    let statement = "The kernels of nodes and routers have the routes to all pods";
    let mut proof = Proof::new(ProofId::Routes, statement);
    let on_nodes = (0..lab.blueprint.nodes.len()).map(|node| lab.blueprint.expected_on_node(node));
    let on_routers = (0..lab.blueprint.routers.len()).map(|router| lab.blueprint.expected_on_router(router));
    let namespaces = lab.network.nodes.iter().chain(&lab.network.routers);
    for (namespace, expected) in namespaces.zip(on_nodes.chain(on_routers)) {
        let routes = namespace.routes()?;
        let table = KernelRoutes::new(&routes, &lab.network.link_locals);
        for route in expected {
            let fault = table.fault(&route);
            proof.judge(Family::of(route.prefix.addr()), fault.is_none(), || {
                format!("{}: missing {}", namespace.name(), fault.unwrap_or_default())
            });
        }
    }
    Ok(proof)
}

/// Each Service address is on the routers with the right next hops.
pub(super) fn service(lab: &Lab, routes: &[ServiceRoute]) -> Proof {
    let nodes = lab.blueprint.nodes.iter().take(Web::NODES).map(|node| node.name.as_str());
    let statement = format!(
        "Service IPs are on the router: cluster IP by every node, external and balancer IP by {}",
        list(nodes)
    );
    let mut proof = Proof::new(ProofId::Service, statement);
    for ServiceRoute { router, address, found, wanted } in routes {
        proof.judge(Family::of(*address), found == wanted, || {
            let (found, wanted) = (list(found.iter()), list(wanted.iter()));
            format!("{router}: {address} goes to {found}, expected {wanted}")
        });
    }
    proof
}

/// A packet to a cluster IP that nothing translated reaches a node and is not sent back.
pub(super) fn untranslated(evidence: &Evidence) -> Proof {
    let statement = "A packet to a Service that nothing translated ends at the node";
    let mut proof = Proof::new(ProofId::Untranslated, statement);
    let outside = evidence.members.iter().find(|member| member.place == Place::Outside);
    for family in Family::BOTH {
        let source: Option<IpAddr> = outside.map(|outside| outside.addresses.get(family));
        let destination = Web::CLUSTER_IP.get(family);
        for protocol in Protocol::ALL {
            let past = |direction| {
                let Some(source) = source else { return false };
                let kind = Kind { source, destination, carried: protocol.carried() };
                let nodes = 0..evidence.blueprint.nodes.len();
                let mut pairs =
                    evidence.wires.iter().flat_map(|wire| nodes.clone().map(move |node| (wire, node)));
                pairs.any(|(wire, node)| !wire.ttls(node, direction, kind).is_empty())
            };
            let (went, came_back) = (past(Direction::Out), past(Direction::In));
            proof.judge(family, went && !came_back, || {
                let what = if came_back { "came back from a node" } else { "did not get to a node" };
                format!("{} to {destination} {what}", protocol.name())
            });
        }
    }
    proof
}

/// Packets go on by the same ways when a reflector is dead: it was on none of them, and another one knows the routes.
pub(super) fn reflector_loss(evidence: &Evidence) -> Proof {
    let statement = "With one of two reflectors killed pods still reach pods of other nodes, straight";
    let mut proof = Proof::new(ProofId::ReflectorLoss, statement);
    for probe in evidence.between_pods().filter(|probe| probe.from.place != probe.to.place) {
        let expected = FIRST_TTL - evidence.blueprint.hops(probe.from.place, probe.to.place);
        let straight = probe.arrived().any(|(_, ttl)| ttl == expected);
        proof.judge(probe.family, probe.answer() != Answer::None && straight, || {
            format!("{}: {}", probe.name(), if straight { "no answer" } else { "did not come straight" })
        });
    }
    proof
}

/// Without BGP nothing passes between nodes: it left the pod, it came neither to the other node nor to its pod.
pub(super) fn silence(evidence: &Evidence) -> Proof {
    let mut proof = Proof::new(ProofId::Silence, "With BGP stopped nothing of this passes between nodes");
    for probe in evidence.between_pods() {
        let (Place::Node(from), Place::Node(to)) = (probe.from.place, probe.to.place) else { continue };
        if from == to {
            continue;
        }
        let (kind, to_place) = (probe.kind(), probe.to.place);
        let left = kind.among(&probe.from.seen, Direction::Out).next().is_some();
        // By any source but those that may arrive: a translated packet that arrives is an arrival too.
        let near = |member: &&Member| member.place == to_place || member.place == Place::Outside;
        let near: Vec<IpAddr> =
            evidence.members.iter().filter(near).map(|member| member.addresses.get(probe.family)).collect();
        let arrived = probe.arrived().any(|(source, _)| !near.contains(&source))
            || evidence.wires.iter().any(|wire| !wire.ttls(to, Direction::Out, kind).is_empty());
        proof.judge(probe.family, left && !arrived, || {
            let what = if arrived { "arrived" } else { "was not sent" };
            format!("{} {what}", probe.name())
        });
    }
    proof
}

/// Without BGP what needs none still works: so the silence is not that of a dead lab.
pub(super) fn isolation(evidence: &Evidence) -> Proof {
    let statement = "With BGP stopped pods still reach pods of their node, and the outside host";
    let mut proof = Proof::new(ProofId::Isolation, statement);
    let near = |probe: &Probe<'_>| {
        probe.from.place != Place::Outside
            && (probe.from.place == probe.to.place || probe.to.place == Place::Outside)
    };
    for probe in evidence.probes().filter(near) {
        reached(&mut proof, &probe);
    }
    proof
}
