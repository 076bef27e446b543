//! What Muslin reads from Kubernetes' own objects, typed.
//!
//! Kubernetes keeps addresses as text. A folder source refuses objects whose text is no address; other sources
//! may let one through, and then the accessors here leave it out.

use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;

use crate::problem::Fault;

/// The label by which an endpoint slice names its Service.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// An item of an object together with the field that it stands in (`.spec.podCIDRs[0]`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field<T> {
    /// Path from the object's root.
    pub path: String,
    /// What stands there.
    pub value: T,
}

/// The pod CIDRs of a node, as assigned by Kubernetes.
pub fn pod_cidrs(node: &Node) -> Vec<Field<IpNet>> {
    parsed(pod_cidr_texts(node), parse_cidr)
}

/// The node's addresses of type `InternalIP`, in their order: the first of a family is the node's own.
pub fn internal_ips(node: &Node) -> Vec<Field<IpAddr>> {
    parsed(internal_ip_texts(node), parse_address)
}

/// The addresses in `.spec.externalIPs`.
pub fn external_ips(service: &Service) -> Vec<Field<IpAddr>> {
    parsed(external_ip_texts(service), parse_address)
}

/// The addresses that a load balancer gave the Service, without those that it keeps to itself (`ipMode: Proxy`).
pub fn load_balancer_ips(service: &Service) -> Vec<Field<IpAddr>> {
    parsed(load_balancer_ip_texts(service), parse_address)
}

/// The cluster IPs of the Service; a headless one has none.
pub fn cluster_ips(service: &Service) -> Vec<Field<IpAddr>> {
    parsed(cluster_ip_texts(service), parse_address)
}

/// All addresses of the Service: cluster IPs, external IPs, and those of a load balancer.
pub fn service_ips(service: &Service) -> Vec<Field<IpAddr>> {
    [cluster_ips(service), external_ips(service), load_balancer_ips(service)].concat()
}

fn pod_cidr_texts(node: &Node) -> Vec<Field<&str>> {
    let Some(spec) = &node.spec else { return Vec::new() };
    match (&spec.pod_cidrs, &spec.pod_cidr) {
        (Some(all), _) if !all.is_empty() => numbered(".spec.podCIDRs", all),
        (_, Some(one)) if !one.is_empty() => vec![Field { path: ".spec.podCIDR".to_owned(), value: one }],
        _ => Vec::new(),
    }
}

fn internal_ip_texts(node: &Node) -> Vec<Field<&str>> {
    let addresses = node.status.iter().flat_map(|status| status.addresses.iter().flatten()).enumerate();
    addresses
        .filter(|(_, address)| address.type_ == "InternalIP")
        .map(|(index, address)| Field {
            path: format!(".status.addresses[{index}].address"),
            value: address.address.as_str(),
        })
        .collect()
}

/// "None" is the word for a headless Service.
fn cluster_ip_texts(service: &Service) -> Vec<Field<&str>> {
    let Some(spec) = &service.spec else { return Vec::new() };
    let texts = match (&spec.cluster_ips, &spec.cluster_ip) {
        (Some(all), _) if !all.is_empty() => numbered(".spec.clusterIPs", all),
        (_, Some(one)) => vec![Field { path: ".spec.clusterIP".to_owned(), value: one.as_str() }],
        _ => Vec::new(),
    };
    texts.into_iter().filter(|text| !matches!(text.value, "None" | "")).collect()
}

fn external_ip_texts(service: &Service) -> Vec<Field<&str>> {
    let addresses = service.spec.as_ref().and_then(|spec| spec.external_ips.as_deref());
    numbered(".spec.externalIPs", addresses.unwrap_or_default())
}

fn load_balancer_ip_texts(service: &Service) -> Vec<Field<&str>> {
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = status.and_then(|status| status.ingress.as_deref()).unwrap_or_default();
    ingress
        .iter()
        .enumerate()
        .filter(|(_, ingress)| ingress.ip_mode.as_deref() != Some("Proxy"))
        .filter_map(|(index, ingress)| {
            let path = format!(".status.loadBalancer.ingress[{index}].ip");
            Some(Field { path, value: ingress.ip.as_deref()? })
        })
        .collect()
}

fn numbered<'a>(path: &str, texts: &'a [String]) -> Vec<Field<&'a str>> {
    let numbered = texts.iter().enumerate();
    numbered.map(|(index, text)| Field { path: format!("{path}[{index}]"), value: text.as_str() }).collect()
}

fn parsed<T>(texts: Vec<Field<&str>>, parse: fn(&str) -> Option<T>) -> Vec<Field<T>> {
    texts.into_iter().filter_map(|text| Some(Field { value: parse(text.value)?, path: text.path })).collect()
}

fn parse_address(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

fn parse_cidr(text: &str) -> Option<IpNet> {
    text.parse::<IpNet>().ok().filter(|range| range.trunc() == *range)
}

pub(crate) fn check_node(node: &Node, faults: &mut Vec<Fault>) {
    for cidr in pod_cidr_texts(node) {
        if parse_cidr(cidr.value).is_none() {
            let remedy = "write an address range without host bits, as 10.244.1.0/24";
            faults.push(Fault::new(cidr.path, format!("found {:?}", cidr.value), remedy));
        }
    }
    check_addresses(internal_ip_texts(node), faults);
}

pub(crate) fn check_service(service: &Service, faults: &mut Vec<Fault>) {
    check_addresses(cluster_ip_texts(service), faults);
    check_addresses(external_ip_texts(service), faults);
    check_addresses(load_balancer_ip_texts(service), faults);
}

pub(crate) fn check_endpoint_slice(slice: &EndpointSlice, faults: &mut Vec<Fault>) {
    if slice.address_type == "FQDN" {
        return;
    }
    for (index, endpoint) in slice.endpoints.iter().enumerate() {
        check_addresses(numbered(&format!(".endpoints[{index}].addresses"), &endpoint.addresses), faults);
    }
}

fn check_addresses(addresses: Vec<Field<&str>>, faults: &mut Vec<Fault>) {
    for address in addresses {
        if parse_address(address.value).is_none() {
            let remedy = "write an IPv4 or IPv6 address";
            faults.push(Fault::new(address.path, format!("found {:?}", address.value), remedy));
        }
    }
}
