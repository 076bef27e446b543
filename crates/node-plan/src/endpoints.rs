//! Which Services have endpoints that take connections, here and anywhere.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use muslin_cluster::ClusterState;
use muslin_cluster::kubernetes::SERVICE_NAME;

/// The best that an endpoint offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Readiness {
    /// There is no endpoint that takes connections.
    #[default]
    None,
    /// An endpoint is ending but still serves.
    Ending,
    /// An endpoint takes new connections.
    Ready,
}

/// What an endpoint offers.
pub(crate) fn readiness(endpoint: &Endpoint) -> Readiness {
    let conditions = endpoint.conditions.as_ref();
    let terminating = conditions.and_then(|conditions| conditions.terminating) == Some(true);
    // The API: an unknown `ready` means ready; an unknown `serving` means what `ready` means.
    let ready = conditions.and_then(|conditions| conditions.ready).unwrap_or(true);
    let serving = conditions.and_then(|conditions| conditions.serving).unwrap_or(ready);
    match (ready && !terminating, serving && terminating) {
        (true, _) => Readiness::Ready,
        (false, true) => Readiness::Ending,
        (false, false) => Readiness::None,
    }
}

/// The Service ("namespace/name") that a slice is of.
pub(crate) fn service_of(slice: &EndpointSlice) -> Option<String> {
    let service = slice.metadata.labels.as_ref()?.get(SERVICE_NAME)?;
    let namespace = slice.metadata.namespace.as_deref().unwrap_or("default");
    Some(format!("{namespace}/{service}"))
}

/// What there is behind a Service, in one address family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Endpoints {
    /// On this node.
    pub(crate) here: Readiness,
    /// On any node.
    pub(crate) anywhere: Readiness,
}

impl Endpoints {
    /// Whether what there is here is ending while there is better elsewhere.
    pub(crate) fn is_ending_here(self) -> bool {
        self.here == Readiness::Ending && self.here < self.anywhere
    }
}

/// Endpoints by Service ("namespace/name").
#[derive(Debug, Default)]
pub(crate) struct EndpointIndex {
    v4: BTreeMap<String, Endpoints>,
    v6: BTreeMap<String, Endpoints>,
}

impl EndpointIndex {
    pub(crate) fn of(state: &ClusterState, node: &str) -> Self {
        let mut index = Self::default();
        for slice in state.endpoint_slices.values() {
            let services = match slice.address_type.as_str() {
                "IPv4" => &mut index.v4,
                "IPv6" => &mut index.v6,
                _ => continue,
            };
            let Some(service) = service_of(slice) else { continue };
            let endpoints = services.entry(service).or_default();
            for endpoint in &slice.endpoints {
                let readiness = readiness(endpoint);
                endpoints.anywhere = endpoints.anywhere.max(readiness);
                if endpoint.node_name.as_deref() == Some(node) {
                    endpoints.here = endpoints.here.max(readiness);
                }
            }
        }
        index
    }

    /// The endpoints of a Service that can answer for `address`.
    pub(crate) fn of_service(&self, service: &str, address: IpAddr) -> Endpoints {
        let services = if address.is_ipv4() { &self.v4 } else { &self.v6 };
        services.get(service).copied().unwrap_or_default()
    }
}
