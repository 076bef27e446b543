//! Policies against a naive model, and the few rules that are worth a test of their own.

pub(crate) mod model;

use std::cell::Cell;
use std::net::IpAddr;

use ipnet::IpNet;
use muslin_bgp_packet::{AnyCommunity, AsPath, Asn, CommunityKind, PathAttributes};
use proptest::prelude::*;
use proptest::sample::select;

use self::model::{PATTERNS, Route, act, judge};
use super::{Memo, Subject, Trail, Trial, decide, has_same_effect};
use crate::config::{
    Action, AsPathTest, Cause, CommunityTest, Condition, LinkBandwidth, MedChange, NextHopChange, Outcome,
    Pattern, PeerKey, PeerTest, Policy, PrefixMatch, PrefixSet, Quantifier, RouteSource, Rule, Verdict,
};

const COMMUNITIES: [&str; 8] = [
    "65001:1",
    "65002:1",
    "no-export",
    "65001:1:1",
    "65002:7:1",
    "rt:65001:1",
    "lb:65001:1000",
    "0x4300000000000002",
];
const PREFIXES: [&str; 5] = ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "192.0.2.0/24", "2001:db8::/32"];
const PEERS: [(&str, &str); 3] = [("tor1", "10.0.0.1"), ("rack/10.0.0.2", "10.0.0.2"), ("v6", "2001:db8::1")];

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn community() -> impl Strategy<Value = AnyCommunity> {
    select(&COMMUNITIES[..]).prop_map(|text| text.parse().unwrap())
}

fn pattern() -> impl Strategy<Value = Pattern> {
    select(&PATTERNS[..]).prop_map(|text| Pattern::new(text).unwrap())
}

fn asn() -> impl Strategy<Value = Asn> {
    (65001..65004_u32).prop_map(Asn)
}

fn prefix_set() -> impl Strategy<Value = PrefixSet> {
    let range = (select(&PREFIXES[..]), 0..20_u8, 0..20_u8).prop_map(|(text, shortest, more)| {
        let within = net(text);
        let min_length = within.prefix_len() + shortest;
        PrefixMatch { within, min_length, max_length: min_length.saturating_add(more) }
    });
    prop::collection::vec(range, 0..12).prop_map(PrefixSet::from)
}

fn community_test() -> impl Strategy<Value = CommunityTest> {
    prop_oneof![community().prop_map(CommunityTest::Is), pattern().prop_map(CommunityTest::Like)]
}

fn as_path_test() -> impl Strategy<Value = AsPathTest> {
    let asns = || prop::collection::vec(asn(), 0..3);
    prop_oneof![
        asns().prop_map(AsPathTest::Contains),
        asns().prop_map(AsPathTest::Lacks),
        asns().prop_map(AsPathTest::Origin),
        asns().prop_map(AsPathTest::Neighbor),
        (0..4_u16, 0..6_u16).prop_map(|(shortest, longest)| AsPathTest::Length(shortest, longest)),
        pattern().prop_map(AsPathTest::Like),
    ]
}

fn condition() -> impl Strategy<Value = Condition> {
    use RouteSource::{Learned, Pod, Service, Static};
    let peers = vec![
        PeerTest::Name("tor1".into()),
        PeerTest::Name("rack".into()),
        PeerTest::Name("tor".into()),
        PeerTest::Within(net("10.0.0.0/30")),
    ];
    let quantifier = select(vec![Quantifier::Any, Quantifier::All, Quantifier::None]);
    prop_oneof![
        prefix_set().prop_map(Condition::Prefix),
        prop::sample::subsequence(vec![Pod, Service, Static, Learned], 1..4).prop_map(Condition::Source),
        prop::sample::subsequence(peers, 1..4).prop_map(Condition::Peer),
        prefix_set().prop_map(Condition::NextHop),
        (quantifier, prop::collection::vec(community_test(), 0..4))
            .prop_map(|(quantifier, tests)| Condition::Communities(quantifier, tests)),
        as_path_test().prop_map(Condition::AsPath),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        any::<u32>().prop_map(Action::LocalPref),
        prop_oneof![
            any::<u32>().prop_map(MedChange::Set),
            any::<i64>().prop_map(MedChange::Add),
            (-9..9_i64).prop_map(MedChange::Add),
            Just(MedChange::Remove)
        ]
        .prop_map(Action::Med),
        (asn(), 0..4_u8).prop_map(|(asn, times)| Action::Prepend(asn, times)),
        community().prop_map(Action::AddCommunity),
        community_test().prop_map(Action::RemoveCommunities),
        select(vec![CommunityKind::Standard, CommunityKind::Extended, CommunityKind::Large])
            .prop_map(Action::ClearCommunities),
        (asn(), 1..9_u64).prop_map(|(asn, rate)| {
            Action::LinkBandwidth(LinkBandwidth { asn, bits_per_second: rate * 8_000 })
        }),
        Just(Action::NextHop(NextHopChange::Itself)),
        (1..9_u32).prop_map(|metric| Action::Priority(metric.try_into().unwrap())),
    ]
}

fn policy() -> impl Strategy<Value = Policy> {
    let verdict = || select(vec![Verdict::Accept, Verdict::Reject]);
    let outcome = prop_oneof![2 => verdict().prop_map(Outcome::Decide), 1 => Just(Outcome::Continue)];
    let conditions = prop::collection::vec(condition(), 0..3);
    let rule = (outcome, conditions, prop::collection::vec(action(), 0..4));
    (prop::collection::vec(rule, 0..9), verdict()).prop_map(|(rules, otherwise)| {
        let number = |(index, (outcome, conditions, actions))| {
            let cause = format!("rule {index}").into();
            Rule { cause, conditions, outcome, actions }
        };
        Policy {
            name: "random".into(),
            rules: rules.into_iter().enumerate().map(number).collect(),
            otherwise,
        }
    })
}

fn attributes() -> impl Strategy<Value = PathAttributes> {
    let communities = prop::sample::subsequence(COMMUNITIES.to_vec(), 0..5);
    (prop::collection::vec(asn(), 0..5), communities, any::<Option<u32>>()).prop_map(
        |(asns, communities, med)| {
            let mut attributes =
                PathAttributes { as_path: AsPath::from_sequence(&asns), med, ..PathAttributes::default() };
            let add = communities.iter().map(|text| Action::AddCommunity(text.parse().unwrap()));
            act(&add.collect::<Vec<_>>(), &mut attributes);
            attributes
        },
    )
}

fn route() -> impl Strategy<Value = Trial> {
    let prefix = (select(&PREFIXES[..]), 0..16_u8);
    let peer = prop::option::of(select(&PEERS[..]));
    let next_hop = select(vec!["10.1.2.3", "192.0.2.1", "2001:db8::9"]);
    (prefix, peer, next_hop, attributes()).prop_map(|((prefix, longer), peer, next_hop, attributes)| {
        let covering = net(prefix);
        let prefix = IpNet::new(covering.addr(), covering.prefix_len() + longer.min(8)).unwrap();
        let peer = peer.map(|(name, address)| (PeerKey::new(name), address.parse::<IpAddr>().unwrap()));
        Trial {
            prefix,
            source: if peer.is_some() { RouteSource::Learned } else { RouteSource::Pod },
            label: None,
            next_hop: peer.is_some().then(|| next_hop.parse().unwrap()),
            peer,
            attributes,
        }
    })
}

fn naive(route: &Trial) -> Route<'_> {
    let learned = route.peer.as_ref().zip(route.next_hop);
    Route {
        prefix: route.prefix,
        source: route.source,
        learned: learned.map(|((peer, address), next_hop)| (&*peer.0, *address, next_hop)),
        attributes: &route.attributes,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_policy_does_what_its_rules_say_one_after_the_other(policy in policy(), route in route()) {
        prop_assert_eq!(policy.check(), Ok(()));
        let (verdict, actions, applied) = judge(&policy, &naive(&route));
        let tried = policy.try_on(&route);
        prop_assert_eq!(tried.verdict, verdict);
        let causes: Vec<String> = applied.iter().map(|index| format!("rule {index}")).collect();
        prop_assert_eq!(tried.causes.iter().map(ToString::to_string).collect::<Vec<_>>(), causes);
        let mut expected = route.attributes.clone();
        if verdict == Verdict::Accept {
            act(&actions, &mut expected);
        }
        prop_assert_eq!(tried.attributes, expected);
    }

    #[test]
    fn policies_of_the_same_effect_do_the_same(one in policy(), other in policy(), route in route()) {
        if has_same_effect(&one, &other) {
            prop_assert_eq!(one.try_on(&route), other.try_on(&route));
        }
        let renamed = Policy { name: "another".into(), ..one.clone() };
        prop_assert!(has_same_effect(&one, &renamed));
    }
}

fn policy_of(rules: Vec<Rule>) -> Policy {
    Policy { name: "test".into(), rules, otherwise: Verdict::Reject }
}

fn learned(prefix: &str, asns: &[u32]) -> Trial {
    let asns: Vec<_> = asns.iter().map(|asn| Asn(*asn)).collect();
    Trial {
        prefix: net(prefix),
        source: RouteSource::Learned,
        label: None,
        peer: Some((PeerKey::new("tor1"), "10.0.0.1".parse().unwrap())),
        next_hop: Some("10.0.0.1".parse().unwrap()),
        attributes: PathAttributes { as_path: AsPath::from_sequence(&asns), ..PathAttributes::default() },
    }
}

#[test]
fn attributes_are_not_read_before_a_rule_asks_for_them() {
    let reads = Cell::new(0);
    let read = || {
        reads.set(reads.get() + 1);
        PathAttributes::default()
    };
    let memo = Memo::default();
    let subject = Subject {
        prefix: net("10.1.0.0/16"),
        source: RouteSource::Pod,
        label: None,
        learned: None,
        memo: &memo,
        read: &read,
    };
    let with_community =
        Condition::Communities(Quantifier::None, vec![CommunityTest::Like(Pattern::new("x").unwrap())]);
    let elsewhere = Condition::Prefix(vec![PrefixMatch::exact(net("192.0.2.0/24"))].into());
    let cheap = policy_of(vec![Rule::accept("a").when(with_community.clone()).when(elsewhere)]);
    assert_eq!(decide(&cheap, &subject).0, Verdict::Reject);
    assert_eq!(reads.get(), 0, "the prefix already told that the rule does not match");
    let costly = policy_of(vec![
        Rule::reject("a").when(Condition::AsPath(AsPathTest::Length(7, 9))),
        Rule::accept("b").when(with_community),
    ]);
    assert_eq!(decide(&costly, &subject).0, Verdict::Accept);
    assert_eq!(reads.get(), 1, "two rules share one reading");
}

#[test]
fn a_rule_that_continues_leaves_its_actions_to_the_one_that_accepts() {
    let policy = policy_of(vec![
        Rule::new(Outcome::Continue, "mark").then(Action::AddCommunity("65000:1".parse().unwrap())),
        Rule::new(Outcome::Continue, "never")
            .when(Condition::Source(vec![RouteSource::Pod]))
            .then(Action::LocalPref(1)),
        // What the first rule added is not there yet for the others.
        Rule::reject("marked").when(Condition::Communities(
            Quantifier::Any,
            vec![CommunityTest::Is("65000:1".parse().unwrap())],
        )),
        Rule::accept("ours")
            .when(Condition::AsPath(AsPathTest::Origin(vec![Asn(65001)])))
            .then(Action::LocalPref(200)),
    ]);
    let tried = policy.try_on(&learned("10.1.0.0/16", &[65001]));
    assert_eq!((tried.verdict, tried.decided), (Verdict::Accept, true));
    assert_eq!(tried.causes, [Cause::from("mark"), Cause::from("ours")]);
    assert_eq!(tried.attributes.local_pref, Some(200));
    assert_eq!(tried.attributes.communities.len(), 1);
    let undecided = policy.try_on(&learned("10.1.0.0/16", &[65009]));
    assert_eq!((undecided.verdict, undecided.decided), (Verdict::Reject, false));
    let (_, trail) = (undecided.verdict, Trail::otherwise(&policy, 1));
    assert_eq!(trail.cause(&policy), "mark, then test, no rule matches");
}

#[test]
fn more_continuing_rules_than_can_be_told_apart_are_refused() {
    let rules = |count| (0..count).map(|_| Rule::new(Outcome::Continue, "c")).collect();
    assert_eq!(policy_of(rules(12)).check(), Ok(()));
    let error = policy_of(rules(13)).check().unwrap_err();
    assert_eq!((error.rules, error.continuing, error.most), (13, 13, 12));
    let mut large = policy_of((0..10_000).map(|_| Rule::accept("a")).collect());
    assert_eq!(large.check(), Ok(()));
    large.rules.extend::<Vec<_>>(rules(3));
    assert_eq!(large.check().unwrap_err().most, 2);
}
