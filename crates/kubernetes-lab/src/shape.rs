//! What a cluster is: the names of its nodes, and where pods and Services get addresses from.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv6Net};
use muslin_lab::containerlab::ClusterSpec;
use muslin_lab::fabric::{POD_RANGE, SERVICE_RANGE};
use muslin_lab::{Families, Family};

/// The host part of the address of the Service `kubernetes`.
const API: u8 = 1;
/// The host part of the DNS Service's addresses.
const DNS: u8 = 10;
/// What the product's agent takes away from a node whose network is there.
pub(crate) const STARTUP_TAINT: &str = "muslin.dev/agent-not-ready";
/// One block of 64 bits for each of 65,536 nodes, and no more than that.
const POD_RANGE_V6: u8 = 48;

/// Nodes and address ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterShape {
    /// What the nodes are called, 1 to 16.
    pub nodes: Vec<String>,
    /// What nodes and control plane have addresses of, the one that is preferred first.
    pub families: Families,
    /// Where pods get addresses from, a range a family.
    pub pods: Vec<IpNet>,
    /// Where Services get addresses from, a range a family.
    pub services: Vec<IpNet>,
    /// Taints that nodes register with, which somebody takes away when they may take pods.
    pub taints: Vec<String>,
}

impl ClusterShape {
    /// Nodes `n1`, `n2`, …, and all else in these families.
    pub fn of(nodes: u8, families: Families) -> Self {
        let pods = |family: &Family| match family {
            Family::V4 => POD_RANGE.v4.into(),
            Family::V6 => Ipv6Net::new_assert(POD_RANGE.v6.addr(), POD_RANGE_V6).into(),
        };
        Self {
            nodes: (1..=nodes).map(|number| format!("n{number}")).collect(),
            families,
            pods: families.all().iter().map(pods).collect(),
            services: families.all().iter().map(|family| SERVICE_RANGE.get(*family)).collect(),
            taints: vec![STARTUP_TAINT.to_owned()],
        }
    }

    /// The address of the API within the cluster, in each family.
    pub(crate) fn api(&self) -> Vec<IpAddr> {
        self.service(API)
    }

    /// The cluster's DNS, in each family.
    pub(crate) fn dns(&self) -> Vec<IpAddr> {
        self.service(DNS)
    }

    fn service(&self, host: u8) -> Vec<IpAddr> {
        let address = |range: &IpNet| match range.network() {
            IpAddr::V4(network) => IpAddr::from((network.to_bits() + u32::from(host)).to_be_bytes()),
            IpAddr::V6(network) => IpAddr::from((network.to_bits() + u128::from(host)).to_be_bytes()),
        };
        self.services.iter().map(address).collect()
    }
}

impl From<&ClusterSpec> for ClusterShape {
    fn from(cluster: &ClusterSpec) -> Self {
        let ClusterSpec { nodes, pods, services, .. } = cluster.clone();
        // As kind makes its nodes.
        Self { nodes, families: Families::Dual, pods, services, taints: Vec::new() }
    }
}

/// Ranges as Kubernetes' flags have them.
pub(crate) fn list(ranges: &[IpNet]) -> String {
    ranges.iter().map(IpNet::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn services_of_the_cluster_itself_have_known_addresses_in_each_family() {
        let services = vec!["10.96.0.0/16".parse().unwrap(), "fd96::/112".parse().unwrap()];
        let cluster = ClusterShape { services, ..ClusterShape::of(2, Families::Dual) };
        assert_eq!(cluster.api(), ["10.96.0.1".parse::<IpAddr>().unwrap(), "fd96::1".parse().unwrap()]);
        assert_eq!(cluster.dns(), ["10.96.0.10".parse::<IpAddr>().unwrap(), "fd96::a".parse().unwrap()]);
        assert_eq!(
            (cluster.nodes, list(&cluster.services)),
            (vec!["n1".to_owned(), "n2".to_owned()], "10.96.0.0/16,fd96::/112".to_owned())
        );
    }

    #[test]
    fn a_cluster_of_one_family_has_ranges_of_it_alone() {
        let cluster = ClusterShape::of(2, Families::Ipv6);
        assert_eq!((list(&cluster.pods), list(&cluster.services)), ("fd44::/48".into(), "fd96::/112".into()));
        assert_eq!(cluster.api(), ["fd96::1".parse::<IpAddr>().unwrap()]);
    }
}
