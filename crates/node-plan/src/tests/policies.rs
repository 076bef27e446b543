use muslin_bgp_speaker::config::{Allowed, Policy};

use super::{node, plan_of, problems, resource, uplink};
use crate::{NodePlan, PlanView, PolicyView};

fn with(peer: &str, manifests: &[String]) -> NodePlan {
    let manifest = node("n1", &["172.30.1.2"], &["10.244.1.0/24"])
        + &node("n2", &["172.30.2.2"], &["10.244.2.0/24"])
        + &resource("BGPPeer", "tor", &format!("peerAddress: 172.30.1.1, peerASN: 65000, {peer}"))
        + &manifests.concat();
    plan_of(&manifest, &uplink(&["172.30.1.2/24"]), "n1")
}

fn rules(policy: &Policy) -> Vec<String> {
    let view = PolicyView::from(policy);
    let rules = view.rules.iter().map(|rule| format!("{} ({})", rule.value, rule.cause));
    rules.chain([view.otherwise.to_owned()]).collect()
}

#[test]
fn without_filters_a_node_accepts_the_blocks_of_others_exactly_and_what_is_allowed() {
    let import = "import: {cidrs: [10.8.0.0/16], defaultRoute: Accept}";
    let plan = with("maxPrefixes: 9", &[resource("BGPConfiguration", "default", import)]);
    assert_eq!(
        rules(&plan.speaker.peers[0].session.import),
        [
            "accept 10.244.2.0/24 (Node n2 .spec.podCIDRs[0])",
            "accept within 10.8.0.0/16 (BGPConfiguration default .spec.import.cidrs[0])",
            "accept 0.0.0.0/0 or ::/0 (BGPConfiguration default .spec.import.defaultRoute)",
            "reject",
        ],
    );
    let guard = &plan.speaker.guard;
    assert!(guard.allow_default);
    let allowed: Vec<_> =
        guard.allowed.ranges().unwrap().iter().map(|range| range.range.to_string()).collect();
    assert_eq!(allowed, ["10.8.0.0/16"]);
    assert_eq!(guard.owned_blocks[0].block.to_string(), "10.244.2.0/24");
}

#[test]
fn the_default_route_and_everything_else_is_refused_unless_allowed() {
    let plan = with("maxPrefixes: 9", &[]);
    assert_eq!(
        rules(&plan.speaker.peers[0].session.import),
        ["accept 10.244.2.0/24 (Node n2 .spec.podCIDRs[0])", "reject"],
    );
    assert!(!plan.speaker.guard.allow_default);
}

#[test]
fn a_node_alone_in_its_cluster_learns_nothing() {
    let manifest = node("n1", &["172.30.1.2"], &["10.244.1.0/24"]);
    let guard = plan_of(&manifest, &uplink(&["172.30.1.2/24"]), "n1").speaker.guard;
    assert_eq!(guard.allowed, Allowed::Within(Vec::new()));
    assert_eq!(guard.owned_blocks, []);
}

#[test]
fn fault_18_the_guard_knows_addresses_links_api_server_and_services() {
    let api = "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
               metadata: {name: kubernetes, namespace: default, labels: {kubernetes.io/service-name: kubernetes}}\n\
               addressType: IPv4\nendpoints: [{addresses: [192.0.2.10]}]\nports: []\n";
    let service = "---\napiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: default}\n\
                   spec: {clusterIPs: [10.8.0.7], externalIPs: [203.0.113.9]}\n";
    let settings = "serviceClusterIPs: [{cidr: 10.96.0.0/12}], import: {cidrs: [10.8.0.0/16]}";
    let manifests = [api.to_owned(), service.to_owned(), resource("BGPConfiguration", "default", settings)];
    let view = PlanView::from(&with("maxPrefixes: 9", &manifests)).guard;
    let texts = |ranges: &[crate::Caused<ipnet::IpNet>]| {
        ranges.iter().map(|range| format!("{} ({})", range.value, range.cause)).collect::<Vec<_>>()
    };
    assert_eq!(
        texts(&view.never_over),
        [
            "172.30.1.2/32 (own address 172.30.1.2 of uplink0)",
            "172.30.1.0/24 (connected on uplink0)",
            "192.0.2.10/32 (API server, EndpointSlice default/kubernetes .endpoints[0])",
        ],
    );
    assert_eq!(
        texts(&view.services),
        [
            "10.96.0.0/12 (Services, BGPConfiguration default .spec.serviceClusterIPs[0])",
            "10.8.0.7/32 (Service default/web .spec.clusterIPs[0])",
        ],
        "what import.cidrs does not let in needs no range of its own",
    );
}

#[test]
fn filters_are_asked_first_and_the_derived_policy_decides_the_rest() {
    let filter = resource(
        "BGPFilter",
        "rack",
        "import: [{prefixes: [{cidr: 10.244.0.0/16, minLength: 24, maxLength: 26}], communities: [\"65000:1\"], \
         action: Accept, operations: {localPref: 200, addCommunities: [no-export], removeCommunities: [\"65000:1\"]}}], \
         export: [{families: [IPv6], action: Reject}, {sources: [Service], action: Accept, \
         operations: {med: 5, prepend: {times: 2}, addCommunities: [\"64512:1:2\"]}}]",
    );
    let plan = with("filters: [rack]", &[filter]);
    assert_eq!(plan.problems, []);
    let session = &plan.speaker.peers[0].session;
    assert_eq!(
        rules(&session.import),
        [
            "accept within 10.244.0.0/16 of length 24 to 26, with 65000:1; set local-pref 200, remove 65000:1, \
             add no-export (BGPFilter rack .spec.import[0])",
            "accept 10.244.2.0/24 (Node n2 .spec.podCIDRs[0])",
            "reject",
        ],
    );
    assert_eq!(
        rules(&session.export)[..2],
        [
            "reject within ::/0 (BGPFilter rack .spec.export[0])",
            "accept from service; set MED 5, prepend AS 64512 2 times, add 64512:1:2 (BGPFilter rack .spec.export[1])",
        ],
    );
    assert_eq!(rules(&session.export).last().map(String::as_str), Some("reject"));
    assert_eq!(session.allowed_own_as, 1, "the derived rest still needs it");
}

#[test]
fn a_prefix_of_another_family_than_the_rule_is_left_out_of_it() {
    let filter = resource(
        "BGPFilter",
        "f",
        "import: [{prefixes: [{cidr: 10.0.0.0/8}, {cidr: \"fd00::/8\"}], families: [IPv6], action: Reject}]",
    );
    let plan = with("filters: [f]", &[filter]);
    assert_eq!(
        rules(&plan.speaker.peers[0].session.import)[0],
        "reject within fd00::/8 (BGPFilter f .spec.import[0])"
    );
}

#[test]
fn a_filter_that_does_not_exist_refuses_everything_and_is_reported_once() {
    let plan = with("filters: [nowhere]", &[]);
    let session = &plan.speaker.peers[0].session;
    assert_eq!(rules(&session.import)[0], "reject all (BGPPeer tor .spec.filters[0])");
    assert_eq!(rules(&session.export)[0], "reject all (BGPPeer tor .spec.filters[0])");
    assert_eq!(
        problems(&plan),
        [
            "test.yaml:17: BGPPeer tor .spec.filters[0]: there is no BGPFilter nowhere, so nothing is exchanged with \
             the peer; make the filter, or take its name out"
        ],
    );
}

#[test]
fn the_guard_protects_the_nodes_addresses_links_and_the_api_server() {
    let slice = "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\n\
                 metadata: {name: kubernetes, namespace: default, labels: {kubernetes.io/service-name: kubernetes}}\n\
                 endpoints: [{addresses: [172.30.9.9]}]\n";
    let plan = with("maxPrefixes: 9", &[slice.to_owned()]);
    let protected: Vec<_> =
        plan.speaker.guard.protected.iter().map(|range| format!("{} {}", range.range, range.cause)).collect();
    assert_eq!(
        protected,
        [
            "172.30.1.2/32 own address 172.30.1.2 of uplink0",
            "172.30.1.0/24 connected on uplink0",
            "172.30.9.9/32 API server, EndpointSlice default/kubernetes .endpoints[0]",
        ],
    );
}

#[test]
fn announcing_another_service_changes_no_policy() {
    let before = with("maxPrefixes: 9", &[]);
    let after = with(
        "maxPrefixes: 9",
        &[resource("BGPConfiguration", "default", "serviceClusterIPs: [{cidr: 10.96.0.0/16}]")],
    );
    assert_ne!(before.speaker.originated, after.speaker.originated);
    assert_eq!(before.speaker.peers, after.speaker.peers);
}

#[test]
fn every_condition_and_operation_of_a_rule_reaches_the_policy() {
    let filter = resource(
        "BGPFilter",
        "f",
        "import: [\
         {allCommunities: [\"65000:1\", \"rt:65000:2\"], noCommunities: [/^65000:9/], action: Continue, \
         operations: {addMed: -5}}, \
         {asPath: {containsOwn: true, contains: [65001], origin: [65002], neighbor: [65003], minLength: 2, \
         maxLength: 5, pattern: \"^65003 \"}, action: Reject}, \
         {nextHops: [10.1.0.0/16], peers: [tor, 172.30.1.1, 10.0.0.0/8], action: Accept, operations: {removeMed: true, \
         removeCommunities: [/:/], replaceCommunities: [\"65000:1:1\", \"65000:3\"], linkBandwidth: 10Gbps, \
         nextHop: 10.2.0.1, priority: 20}}], \
         export: [{asPath: {containsOwn: false, minLength: 3}, action: Accept, operations: {nextHop: Self}}, \
         {action: Accept, operations: {nextHop: Unchanged}}]",
    );
    let plan = with("filters: [f], localASN: 65099", &[filter]);
    assert_eq!(plan.problems, []);
    let session = &plan.speaker.peers[0].session;
    assert_eq!(
        rules(&session.import)[..3],
        [
            "continue after with 65000:1 and rt:65000:2, without /^65000:9/; add -5 to MED (BGPFilter f .spec.import[0])",
            "reject AS path with 64512 or 65099, AS path with 65001, originated by AS 65002, neighbouring AS 65003, AS \
             path of length 2 to 5, AS path like /^65003 / (BGPFilter f .spec.import[1])",
            "accept learned from tor or 172.30.1.1 or within 10.0.0.0/8, next hop within 10.1.0.0/16; remove MED, remove \
             /:/, remove all standard communities, remove all large communities, add 65000:1:1, add 65000:3, set link \
             bandwidth 10Gbps, set next hop 10.2.0.1, set kernel metric 20 (BGPFilter f .spec.import[2])",
        ],
    );
    assert_eq!(
        rules(&session.export)[..2],
        [
            "accept AS path without 64512 and 65099, AS path of length 3 or more; set next hop self (BGPFilter f \
             .spec.export[0])",
            "accept all; leave the next hop (BGPFilter f .spec.export[1])",
        ],
    );
}

#[test]
fn a_local_preference_towards_another_as_is_said_to_be_void() {
    let filter = resource(
        "BGPFilter",
        "f",
        "export: [{action: Accept, operations: {localPref: 200}}], import: [{action: Reject}]",
    );
    let plan = with("filters: [f]", std::slice::from_ref(&filter));
    assert_eq!(
        problems(&plan),
        [
            "test.yaml:22: BGPFilter f .spec.export[0].operations.localPref: LOCAL_PREF is not sent to another AS (RFC \
             4271 section 5.1.5), so it has no effect, for peer tor; use `med`, `prepend` or a community that the peer \
             acts upon"
        ],
    );
    let internal = resource("BGPPeer", "node", "peerAddress: 172.30.1.9, peerASN: internal, filters: [f]");
    assert_eq!(problems(&with("maxPrefixes: 9", &[filter, internal])), [] as [String; 0]);
}

#[test]
fn an_expression_that_grows_too_large_refuses_what_it_was_written_for() {
    let filter = resource(
        "BGPFilter",
        "f",
        "import: [{asPath: {pattern: \"((1{1000}){1000}){1000}\"}, action: Accept}]",
    );
    let plan = with("filters: [f]", &[filter]);
    assert_eq!(rules(&plan.speaker.peers[0].session.import)[0], "reject all (BGPFilter f .spec.import[0])");
    let [problem] = plan.problems.as_slice() else { panic!("{:?}", plan.problems) };
    assert!(problem.message.contains("too large once compiled"), "{problem}");
}

#[test]
fn peers_without_filters_share_what_they_learn_by() {
    let plan =
        with("maxPrefixes: 9", &[resource("BGPPeer", "tor2", "peerAddress: 172.30.1.9, peerASN: 65000")]);
    let [first, second, ..] = plan.speaker.peers.as_slice() else { panic!("two peers") };
    // What a peer is sent may depend on who it is; what is learned, one rule for each block of a large cluster, does not.
    assert!(std::sync::Arc::ptr_eq(&first.session.import, &second.session.import));
    assert!(
        std::sync::Arc::ptr_eq(&first.session.export, &second.session.export),
        "no RouteAdvertisement tells them apart"
    );
}
