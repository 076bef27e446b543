//! Many Services, of which some change all the time.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/pair.rs"]
mod pair;

use std::fs;
use std::time::{Duration, Instant};

use daemon::PATIENCE;
use pair::{CLUSTER, Pair, ROUTER};

const SERVICES: usize = 5000;
/// How often the endpoint of one of them comes or goes.
const CHANGES: usize = 300;

/// A Service with one local endpoint, and its slice.
fn service(number: usize) -> String {
    let (high, low) = (number / 250, number % 250 + 1);
    format!(
        "---
apiVersion: v1
kind: Service
metadata: {{name: s{number}, namespace: default}}
spec: {{type: LoadBalancer, externalTrafficPolicy: Local, clusterIPs: [10.96.{high}.{low}], ports: [{{port: 80}}]}}
status: {{loadBalancer: {{ingress: [{{ip: 198.18.{high}.{low}}}]}}}}
"
    )
}

fn slice(number: usize, ready: bool) -> String {
    format!(
        "---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: s{number}, namespace: default, labels: {{kubernetes.io/service-name: s{number}}}}}
addressType: IPv4
endpoints: [{{addresses: [10.244.1.9], nodeName: n1, conditions: {{ready: {ready}}}}}]
ports: [{{port: 80}}]
"
    )
}

/// A hundred changes a second: the pace is what is tested, not awaited.
fn pace() {
    std::thread::park_timeout(Duration::from_millis(10));
}

#[test]
fn fault_42_a_service_that_flaps_among_five_thousand_is_all_that_is_sent() {
    let mut steady =
        CLUSTER.replace("import: {cidrs: [10.50.0.0/16]}", "serviceLoadBalancerIPs: [{cidr: 198.18.0.0/15}]");
    for number in 0..SERVICES {
        steady.push_str(&service(number));
        if number > 0 {
            steady.push_str(&slice(number, true));
        }
    }
    let pair = Pair::start(&steady, ROUTER);
    let at_router = |count: usize| {
        let prefix: ipnet::IpNet = "198.18.0.0/15".parse().unwrap();
        let there = |routes: &[muslin_netns::Route]| {
            routes.iter().filter(|route| prefix.contains(&route.prefix)).count() == count
        };
        pair.gateway.await_routes(2 * PATIENCE, there).unwrap()
    };
    assert!(at_router(SERVICES - 1), "{}", pair.agent.text(&["status"]));
    let peer = || pair.router.json(&["peers", "n1"]);
    let before = peer();
    let flapping = pair.cluster.join("flapping.yaml");
    let begun = Instant::now();
    for change in 0..CHANGES {
        // Written beside and renamed: nobody reads half a file.
        let new = pair.cluster.join("flapping.new");
        fs::write(&new, slice(0, change % 2 == 0)).unwrap();
        fs::rename(&new, &flapping).unwrap();
        pace();
    }
    let took = begun.elapsed();
    fs::write(&flapping, slice(0, true)).unwrap();
    assert!(at_router(SERVICES), "{}", pair.agent.text(&["status"]));
    let after = peer();
    assert_eq!(after["messages"]["established"], 1, "the session was reset");
    let octets = |peer: &serde_json::Value| peer["octetsReceived"].as_u64().unwrap();
    let sent = octets(&after) - octets(&before);
    // An UPDATE about one prefix has some eighty; one about all of them has twenty thousand.
    let most = 200 * CHANGES as u64;
    assert!((1..most).contains(&sent), "{sent} octets for {CHANGES} changes of one Service in {took:?}");
}
