use std::collections::BTreeMap;

use muslin_bgp_speaker::config::SpeakerConfig;
use muslin_bgp_speaker::foresight::foresee;
use muslin_cluster::ClusterState;

use super::{node, originated, plan_of, problems, resource, uplink};
use crate::{NodePlan, advertised};

/// A node behind two routers, with two Services: one at 198.51.100.1 with `tier: edge`, one at 198.51.100.2.
fn cluster(extra: &[String]) -> String {
    let service = |name: &str, tier: &str, address: &str, cluster_ip: &str| {
        format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop, labels: {{tier: {tier}}}}}\n\
             spec: {{type: LoadBalancer, clusterIPs: [{cluster_ip}]}}\n\
             status: {{loadBalancer: {{ingress: [{{ip: {address}}}]}}}}\n\
             ---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\n\
             metadata: {{name: {name}-x, namespace: shop, labels: {{kubernetes.io/service-name: {name}}}}}\n\
             endpoints: [{{addresses: [10.244.1.5], nodeName: n1, conditions: {{ready: true}}}}]\n"
        )
    };
    let peer = |name: &str, address: &str, labels: &str| {
        resource("BGPPeer", name, &format!("peerAddress: {address}, peerASN: 65000"))
            .replace(&format!("{{name: {name}}}"), &format!("{{name: {name}, labels: {{{labels}}}}}"))
    };
    node("n1", &["172.30.1.2"], &["10.244.1.0/24"])
        + &node("n2", &["172.30.1.3"], &["10.244.2.0/24"])
        + &peer("tor-a", "172.30.1.1", "side: fabric")
        + &peer("tor-b", "172.30.1.9", "side: edge")
        + &service("web", "edge", "198.51.100.1", "10.96.0.10")
        + &service("db", "inner", "198.51.100.2", "10.96.0.11")
        + &extra.concat()
}

fn advertisement(name: &str, spec: &str) -> String {
    resource("RouteAdvertisement", name, spec)
}

fn planned(extra: &[String]) -> NodePlan {
    plan_of(&cluster(extra), &uplink(&["172.30.1.2/24"]), "n1")
}

/// What each peer is told, attributes behind the prefix.
fn told(plan: &NodePlan) -> Vec<String> {
    let nobody = SpeakerConfig::new(plan.speaker.asn, plan.speaker.router_id);
    let peers = foresee(&nobody, &plan.speaker).peers;
    peers
        .iter()
        .flat_map(|peer| {
            peer.gains.iter().map(|route| {
                [vec![peer.peer.clone(), route.prefix.to_string()], route.attributes.clone()]
                    .concat()
                    .join(" ")
            })
        })
        .collect()
}

#[test]
fn without_advertisements_every_peer_is_told_everything() {
    let ranges = "serviceLoadBalancerIPs: [{cidr: 198.51.100.0/24}]";
    let plan = planned(&[resource("BGPConfiguration", "default", ranges)]);
    let all = ["10.244.1.0/24", "198.51.100.1/32", "198.51.100.2/32"];
    let peers = ["node/n2/ipv4", "tor-a", "tor-b"];
    let expected: Vec<_> =
        peers.iter().flat_map(|peer| all.iter().map(move |prefix| format!("{peer} {prefix}"))).collect();
    assert_eq!(told(&plan), expected);
}

#[test]
fn services_are_chosen_by_label_and_told_to_the_peers_that_are_named() {
    let spec = "peers: [tor-b], advertisements: [{advertisementType: Service, \
                selector: {matchLabels: {tier: edge}}, service: {addresses: [LoadBalancerIP]}}]";
    let plan = planned(&[advertisement("edge", spec)]);
    assert_eq!(problems(&plan), Vec::<String>::new());
    assert_eq!(
        told(&plan),
        ["node/n2/ipv4 10.244.1.0/24", "tor-a 10.244.1.0/24", "tor-b 10.244.1.0/24", "tor-b 198.51.100.1/32",],
        "pods, of which no advertisement speaks, are announced as ever",
    );
    insta::assert_yaml_snapshot!("services_for_one_peer", crate::PlanView::from(&plan));
}

#[test]
fn overlapping_advertisements_tell_all_communities_and_the_most_attractive_of_the_rest() {
    let first = "advertisements: [{advertisementType: Service, service: {addresses: [LoadBalancerIP]}, attributes: \
                 {localPref: 50, med: 20, prepend: {times: 3}, communities: [\"65000:1\", \"65000:1:1\"]}}]";
    let second = "peerSelector: {matchLabels: {side: fabric}}, advertisements: [{advertisementType: Service, \
                  selector: {matchLabels: {tier: edge}}, service: {addresses: [LoadBalancerIP]}, attributes: \
                  {localPref: 200, med: 10, prepend: {times: 1}, communities: [\"65000:2\", no-export]}}]";
    let plan = planned(&[advertisement("all", first), advertisement("edge", second)]);
    let of = |peer: &str, prefix: &str| {
        told(&plan).into_iter().find(|told| told.starts_with(&format!("{peer} {prefix}"))).unwrap()
    };
    assert_eq!(
        of("tor-a", "198.51.100.1/32"),
        "tor-a 198.51.100.1/32 MED 10 AS path 64512 65000:1 65000:2 no-export 65000:1:1"
    );
    let alone = "MED 20 AS path 64512 64512 64512 65000:1 65000:1:1";
    assert_eq!(of("tor-b", "198.51.100.1/32"), format!("tor-b 198.51.100.1/32 {alone}"));
    assert_eq!(of("tor-a", "198.51.100.2/32"), format!("tor-a 198.51.100.2/32 {alone}"));
    let inside = of("node/n2/ipv4", "198.51.100.1/32");
    assert!(inside.contains("local-pref 50"), "the mesh is in no peerSelector: {inside}");
    let asked_for = BTreeMap::from([("all".to_owned(), 2), ("edge".to_owned(), 1)]);
    assert_eq!(advertised(&plan.speaker.originated), asked_for, "pods are announced without being asked for");
}

#[test]
fn pods_told_to_some_peers_still_reach_the_node_mesh() {
    let spec = "peers: [tor-a], advertisements: [{advertisementType: PodCIDR}]";
    let plan = planned(&[advertisement("pods", spec)]);
    assert_eq!(told(&plan), ["node/n2/ipv4 10.244.1.0/24", "tor-a 10.244.1.0/24"]);
}

#[test]
fn a_node_that_no_advertisement_of_pods_selects_says_so() {
    let spec = "nodeSelector: {matchLabels: {kubernetes.io/hostname: n2}}, advertisements: [{advertisementType: PodCIDR}]";
    let plan = planned(&[advertisement("pods", spec)]);
    assert_eq!(told(&plan), ["node/n2/ipv4 10.244.1.0/24"]);
    assert!(plan.notes.iter().any(|note| note.value.contains("node mesh alone")), "{:?}", plan.notes);
}

#[test]
fn services_become_ranges_but_not_over_nodes_or_pods_and_not_where_single_nodes_serve_them() {
    let spec = "advertisements: [{advertisementType: Service, service: {addresses: [LoadBalancerIP], \
                aggregationLengthIPv4: 24}}]";
    let plan = planned(&[advertisement("lb", spec)]);
    assert_eq!(originated(&plan), ["10.244.1.0/24", "198.51.100.0/24"]);
    let causes = &*plan.speaker.originated[1].cause;
    assert_eq!(
        causes,
        "Service shop/db .status.loadBalancer.ingress[0].ip, Service shop/web .status.loadBalancer.ingress[0].ip"
    );

    let in_node_network = cluster(&[advertisement("lb", spec)]).replace("198.51.100.1", "172.30.1.200");
    let plan = plan_of(&in_node_network, &uplink(&["172.30.1.2/24"]), "n1");
    assert_eq!(originated(&plan), ["10.244.1.0/24", "172.30.1.200/32", "198.51.100.0/24"]);
    let reasons: Vec<_> = plan.withheld.iter().map(|one| format!("{} {}", one.prefix, one.reason)).collect();
    assert_eq!(reasons, ["172.30.1.0/24 it contains 172.30.1.2, the address of Node n1"]);

    let local = cluster(&[advertisement("lb", spec)])
        .replace("spec: {type: LoadBalancer,", "spec: {type: LoadBalancer, externalTrafficPolicy: Local,");
    let plan = plan_of(&local, &uplink(&["172.30.1.2/24"]), "n1");
    assert_eq!(originated(&plan), ["10.244.1.0/24", "198.51.100.1/32", "198.51.100.2/32"]);
}

#[test]
fn cluster_ips_are_announced_by_selected_nodes_alone() {
    let spec = "nodeSelector: {matchLabels: {kubernetes.io/hostname: n1}}, advertisements: \
                [{advertisementType: Service, service: {addresses: [ClusterIP], aggregationLengthIPv4: 28}}]";
    let ranges = resource("BGPConfiguration", "default", "serviceClusterIPs: [{cidr: 10.96.0.0/16}]");
    let manifest = cluster(&[advertisement("cluster", spec), ranges]);
    let here = plan_of(&manifest, &uplink(&["172.30.1.2/24"]), "n1");
    assert_eq!(originated(&here), ["10.244.1.0/24", "10.96.0.0/28"]);
    let there = plan_of(&manifest, &uplink(&["172.30.1.3/24"]), "n2");
    assert_eq!(originated(&there), ["10.244.2.0/24"], "the range is not announced as it stands any more");
}

#[test]
fn a_cluster_ip_with_a_local_internal_traffic_policy_is_announced_by_the_nodes_that_serve_it() {
    let spec = "advertisements: [{advertisementType: Service, service: {addresses: [ClusterIP], \
                aggregationLengthIPv4: 28}}]";
    let manifest = cluster(&[advertisement("cluster", spec)]).replacen(
        "spec: {type: LoadBalancer,",
        "spec: {type: LoadBalancer, internalTrafficPolicy: Local,",
        1,
    );
    let on = |node: &str, uplinks: &str, manifest: &str| plan_of(manifest, &uplink(&[uplinks]), node);
    // shop/db has no such policy and is told as a range by everybody.
    let here = on("n1", "172.30.1.2/24", &manifest);
    assert_eq!(originated(&here), ["10.244.1.0/24", "10.96.0.0/28", "10.96.0.10/32"]);
    assert!(here.withheld.is_empty(), "{:?}", here.withheld);
    let there = on("n2", "172.30.1.3/24", &manifest);
    assert_eq!(originated(&there), ["10.244.2.0/24", "10.96.0.0/28"]);
    let withheld: Vec<_> =
        there.withheld.iter().map(|one| format!("{} {}", one.prefix, one.reason)).collect();
    assert_eq!(
        withheld,
        ["10.96.0.10/32 internalTrafficPolicy is Local and no endpoint on this node is ready"]
    );
    // The policy for traffic from outside says nothing of it.
    let outer = manifest.replace("internalTrafficPolicy", "externalTrafficPolicy");
    let there = on("n2", "172.30.1.3/24", &outer);
    assert_eq!(originated(&there), ["10.244.2.0/24", "10.96.0.0/28"]);
    assert!(there.withheld.iter().all(|one| !one.reason.contains("internalTrafficPolicy")));
}

#[test]
fn external_ips_need_a_range_that_somebody_else_wrote() {
    let external = |cidrs: &str| {
        let spec = format!(
            "advertisements: [{{advertisementType: Service, service: {{addresses: [ExternalIP]{cidrs}}}}}]"
        );
        let manifest = cluster(&[advertisement("external", &spec)]).replace(
            "spec: {type: LoadBalancer, clusterIPs: [10.96.0.10]",
            "spec: {externalIPs: [192.0.2.1]",
        );
        plan_of(&manifest, &uplink(&["172.30.1.2/24"]), "n1")
    };
    let refused = external("");
    assert_eq!(originated(&refused), ["10.244.1.0/24"]);
    assert!(refused.withheld[0].reason.contains("service.cidrs"), "{:?}", refused.withheld);
    assert_eq!(originated(&external(", cidrs: [192.0.2.0/24]")), ["10.244.1.0/24", "192.0.2.1/32"]);
    assert_eq!(originated(&external(", cidrs: [192.0.3.0/24]")), ["10.244.1.0/24"]);
}

#[test]
fn prefixes_of_other_controllers_come_and_go_with_their_object() {
    let spec = "nodeSelector: {matchLabels: {kubernetes.io/hostname: n1}}, peers: [tor-a], advertisements: \
                [{advertisementType: Prefix, prefixes: [203.0.113.0/24, \"2001:db8:7::/48\"]}]";
    let with = planned(&[advertisement("egress", spec)]);
    let route = &with.speaker.originated[1];
    assert_eq!(route.prefix.to_string(), "203.0.113.0/24");
    assert_eq!(&*route.cause, "RouteAdvertisement egress .spec.advertisements[0].prefixes[0]");
    let changes = foresee(&with.speaker, &planned(&[]).speaker).peers;
    let lost: Vec<_> = changes.iter().map(|peer| format!("{} {:?}", peer.peer, peer.loses.len())).collect();
    assert_eq!(lost, ["tor-a 1"], "tor-a has no IPv6, and the others were never told");
    let elsewhere = plan_of(&cluster(&[advertisement("egress", spec)]), &uplink(&["172.30.1.3/24"]), "n2");
    assert_eq!(originated(&elsewhere), ["10.244.2.0/24"]);
}

#[test]
fn filters_cannot_tell_a_peer_what_an_advertisement_tells_others_and_keep_its_attributes() {
    let filter = resource(
        "BGPFilter",
        "all",
        "export: [{action: Accept, operations: {addCommunities: [\"65000:9\"]}}]",
    );
    let spec = "peers: [tor-a], advertisements: [{advertisementType: Service, service: {addresses: [LoadBalancerIP]}, \
                attributes: {communities: [\"65000:1\"]}}]";
    let manifest = cluster(&[filter, advertisement("lb", spec)])
        .replace("peerASN: 65000", "peerASN: 65000, filters: [all]");
    let plan = plan_of(&manifest, &uplink(&["172.30.1.2/24"]), "n1");
    assert_eq!(
        told(&plan),
        [
            "node/n2/ipv4 10.244.1.0/24",
            "tor-a 10.244.1.0/24 65000:9",
            "tor-a 198.51.100.1/32 65000:1 65000:9",
            "tor-a 198.51.100.2/32 65000:1 65000:9",
            "tor-b 10.244.1.0/24 65000:9",
        ],
    );
}

#[test]
fn a_peer_that_does_not_exist_is_a_problem_with_its_remedy() {
    let spec = "peers: [tor-c], advertisements: [{advertisementType: PodCIDR}]";
    let plan = planned(&[advertisement("pods", spec)]);
    assert!(
        problems(&plan).iter().any(|problem| problem.contains(
            "RouteAdvertisement pods .spec.peers[0]: there is no BGPPeer tor-c; make the peer, or correct the name"
        )),
        "{:?}",
        problems(&plan),
    );
}

#[test]
fn what_an_advertisement_cannot_mean_is_refused_with_its_remedy() {
    let cases = [
        ("advertisements: []", ".spec.advertisements: there are none"),
        (
            "peers: [], advertisements: [{advertisementType: PodCIDR}]",
            ".spec.peers: there are none, so nobody",
        ),
        ("advertisements: [{advertisementType: Service}]", "[0].service: there is none"),
        ("advertisements: [{advertisementType: Prefix}]", "[0].prefixes: there are none"),
        ("advertisements: [{advertisementType: PodCIDR, prefixes: [10.0.0.0/8]}]", "[0].prefixes: only `adv"),
        ("advertisements: [{advertisementType: PodCIDR, selector: {}}]", "[0].selector: it selects Services"),
        (
            "advertisements: [{advertisementType: PodCIDR, attributes: {prepend: {times: 0}}}]",
            "[0].attributes.prepend.times: found 0; write 1 to 10",
        ),
        (
            "advertisements: [{advertisementType: Service, service: {addresses: [ClusterIP], aggregationLengthIPv4: 33}}]",
            "[0].service.aggregationLengthIPv4: found 33; write 1 to 32",
        ),
        (
            "advertisements: [{advertisementType: Service, service: {addresses: [ClusterIP, ClusterIP]}}]",
            "[0].service.addresses: found 2 kinds, or one of them twice",
        ),
        (
            "advertisements: [{advertisementType: PodCIDR, attributes: {localPreference: 5}}]",
            "the fields are localPref, med, communities, prepend",
        ),
    ];
    for (spec, expected) in cases {
        let state = ClusterState::from_manifest("test.yaml", &advertisement("bad", spec));
        let found: Vec<_> = state.problems.iter().map(ToString::to_string).collect();
        assert!(found.iter().any(|problem| problem.contains(expected)), "{spec}: {found:?}");
        assert!(state.route_advertisements.is_empty(), "{spec}");
    }
}

#[test]
fn a_stand_alone_speaker_says_that_it_does_not_follow_advertisements() {
    let manifest = advertisement("pods", "advertisements: [{advertisementType: PodCIDR}]");
    let plan = crate::speaker_plan(&super::state(&manifest), &uplink(&["172.30.1.1/24"]));
    let found: Vec<_> = plan.problems.iter().map(ToString::to_string).collect();
    assert!(
        found.iter().any(|problem| problem.contains("RouteAdvertisement pods: it says what nodes")),
        "{found:?}"
    );
}

/// The reference page shows only what is true.
#[test]
fn the_examples_of_the_reference_are_loaded_without_a_problem() {
    let page = include_str!("../../../../docs/route-advertisement.md");
    let examples: Vec<_> =
        page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(examples.len() >= 5, "{}", examples.len());
    for example in examples {
        let state = ClusterState::from_manifest("example.yaml", example);
        assert_eq!(state.problems, [], "{example}");
        assert!(!state.route_advertisements.is_empty(), "{example}");
    }
}
