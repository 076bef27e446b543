//! What random histories are made of: peers, policies, guards, routes.

use ipnet::IpNet;
use muslin_bgp_packet::{
    Asn, Community, CommunityKind, FamilySet, LargeCommunity, NextHop, Origin, PathAttributes,
};
use proptest::prelude::*;

use super::reference::{FAR_AS, prefix};
use super::support::{OWN_AS, OWN_ID, ip, net, own_next_hop, path, two_octets, view};
use crate::config::{
    Action, Allowed, AsPathTest, Condition, GuardRange, ImportGuard, MedChange, OriginatedRoute, Outcome,
    OwnedBlock, PeerTest, Policy, PrefixMatch, Quantifier, ReflectorRole, RouteSource, Rule, Verdict,
};
use crate::rib::{AddPathSend, PeerIndex, PeerView};

pub(super) const PEERS: u16 = 8;

/// Whether a peer is sent several paths: then all changes are followed, which must not be what makes the rest work.
#[derive(Clone, Copy, Debug)]
pub(super) enum Paths {
    Best,
    Several,
}

pub(super) fn peer_view(index: u16, paths: Paths) -> PeerView {
    let client = |mut view: PeerView| {
        view.reflector = ReflectorRole::Client;
        view
    };
    match index {
        0 => view(0, 65001),
        // The same neighbouring AS, so that MED matters; and our own AS once in the path is allowed.
        1 => PeerView { allowed_own_as: 1, ..view(1, 65001) },
        2 => two_octets(view(2, 65002)),
        3 => view(3, OWN_AS.0),
        4 => client(view(4, OWN_AS.0)),
        5 => {
            let paths = if let Paths::Several = paths { u16::MAX } else { 1 };
            let families = if paths > 1 { FamilySet::ALL } else { FamilySet::EMPTY };
            let add_path_send = AddPathSend { families, paths };
            PeerView { enhanced_refresh: true, add_path_send, ..client(view(5, OWN_AS.0)) }
        }
        6 => {
            let mut view = client(view(6, OWN_AS.0));
            view.decode.add_path = FamilySet::ALL;
            if let Paths::Several = paths {
                view.add_path_send = AddPathSend { families: FamilySet::ALL, paths: 3 };
            }
            view
        }
        _ => PeerView { enhanced_refresh: true, ..view(7, 65003) },
    }
}

fn within(range: &str, min_length: u8, max_length: u8) -> PrefixMatch {
    PrefixMatch { within: net(range), min_length, max_length }
}

fn prefixes(ranges: &[PrefixMatch]) -> Condition {
    Condition::Prefix(ranges.to_vec().into())
}

pub(super) fn policy(index: u8) -> Policy {
    let marked = Community::new(65000, 7);
    let large = LargeCommunity { global: Asn(65000), local1: 1, local2: 2 };
    let rules = match index % 8 {
        0 => vec![],
        1 => return Policy { name: "none".into(), rules: vec![], otherwise: Verdict::Reject },
        2 => vec![
            Rule::reject("test").when(prefixes(&[within("10.10.0.0/16", 17, 32)])),
            Rule::accept("test")
                .when(prefixes(&[within("10.0.0.0/8", 8, 16), within("2001:db8::/32", 48, 48)]))
                .then(Action::LocalPref(150))
                .then(Action::AddCommunity(marked.into())),
        ],
        3 => vec![
            Rule::reject("test").when(Condition::Communities(
                Quantifier::Any,
                vec![marked.into(), Community::new(1, 1).into()],
            )),
            Rule::accept("test")
                .when(Condition::Source(vec![RouteSource::Pod, RouteSource::Learned]))
                .then(Action::Med(MedChange::Set(77)))
                .then(Action::Prepend(Asn(65000), 2))
                .then(Action::RemoveCommunities(Community::NO_EXPORT.into()))
                .then(Action::AddCommunity(large.into())),
        ],
        4 => vec![Rule::reject("test").when(Condition::Source(vec![RouteSource::Service]))],
        5 => vec![
            Rule::new(Outcome::Continue, "test")
                .when(Condition::Peer(vec![PeerTest::Name("peer0".into()), PeerTest::Name("peer4".into())]))
                .then(Action::Med(MedChange::Add(5))),
            Rule::new(Outcome::Continue, "test")
                .when(Condition::NextHop(vec![within("10.0.0.0/8", 32, 32)].into()))
                .then(Action::AddCommunity(Community::new(65000, 8).into())),
            Rule::reject("test").when(Condition::AsPath(AsPathTest::Length(3, 9))),
            Rule::accept("test").when(prefixes(&[within("10.0.0.0/8", 8, 32)])),
        ],
        6 => vec![
            Rule::reject("test").when(Condition::AsPath(AsPathTest::Neighbor(vec![Asn(65002)]))),
            Rule::accept("test").when(Condition::AsPath(AsPathTest::Origin(vec![FAR_AS]))),
            Rule::accept("test")
                .when(Condition::Communities(Quantifier::None, vec![marked.into()]))
                .then(Action::ClearCommunities(CommunityKind::Standard)),
        ],
        // Like 0 for every route, though written differently.
        _ => vec![Rule::accept("test")],
    };
    Policy { name: format!("policy {index}").into(), rules, otherwise: Verdict::Accept }
}

/// Our own AS may not be prepended on import, or the route would become a loop of ours.
pub(super) fn import_policy(index: u8) -> Policy {
    let mut policy = policy(index);
    for rule in &mut policy.rules {
        rule.actions.retain(|action| !matches!(action, Action::Prepend(..)));
    }
    policy
}

pub(super) fn guard(index: u8) -> ImportGuard {
    let range = |text: &str| GuardRange { range: net(text), cause: "test".into() };
    let owned = |origin_as, shares_as| OwnedBlock {
        block: net("10.10.0.0/16"),
        owner: "n2".into(),
        origin_as,
        shares_as,
        addresses: vec![ip("10.1.0.1")],
        cause: "test".into(),
    };
    match index % 6 {
        0 => ImportGuard { allow_default: true, ..ImportGuard::open() },
        1 => ImportGuard {
            allowed: Allowed::Within(vec![range("10.0.0.0/8"), range("2001:db8::/32")]),
            protected: vec![range("192.0.2.1/32")],
            ..ImportGuard::closed()
        },
        2 => ImportGuard {
            protected: vec![range("10.20.7.7/32")],
            own_blocks: vec![range("10.10.1.0/24")],
            allow_default: true,
            ..ImportGuard::open()
        },
        3 => ImportGuard { owned_blocks: vec![owned(Some(FAR_AS), false)], ..ImportGuard::open() },
        4 => ImportGuard {
            allowed: Allowed::Within(vec![range("10.0.0.0/8"), range("10.10.1.0/24")]),
            own_addresses: vec![range("10.20.7.7/32")],
            protected: vec![range("10.20.0.0/16")],
            owned_blocks: vec![owned(Some(FAR_AS), true)],
            ..ImportGuard::closed()
        },
        _ => ImportGuard {
            service_ranges: vec![range("10.20.0.0/16"), range("2001:db8:1::/48")],
            owned_blocks: vec![owned(None, true)],
            ..ImportGuard::closed()
        },
    }
}

pub(super) fn originated(mask: u8) -> Vec<OriginatedRoute> {
    (0..7)
        .filter(|bit| mask & (1 << bit) != 0)
        .map(|bit| OriginatedRoute {
            prefix: prefix(bit),
            source: [RouteSource::Pod, RouteSource::Service, RouteSource::Static][bit % 3],
            label: None,
            local_pref: (bit == 1).then_some(300),
            med: (mask & 0x80 != 0).then_some(5),
            communities: if bit == 2 { vec![Community::NO_EXPORT] } else { vec![] },
            large_communities: vec![],
            cause: "test".into(),
        })
        .collect()
}

#[derive(Clone, Debug)]
pub(super) struct Flavour {
    pub(super) asns: u8,
    pub(super) origin: u8,
    pub(super) med: u8,
    pub(super) local_pref: u8,
    pub(super) community: u8,
    pub(super) next_hop: u8,
    pub(super) reflected: u8,
}

pub(super) fn flavour() -> impl Strategy<Value = Flavour> {
    // Mostly plain routes, so that the later steps of the decision are reached.
    let rare = |common: u8, many: u8| prop_oneof![4 => Just(common), 1 => 0..many];
    (rare(0, 6), rare(0, 3), 0..3_u8, rare(0, 3), rare(0, 6), 0..4_u8, rare(0, 6)).prop_map(
        |(asns, origin, med, local_pref, community, next_hop, reflected)| Flavour {
            asns,
            origin,
            med,
            local_pref,
            community,
            next_hop,
            reflected,
        },
    )
}

pub(super) fn attributes_of(flavour: &Flavour, peer: &PeerView) -> PathAttributes {
    let neighbour = peer.asn.0;
    let internal = peer.is_internal();
    let far = FAR_AS.0;
    let mut asns = match flavour.asns {
        0 => vec![far],
        1 => vec![],
        2 => vec![65020, far],
        3 => vec![65000, far],
        4 => vec![65000, 65000],
        _ => vec![4_200_000_001],
    };
    if !internal {
        asns.insert(0, neighbour);
    }
    let mut attributes = path(&asns);
    attributes.origin = [Origin::Igp, Origin::Egp, Origin::Incomplete][usize::from(flavour.origin % 3)];
    attributes.med = [None, Some(10), Some(20)][usize::from(flavour.med % 3)];
    attributes.communities = match flavour.community {
        1 => vec![Community::NO_EXPORT],
        2 => vec![Community::NO_ADVERTISE],
        3 => vec![Community::new(1, 1)],
        4 => vec![Community::GRACEFUL_SHUTDOWN],
        5 => vec![Community::new(2, 2), Community::NO_EXPORT_SUBCONFED],
        _ => vec![],
    };
    if internal {
        attributes.local_pref = Some([100, 50, 200][usize::from(flavour.local_pref % 3)]);
        match flavour.reflected {
            1 => {
                attributes.originator_id = Some([10, 0, 0, 90].into());
                attributes.cluster_list = vec![[9, 9, 9, 9].into()];
            }
            2 => attributes.originator_id = Some(OWN_ID),
            3 => attributes.cluster_list = vec![[9, 9, 9, 9].into(), OWN_ID],
            4 => {
                attributes.originator_id = Some([10, 0, 0, 90].into());
                attributes.cluster_list = vec![[9, 9, 9, 9].into(), [9, 9, 9, 8].into()];
            }
            5 => attributes.originator_id = Some([1, 1, 1, 1].into()),
            _ => {}
        }
    }
    attributes
}

pub(super) fn next_hop_of(flavour: &Flavour, peer: PeerIndex, prefix: IpNet) -> NextHop {
    let (v4, v6) = match flavour.next_hop % 4 {
        0 => return own_next_hop(peer, prefix),
        1 => ("10.1.0.1", "fd01::1"),
        2 => ("10.1.0.2", "fd01::2"),
        _ => ("10.0.0.77", "fd00::77"),
    };
    NextHop::new(ip(if matches!(prefix, IpNet::V4(_)) { v4 } else { v6 }))
}
