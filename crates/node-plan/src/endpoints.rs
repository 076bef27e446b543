//! Which Services have endpoints that take connections, here and anywhere.

use std::collections::BTreeMap;
use std::net::IpAddr;

use muslin_cluster::ClusterState;
use muslin_cluster::kubernetes::{AddressType, Conditions};

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

impl From<Conditions> for Readiness {
    fn from(Conditions { ready, serving, terminating }: Conditions) -> Self {
        match (ready && !terminating, serving && terminating) {
            (true, _) => Self::Ready,
            (false, true) => Self::Ending,
            (false, false) => Self::None,
        }
    }
}

/// What there is behind a Service, in one address family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Endpoints {
    /// On this node.
    pub(crate) here: Readiness,
    /// On the other nodes.
    pub(crate) elsewhere: Readiness,
}

impl Endpoints {
    /// On any node.
    pub(crate) fn anywhere(self) -> Readiness {
        self.here.max(self.elsewhere)
    }

    /// Whether other nodes could do without what there is here.
    pub(crate) fn is_relieved_here(self) -> bool {
        self.here > Readiness::None && self.elsewhere == Readiness::Ready
    }

    /// Whether what there is here is ending while there is better elsewhere.
    pub(crate) fn is_ending_here(self) -> bool {
        self.here == Readiness::Ending && self.is_relieved_here()
    }
}

/// Endpoints by Service ("namespace/name").
#[derive(Debug, Default)]
pub(crate) struct EndpointIndex<'a> {
    v4: BTreeMap<&'a str, Endpoints>,
    v6: BTreeMap<&'a str, Endpoints>,
}

impl<'a> EndpointIndex<'a> {
    pub(crate) fn of(state: &'a ClusterState, node: &str) -> Self {
        let mut index = Self::default();
        for slice in state.endpoint_slices.values() {
            let services = match slice.address_type {
                AddressType::IPv4 => &mut index.v4,
                AddressType::IPv6 => &mut index.v6,
                AddressType::Other => continue,
            };
            let Some(service) = slice.service.as_deref() else { continue };
            let endpoints = services.entry(service).or_default();
            for endpoint in &slice.endpoints {
                let readiness = Readiness::from(endpoint.conditions);
                let is_here = endpoint.node.as_deref() == Some(node);
                let best = if is_here { &mut endpoints.here } else { &mut endpoints.elsewhere };
                *best = (*best).max(readiness);
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
