//! From advertisements to what each peer is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use muslin_bgp_packet::{AnyCommunity, Asn};
use muslin_bgp_speaker::config::{Action, Cause, Condition, MedChange, Outcome, RouteSource, Rule, Verdict};
use muslin_cluster::resources::{BgpPeer, RouteAttributes};

use super::{Advertisements, Askers, Index, Origination};
use crate::causes::Subject;

/// What advertisements make of a peer's export policy.
#[derive(Debug, Default)]
pub(crate) struct ExportRules {
    /// Before the peer's filters, which so cannot lift it: what the peer is not told, and which attributes the
    /// rest gets if a filter lets it pass.
    pub(crate) first: Vec<Rule>,
    /// After the filters, before what every peer is told.
    pub(crate) last: Vec<Rule>,
}

impl ExportRules {
    /// Whether the peer is told what all peers are told.
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_empty() && self.last.is_empty()
    }
}

impl Advertisements<'_> {
    /// The rules for a peer, or for the node mesh, which is always told of pods: that is what it is for.
    pub(crate) fn export_rules(
        &self,
        routes: &Origination,
        peer: Option<&Subject<'_, BgpPeer>>,
        own_asn: Asn,
    ) -> ExportRules {
        let mut rules = ExportRules::default();
        let mut withheld: (Vec<Arc<str>>, BTreeSet<Index>) = Default::default();
        let mut changed: BTreeMap<Vec<Index>, Vec<Arc<str>>> = BTreeMap::new();
        for (label, Askers { usual, by }) in routes.labels(self) {
            let told: Vec<_> = by.iter().copied().filter(|index| self.tells(*index, peer)).collect();
            if told.is_empty() && !usual {
                withheld.0.push(label);
                withheld.1.extend(by);
            } else if told.iter().any(|index| self.items[*index].written.attributes.is_some()) {
                changed.entry(told).or_default().push(label);
            }
        }
        if !withheld.0.is_empty() {
            let cause: Cause = match withheld.1.len() {
                0 => "no RouteAdvertisement of pod CIDRs selects this node".into(),
                _ => format!("told to other peers: {}", self.causes(withheld.1)).into(),
            };
            let mut rule = Rule::reject(cause).when(Condition::Label(withheld.0));
            if peer.is_none() {
                rule = rule.when(Condition::Source(vec![RouteSource::Service, RouteSource::Static]));
            }
            rules.first.push(rule);
        }
        let filters = peer.is_some_and(|peer| !peer.object.spec.filters.is_empty());
        for (told, labels) in changed {
            let attributes = told.iter().filter_map(|index| self.items[*index].written.attributes.as_ref());
            let outcome = if filters { Outcome::Continue } else { Verdict::Accept.into() };
            let mut rule =
                Rule::new(outcome, self.causes(told.iter().copied())).when(Condition::Label(labels));
            rule.actions = merged(&attributes.collect::<Vec<_>>(), own_asn);
            if !rule.actions.is_empty() {
                if filters { rules.first.push(rule) } else { rules.last.push(rule) }
            }
        }
        rules
    }

    fn causes(&self, items: impl IntoIterator<Item = Index>) -> String {
        let causes = items.into_iter().map(|index| &*self.items[index].cause);
        causes.collect::<Vec<_>>().join(", ")
    }
}

/// The attributes of a route that several advertisements tell a peer: all communities, and of each of the others
/// the most attractive one that is written. So no advertisement makes worse what another one promises.
fn merged(attributes: &[&RouteAttributes], own_asn: Asn) -> Vec<Action> {
    let mut actions = Vec::new();
    actions.extend(attributes.iter().filter_map(|set| set.local_pref).max().map(Action::LocalPref));
    let med = attributes.iter().filter_map(|set| set.med).min();
    actions.extend(med.map(|med| Action::Med(MedChange::Set(med))));
    let prepend = attributes.iter().filter_map(|set| set.prepend).min_by_key(|prepend| prepend.times);
    actions.extend(
        prepend.map(|prepend| Action::Prepend(prepend.asn.map_or(own_asn, |asn| asn.0), prepend.times)),
    );
    let communities = attributes.iter().flat_map(|set| &set.communities).map(|community| community.0);
    let communities: BTreeSet<AnyCommunity> = communities.collect();
    actions.extend(communities.into_iter().map(Action::AddCommunity));
    actions
}
