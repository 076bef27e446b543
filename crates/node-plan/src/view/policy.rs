//! Rules in words.

use muslin_bgp_speaker::config::{
    Action, AsPathTest, CommunityTest, Condition, LinkBandwidth, MedChange, NextHopChange, Outcome, PeerTest,
    PrefixMatch, PrefixSet, Quantifier, Rule,
};
use muslin_cluster::resources::BitRate;

use super::{join, source, verdict};

/// A rule in one line.
pub(super) fn rule_text(rule: &Rule) -> String {
    let conditions: Vec<_> = rule.conditions.iter().map(condition).collect();
    let conditions = if conditions.is_empty() { "all".to_owned() } else { conditions.join(", ") };
    let outcome = match rule.outcome {
        Outcome::Decide(decision) => verdict(decision),
        Outcome::Continue => "continue after",
    };
    if rule.actions.is_empty() {
        return format!("{outcome} {conditions}");
    }
    let actions: Vec<_> = rule.actions.iter().map(action).collect();
    format!("{outcome} {conditions}; {}", actions.join(", "))
}

fn condition(condition: &Condition) -> String {
    match condition {
        Condition::Prefix(set) => prefix_set(set),
        Condition::Source(sources) => {
            let sources: Vec<_> = sources.iter().map(|from| source(*from)).collect();
            format!("from {}", sources.join(" or "))
        }
        Condition::Label(labels) => format!("advertised by {}", join(labels, " or ")),
        Condition::Peer(peers) => {
            let peers: Vec<_> = peers.iter().map(peer).collect();
            format!("learned from {}", peers.join(" or "))
        }
        Condition::NextHop(set) => format!("next hop {}", prefix_set(set)),
        Condition::Communities(quantifier, tests) => {
            let tests: Vec<_> = tests.iter().map(community).collect();
            match quantifier {
                Quantifier::Any => format!("with {}", tests.join(" or ")),
                Quantifier::All => format!("with {}", tests.join(" and ")),
                Quantifier::None => format!("without {}", tests.join(" and ")),
            }
        }
        Condition::AsPath(test) => match test {
            AsPathTest::Contains(asns) => format!("AS path with {}", join(asns, " or ")),
            AsPathTest::Lacks(asns) => format!("AS path without {}", join(asns, " and ")),
            AsPathTest::Origin(asns) => format!("originated by AS {}", join(asns, " or ")),
            AsPathTest::Neighbor(asns) => format!("neighbouring AS {}", join(asns, " or ")),
            AsPathTest::Length(shortest, u16::MAX) => format!("AS path of length {shortest} or more"),
            AsPathTest::Length(shortest, longest) => format!("AS path of length {shortest} to {longest}"),
            AsPathTest::Like(pattern) => format!("AS path like {pattern}"),
        },
    }
}

fn prefix_set(set: &PrefixSet) -> String {
    set.ranges().iter().map(prefix_match).collect::<Vec<_>>().join(" or ")
}

fn prefix_match(matched: &PrefixMatch) -> String {
    let PrefixMatch { within, min_length, max_length } = *matched;
    let own = within.prefix_len();
    match (min_length, max_length) {
        (shortest, longest) if shortest == own && longest == own => within.to_string(),
        (shortest, longest) if shortest == own && longest == within.max_prefix_len() => {
            format!("within {within}")
        }
        (shortest, longest) => format!("within {within} of length {shortest} to {longest}"),
    }
}

fn peer(test: &PeerTest) -> String {
    match test {
        PeerTest::Name(name) => name.to_string(),
        PeerTest::Within(range) if range.prefix_len() == range.max_prefix_len() => range.addr().to_string(),
        PeerTest::Within(range) => format!("within {range}"),
    }
}

fn community(test: &CommunityTest) -> String {
    match test {
        CommunityTest::Is(community) => community.to_string(),
        CommunityTest::Like(pattern) => pattern.to_string(),
    }
}

fn action(action: &Action) -> String {
    match action {
        Action::LocalPref(preference) => format!("set local-pref {preference}"),
        Action::Med(MedChange::Set(med)) => format!("set MED {med}"),
        Action::Med(MedChange::Add(by)) => format!("add {by} to MED"),
        Action::Med(MedChange::Remove) => "remove MED".to_owned(),
        Action::Prepend(asn, times) => format!("prepend AS {asn} {times} times"),
        Action::AddCommunity(community) => format!("add {community}"),
        Action::RemoveCommunities(test) => format!("remove {}", community(test)),
        Action::ClearCommunities(kind) => format!("remove all {kind} communities"),
        Action::LinkBandwidth(LinkBandwidth { bits_per_second, .. }) => {
            format!("set link bandwidth {}", BitRate(*bits_per_second))
        }
        Action::NextHop(NextHopChange::Itself) => "set next hop self".to_owned(),
        Action::NextHop(NextHopChange::Unchanged) => "leave the next hop".to_owned(),
        Action::NextHop(NextHopChange::Address(address)) => format!("set next hop {address}"),
        Action::Priority(metric) => format!("set kernel metric {metric}"),
    }
}
