//! Policies in the most naive way: conditions one by one, actions on plain lists. It shares no code with what
//! it is compared with.

use std::net::IpAddr;

use ipnet::IpNet;
use muslin_bgp_packet::{AnyCommunity, CommunityKind, ExtendedCommunity, PathAttributes, SegmentKind};

use crate::config::{
    Action, AsPathTest, CommunityTest, Condition, MedChange, Outcome, PeerTest, Policy, PrefixSet,
    Quantifier, RouteSource, Verdict,
};

/// A route as the model sees it.
#[derive(Clone, Debug)]
pub(crate) struct Route<'a> {
    pub(crate) prefix: IpNet,
    pub(crate) source: RouteSource,
    /// Name and address of the peer, and the next hop.
    pub(crate) learned: Option<(&'a str, IpAddr, IpAddr)>,
    pub(crate) attributes: &'a PathAttributes,
}

/// What a policy makes of a route: verdict, actions in order, and which rules applied.
pub(crate) fn judge(policy: &Policy, route: &Route<'_>) -> (Verdict, Vec<Action>, Vec<usize>) {
    let (mut actions, mut applied) = (Vec::new(), Vec::new());
    for (index, rule) in policy.rules.iter().enumerate() {
        if !rule.conditions.iter().all(|condition| holds(condition, route)) {
            continue;
        }
        actions.extend(rule.actions.iter().cloned());
        applied.push(index);
        if let Outcome::Decide(verdict) = rule.outcome {
            return (verdict, actions, applied);
        }
    }
    (policy.otherwise, actions, applied)
}

fn in_set(set: &PrefixSet, prefix: IpNet) -> bool {
    set.ranges().iter().any(|range| {
        range.within.contains(&prefix)
            && prefix.prefix_len() >= range.min_length
            && prefix.prefix_len() <= range.max_length
    })
}

fn texts(attributes: &PathAttributes) -> Vec<(AnyCommunity, String)> {
    let mut all: Vec<AnyCommunity> = Vec::new();
    all.extend(attributes.communities.iter().map(|community| AnyCommunity::Standard(*community)));
    all.extend(attributes.extended_communities.iter().map(|community| AnyCommunity::Extended(*community)));
    all.extend(attributes.large_communities.iter().map(|community| AnyCommunity::Large(*community)));
    all.into_iter().map(|community| (community, community.to_string())).collect()
}

fn finds(test: &CommunityTest, attributes: &PathAttributes) -> bool {
    texts(attributes).iter().any(|(community, text)| match test {
        CommunityTest::Is(wanted) => community == wanted,
        CommunityTest::Like(pattern) => like(pattern.text(), text),
    })
}

/// The few expressions of the tests, spelled out.
pub(crate) const PATTERNS: [&str; 6] = ["", "^65001", ":1$", r"\b65002\b", "^65001( 65002)*$", "^rt:|^lb"];

fn like(pattern: &str, text: &str) -> bool {
    match pattern {
        "" => true,
        "^65001" => text.starts_with("65001"),
        ":1$" => text.ends_with(":1"),
        r"\b65002\b" => text.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == "65002"),
        "^65001( 65002)*$" => {
            let mut words = text.split(' ');
            words.next() == Some("65001") && words.all(|word| word == "65002")
        }
        "^rt:|^lb" => text.starts_with("rt:") || text.starts_with("lb"),
        other => panic!("no model of {other}"),
    }
}

fn holds(condition: &Condition, route: &Route<'_>) -> bool {
    let path = &route.attributes.as_path;
    let ends: Vec<_> = path.segments().collect();
    match condition {
        Condition::Prefix(set) => in_set(set, route.prefix),
        Condition::Source(sources) => sources.contains(&route.source),
        // No route of the model has a label.
        Condition::Label(_) => false,
        Condition::Peer(tests) => route.learned.is_some_and(|(name, address, _)| {
            tests.iter().any(|test| match test {
                PeerTest::Name(wanted) => name == &**wanted || name == format!("{wanted}/{address}"),
                PeerTest::Within(range) => range.contains(&address),
            })
        }),
        Condition::NextHop(set) => {
            route.learned.is_some_and(|(_, _, next_hop)| in_set(set, IpNet::from(next_hop)))
        }
        Condition::Communities(quantifier, tests) => {
            let found = tests.iter().filter(|test| finds(test, route.attributes)).count();
            match quantifier {
                Quantifier::Any => found > 0,
                Quantifier::All => found == tests.len(),
                Quantifier::None => found == 0,
            }
        }
        Condition::AsPath(AsPathTest::Contains(asns)) => path.asns().any(|asn| asns.contains(&asn)),
        Condition::AsPath(AsPathTest::Lacks(asns)) => path.asns().all(|asn| !asns.contains(&asn)),
        Condition::AsPath(AsPathTest::Origin(asns)) => ends.last().is_some_and(|last| {
            last.kind == SegmentKind::Sequence && last.asns().last().is_some_and(|asn| asns.contains(&asn))
        }),
        Condition::AsPath(AsPathTest::Neighbor(asns)) => ends.first().is_some_and(|first| {
            first.kind == SegmentKind::Sequence && first.asns().next().is_some_and(|asn| asns.contains(&asn))
        }),
        Condition::AsPath(AsPathTest::Length(shortest, longest)) => {
            path.length() >= usize::from(*shortest) && path.length() <= usize::from(*longest)
        }
        Condition::AsPath(AsPathTest::Like(pattern)) => like(pattern.text(), &path.to_string()),
    }
}

/// Applies what changes attributes.
pub(crate) fn act(actions: &[Action], attributes: &mut PathAttributes) {
    for action in actions {
        let mut all: Vec<AnyCommunity> =
            texts(attributes).into_iter().map(|(community, _)| community).collect();
        match action {
            Action::LocalPref(value) => attributes.local_pref = Some(*value),
            Action::Med(MedChange::Set(value)) => attributes.med = Some(*value),
            Action::Med(MedChange::Add(by)) => {
                let sum = i128::from(attributes.med.unwrap_or(0)) + i128::from(*by);
                attributes.med = Some(u32::try_from(sum.clamp(0, 0xFFFF_FFFF)).unwrap());
            }
            Action::Med(MedChange::Remove) => attributes.med = None,
            Action::Prepend(asn, times) => {
                for _ in 0..*times {
                    attributes.as_path = attributes.as_path.prepended(*asn, 1);
                }
            }
            Action::AddCommunity(community) => all.push(*community),
            Action::RemoveCommunities(CommunityTest::Is(unwanted)) => all.retain(|have| have != unwanted),
            Action::RemoveCommunities(CommunityTest::Like(pattern)) => {
                all.retain(|have| !like(pattern.text(), &have.to_string()));
            }
            Action::ClearCommunities(kind) => all.retain(|have| kind_of(*have) != *kind),
            Action::LinkBandwidth(bandwidth) => {
                all.retain(|have| !have.to_string().starts_with("lb"));
                #[allow(clippy::cast_precision_loss, reason = "the field is a floating-point number")]
                let octets = (bandwidth.bits_per_second / 8) as f32;
                all.push(ExtendedCommunity::link_bandwidth(bandwidth.asn, octets).into());
            }
            Action::NextHop(_) | Action::Priority(_) => {}
        }
        all.sort_unstable();
        all.dedup();
        attributes.communities.clear();
        attributes.extended_communities.clear();
        attributes.large_communities.clear();
        for community in all {
            match community {
                AnyCommunity::Standard(community) => attributes.communities.push(community),
                AnyCommunity::Extended(community) => attributes.extended_communities.push(community),
                AnyCommunity::Large(community) => attributes.large_communities.push(community),
            }
        }
    }
}

fn kind_of(community: AnyCommunity) -> CommunityKind {
    match community {
        AnyCommunity::Standard(_) => CommunityKind::Standard,
        AnyCommunity::Extended(_) => CommunityKind::Extended,
        AnyCommunity::Large(_) => CommunityKind::Large,
    }
}
