//! From a filter's rule as it is written to one that a speaker works by.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use muslin_bgp_packet::{AnyCommunity, CommunityKind};
use muslin_bgp_speaker::config::{
    Action, AsPathTest, Cause, CommunityTest, Condition, LinkBandwidth, MedChange, NextHopChange, Outcome,
    Pattern, PatternError, PeerTest, PrefixMatch, Quantifier, RouteSource, Rule, Verdict,
};
use muslin_cluster::resources::{
    AddressFamily, AsPathConditions, CommunityPattern, FilterAction, FilterNextHop, FilterOperations,
    FilterRule, FilterSource, PeerRef,
};

use super::{Direction, Relation};
use crate::peers::Kinship;

/// An operation that a kind of peer makes void.
pub(super) struct Note {
    pub(super) field: &'static str,
    pub(super) message: &'static str,
    pub(super) remedy: &'static str,
}

/// What of a rule has no effect towards a peer.
pub(super) fn without_effect(written: &FilterRule, direction: Direction, kinship: Kinship) -> Option<Note> {
    let operations = written.operations.as_ref()?;
    let external = direction == Direction::Export && kinship == Kinship::External;
    (external && operations.local_pref.is_some()).then_some(Note {
        field: "localPref",
        message: "LOCAL_PREF is not sent to another AS (RFC 4271 section 5.1.5), so it has no effect",
        remedy: "use `med`, `prepend` or a community that the peer acts upon",
    })
}

/// The rule as a speaker works by it.
pub(super) fn rule(written: &FilterRule, cause: Cause, relation: Relation) -> Result<Rule, PatternError> {
    let outcome = match written.action {
        FilterAction::Accept => Verdict::Accept.into(),
        FilterAction::Reject => Verdict::Reject.into(),
        FilterAction::Continue => Outcome::Continue,
    };
    let mut rule = Rule::new(outcome, cause);
    let conditions = &mut rule.conditions;
    conditions.extend(prefixes(written).map(|prefixes| Condition::Prefix(prefixes.into())));
    if !written.sources.is_empty() {
        conditions
            .push(Condition::Source(written.sources.iter().map(|source| route_source(*source)).collect()));
    }
    if !written.peers.is_empty() {
        conditions.push(Condition::Peer(written.peers.iter().map(peer_test).collect()));
    }
    if !written.next_hops.is_empty() {
        let within: Vec<_> = written.next_hops.iter().map(|range| PrefixMatch::or_longer(range.0)).collect();
        conditions.push(Condition::NextHop(within.into()));
    }
    let lists = [
        (Quantifier::Any, &written.communities),
        (Quantifier::All, &written.all_communities),
        (Quantifier::None, &written.no_communities),
    ];
    for (quantifier, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
        let tests = list.iter().map(community_test).collect::<Result<_, _>>()?;
        conditions.push(Condition::Communities(quantifier, tests));
    }
    if let Some(as_path) = &written.as_path {
        conditions.extend(as_path_tests(as_path, relation)?.into_iter().map(Condition::AsPath));
    }
    if let Some(operations) = &written.operations {
        rule.actions = actions(operations, relation)?;
    }
    Ok(rule)
}

/// The prefixes that a rule is for; none if it is for all.
fn prefixes(written: &FilterRule) -> Option<Vec<PrefixMatch>> {
    let families = &written.families;
    if written.prefixes.is_empty() {
        let whole = families.iter().map(|family| PrefixMatch::or_longer(whole(*family)));
        return (!families.is_empty()).then(|| whole.collect());
    }
    let wanted =
        written.prefixes.iter().filter(|range| families.is_empty() || families.contains(&range.family()));
    let matches = wanted.map(|range| {
        let (min_length, max_length) = range.lengths();
        PrefixMatch { within: range.cidr.0, min_length, max_length }
    });
    Some(matches.collect())
}

fn community_test(written: &CommunityPattern) -> Result<CommunityTest, PatternError> {
    match written {
        CommunityPattern::Is(community) => Ok(CommunityTest::Is(*community)),
        CommunityPattern::Like(pattern) => Pattern::new(pattern).map(CommunityTest::Like),
    }
}

fn peer_test(written: &PeerRef) -> PeerTest {
    match written {
        PeerRef::Name(name) => PeerTest::Name(name.as_str().into()),
        PeerRef::Within(range) => PeerTest::Within(*range),
    }
}

fn as_path_tests(written: &AsPathConditions, relation: Relation) -> Result<Vec<AsPathTest>, PatternError> {
    let AsPathConditions { contains_own, contains, origin, neighbor, min_length, max_length, pattern } =
        written;
    let own = || {
        if relation.own == relation.local { vec![relation.own] } else { vec![relation.own, relation.local] }
    };
    let asns = |list: &[muslin_cluster::resources::AsNumber]| {
        (!list.is_empty()).then(|| list.iter().map(|asn| asn.0).collect())
    };
    let mut tests = Vec::new();
    tests.extend(
        contains_own
            .map(|wanted| if wanted { AsPathTest::Contains(own()) } else { AsPathTest::Lacks(own()) }),
    );
    tests.extend(asns(contains).map(AsPathTest::Contains));
    tests.extend(asns(origin).map(AsPathTest::Origin));
    tests.extend(asns(neighbor).map(AsPathTest::Neighbor));
    if min_length.is_some() || max_length.is_some() {
        tests.push(AsPathTest::Length(min_length.unwrap_or(0), max_length.unwrap_or(u16::MAX)));
    }
    if let Some(pattern) = pattern {
        tests.push(AsPathTest::Like(Pattern::new(pattern)?));
    }
    Ok(tests)
}

/// Removals come before additions, so that a community can be replaced.
fn actions(operations: &FilterOperations, relation: Relation) -> Result<Vec<Action>, PatternError> {
    let FilterOperations {
        local_pref,
        med,
        add_med,
        remove_med,
        prepend,
        remove_communities,
        replace_communities,
        add_communities,
        link_bandwidth,
        next_hop,
        priority,
    } = operations;
    let mut actions = Vec::new();
    actions.extend(local_pref.map(Action::LocalPref));
    actions.extend(med.map(MedChange::Set).map(Action::Med));
    actions.extend(add_med.map(MedChange::Add).map(Action::Med));
    actions.extend(remove_med.then_some(Action::Med(MedChange::Remove)));
    actions.extend(
        prepend
            .map(|prepend| Action::Prepend(prepend.asn.map_or(relation.local, |asn| asn.0), prepend.times)),
    );
    for unwanted in remove_communities {
        actions.push(Action::RemoveCommunities(community_test(unwanted)?));
    }
    let mut kinds: Vec<_> = replace_communities.iter().map(|community| kind_of(community.0)).collect();
    kinds.sort_unstable();
    kinds.dedup();
    actions.extend(kinds.into_iter().map(Action::ClearCommunities));
    let added = replace_communities.iter().chain(add_communities);
    actions.extend(added.map(|community| Action::AddCommunity(community.0)));
    actions.extend(
        link_bandwidth.map(|rate| {
            Action::LinkBandwidth(LinkBandwidth { asn: relation.local, bits_per_second: rate.0 })
        }),
    );
    actions.extend(next_hop.map(|next_hop| {
        Action::NextHop(match next_hop {
            FilterNextHop::Itself => NextHopChange::Itself,
            FilterNextHop::Unchanged => NextHopChange::Unchanged,
            FilterNextHop::Address(address) => NextHopChange::Address(address),
        })
    }));
    actions.extend(priority.and_then(|metric| metric.try_into().ok()).map(Action::Priority));
    Ok(actions)
}

fn kind_of(community: AnyCommunity) -> CommunityKind {
    match community {
        AnyCommunity::Standard(_) => CommunityKind::Standard,
        AnyCommunity::Extended(_) => CommunityKind::Extended,
        AnyCommunity::Large(_) => CommunityKind::Large,
    }
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
