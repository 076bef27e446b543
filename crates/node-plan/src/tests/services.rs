use std::collections::BTreeSet;

use super::{node, originated, plan_of, resource, state};
use crate::{KernelFacts, NodePlan, plan_holding};

const RANGES: &str = "serviceExternalIPs: [{cidr: 192.0.2.0/24}, {cidr: \"2001:db8:2::/64\"}], \
                      serviceLoadBalancerIPs: [{cidr: 198.51.100.0/24}]";

/// A Service at 192.0.2.1 with a policy, and its endpoints as (node, ready, serving, terminating).
fn service(policy: &str, endpoints: &[(&str, bool, bool, bool)]) -> String {
    let endpoints: Vec<_> = endpoints
        .iter()
        .map(|(node, ready, serving, terminating)| {
            format!(
                "- {{addresses: [10.244.1.5], nodeName: {node}, \
                 conditions: {{ready: {ready}, serving: {serving}, terminating: {terminating}}}}}\n"
            )
        })
        .collect();
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: web, namespace: shop}}\n\
         spec: {{type: ClusterIP, externalIPs: [192.0.2.1], externalTrafficPolicy: {policy}}}\n\
         ---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\n\
         metadata: {{name: web-x, namespace: shop, labels: {{kubernetes.io/service-name: web}}}}\nendpoints:\n{}",
        endpoints.concat(),
    )
}

fn on_a(extra: &str) -> NodePlan {
    let manifest = node("a", &["172.30.1.2"], &[]) + &resource("BGPConfiguration", "default", RANGES) + extra;
    plan_of(&manifest, &KernelFacts::default(), "a")
}

fn withheld(plan: &NodePlan) -> Vec<String> {
    let withheld = plan.withheld.iter();
    withheld
        .map(|withheld| format!("{}: {} ({})", withheld.prefix, withheld.reason, withheld.cause))
        .collect()
}

const READY: (bool, bool, bool) = (true, true, false);
const ENDING: (bool, bool, bool) = (false, true, true);
const GONE: (bool, bool, bool) = (false, false, true);

#[test]
fn traffic_policy_decides_which_nodes_announce_a_service() {
    // Policy, the endpoint here, the endpoint elsewhere, whether it is announced here.
    let cases = [
        ("Local", Some(READY), None, true),
        ("Local", None, Some(READY), false),
        ("Local", Some(GONE), Some(READY), false),
        ("Local", Some(ENDING), Some(READY), false),
        ("Local", Some(ENDING), Some(ENDING), true),
        ("Local", Some(ENDING), None, true),
        ("Local", Some(GONE), None, false),
        ("Local", None, None, false),
        ("Cluster", None, Some(READY), true),
        ("Cluster", Some(READY), None, true),
        ("Cluster", None, Some(ENDING), true),
        ("Cluster", Some(GONE), Some(GONE), false),
        ("Cluster", None, None, false),
    ];
    for (policy, here, elsewhere, announced) in cases {
        let endpoints: Vec<_> = [("a", here), ("b", elsewhere)]
            .into_iter()
            .filter_map(|(node, state)| state.map(|(ready, serving, ending)| (node, ready, serving, ending)))
            .collect();
        let plan = on_a(&service(policy, &endpoints));
        let case = format!("{policy}, here {here:?}, elsewhere {elsewhere:?}");
        assert_eq!(originated(&plan), if announced { vec!["192.0.2.1/32"] } else { vec![] }, "{case}");
        assert_eq!(plan.withheld.is_empty(), announced, "{case}");
        assert_eq!(plan.firewall.service_ranges_to_drop.is_empty(), !announced, "{case}");
    }
}

#[test]
fn a_cluster_ip_of_internal_policy_local_is_announced_where_an_endpoint_is() {
    let cluster_ip = "advertisements: [{advertisementType: Service, service: {addresses: [ClusterIP]}}]";
    let asks = resource("RouteAdvertisement", "cluster-ips", cluster_ip);
    let on_a = |internal: &str, external: &str, at: &str| {
        let policies =
            format!("clusterIP: 10.96.0.7, clusterIPs: [10.96.0.7], internalTrafficPolicy: {internal}, ");
        let service = service(external, &[(at, true, true, false)])
            .replace("ClusterIP, ", &format!("ClusterIP, {policies}"));
        originated(&on_a(&(asks.clone() + &service)))
    };
    let (cluster_ip, external_ip) = ("10.96.0.7/32", "192.0.2.1/32");
    assert_eq!(on_a("Local", "Cluster", "a"), [cluster_ip, external_ip]);
    assert_eq!(on_a("Local", "Cluster", "b"), [external_ip]);
    // The other policy is about other addresses.
    assert_eq!(on_a("Cluster", "Local", "b"), [cluster_ip]);
}

#[test]
fn a_route_that_is_held_stays_while_its_endpoint_serves() {
    let manifest = |here| {
        let (ready, serving, terminating) = here;
        node("a", &["172.30.1.2"], &[])
            + &resource("BGPConfiguration", "default", RANGES)
            + &service("Local", &[("a", ready, serving, terminating), ("b", true, true, false)])
    };
    let address = "192.0.2.1/32".parse().unwrap();
    let held = BTreeSet::from([address]);
    let holding = |here| plan_holding(&state(&manifest(here)), &KernelFacts::default(), "a", &held);
    assert_eq!(on_a(&service("Local", &[("a", false, true, true), ("b", true, true, false)])).ending, held);
    let plan = holding(ENDING);
    assert_eq!(originated(&plan), ["192.0.2.1/32"]);
    assert_eq!(plan.ending, held, "it is still on its way out");
    assert_eq!(originated(&holding(GONE)), Vec::<String>::new(), "nothing serves any more");
    let ready = holding(READY);
    assert_eq!((ready.ending, &ready.relieved), (BTreeSet::new(), &held), "it could end any moment");
    assert_eq!(holding(GONE).relieved, BTreeSet::new());
    let alone = on_a(&service("Local", &[("a", true, true, false)]));
    assert_eq!(alone.relieved, BTreeSet::new());
}

#[test]
fn an_endpoint_that_says_nothing_of_itself_is_ready() {
    let manifest = service("Local", &[("a", true, true, false)])
        .replace(", conditions: {ready: true, serving: true, terminating: false}", "");
    assert_eq!(originated(&on_a(&manifest)), ["192.0.2.1/32"]);
}

#[test]
fn a_service_that_is_not_announced_says_why() {
    let cases = [
        (
            service("Local", &[("b", true, true, false)]),
            "externalTrafficPolicy is Local and no endpoint on this node is ready",
        ),
        (service("Cluster", &[]), "no endpoint is ready"),
        (
            service("Cluster", &[("a", true, true, false)]).replace("192.0.2.1", "192.0.3.1"),
            "it is outside the ranges that BGPConfiguration announces for it",
        ),
        (
            service("Cluster", &[("a", true, true, false)]) + &node("c", &["192.0.2.1"], &[]),
            "it is the address of Node c",
        ),
    ];
    for (manifest, reason) in cases {
        let plan = on_a(&manifest);
        assert_eq!(originated(&plan), Vec::<String>::new());
        let found = withheld(&plan);
        assert_eq!(found.len(), 1);
        assert!(
            found[0].ends_with(&format!(": {reason} (Service shop/web .spec.externalIPs[0])")),
            "{found:?}"
        );
    }
}

#[test]
fn nothing_is_asked_of_addresses_for_which_no_range_is_announced() {
    let manifest = node("a", &[], &[]) + &service("Cluster", &[("a", true, true, false)]);
    let plan = plan_of(&manifest, &KernelFacts::default(), "a");
    assert_eq!(originated(&plan), Vec::<String>::new());
    assert_eq!(plan.withheld, []);
}

#[test]
fn a_node_excluded_from_load_balancers_announces_no_single_service() {
    let manifest = node("a", &[], &[])
        .replace("labels: {", "labels: {node.kubernetes.io/exclude-from-external-load-balancers: \"\", ")
        + &resource(
            "BGPConfiguration",
            "default",
            &format!("{RANGES}, serviceClusterIPs: [{{cidr: 10.96.0.0/16}}]"),
        )
        + &service("Cluster", &[("b", true, true, false)]);
    let plan = plan_of(&manifest, &KernelFacts::default(), "a");
    assert_eq!(originated(&plan), ["10.96.0.0/16"]);
    assert!(withheld(&plan)[0].contains("exclude-from-external-load-balancers"));
}

#[test]
fn each_address_family_looks_at_its_own_endpoints() {
    let manifest = service("Local", &[("a", true, true, false)])
        .replace("[192.0.2.1]", "[192.0.2.1, \"2001:db8:2::1\"]");
    let plan = on_a(&manifest);
    assert_eq!(originated(&plan), ["192.0.2.1/32"]);
    assert!(withheld(&plan)[0].starts_with("2001:db8:2::1/128"));
}

#[test]
fn load_balancer_addresses_count_when_a_load_balancer_gave_them_to_the_service() {
    let status = "status: {loadBalancer: {ingress: [{ip: 198.51.100.7}, {ip: 198.51.100.8, ipMode: Proxy}, {hostname: lb.example.net}]}}\n";
    let with_status = |kind: &str| {
        service("Cluster", &[("b", true, true, false)])
            .replace("type: ClusterIP, externalIPs: [192.0.2.1]", &format!("type: {kind}"))
            .replace("---\napiVersion: discovery", &format!("{status}---\napiVersion: discovery"))
    };
    let plan = on_a(&with_status("LoadBalancer"));
    assert_eq!(originated(&plan), ["198.51.100.7/32"]);
    assert_eq!(&*plan.speaker.originated[0].cause, "Service shop/web .status.loadBalancer.ingress[0].ip");
    assert_eq!(originated(&on_a(&with_status("ClusterIP"))), Vec::<String>::new());
}

#[test]
fn services_that_share_an_address_are_all_named_as_causes() {
    let one = service("Cluster", &[("a", true, true, false)]);
    let others = ["api", "ftp", "irc"].map(|name| one.replace("web", name)).concat();
    let plan = on_a(&(one + &others));
    assert_eq!(originated(&plan), ["192.0.2.1/32"]);
    assert_eq!(
        &*plan.speaker.originated[0].cause,
        "Service shop/api .spec.externalIPs[0], Service shop/ftp .spec.externalIPs[0], \
         Service shop/irc .spec.externalIPs[0] and 1 more",
    );
}
