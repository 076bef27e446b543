//! Which rule of a policy decides.

use std::hash::{Hash, Hasher};

use ipnet::IpNet;
use muslin_bgp_packet::Community;

use crate::config::{Action, Policy, PrefixMatch, RouteSource, Rule, Verdict};

/// The rule that decided, by its place in the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RuleNumber(u16);

impl RuleNumber {
    /// No rule matched: the policy's last word decides.
    pub(crate) const OTHERWISE: Self = Self(u16::MAX);

    /// The rule, if one matched.
    pub(crate) fn rule(self, policy: &Policy) -> Option<&Rule> {
        policy.rules.get(usize::from(self.0))
    }

    /// What is to be changed.
    pub(crate) fn actions(self, policy: &Policy) -> &[Action] {
        self.rule(policy).map_or(&[], |rule| &rule.actions)
    }

    /// Where the decision is written.
    pub(crate) fn cause(self, policy: &Policy) -> String {
        match self.rule(policy) {
            Some(rule) => rule.cause.to_string(),
            None => format!("{}, no rule matches", policy.name),
        }
    }
}

/// What rules look at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) prefix: IpNet,
    pub(crate) source: RouteSource,
    pub(crate) communities: &'a [Community],
}

/// Finds the first rule that matches.
pub(crate) fn decide(policy: &Policy, subject: Subject<'_>) -> (Verdict, RuleNumber) {
    // More than 65,534 rules cannot be numbered; such a policy would not be usable for other reasons.
    let numbers = (0..u16::MAX).map(RuleNumber);
    match policy.rules.iter().zip(numbers).find(|(rule, _)| matches(rule, subject)) {
        Some((rule, number)) => (rule.verdict, number),
        None => (policy.otherwise, RuleNumber::OTHERWISE),
    }
}

/// Whether any rule looks at communities; if not, callers need not read them.
pub(crate) fn needs_communities(policy: &Policy) -> bool {
    policy.rules.iter().any(|rule| !rule.communities.is_empty())
}

fn matches(rule: &Rule, subject: Subject<'_>) -> bool {
    let any_or_none = |empty: bool, any: bool| empty || any;
    any_or_none(rule.sources.is_empty(), rule.sources.contains(&subject.source))
        && any_or_none(
            rule.prefixes.is_empty(),
            rule.prefixes.iter().any(|range| covers(*range, subject.prefix)),
        )
        && any_or_none(
            rule.communities.is_empty(),
            rule.communities.iter().any(|community| subject.communities.contains(community)),
        )
}

fn covers(range: PrefixMatch, prefix: IpNet) -> bool {
    (range.min_length..=range.max_length).contains(&prefix.prefix_len()) && range.within.contains(&prefix)
}

/// Whether two policies treat every route alike. Their names and the places where they are written may
/// differ: peers share an export group all the same.
pub(crate) fn has_same_effect(one: &Policy, other: &Policy) -> bool {
    one.otherwise == other.otherwise
        && one.rules.len() == other.rules.len()
        && one.rules.iter().zip(&other.rules).all(|(one, other)| effect(one) == effect(other))
}

/// Hashes what [`has_same_effect`] compares.
pub(crate) fn hash_effect(policy: &Policy, state: &mut impl Hasher) {
    policy.otherwise.hash(state);
    for rule in &policy.rules {
        effect(rule).hash(state);
    }
}

fn effect(rule: &Rule) -> (&[PrefixMatch], &[RouteSource], &[Community], Verdict, &[Action]) {
    (&rule.prefixes, &rule.sources, &rule.communities, rule.verdict, &rule.actions)
}
