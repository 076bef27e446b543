//! Services.

use std::fmt;
use std::net::IpAddr;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize, Serializer};

use super::field::{Field, FieldPath, addresses, numbered, place};
use super::labels::Labels;
use super::written::{self, Written};
use crate::problem::Fault;

/// A Service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Service {
    /// Its labels.
    pub labels: Labels,
    /// How it is exposed.
    pub kind: ServiceType,
    /// Who may serve what comes from outside; none if nothing is said.
    pub external_traffic_policy: Option<TrafficPolicy>,
    /// Who may serve what comes from within; none if nothing is said.
    pub internal_traffic_policy: Option<TrafficPolicy>,
    /// Cluster IPs, external IPs, then those of a load balancer.
    addresses: Box<[Field<IpAddr>]>,
}

/// How a Service is exposed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServiceType {
    /// By cluster IPs alone, as is one of a type that we do not know.
    #[default]
    ClusterIp,
    /// By a port of every node too.
    NodePort,
    /// By addresses of a load balancer too.
    LoadBalancer,
    /// Not at all: it is a name for another name.
    ExternalName,
}

/// Which endpoints may serve what comes to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrafficPolicy {
    /// All of them.
    Cluster,
    /// Those on the node.
    Local,
}

impl Service {
    /// The cluster IPs; a headless Service has none.
    pub fn cluster_ips(&self) -> impl Iterator<Item = Field<IpAddr>> {
        self.of(|path| matches!(path, FieldPath::ClusterIp | FieldPath::ClusterIps(_)))
    }

    /// The addresses in `.spec.externalIPs`.
    pub fn external_ips(&self) -> impl Iterator<Item = Field<IpAddr>> {
        self.of(|path| matches!(path, FieldPath::ExternalIps(_)))
    }

    /// The addresses that a load balancer gave the Service, without those that it keeps to itself (`ipMode: Proxy`).
    pub fn load_balancer_ips(&self) -> impl Iterator<Item = Field<IpAddr>> {
        self.of(|path| matches!(path, FieldPath::Ingress(_)))
    }

    /// All addresses of the Service: cluster IPs, external IPs, and those of a load balancer.
    pub fn addresses(&self) -> &[Field<IpAddr>] {
        &self.addresses
    }

    fn of(&self, wanted: fn(FieldPath) -> bool) -> impl Iterator<Item = Field<IpAddr>> {
        self.addresses.iter().copied().filter(move |address| wanted(address.path))
    }
}

impl ServiceType {
    /// As manifests write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClusterIp => "ClusterIP",
            Self::NodePort => "NodePort",
            Self::LoadBalancer => "LoadBalancer",
            Self::ExternalName => "ExternalName",
        }
    }

    fn of(name: &str) -> Self {
        let known = [Self::NodePort, Self::LoadBalancer, Self::ExternalName];
        known.into_iter().find(|kind| kind.name() == name).unwrap_or_default()
    }
}

impl fmt::Display for ServiceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl TrafficPolicy {
    /// As manifests write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cluster => "Cluster",
            Self::Local => "Local",
        }
    }

    /// One that we do not know restricts nothing.
    fn of(name: &str) -> Self {
        if name == Self::Local.name() { Self::Local } else { Self::Cluster }
    }
}

impl fmt::Display for TrafficPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A Service as it is written.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct WrittenService {
    #[serde(deserialize_with = "written::metadata")]
    metadata: ObjectMeta,
    spec: Option<Spec>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_traffic_policy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    internal_traffic_policy: Option<String>,
    #[serde(rename = "clusterIP", skip_serializing_if = "Option::is_none")]
    cluster_ip: Option<String>,
    #[serde(rename = "clusterIPs", skip_serializing_if = "Option::is_none")]
    cluster_ips: Option<Vec<String>>,
    #[serde(rename = "externalIPs", skip_serializing_if = "Option::is_none")]
    external_ips: Option<Vec<String>>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    load_balancer: Option<LoadBalancer>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct LoadBalancer {
    ingress: Option<Vec<Ingress>>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Ingress {
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip_mode: Option<String>,
}

impl Written for WrittenService {
    type Kept = Service;

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }

    fn kept(self, faults: &mut Vec<Fault>) -> Service {
        let spec = self.spec.unwrap_or_default();
        let balancer = self.status.and_then(|status| status.load_balancer?.ingress).unwrap_or_default();
        let several = spec.cluster_ips.unwrap_or_default();
        let one = spec.cluster_ip.filter(|_| several.is_empty());
        let cluster = numbered(FieldPath::ClusterIps, &several);
        let cluster = cluster.chain(one.as_deref().map(|one| (FieldPath::ClusterIp, one)));
        // "None" is the word for a headless Service.
        let cluster = cluster.filter(|(_, text)| !matches!(*text, "None" | ""));
        let external = numbered(FieldPath::ExternalIps, spec.external_ips.iter().flatten());
        let balanced = balancer
            .iter()
            .enumerate()
            .filter(|(_, ingress)| ingress.ip_mode.as_deref() != Some("Proxy"))
            .filter_map(|(index, ingress)| Some((FieldPath::Ingress(place(index)), ingress.ip.as_deref()?)));
        Service {
            labels: self.metadata.labels.unwrap_or_default().into(),
            kind: spec.kind.as_deref().map(ServiceType::of).unwrap_or_default(),
            external_traffic_policy: spec.external_traffic_policy.as_deref().map(TrafficPolicy::of),
            internal_traffic_policy: spec.internal_traffic_policy.as_deref().map(TrafficPolicy::of),
            addresses: addresses(cluster.chain(external).chain(balanced), faults),
        }
    }
}

impl From<&Service> for WrittenService {
    fn from(service: &Service) -> Self {
        let mut spec = Spec {
            kind: Some(service.kind.to_string()),
            external_traffic_policy: service.external_traffic_policy.map(|policy| policy.to_string()),
            internal_traffic_policy: service.internal_traffic_policy.map(|policy| policy.to_string()),
            ..Spec::default()
        };
        let mut ingress = Vec::new();
        for address in &service.addresses {
            let text = address.value.to_string();
            match address.path {
                FieldPath::ClusterIp => spec.cluster_ip = Some(text),
                FieldPath::ClusterIps(_) => spec.cluster_ips.get_or_insert_default().push(text),
                FieldPath::ExternalIps(_) => spec.external_ips.get_or_insert_default().push(text),
                _ => {
                    // Those that are not read keep the place of those behind them.
                    ingress.resize_with(address.path.index(), Ingress::default);
                    ingress.push(Ingress { ip: Some(text), ip_mode: None });
                }
            }
        }
        let balanced = (!ingress.is_empty()).then_some(LoadBalancer { ingress: Some(ingress) });
        Self {
            metadata: ObjectMeta { labels: service.labels.written(), ..ObjectMeta::default() },
            spec: Some(spec),
            status: balanced.map(|load_balancer| Status { load_balancer: Some(load_balancer) }),
        }
    }
}

impl Serialize for Service {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        WrittenService::from(self).serialize(serializer)
    }
}
