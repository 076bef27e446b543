//! Policies: rules in order, each with conditions, an outcome and actions.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use ipnet::IpNet;
use muslin_bgp_packet::{AnyCommunity, Asn, CommunityKind};
use serde::{Deserialize, Serialize};

use super::{Cause, Pattern, PrefixSet, RouteSource};

/// A policy: rules in order, the first that matches and does not continue decides.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Policy {
    /// Name, as shown in status ("`BGPFilter` tor", "derived default").
    pub name: Arc<str>,
    /// The rules.
    pub rules: Vec<Rule>,
    /// What happens when no rule decides.
    pub otherwise: Verdict,
}

/// Accept or reject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Verdict {
    /// The route passes.
    Accept,
    /// The route is refused.
    Reject,
}

/// What follows when a rule matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// The policy ends with this.
    Decide(Verdict),
    /// The rule's actions are taken if the route is accepted in the end, and the next rule is asked. Conditions
    /// look at the route as it came, never at what an earlier rule made of it.
    Continue,
}

impl From<Verdict> for Outcome {
    fn from(verdict: Verdict) -> Self {
        Self::Decide(verdict)
    }
}

/// One line of a policy. All its conditions must hold; without any it matches every route.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rule {
    /// Where the line is written ("`BGPFilter tor .spec.import[2]`").
    pub cause: Cause,
    /// What a route must be like.
    pub conditions: Vec<Condition>,
    /// What follows.
    pub outcome: Outcome,
    /// What is changed on a route that is accepted, in this order.
    pub actions: Vec<Action>,
}

impl Rule {
    /// A rule that matches every route and changes nothing.
    pub fn new(outcome: impl Into<Outcome>, cause: impl Into<Cause>) -> Self {
        Self { cause: cause.into(), conditions: Vec::new(), outcome: outcome.into(), actions: Vec::new() }
    }

    /// A rule that accepts every route.
    pub fn accept(cause: impl Into<Cause>) -> Self {
        Self::new(Verdict::Accept, cause)
    }

    /// A rule that rejects every route.
    pub fn reject(cause: impl Into<Cause>) -> Self {
        Self::new(Verdict::Reject, cause)
    }

    /// The same rule with one more condition.
    #[must_use]
    pub fn when(mut self, condition: Condition) -> Self {
        self.conditions.push(condition);
        self
    }

    /// The same rule with one more action.
    #[must_use]
    pub fn then(mut self, action: Action) -> Self {
        self.actions.push(action);
        self
    }
}

/// What a route must be like. In a list of alternatives one is enough, unless a [`Quantifier`] says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Condition {
    /// Its prefix is in the set.
    Prefix(PrefixSet),
    /// It comes from one of these.
    Source(Vec<RouteSource>),
    /// We originate it under one of these labels.
    Label(Vec<Arc<str>>),
    /// It was learned from one of these peers. What we originate was not.
    Peer(Vec<PeerTest>),
    /// The next hop that it came with is in the set. What we originate has none.
    NextHop(PrefixSet),
    /// Its communities.
    Communities(Quantifier, Vec<CommunityTest>),
    /// Its AS_PATH, as it came.
    AsPath(AsPathTest),
}

/// How many of the tests must find something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Quantifier {
    /// At least one.
    Any,
    /// Every one.
    All,
    /// Not a single one.
    None,
}

/// A peer that a route is learned from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PeerTest {
    /// The peer of this name, or every peer out of the listen range of this name.
    Name(Arc<str>),
    /// A peer whose address is within.
    Within(IpNet),
}

/// What is looked for among the communities of a route.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CommunityTest {
    /// This very one.
    Is(AnyCommunity),
    /// Any whose text form matches.
    Like(Pattern),
}

impl<C: Into<AnyCommunity>> From<C> for CommunityTest {
    fn from(community: C) -> Self {
        Self::Is(community.into())
    }
}

/// What an AS_PATH must be like.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AsPathTest {
    /// One of these ASes stands in it.
    Contains(Vec<Asn>),
    /// None of these ASes stands in it.
    Lacks(Vec<Asn>),
    /// One of these ASes originated the route; a path that is empty or ends with a set has no origin.
    Origin(Vec<Asn>),
    /// One of these is the neighbouring AS; a path that is empty or begins with a set has none.
    Neighbor(Vec<Asn>),
    /// Its length, as the decision process counts it, is between the two, both inclusive.
    Length(u16, u16),
    /// Its text form ("65001 65002 {65003,65004}") matches.
    Like(Pattern),
}

/// A change to an accepted route.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Action {
    /// Set LOCAL_PREF.
    LocalPref(u32),
    /// Change MED.
    Med(MedChange),
    /// Prepend an AS this often.
    Prepend(Asn, u8),
    /// Add a community.
    AddCommunity(AnyCommunity),
    /// Remove all communities that this finds.
    RemoveCommunities(CommunityTest),
    /// Remove all communities of a kind.
    ClearCommunities(CommunityKind),
    /// Set the bandwidth of the link that the route came over, in place of any that it has
    /// (draft-ietf-idr-link-bandwidth).
    LinkBandwidth(LinkBandwidth),
    /// Change the next hop: at import the one that is resolved, at export the one that is sent.
    NextHop(NextHopChange),
    /// The metric of the route in the kernel, which has no meaning for BGP. Only at import.
    Priority(NonZeroU32),
}

/// A change of MED.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum MedChange {
    /// To this.
    Set(u32),
    /// By this much, within what the attribute can hold; a missing one counts as 0.
    Add(i64),
    /// There is none afterwards.
    Remove,
}

/// A link's bandwidth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LinkBandwidth {
    /// The AS that says so.
    pub asn: Asn,
    /// In bits per second; on the wire it is a floating-point number of octets per second.
    pub bits_per_second: u64,
}

/// A change of the next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum NextHopChange {
    /// Our own address of the session. Means nothing at import.
    Itself,
    /// As it came. Means nothing at import.
    Unchanged,
    /// This one.
    Address(IpAddr),
}
