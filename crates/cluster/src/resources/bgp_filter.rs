//! `BGPFilter`: what passes between us and a peer, rule by rule.

use serde::{Deserialize, Serialize};

use super::Check;
use super::bgp_peer::AddressFamily;
use super::fields::{AsNumber, Cidr, CommunityValue, LargeCommunityValue};
use crate::problem::Fault;

/// Specification of a `BGPFilter`: rules in order, the first that matches decides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct BgpFilterSpec {
    /// Rules for routes that the peer sends.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub import: Vec<FilterRule>,
    /// Rules for routes that the peer is sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub export: Vec<FilterRule>,
}

/// One rule. Every condition that is present must hold; a rule without conditions matches all routes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FilterRule {
    /// The prefix is in any of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prefixes: Vec<PrefixRange>,
    /// The prefix is of any of these families.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub families: Vec<AddressFamily>,
    /// The route carries any of these communities.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub communities: Vec<CommunityValue>,
    /// The route comes from any of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<FilterSource>,
    /// What happens to a route that matches.
    pub action: FilterAction,
    /// What is changed on a route that is accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operations: Option<FilterOperations>,
}

/// Prefixes within a range, of lengths between two bounds.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PrefixRange {
    /// The range.
    pub cidr: Cidr,
    /// Shortest length; the range's own if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_length: Option<u8>,
    /// Longest length; a single address if absent, so that `cidr` alone means "this and everything within".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_length: Option<u8>,
}

/// Where a route comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum FilterSource {
    /// A node's pods.
    Pod,
    /// A Service.
    Service,
    /// `BGPConfiguration.spec.originate`.
    Static,
    /// Another peer.
    Learned,
}

/// Accept or reject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum FilterAction {
    /// The route passes.
    Accept,
    /// It does not.
    Reject,
}

/// What is changed on an accepted route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct FilterOperations {
    /// Set `LOCAL_PREF`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_pref: Option<u32>,
    /// Set MED.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub med: Option<u32>,
    /// Lengthen the AS path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prepend: Option<Prepend>,
    /// Add communities.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub add_communities: Vec<CommunityValue>,
    /// Remove communities.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remove_communities: Vec<CommunityValue>,
    /// Add large communities.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub add_large_communities: Vec<LargeCommunityValue>,
}

/// An AS that is put before the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Prepend {
    /// The AS; ours if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asn: Option<AsNumber>,
    /// How often, 1 to 10.
    pub times: u8,
}

impl Check for BgpFilterSpec {
    fn check(&self, faults: &mut Vec<Fault>) {
        for (direction, rules) in [("import", &self.import), ("export", &self.export)] {
            for (index, rule) in rules.iter().enumerate() {
                rule.check(&format!(".spec.{direction}[{index}]"), faults);
            }
        }
    }
}

impl FilterRule {
    fn check(&self, rule: &str, faults: &mut Vec<Fault>) {
        for (index, range) in self.prefixes.iter().enumerate() {
            let (shortest, longest) = range.lengths();
            let within = range.cidr.0.prefix_len()..=range.cidr.0.max_prefix_len();
            if !(within.contains(&shortest) && within.contains(&longest) && shortest <= longest) {
                faults.push(Fault::new(
                    format!("{rule}.prefixes[{index}]"),
                    format!("found lengths {shortest} to {longest} in {}", range.cidr),
                    format!("write lengths from {} to {}, the shorter first", within.start(), within.end()),
                ));
            }
        }
        if !self.families.is_empty() && !self.prefixes.is_empty() {
            let matches = |range: &PrefixRange| self.families.contains(&range.family());
            if !self.prefixes.iter().any(matches) {
                faults.push(Fault::new(
                    format!("{rule}.families"),
                    "no prefix of this rule is of these families",
                    "leave `families` out, or write prefixes of them",
                ));
            }
        }
        if self.action == FilterAction::Reject && self.operations.is_some() {
            let field = format!("{rule}.operations");
            faults.push(Fault::new(field, "a rejected route cannot be changed", "leave `operations` out"));
        }
        if let Some(FilterOperations { prepend: Some(prepend), .. }) = &self.operations
            && !(1..=10).contains(&prepend.times)
        {
            let found = format!("found {}", prepend.times);
            faults.push(Fault::new(format!("{rule}.operations.prepend.times"), found, "write 1 to 10"));
        }
    }
}

impl PrefixRange {
    /// Shortest and longest length that match.
    pub fn lengths(&self) -> (u8, u8) {
        let range = self.cidr.0;
        (self.min_length.unwrap_or(range.prefix_len()), self.max_length.unwrap_or(range.max_prefix_len()))
    }

    /// The family of the range.
    pub fn family(&self) -> AddressFamily {
        if self.cidr.0.addr().is_ipv4() { AddressFamily::IPv4 } else { AddressFamily::IPv6 }
    }
}
