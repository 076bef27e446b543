//! What a router takes from nodes, and what they take from it.

use std::collections::BTreeSet;
use std::fmt;

use ipnet::IpNet;
use muslin_bgp_speaker::config::{Allowed, RouteSource, SpeakerConfig};
use muslin_cluster::ClusterState;

use crate::settings::Settings;

/// Prefixes of these lengths within a range.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PrefixRange {
    /// The range.
    pub range: IpNet,
    /// The shortest that is meant, no shorter than the range.
    pub min: u8,
    /// The longest that is meant.
    pub max: u8,
    /// What it is, for whoever reads the router's configuration.
    pub what: &'static str,
}

impl fmt::Display for PrefixRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}-{}", self.range, self.min, self.max)
    }
}

impl PrefixRange {
    fn within(range: IpNet, what: &'static str) -> Self {
        Self { range, min: range.prefix_len(), max: range.max_prefix_len(), what }
    }

    fn exactly(range: IpNet, what: &'static str) -> Self {
        Self { range, min: range.prefix_len(), max: range.prefix_len(), what }
    }

    fn has(&self, prefix: IpNet) -> bool {
        self.range.contains(&prefix) && (self.min..=self.max).contains(&prefix.prefix_len())
    }
}

/// Both directions.
pub(super) struct Filters {
    pub(super) accept: Vec<PrefixRange>,
    pub(super) tell: Vec<PrefixRange>,
    pub(super) default_route: bool,
}

pub(super) fn of(state: &ClusterState, nodes: &[&SpeakerConfig], exact: bool) -> Filters {
    let settings = Settings::of(state, None);
    let prefixes = |wanted: fn(RouteSource) -> bool| -> BTreeSet<IpNet> {
        let all = nodes.iter().flat_map(|node| &node.originated);
        all.filter(|route| wanted(route.source)).map(|route| route.prefix).collect()
    };
    let blocks = prefixes(|source| source == RouteSource::Pod);
    let mut pods = Vec::new();
    if !exact {
        pods.extend(settings.cluster_cidrs.iter().map(|cidr| pod_range(cidr.value, &blocks)));
    }
    add_rest(&mut pods, &blocks, "pods");
    let mut accept = pods.clone();
    let services =
        [&settings.service_cluster_ips, &settings.service_external_ips, &settings.service_load_balancer_ips];
    if !exact {
        let ranges = services.into_iter().flatten().map(|range| PrefixRange::within(range.value, "Services"));
        accept.extend(ranges);
    }
    add_rest(&mut accept, &prefixes(|source| source == RouteSource::Service), "Services");
    add_rest(&mut accept, &prefixes(|source| source == RouteSource::Static), "further prefixes of nodes");

    let mut tell = pods;
    for node in nodes {
        if let Allowed::Within(ranges) = &node.guard.allowed {
            tell.extend(ranges.iter().map(|range| PrefixRange::within(range.range, "what nodes may learn")));
        }
    }
    for list in [&mut accept, &mut tell] {
        let mut seen = BTreeSet::new();
        list.retain(|range| seen.insert((range.range, range.min, range.max)));
    }
    Filters { accept, tell, default_route: nodes.iter().any(|node| node.guard.allow_default) }
}

/// Blocks of a pod range, of the lengths that blocks have; of any length as long as there are none.
fn pod_range(range: IpNet, blocks: &BTreeSet<IpNet>) -> PrefixRange {
    let mut lengths = blocks.iter().filter(|block| range.contains(*block)).map(IpNet::prefix_len);
    let any = PrefixRange::within(range, "pods");
    let Some(first) = lengths.next() else { return any };
    let (min, max) = lengths.fold((first, first), |(min, max), length| (min.min(length), max.max(length)));
    PrefixRange { min, max, ..any }
}

/// Those that no range has yet, as they are.
fn add_rest(ranges: &mut Vec<PrefixRange>, prefixes: &BTreeSet<IpNet>, what: &'static str) {
    for prefix in prefixes {
        if !ranges.iter().any(|range| range.has(*prefix)) {
            ranges.push(PrefixRange::exactly(*prefix, what));
        }
    }
}
