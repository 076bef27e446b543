//! `BGPFilter`: what passes between us and a peer, rule by rule.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::bgp_peer::AddressFamily;
use super::fields::{AnyCommunityValue, AsNumber, BitRate, Cidr, CommunityPattern, PeerRef, from_text};

use super::schema;

mod check;

/// Specification of a `BGPFilter`: rules in order, the first that matches decides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-kubernetes-validations" = super::rules::BGP_FILTER))]
pub struct BgpFilterSpec {
    /// Rules for routes that the peer sends.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub import: Vec<FilterRule>,
    /// Rules for routes that the peer is sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub export: Vec<FilterRule>,
}

/// One rule. Every condition that is present must hold; a rule without conditions matches all routes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = super::rules::FILTER_RULE))]
pub struct FilterRule {
    /// The prefix is in any of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prefixes: Vec<PrefixRange>,
    /// The prefix is of any of these families.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub families: Vec<AddressFamily>,
    /// The route carries any of these communities.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub communities: Vec<CommunityPattern>,
    /// The route carries each of these communities.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub all_communities: Vec<CommunityPattern>,
    /// The route carries none of these communities.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub no_communities: Vec<CommunityPattern>,
    /// What its AS path is like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_path: Option<AsPathConditions>,
    /// The next hop that it came with is in any of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub next_hops: Vec<Cidr>,
    /// It was learned from any of these peers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<PeerRef>,
    /// The route comes from any of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<FilterSource>,
    /// What happens to a route that matches.
    pub action: FilterAction,
    /// What is changed on a route that is accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operations: Option<FilterOperations>,
}

/// Conditions on an AS path. Every one that is present must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(extend("x-kubernetes-validations" = super::rules::AS_PATH))]
pub struct AsPathConditions {
    /// Whether our own AS stands in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contains_own: Option<bool>,
    /// Any of these ASes stands in it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub contains: Vec<AsNumber>,
    /// Any of these ASes originated the route.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub origin: Vec<AsNumber>,
    /// Any of these is the neighbouring AS.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub neighbor: Vec<AsNumber>,
    /// Least length, a set counting 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_length: Option<u16>,
    /// Greatest length.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_length: Option<u16>,
    /// A regular expression that matches its text form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
}

/// Prefixes within a range, of lengths between two bounds.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = super::rules::PREFIX_RANGE))]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
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

/// What happens to a route that matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
pub enum FilterAction {
    /// It passes.
    Accept,
    /// It does not.
    Reject,
    /// The next rule is asked; the operations are done if the route is accepted in the end.
    Continue,
}

/// What is changed on an accepted route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(extend("x-kubernetes-validations" = super::rules::OPERATIONS))]
pub struct FilterOperations {
    /// Set `LOCAL_PREF`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_pref: Option<u32>,
    /// Set MED.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub med: Option<u32>,
    /// Add this to MED, or take it away if it is negative.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub add_med: Option<i64>,
    /// Remove MED.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub remove_med: bool,
    /// Lengthen the AS path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prepend: Option<Prepend>,
    /// Remove communities.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remove_communities: Vec<CommunityPattern>,
    /// Put these in the place of all communities of their kinds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub replace_communities: Vec<AnyCommunityValue>,
    /// Add communities, after those above were removed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub add_communities: Vec<AnyCommunityValue>,
    /// Say how fast the link is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link_bandwidth: Option<BitRate>,
    /// Change the next hop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_hop: Option<FilterNextHop>,
    /// Metric of the route in the kernel, 1 or more; less is preferred.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
}

/// An AS that is put before the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = super::rules::PREPEND))]
pub struct Prepend {
    /// The AS; ours if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asn: Option<AsNumber>,
    /// How often, 1 to 10.
    pub times: u8,
}

/// A next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterNextHop {
    /// Our own address of the session.
    Itself,
    /// As it came.
    Unchanged,
    /// This one.
    Address(IpAddr),
}

impl<'de> Deserialize<'de> for FilterNextHop {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer, NEXT_HOP, |text| match text {
            "Self" => Some(Self::Itself),
            "Unchanged" => Some(Self::Unchanged),
            address => address.parse().ok().map(Self::Address),
        })
    }
}

const NEXT_HOP: &str = "Self, Unchanged, or an address";

impl schemars::JsonSchema for FilterNextHop {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "FilterNextHop".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schema::text::<45>(NEXT_HOP, "self in ['Self', 'Unchanged'] || isIP(self)")
    }
}

impl Serialize for FilterNextHop {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for FilterNextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Itself => f.write_str("Self"),
            Self::Unchanged => f.write_str("Unchanged"),
            Self::Address(address) => fmt::Display::fmt(address, f),
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
