//! Policies: what filters say, and what follows without them.

use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use muslin_bgp_packet::Asn;
use muslin_bgp_speaker::config::{Action, Policy, PrefixMatch, RouteSource, Rule, Verdict};
use muslin_cluster::resources::{
    AddressFamily, BgpPeer, FilterAction, FilterOperations, FilterRule, FilterSource,
};
use muslin_cluster::{ClusterState, Kind, Problem};

use crate::blocks::Ownership;
use crate::causes::Subject;
use crate::settings::Settings;

/// Which way routes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Import,
    Export,
}

impl Direction {
    fn name(self) -> &'static str {
        match self {
            Self::Import => "import",
            Self::Export => "export",
        }
    }
}

/// What a node accepts without filters: the blocks of the other nodes, each exactly as its owner has it, and
/// what `BGPConfiguration.spec.import` allows.
///
/// An aggregate over several blocks, or a part of one, is not accepted unless `import.cidrs` covers it: nobody
/// can tell whether an aggregate's origin still reaches every block in it, and a more specific route would take
/// the owner's traffic away.
pub(crate) fn derived_import(ownership: &Ownership, settings: &Settings, node: &str) -> Policy {
    let others = ownership.blocks.iter().filter(|(_, block)| &*block.owner != node);
    let mut rules: Vec<_> =
        others.map(|(range, block)| accept(vec![PrefixMatch::exact(*range)], block.cause.clone())).collect();
    rules.extend(
        settings
            .import
            .iter()
            .flatten()
            .map(|range| accept(vec![PrefixMatch::or_longer(range.value)], range.cause.clone())),
    );
    if let Some(cause) = &settings.default_route {
        let defaults = [IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())];
        rules.push(accept(defaults.map(PrefixMatch::exact).to_vec(), cause.clone()));
    }
    Policy { name: "derived: pods of other nodes".into(), rules, otherwise: Verdict::Reject }
}

/// What a node announces without filters: exactly what its plan originates, nothing that it learned.
pub(crate) fn derived_export() -> Policy {
    let sources = [
        (RouteSource::Pod, "pod blocks of this node"),
        (RouteSource::Service, "Service addresses of this node"),
        (RouteSource::Static, "BGPConfiguration .spec.originate"),
    ];
    let rules =
        sources.map(|(source, cause)| Rule { sources: vec![source], ..accept(Vec::new(), cause.into()) });
    Policy {
        name: "derived: what this node originates".into(),
        rules: rules.into(),
        otherwise: Verdict::Reject,
    }
}

/// The rules of the peer's filters, then `rest` for what none of them decides.
///
/// A filter that does not exist refuses everything: it may have been written to hold something back.
pub(crate) fn filtered(
    state: &ClusterState,
    peer: &Subject<'_, BgpPeer>,
    own_asn: Asn,
    direction: Direction,
    rest: &Policy,
    problems: &mut Vec<Problem>,
) -> Policy {
    let names = &peer.object.spec.filters;
    if names.is_empty() {
        return rest.clone();
    }
    let mut rules = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let field = format!(".spec.filters[{index}]");
        let Some((name, filter)) = state.bgp_filters.get_key_value(&**name) else {
            let refuse = Rule { verdict: Verdict::Reject, ..accept(Vec::new(), peer.cause(&field)) };
            rules.push(refuse);
            if direction == Direction::Import {
                let message = format!("there is no BGPFilter {name}, so nothing is exchanged with the peer");
                problems.push(peer.refused(&field, message, "make the filter, or take its name out"));
            }
            continue;
        };
        let filter = Subject::new(Kind::BgpFilter, name, filter);
        let spec = &filter.object.spec;
        let written = match direction {
            Direction::Import => &spec.import,
            Direction::Export => &spec.export,
        };
        rules.extend(written.iter().enumerate().map(|(index, written)| {
            let cause = filter.cause(&format!(".spec.{}[{index}]", direction.name()));
            rule(written, cause, own_asn)
        }));
    }
    rules.extend(rest.rules.iter().cloned());
    let name = format!("BGPFilter {} ({}), then {}", names.join(", "), direction.name(), rest.name);
    Policy { name: name.into(), rules, otherwise: rest.otherwise }
}

fn rule(written: &FilterRule, cause: Arc<str>, own_asn: Asn) -> Rule {
    let families = &written.families;
    let prefixes = if written.prefixes.is_empty() {
        match families.as_slice() {
            [] => Vec::new(),
            families => families.iter().map(|family| PrefixMatch::or_longer(whole(*family))).collect(),
        }
    } else {
        let wanted = written.prefixes.iter();
        wanted
            .filter(|range| families.is_empty() || families.contains(&range.family()))
            .map(|range| {
                let (min_length, max_length) = range.lengths();
                PrefixMatch { within: range.cidr.0, min_length, max_length }
            })
            .collect()
    };
    Rule {
        cause,
        prefixes,
        sources: written.sources.iter().map(|source| route_source(*source)).collect(),
        communities: written.communities.iter().map(|community| community.0).collect(),
        verdict: match written.action {
            FilterAction::Accept => Verdict::Accept,
            FilterAction::Reject => Verdict::Reject,
        },
        actions: written.operations.as_ref().map_or_else(Vec::new, |operations| actions(operations, own_asn)),
    }
}

/// Removals come before additions, so that a community can be replaced.
fn actions(operations: &FilterOperations, own_asn: Asn) -> Vec<Action> {
    let FilterOperations {
        local_pref,
        med,
        prepend,
        add_communities,
        remove_communities,
        add_large_communities,
    } = operations;
    let mut actions = Vec::new();
    actions.extend(local_pref.map(Action::LocalPref));
    actions.extend(med.map(Action::Med));
    actions.extend(
        prepend.map(|prepend| Action::Prepend(prepend.asn.map_or(own_asn, |asn| asn.0), prepend.times)),
    );
    actions.extend(remove_communities.iter().map(|community| Action::RemoveCommunity(community.0)));
    actions.extend(add_communities.iter().map(|community| Action::AddCommunity(community.0)));
    actions.extend(add_large_communities.iter().map(|community| Action::AddLargeCommunity(community.0)));
    actions
}

fn route_source(source: FilterSource) -> RouteSource {
    match source {
        FilterSource::Pod => RouteSource::Pod,
        FilterSource::Service => RouteSource::Service,
        FilterSource::Static => RouteSource::Static,
        FilterSource::Learned => RouteSource::Learned,
    }
}

fn whole(family: AddressFamily) -> IpNet {
    match family {
        AddressFamily::IPv4 => IpNet::V4(Ipv4Net::default()),
        AddressFamily::IPv6 => IpNet::V6(Ipv6Net::default()),
    }
}

fn accept(prefixes: Vec<PrefixMatch>, cause: Arc<str>) -> Rule {
    Rule {
        cause,
        prefixes,
        sources: Vec::new(),
        communities: Vec::new(),
        verdict: Verdict::Accept,
        actions: Vec::new(),
    }
}
