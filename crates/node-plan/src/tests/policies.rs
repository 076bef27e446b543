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
