use std::sync::Arc;

use muslin_bgp_speaker::config::Verdict;

use super::{resource, state, uplink};
use crate::{KernelFacts, PlanView, SpeakerPlan, speaker_plan};

fn plan_of(manifests: &[String]) -> SpeakerPlan {
    speaker_plan(&state(&manifests.concat()), &uplink(&["192.0.2.9/24", "10.1.1.1/24"]))
}

#[test]
fn an_external_peer_without_filters_exchanges_nothing_and_an_internal_one_everything() {
    let plan = plan_of(&[
        resource("BGPPeer", "in", "listenRange: 10.0.0.0/8, peerASN: internal, routeReflectorClient: true"),
        resource("BGPPeer", "out", "listenRange: 11.0.0.0/8, peerASN: external"),
    ]);
    assert_eq!(plan.problems, []);
    let policies: Vec<_> = plan.speaker.listen_ranges.iter().map(|range| &range.session.import).collect();
    assert_eq!((policies[0].otherwise, policies[1].otherwise), (Verdict::Accept, Verdict::Reject));
    assert_eq!(&*policies[1].name, "RFC 8212: no policy");
}

#[test]
fn what_the_filters_of_an_external_peer_do_not_decide_is_refused() {
    let plan = plan_of(&[
        resource("BGPFilter", "f", "import: [{action: Accept}]"),
        resource("BGPPeer", "out", "listenRange: 11.0.0.0/8, peerASN: external, filters: [f]"),
    ]);
    let session = &plan.speaker.listen_ranges[0].session;
    assert_eq!((session.import.rules.len(), session.export.rules.len()), (1, 0));
    assert_eq!((session.import.otherwise, session.export.otherwise), (Verdict::Reject, Verdict::Reject));
}

#[test]
fn prefixes_are_originated_with_their_attributes() {
    let spec = "asn: 65000, originate: [{cidr: 203.0.113.0/24, med: 7, communities: [\"65000:7\"]}], listenPort: 1179";
    let plan = plan_of(&[resource("BGPConfiguration", "default", spec)]);
    insta::assert_yaml_snapshot!("speaker_with_originated_prefix", PlanView::from(&plan));
}

#[test]
fn the_router_id_is_the_lowest_address_unless_it_is_written() {
    assert_eq!(plan_of(&[]).speaker.router_id.to_string(), "10.1.1.1");
    let written = plan_of(&[resource("BGPConfiguration", "default", "routerID: 9.9.9.9")]);
    assert_eq!(written.speaker.router_id.to_string(), "9.9.9.9");
    let unknown = speaker_plan(&state(""), &KernelFacts::default());
    assert!(!unknown.speaker.router_id.is_unspecified());
    assert_eq!(
        unknown.problems[0].to_string(),
        "BGPConfiguration default .spec.routerID: there is none, and no interface has an IPv4 address to take it from; \
         write one that no other speaker has",
    );
}

#[test]
fn peers_that_differ_in_their_addresses_only_have_one_session_configuration() {
    let peer = |host: u8, rest: &str| {
        let spec = format!("peerAddress: 10.1.1.{host}, peerASN: 65001, filters: [f]{rest}");
        resource("BGPPeer", &format!("p{host}"), &spec)
    };
    let filter = resource("BGPFilter", "f", "import: [{action: Accept}]");
    let plan = plan_of(&[filter, peer(2, ""), peer(3, ""), peer(4, ", holdTime: 9s")]);
    let [one, same, other] = &plan.speaker.peers[..] else { panic!("{:?}", plan.problems) };
    assert!(one.session.is_one_with(&same.session) && !one.session.is_one_with(&other.session));
    assert!(Arc::ptr_eq(&one.session.import, &other.session.import), "equal policies are one all the same");
}
