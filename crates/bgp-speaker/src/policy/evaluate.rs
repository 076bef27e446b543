//! Which rules of a policy apply.

use std::hash::{Hash, Hasher};

use ipnet::IpNet;
use muslin_bgp_packet::AnyCommunity;

use super::subject::Subject;
use super::trail::Trail;
use crate::config::{
    Action, AsPathTest, CommunityTest, Condition, Outcome, PeerTest, Policy, Quantifier, Rule, Verdict,
};

/// Finds the rules that apply.
pub(crate) fn decide(policy: &Policy, subject: &Subject<'_>) -> (Verdict, Trail) {
    let mut matched = 0_u16;
    let mut continuing = 0;
    for (index, rule) in policy.rules.iter().enumerate() {
        match rule.outcome {
            Outcome::Decide(verdict) if matches(rule, subject) => {
                return (verdict, Trail::new(policy, index, matched));
            }
            Outcome::Decide(_) => {}
            Outcome::Continue => {
                let bit = 1_u16.checked_shl(continuing).unwrap_or(0);
                matched |= if matches(rule, subject) { bit } else { 0 };
                continuing += 1;
            }
        }
    }
    (policy.otherwise, Trail::otherwise(policy, matched))
}

/// Conditions that need no attributes are looked at first: they cost next to nothing.
fn matches(rule: &Rule, subject: &Subject<'_>) -> bool {
    [false, true].into_iter().all(|costly| {
        let mut conditions = rule.conditions.iter().filter(|condition| reads_attributes(condition) == costly);
        conditions.all(|condition| holds(condition, subject))
    })
}

fn reads_attributes(condition: &Condition) -> bool {
    matches!(condition, Condition::Communities(..) | Condition::AsPath(_))
}

fn holds(condition: &Condition, subject: &Subject<'_>) -> bool {
    match condition {
        Condition::Prefix(set) => set.contains(subject.prefix),
        Condition::Source(sources) => sources.contains(&subject.source),
        Condition::Label(labels) => {
            subject.label.is_some_and(|label| labels.iter().any(|wanted| **wanted == *label))
        }
        Condition::Peer(tests) => subject.learned.is_some_and(|learned| {
            tests.iter().any(|test| match test {
                PeerTest::Name(name) => is_named(&learned.peer.0, name),
                PeerTest::Within(range) => range.contains(&learned.address),
            })
        }),
        Condition::NextHop(set) => {
            subject.learned.is_some_and(|learned| set.contains(IpNet::from(learned.next_hop)))
        }
        Condition::Communities(quantifier, tests) => {
            let mut found = tests.iter().map(|test| finds(test, subject));
            match quantifier {
                Quantifier::Any => found.any(|found| found),
                Quantifier::All => found.all(|found| found),
                Quantifier::None => !found.any(|found| found),
            }
        }
        Condition::AsPath(test) => {
            let path = &subject.attributes().as_path;
            match test {
                AsPathTest::Contains(asns) => asns.iter().any(|asn| path.contains(*asn)),
                AsPathTest::Lacks(asns) => !asns.iter().any(|asn| path.contains(*asn)),
                AsPathTest::Origin(asns) => path.origin().is_some_and(|origin| asns.contains(&origin)),
                AsPathTest::Neighbor(asns) => {
                    path.neighbor().is_some_and(|neighbor| asns.contains(&neighbor))
                }
                AsPathTest::Length(shortest, longest) => {
                    (usize::from(*shortest)..=usize::from(*longest)).contains(&path.length())
                }
                AsPathTest::Like(pattern) => pattern.is_match(subject.as_path()),
            }
        }
    }
}

/// A peer out of a listen range is called `range/address`.
fn is_named(peer: &str, name: &str) -> bool {
    peer.strip_prefix(name).is_some_and(|rest| {
        rest.is_empty()
            || rest.strip_prefix('/').is_some_and(|address| address.parse::<std::net::IpAddr>().is_ok())
    })
}

fn finds(test: &CommunityTest, subject: &Subject<'_>) -> bool {
    match test {
        CommunityTest::Is(AnyCommunity::Standard(community)) => {
            subject.attributes().communities.contains(community)
        }
        CommunityTest::Is(AnyCommunity::Extended(community)) => {
            subject.attributes().extended_communities.contains(community)
        }
        CommunityTest::Is(AnyCommunity::Large(community)) => {
            subject.attributes().large_communities.contains(community)
        }
        CommunityTest::Like(pattern) => subject.communities().iter().any(|text| pattern.is_match(text)),
    }
}

/// Whether two policies treat every route alike. Their names and the places where they are written may
/// differ: peers share an export group all the same.
pub(crate) fn has_same_effect(one: &Policy, other: &Policy) -> bool {
    std::ptr::eq(one, other)
        || one.otherwise == other.otherwise
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

fn effect(rule: &Rule) -> (&[Condition], Outcome, &[Action]) {
    (&rule.conditions, rule.outcome, &rule.actions)
}
