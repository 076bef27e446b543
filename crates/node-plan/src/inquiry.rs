//! Objects of the cluster as people ask after them: by name, or by an address that one of them has.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use muslin_cluster::kubernetes::{EndpointSlice, Field, Pod, Service, ServiceType, TrafficPolicy};
use muslin_cluster::{ClusterState, nearest};
use serde::{Deserialize, Serialize};

use crate::endpoints::Readiness;

/// An object that was asked after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Inquired {
    /// As people say it: "Service default/web".
    pub object: String,
    /// Its addresses.
    pub addresses: Vec<AddressOf>,
    /// What bears on the routes to them.
    pub remarks: Vec<String>,
    /// Of a Service: where packets to it may end, the ready ones, in the order of their addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Vec<EndpointOf>>,
}

/// A ready endpoint of a Service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointOf {
    /// Its address.
    pub address: IpAddr,
    /// The node that it is on, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

/// An address of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AddressOf {
    /// The field that has it, such as `.spec.clusterIPs[0]`.
    pub field: String,
    /// The address.
    pub address: IpAddr,
}

/// The Service or pod of this name: `namespace/name`, or `name` alone where that is enough; `service/` or `pod/`
/// before it says which of the two is meant.
///
/// # Errors
/// A sentence with the name that was probably meant.
pub fn find(state: &ClusterState, asked: &str) -> Result<Inquired, String> {
    let known = known(state);
    let lower = asked.to_lowercase();
    let (kind, name) = match lower.split_once('/') {
        Some(("service" | "svc" | "services", rest)) => (Some("Service"), rest),
        Some(("pod" | "po" | "pods", rest)) => (Some("Pod"), rest),
        _ => (None, &*lower),
    };
    let of_kind = || known.iter().filter(|one| kind.is_none_or(|kind| one.kind == kind));
    let bare = |one: &Known| one.name.split_once('/').map_or(one.name.as_str(), |(_, bare)| bare).to_owned();
    let exact = of_kind().find(|one| one.name == name || one.name == format!("default/{name}"));
    if let Some(one) = exact {
        return Ok(one.inquired.clone());
    }
    let mut namesakes = of_kind().filter(|one| bare(one) == name);
    match (namesakes.next(), namesakes.next()) {
        (Some(one), None) => Ok(one.inquired.clone()),
        (Some(first), Some(second)) => Err(format!(
            "{asked}: there are several, such as `{}` and `{}`; write one with its namespace",
            first.name, second.name
        )),
        (None, _) => {
            let names: Vec<String> = of_kind().flat_map(|one| [one.name.clone(), bare(one)]).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            Err(match nearest(name, &names) {
                Some(near) => format!("{asked}: there is no such Service or pod; did you mean `{near}`?"),
                None => format!(
                    "{asked}: there is no such Service, nor a pod that this node knows of (its own, and those behind Services); an address always works"
                ),
            })
        }
    }
}

/// The objects that have an address within `prefix`, or the prefix itself as their pod CIDR, with the field.
pub fn objects_at(state: &ClusterState, prefix: IpNet) -> Vec<String> {
    /// A range of many has more owners than anybody wants to read.
    const SHOWN: usize = 8;
    let nodes = state.nodes.iter().flat_map(|(name, node)| {
        let cidrs = node.pod_cidrs().iter();
        let ours = cidrs.filter(|cidr| cidr.value.contains(&prefix));
        ours.map(move |cidr| format!("Node {name} {}", cidr.path))
    });
    let known = known(state);
    let others = known.iter().flat_map(|one| {
        let within = one.inquired.addresses.iter().filter(|one| prefix.contains(&one.address));
        within.map(|address| format!("{} {}", one.inquired.object, address.field))
    });
    nodes.chain(others).take(SHOWN).collect()
}

struct Known {
    kind: &'static str,
    name: String,
    inquired: Inquired,
}

/// All Services, then all pods: this node's own, and those that endpoints name.
fn known(state: &ClusterState) -> Vec<Known> {
    let services = state.services.iter().map(|(name, service)| Known {
        kind: "Service",
        name: name.to_string(),
        inquired: of_service(state, name, service),
    });
    let mut pods: BTreeMap<String, Inquired> = behind_services(state);
    pods.extend(state.pods.iter().map(|(name, pod)| (name.to_string(), of_pod(name, pod))));
    let pods = pods.into_iter().map(|(name, inquired)| Known { kind: "Pod", name, inquired });
    services.chain(pods).collect()
}

fn of_service(state: &ClusterState, name: &str, service: &Service) -> Inquired {
    let kind = service.kind;
    let balanced = service.load_balancer_ips().filter(|_| kind == ServiceType::LoadBalancer);
    let all = service.cluster_ips().chain(service.external_ips()).chain(balanced);
    let addresses: Vec<AddressOf> = all.map(address_of).collect();
    let mut remarks = vec![format!("type {kind}"), endpoints(state, name)];
    if addresses.is_empty() {
        remarks.push(match kind {
            ServiceType::LoadBalancer => "nobody has given it an address yet".to_owned(),
            _ => "it has no address that could be announced".to_owned(),
        });
    }
    for (policy, what) in [
        (service.external_traffic_policy, "externalTrafficPolicy"),
        (service.internal_traffic_policy, "internalTrafficPolicy"),
    ] {
        if policy == Some(TrafficPolicy::Local) {
            remarks.push(format!("{what} is Local: only nodes with a ready endpoint announce it"));
        }
    }
    Inquired { object: format!("Service {name}"), addresses, remarks, endpoints: Some(ready(state, name)) }
}

/// Where packets to a Service may end.
fn ready(state: &ClusterState, service: &str) -> Vec<EndpointOf> {
    let endpoints = slices_of(state, service).flat_map(|slice| &slice.endpoints);
    let ready = endpoints.filter(|endpoint| Readiness::from(endpoint.conditions) == Readiness::Ready);
    let ready = ready.flat_map(|endpoint| {
        let node = endpoint.node.as_deref();
        endpoint.addresses.iter().map(move |ip| EndpointOf { address: *ip, node: node.map(str::to_owned) })
    });
    ready.collect::<BTreeSet<_>>().into_iter().collect()
}

fn slices_of<'a>(state: &'a ClusterState, service: &'a str) -> impl Iterator<Item = &'a EndpointSlice> {
    let slices = state.endpoint_slices.values().map(|slice| &**slice);
    slices.filter(move |slice| slice.service.as_deref() == Some(service))
}

/// By what an endpoint is told from others.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Who<'a> {
    Target(&'a str),
    Address(IpAddr),
}

/// How many endpoints a Service has, and on which nodes. One with addresses of both families counts once.
fn endpoints(state: &ClusterState, service: &str) -> String {
    let mut known: BTreeMap<Who<'_>, (Readiness, Option<&str>)> = BTreeMap::new();
    for endpoint in slices_of(state, service).flat_map(|slice| &slice.endpoints) {
        let target = endpoint.target.as_deref().map(Who::Target);
        let Some(who) = target.or_else(|| endpoint.addresses.first().copied().map(Who::Address)) else {
            continue;
        };
        let entry = known.entry(who).or_insert((Readiness::None, endpoint.node.as_deref()));
        entry.0 = entry.0.max(endpoint.conditions.into());
    }
    if known.is_empty() {
        return "it has no endpoint: no pod matches its selector".to_owned();
    }
    let count = |wanted: Readiness| known.values().filter(|(readiness, _)| *readiness == wanted).count();
    let ready = known.values().filter(|(readiness, _)| *readiness == Readiness::Ready);
    let nodes: BTreeSet<&str> = ready.filter_map(|(_, node)| *node).collect();
    let nodes = nodes.into_iter().collect::<Vec<_>>().join(", ");
    let on = if nodes.is_empty() { nodes } else { format!(" (on {nodes})") };
    let (ready, ending, others) = (count(Readiness::Ready), count(Readiness::Ending), count(Readiness::None));
    format!("endpoints: {ready} ready{on}, {ending} ending, {others} not ready")
}

fn of_pod(name: &str, pod: &Pod) -> Inquired {
    let node = pod.node.as_deref().unwrap_or("no node yet");
    let phase = pod.phase.as_deref().unwrap_or("of unknown phase");
    let addresses: Vec<AddressOf> = pod.addresses.iter().copied().map(address_of).collect();
    let mut remarks = vec![format!("on {node}, {phase}")];
    if pod.host_network {
        remarks.push("it has the network of its node, and the node's address".to_owned());
    } else if addresses.is_empty() {
        remarks.push("it has no address yet".to_owned());
    }
    Inquired { object: format!("Pod {name}"), addresses, remarks, endpoints: None }
}

/// Pods that endpoints refer to, wherever they run.
fn behind_services(state: &ClusterState) -> BTreeMap<String, Inquired> {
    let mut pods: BTreeMap<String, Inquired> = BTreeMap::new();
    for slice in state.endpoint_slices.values() {
        for endpoint in &slice.endpoints {
            let Some(name) = endpoint.pod() else { continue };
            let node = endpoint.node.as_deref().unwrap_or("an unknown node");
            let service = slice.service.as_deref().unwrap_or_default();
            let pod = pods.entry(name.to_owned()).or_insert_with(|| Inquired {
                object: format!("Pod {name}"),
                addresses: Vec::new(),
                remarks: vec![format!("on {node}, known as an endpoint of Service {service}")],
                endpoints: None,
            });
            for address in &endpoint.addresses {
                let field = "(its endpoint)".to_owned();
                let address = AddressOf { field, address: *address };
                if !pod.addresses.contains(&address) {
                    pod.addresses.push(address);
                }
            }
        }
    }
    pods
}

fn address_of(Field { path, value }: Field<IpAddr>) -> AddressOf {
    AddressOf { field: path.to_string(), address: value }
}
