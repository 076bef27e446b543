//! `muslin explain` on real daemons: prefixes, Services and pods, and what is missing.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/world.rs"]
mod world;

use world::World;

#[test]
fn explain_names_the_cause_of_a_pod_route_and_of_a_service_route() {
    let world = World::start();
    let own = world.n1().text(&["explain", "10.244.1.0/24"]);
    assert!(own.contains("originated because of Node n1 .spec.podCIDRs[0]"), "{own}");
    assert!(own.contains("to tor-1-ipv4 with next hop 172.30.1.2"), "{own}");
    assert!(own.contains("blackhole, metric 77: installed"), "{own}");

    let learned = world.n1().text(&["explain", "10.244.2.7"]);
    assert!(learned.starts_with("10.244.2.0/24 (longest prefix that covers 10.244.2.7/32)"), "{learned}");
    assert!(learned.contains("Node n2 .spec.podCIDRs[0]"), "{learned}");
    assert!(learned.contains("via 172.30.1.1 dev eth0, metric 77: installed"), "{learned}");

    let service = world.n1().text(&["explain", "198.51.100.80"]);
    assert!(service.contains("originated because of Service"), "{service}");
    let withheld = world.n1().text(&["explain", "192.0.2.25"]);
    assert!(withheld.contains("not originated, although Service"), "{withheld}");

    let unknown = world.n1().ask(&["explain", "203.0.113.0/24"]);
    assert_eq!(unknown.status.code(), Some(1));
}

#[test]
fn a_service_is_explained_by_its_name_address_by_address() {
    let world = World::start();
    let web = world.n1().text(&["explain", "default/web"]);
    assert!(web.starts_with("Service default/web: type LoadBalancer"), "{web}");
    assert!(web.contains("2 ready (on n1, n2)"), "how many endpoints, and where: {web}");
    assert!(web.contains(".status.loadBalancer.ingress[0].ip 198.51.100.80/32"), "{web}");
    assert!(web.contains("originated because of Service default/web"), "{web}");
    assert!(web.contains("10.96.0.0/16 (longest prefix that covers 10.96.12.80/32)"), "{web}");

    let mail = world.n1().text(&["explain", "mail"]);
    assert!(mail.contains("no endpoint on this node is ready"), "why not here: {mail}");

    let json = world.n1().json(&["explain", "service/default/web"]);
    assert_eq!(json["object"], "Service default/web");
    assert_eq!(json["addresses"].as_array().unwrap().len(), json["routes"].as_array().unwrap().len());
    let yaml = world.n1().text(&["explain", "default/web", "--output", "yaml"]);
    assert!(yaml.contains("object: Service default/web"), "{yaml}");
}

#[test]
fn a_pod_is_explained_by_its_name_here_and_behind_a_service() {
    let world = World::start();
    let here = world.n1().text(&["explain", "web-6c9f8d7b54-4xk2p"]);
    assert!(here.starts_with("Pod default/web-6c9f8d7b54-4xk2p: on n1"), "{here}");
    assert!(here.contains("Node n1 .spec.podCIDRs[0]"), "{here}");
    let there = world.n1().text(&["explain", "pod/default/mail-0"]);
    assert!(there.contains("via 172.30.1.1 dev eth0, metric 77: installed"), "{there}");
    assert!(there.contains("from tor-1-ipv4 via 172.30.1.1, AS path 65000 64512"), "{there}");
}

#[test]
fn a_name_that_nobody_has_is_answered_with_the_one_that_was_meant() {
    let world = World::start();
    let wrong = world.n1().ask(&["explain", "default/wbe"]);
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert_eq!(wrong.status.code(), Some(2));
    assert!(said.contains("did you mean `default/web`?") && said.lines().count() == 1, "{said}");
}

#[test]
fn what_is_missing_is_said_with_the_reason() {
    let world = World::start();
    let nowhere = world.n1().text(&["explain", "203.0.113.0/24"]);
    assert!(nowhere.contains("not learned: every session is up, and no peer sent it"), "{nowhere}");

    // Another program's route is in the place of ours.
    let (namespace, agent) = &world.nodes[0];
    let route = ["route", "add", "10.244.3.0/24", "via", "172.30.1.1", "metric", "5"];
    let added = namespace.run(|| std::process::Command::new("ip").args(route).status().unwrap()).unwrap();
    assert!(added.success());
    // The kernel tells the agent of it a moment later.
    let deadline = std::time::Instant::now() + daemon::PATIENCE;
    loop {
        let foreign = agent.text(&["explain", "10.244.3.0/24"]);
        if foreign.contains("another program's: via 172.30.1.1 dev eth0, metric 5") {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{foreign}");
        std::thread::park_timeout(std::time::Duration::from_millis(50));
    }
}

#[test]
fn a_route_that_outlives_its_session_is_called_stale() {
    let mut world = World::start();
    assert!(world.n1().text(&["explain", "10.244.2.7"]).contains("best: from tor-1-ipv4"));
    world.router.child.kill().unwrap();
    let deadline = std::time::Instant::now() + daemon::PATIENCE;
    loop {
        let explained = world.n1().text(&["explain", "10.244.2.7"]);
        if explained.contains("best, stale: from tor-1-ipv4") {
            assert!(explained.contains("kept from a session that was lost"), "{explained}");
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{explained}");
        std::thread::park_timeout(std::time::Duration::from_millis(50));
    }
    let best = world.n1().text(&["routes", "best"]);
    assert!(best.contains("best, stale"), "{best}");
}
