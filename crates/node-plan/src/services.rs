//! Service addresses that this node announces, and those that it does not, with the reason.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::{Node, Service};
use muslin_bgp_speaker::config::{Cause, OriginatedRoute, RouteSource};
use muslin_cluster::kubernetes::{self, Field};
use muslin_cluster::{ClusterState, Kind};

use crate::causes::{Caused, Subject, Withheld, host};
use crate::endpoints::{EndpointIndex, Endpoints, Readiness};
use crate::settings::Settings;

/// Nodes with this label, whatever its value, take no traffic from outside for Services.
const EXCLUDED_NODE: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// Most causes that are written out where several Services share an address.
const SHOWN_CAUSES: usize = 3;

/// What a node does about Services.
#[derive(Debug, Default)]
pub(crate) struct ServiceRoutes {
    pub(crate) originated: Vec<OriginatedRoute>,
    pub(crate) withheld: Vec<Withheld>,
}

impl ServiceRoutes {
    pub(crate) fn of(state: &ClusterState, settings: &Settings, name: &str, node: Option<&Node>) -> Self {
        let mut announced: BTreeMap<IpNet, Vec<Cause>> = BTreeMap::new();
        // The ranges of cluster IPs are announced as they stand: every node can serve each of them.
        for range in &settings.service_cluster_ips {
            announced.entry(range.value).or_default().push(range.cause.clone());
        }
        let mut withheld = BTreeSet::new();
        let labels = node.and_then(|node| node.metadata.labels.as_ref());
        let excluded = labels.is_some_and(|labels| labels.contains_key(EXCLUDED_NODE));
        let node_addresses: BTreeMap<IpAddr, &Arc<str>> = state
            .nodes
            .iter()
            .flat_map(|(name, node)| {
                kubernetes::internal_ips(node).into_iter().map(move |ip| (ip.value, name))
            })
            .collect();
        let endpoints = EndpointIndex::of(state, name);
        for (service_name, service) in &state.services {
            let service = Subject::new(Kind::Service, service_name, service);
            for (address, ranges) in addresses(service.object, settings) {
                let cause = service.cause(&address.path);
                let behind = endpoints.of_service(service_name, address.value);
                let verdict = if !ranges.iter().any(|range| range.value.contains(&address.value)) {
                    Err("it is outside the ranges that BGPConfiguration announces for it".to_owned())
                } else if let Some(owner) = node_addresses.get(&address.value) {
                    Err(format!("it is the address of Node {owner}"))
                } else if excluded {
                    Err(format!("the node has the label {EXCLUDED_NODE}"))
                } else {
                    can_serve(service.object, behind).map_err(ToOwned::to_owned)
                };
                let prefix = host(address.value);
                match verdict {
                    Ok(()) => announced.entry(prefix).or_default().push(cause),
                    Err(reason) => {
                        withheld.insert(Withheld { prefix, cause, reason: reason.into() });
                    }
                }
            }
        }
        Self {
            originated: announced
                .into_iter()
                .map(|(prefix, causes)| service_route(prefix, &causes))
                .collect(),
            withheld: withheld.into_iter().collect(),
        }
    }
}

fn service_route(prefix: IpNet, causes: &[Cause]) -> OriginatedRoute {
    let mut cause = causes[..causes.len().min(SHOWN_CAUSES)].join(", ");
    if causes.len() > SHOWN_CAUSES {
        cause = format!("{cause} and {} more", causes.len() - SHOWN_CAUSES);
    }
    OriginatedRoute::new(prefix, RouteSource::Service, &cause)
}

/// The addresses of a Service that may be announced one by one, each with the ranges that it must be in.
/// A kind of address for which no range is announced is not asked about.
fn addresses<'a>(service: &Service, settings: &'a Settings) -> Vec<(Field<IpAddr>, &'a [Caused<IpNet>])> {
    let kind = service.spec.as_ref().and_then(|spec| spec.type_.as_deref()).unwrap_or("ClusterIP");
    if kind == "ExternalName" {
        return Vec::new();
    }
    let external =
        kubernetes::external_ips(service).into_iter().map(|ip| (ip, &*settings.service_external_ips));
    let balanced = kubernetes::load_balancer_ips(service).into_iter().filter(|_| kind == "LoadBalancer");
    let balanced = balanced.map(|ip| (ip, &*settings.service_load_balancer_ips));
    external.chain(balanced).filter(|(_, ranges)| !ranges.is_empty()).collect()
}

/// Whether traffic that this node attracts finds an endpoint. An endpoint that is ending is relied on only while
/// no other is ready anywhere: so a node lets go before its last endpoint ends, and the last one is held.
fn can_serve(service: &Service, endpoints: Endpoints) -> Result<(), &'static str> {
    let policy = service.spec.as_ref().and_then(|spec| spec.external_traffic_policy.as_deref());
    let Endpoints { here, anywhere } = endpoints;
    if policy == Some("Local") {
        if here == Readiness::None || here < anywhere {
            return Err("externalTrafficPolicy is Local and no endpoint on this node is ready");
        }
    } else if anywhere == Readiness::None {
        return Err("no endpoint is ready");
    }
    Ok(())
}
