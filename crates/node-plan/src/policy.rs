//! Policies: what filters say, and what follows without them.

mod filter;

use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use muslin_bgp_packet::Asn;
use muslin_bgp_speaker::config::{Condition, Policy, PrefixMatch, RouteSource, Rule, Verdict};
use muslin_cluster::resources::BgpPeer;
use muslin_cluster::{ClusterState, Kind, Problem};

use crate::advertisement::ExportRules;
use crate::blocks::Ownership;
use crate::causes::Subject;
use crate::peers::Kinship;
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
pub(crate) fn derived_import(ownership: &Ownership, settings: &Settings, node: &str) -> Arc<Policy> {
    let others = ownership.blocks.iter().filter(|(_, block)| &*block.owner != node);
    let mut rules: Vec<_> =
        others.map(|(range, block)| accept([PrefixMatch::exact(*range)], block.cause.clone())).collect();
    rules.extend(
        settings
            .import
            .iter()
            .flatten()
            .map(|range| accept([PrefixMatch::or_longer(range.value)], range.cause.clone())),
    );
    if let Some(cause) = &settings.default_route {
        let defaults = [IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())];
        rules.push(accept(defaults.map(PrefixMatch::exact), cause.clone()));
    }
    Policy { name: "derived: pods of other nodes".into(), rules, otherwise: Verdict::Reject }.into()
}

/// What a node announces to a peer, or the mesh, without filters: exactly what its plan originates, nothing that
/// it learned, and with the attributes that advertisements tell that peer.
pub(crate) fn derived_export(told: &ExportRules, peer: &str) -> Arc<Policy> {
    let sources = [
        (RouteSource::Pod, "pod blocks of this node"),
        (RouteSource::Service, "Service addresses of this node"),
        (RouteSource::Static, "prefixes written out for this node"),
    ];
    let all = sources.map(|(source, cause)| Rule::accept(cause).when(Condition::Source(vec![source])));
    let name = if told.is_empty() {
        "derived: what this node originates".into()
    } else {
        format!("derived: what this node originates and advertises to {peer}").into()
    };
    Policy { name, rules: told.last.iter().cloned().chain(all).collect(), otherwise: Verdict::Reject }.into()
}

/// What a reflector announces: what it originates, and the blocks of other nodes as it learned them.
pub(crate) fn reflecting(export: &Arc<Policy>, ownership: &Ownership, node: &str) -> Arc<Policy> {
    let others = ownership.blocks.iter().filter(|(_, block)| &*block.owner != node);
    let blocks: Vec<_> = others.map(|(range, _)| PrefixMatch::exact(*range)).collect();
    let learned = accept(blocks, "pod blocks of other nodes, reflected".into())
        .when(Condition::Source(vec![RouteSource::Learned]));
    let name = format!("{}, and reflects pods of other nodes", export.name).into();
    let rules = export.rules.iter().cloned().chain([learned]).collect();
    Policy { name, rules, ..Policy::clone(export) }.into()
}

/// The policy with rules before it.
pub(crate) fn before(first: &[Rule], rest: &Arc<Policy>) -> Arc<Policy> {
    if first.is_empty() {
        return rest.clone();
    }
    Policy { rules: first.iter().chain(&rest.rules).cloned().collect(), ..Policy::clone(rest) }.into()
}

/// How a peer stands to the node, as far as filters tell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Relation {
    /// Our AS, and the one that we are towards the peer if that is another.
    pub(crate) own: Asn,
    pub(crate) local: Asn,
    pub(crate) kinship: Kinship,
}

/// The rules that come `first`, those of the peer's filters, then `rest` for what none of them decides.
///
/// A filter that does not exist refuses everything: it may have been written to hold something back.
pub(crate) fn filtered(
    state: &ClusterState,
    peer: &Subject<'_, BgpPeer>,
    relation: Relation,
    direction: Direction,
    first: &[Rule],
    rest: &Arc<Policy>,
    problems: &mut Vec<Problem>,
) -> Arc<Policy> {
    let names = &peer.object.spec.filters;
    if names.is_empty() {
        return before(first, rest);
    }
    let mut rules = first.to_vec();
    for (index, name) in names.iter().enumerate() {
        let field = format!(".spec.filters[{index}]");
        let Some((name, filter)) = state.bgp_filters.get_key_value(&**name) else {
            rules.push(Rule::reject(peer.cause(&field)));
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
        for (index, written) in written.iter().enumerate() {
            let field = format!(".spec.{}[{index}]", direction.name());
            if let Some(note) = filter::without_effect(written, direction, relation.kinship) {
                let field = format!("{field}.operations.{}", note.field);
                problems.push(filter.advice(
                    &field,
                    format!("{}, for peer {}", note.message, peer.name()),
                    note.remedy,
                ));
            }
            rules.push(filter::rule(written, filter.cause(&field), relation).unwrap_or_else(|error| {
                // The cluster's own check lets only the size of an expression pass.
                problems.push(filter.refused(
                    &field,
                    format!("{error}, so nothing passes here"),
                    "write a smaller one",
                ));
                Rule::reject(filter.cause(&field))
            }));
        }
    }
    rules.extend(rest.rules.iter().cloned());
    let name = format!("BGPFilter {} ({}), then {}", names.join(", "), direction.name(), rest.name);
    let policy = Policy { name: name.into(), rules, otherwise: rest.otherwise };
    match policy.check() {
        Ok(()) => policy.into(),
        Err(error) => {
            let message = format!("{error}; nothing is exchanged with the peer");
            problems.push(peer.refused(".spec.filters", message, "name fewer filters whose rules continue"));
            Policy::reject_all(&policy.name).into()
        }
    }
}

fn accept(prefixes: impl Into<Vec<PrefixMatch>>, cause: Arc<str>) -> Rule {
    Rule::accept(cause).when(Condition::Prefix(prefixes.into().into()))
}
