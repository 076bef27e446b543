//! Routes of every kind, and what another program's routes mean to them.

use muslin_netns::RouteKind;
use muslin_route_programmer::{
    ClashEffect, DesiredRoute, NextHop, NextHopObjects, Refused, Resilience, RouteState,
};

use crate::host::{Host, OURS, net, no_audits, over};
use crate::raw::{Act, ForeignMessage, next_hop_objects, send_foreign};

const BOTH: [NextHopObjects; 2] = [NextHopObjects::WherePossible, NextHopObjects::Never];

#[test]
fn routes_of_every_kind_are_added_replaced_and_deleted() {
    for objects in BOTH {
        let host = Host::new();
        let running = host.start_with(objects);
        let (a, b) = (running.via("eth0", "10.0.0.2"), running.via("eth1", "10.0.1.2"));
        let (a6, b6) = (running.via("eth0", "fd00::2"), running.via("eth1", "fd00:1::2"));
        let link_local = running.via("eth0", "fe80::2");
        let routes = [
            ("10.1.0.0/16", over(&[a])),
            ("10.2.0.0/16", over(&[a, NextHop { weight: 3, ..b }])),
            ("10.3.0.0/16", DesiredRoute::blackhole()),
            ("10.4.0.0/16", over(&[link_local])),
            ("10.5.0.0/16", over(&[NextHop::on(running.link("eth0"))])),
            ("10.6.0.0/16", over(&[a6, b])),
            ("10.7.0.0/16", over(&[NextHop { onlink: true, ..running.via("eth0", "192.0.2.1") }])),
            ("10.8.0.0/16", DesiredRoute { source: Some([10, 0, 1, 1].into()), ..over(&[a]) }),
            ("fd44:1::/64", over(&[a6])),
            ("fd44:2::/64", over(&[a6, b6])),
            ("fd44:3::/64", DesiredRoute::blackhole()),
            ("fd44:4::/64", over(&[link_local])),
            ("fd44:5::/64", over(&[NextHop::on(running.link("eth1"))])),
            ("fd44:6::/64", DesiredRoute { metric: Some(0), ..over(&[a6]) }),
        ];
        let status = running.install(&routes);
        assert!(status.agreement, "{objects:?}: {status:#?}");
        let found = host.own_routes();
        assert_eq!(found.len(), routes.len());
        let route = |prefix: &str| found.iter().find(|route| route.prefix == net(prefix)).unwrap();
        assert_eq!(route("10.2.0.0/16").next_hops.iter().map(|hop| hop.weight).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(route("10.3.0.0/16").kind, RouteKind::Blackhole);
        assert_eq!(route("10.4.0.0/16").next_hops[0].gateway, link_local.gateway);
        assert_eq!(route("10.6.0.0/16").next_hops.len(), 2);
        assert_eq!(route("fd44:2::/64").next_hops.len(), 2);
        assert_eq!(route("fd44:3::/64").kind, RouteKind::Blackhole);
        assert_eq!(route("10.1.0.0/16").metric, 77);

        // The audit reads back what was written, and finds nothing to do.
        let again =
            running.install(&[("10.1.0.0/16", over(&[b])), ("fd44:1::/64", DesiredRoute::blackhole())]);
        assert!(again.agreement);
        host.await_hops("10.1.0.0/16", &[b]);
        assert_eq!(again.counters.refused, 0);

        for (prefix, _) in &routes {
            running.withdraw(prefix);
        }
        assert_eq!(host.own_routes(), []);
        let status = running.settled();
        assert_eq!(next_hop_objects(&host.namespace), 0, "objects go with their last route: {status:#?}");
    }
}

/// Two links to one router that has the same link-local address on both, as switches often do.
#[test]
fn rfc8950_2_one_link_local_address_on_two_links_is_two_next_hops() {
    for objects in BOTH {
        let host = Host::new();
        let running = host.start_with(objects);
        let (a, b) = (running.via("eth0", "fe80::2"), running.via("eth1", "fe80::2"));
        for prefix in ["10.1.0.0/16", "fd44:1::/64"] {
            let status = running.install(&[(prefix, over(&[a, b]))]);
            assert!(status.agreement, "{objects:?}: {status:#?}");
            host.await_hops(prefix, &[a, b]);
            running.install(&[(prefix, over(&[b]))]);
            host.await_hops(prefix, &[b]);
        }
    }
}

#[test]
fn fault_08_a_route_of_another_program_is_never_touched() {
    let host = Host::new();
    let foreign = |act, prefix, metric, gateway| ForeignMessage { act, prefix, protocol: 4, metric, gateway };
    send_foreign(
        &host.namespace,
        &[
            foreign(Act::Append, "10.1.0.0/16", 0, Some("10.0.0.9")),
            foreign(Act::Append, "10.2.0.0/16", 77, Some("10.0.0.9")),
            foreign(Act::Append, "fd44:2::/64", 77, Some("fd00::9")),
            foreign(Act::Append, "10.3.0.0/16", 500, Some("10.0.0.9")),
        ],
    );
    let theirs = || {
        let mut routes = host.namespace.routes().unwrap();
        routes.retain(|route| route.protocol == 4);
        routes
    };
    let before = theirs();
    let running = host.start_with(NextHopObjects::WherePossible);
    let (a, a6) = (running.via("eth0", "10.0.0.2"), running.via("eth0", "fd00::2"));
    let status = running.install(&[
        ("10.1.0.0/16", over(&[a])),
        ("10.2.0.0/16", over(&[a])),
        ("fd44:2::/64", over(&[a6])),
        ("10.3.0.0/16", over(&[a])),
    ]);
    let effects: Vec<_> = status.clashes.iter().map(|clash| (clash.prefix, clash.effect)).collect();
    assert_eq!(
        effects,
        [
            (net("10.1.0.0/16"), ClashEffect::TheirsPreferred),
            (net("10.2.0.0/16"), ClashEffect::OursBlocked),
            (net("10.3.0.0/16"), ClashEffect::OursPreferred),
            (net("fd44:2::/64"), ClashEffect::OursBlocked),
        ]
    );
    let installed: Vec<_> = host.own_routes().iter().map(|route| route.prefix).collect();
    assert_eq!(installed, [net("10.1.0.0/16"), net("10.3.0.0/16")]);
    assert!(!status.agreement);

    // The way is free: ours come without being asked for again.
    send_foreign(
        &host.namespace,
        &[foreign(Act::Delete, "10.2.0.0/16", 77, None), foreign(Act::Delete, "fd44:2::/64", 77, None)],
    );
    host.await_hops("10.2.0.0/16", &[a]);
    host.await_hops("fd44:2::/64", &[a6]);

    running.wait(running.programmer.sweep_all()).unwrap();
    assert_eq!(host.own_routes(), []);
    let left: Vec<_> = before.into_iter().filter(|route| route.metric != 77).collect();
    assert_eq!(theirs(), left);
}

#[test]
fn fault_08_a_route_that_another_program_puts_in_the_place_of_ours_stays_theirs() {
    let host = Host::new();
    let running = host.start_with(NextHopObjects::WherePossible);
    let (a, a6) = (running.via("eth0", "10.0.0.2"), running.via("eth0", "fd00::2"));
    running.install(&[("10.1.0.0/16", over(&[a])), ("fd44:1::/64", over(&[a6]))]);
    for (prefix, gateway) in [("10.1.0.0/16", "10.0.0.9"), ("fd44:1::/64", "fd00::9")] {
        let gateway = Some(gateway);
        let message = ForeignMessage { act: Act::Replace, prefix, protocol: 4, metric: 77, gateway };
        send_foreign(&host.namespace, &[message]);
        running.await_status(|status| {
            let mut blocked = status.clashes.iter().filter(|clash| clash.blocks());
            blocked.any(|clash| clash.prefix == net(prefix))
        });
    }
    running.settled();
    assert_eq!(host.own_routes(), []);
    let theirs = host.namespace.routes().unwrap().into_iter().filter(|route| route.protocol == 4).count();
    assert_eq!(theirs, 2);
}

#[test]
fn fault_08_a_connected_route_is_never_overruled() {
    let host = Host::new();
    let running = host.start_with(NextHopObjects::WherePossible);
    // In IPv6 the kernel's own has metric 256, and ours would win.
    let a6 = running.via("eth0", "fd00::2");
    let status = running.install(&[("fd00:1::/64", over(&[a6])), ("10.0.1.0/24", DesiredRoute::blackhole())]);
    assert_eq!(host.own_routes(), []);
    assert_eq!(status.clashes.iter().filter(|clash| clash.blocks()).count(), 2);
    let report = running.wait(running.programmer.route(net("10.0.1.0/24"))).unwrap().unwrap();
    assert!(matches!(report.state, RouteState::Blocked(_)), "{report:?}");
}

#[test]
fn a_next_hop_off_the_link_is_refused_in_the_kernels_words_and_taken_once_an_address_comes() {
    for objects in BOTH {
        let host = Host::new();
        let running = host.start_with(objects);
        let far = running.via("eth0", "192.0.2.2");
        let status = running.install(&[("10.1.0.0/16", over(&[far])), ("10.2.0.0/16", over(&[far]))]);
        assert_eq!(host.own_routes(), []);
        let refusal = &status.refusals[0];
        assert_eq!(refusal.refusal.message.as_deref(), Some("Nexthop has invalid gateway"));
        if objects == NextHopObjects::WherePossible {
            assert_eq!((refusal.subject.clone(), refusal.routes), (Refused::NextHop(far), 2));
        }
        host.namespace.add_address("eth0", net("192.0.2.1/24")).unwrap();
        host.await_hops("10.1.0.0/16", &[far]);
        host.await_hops("10.2.0.0/16", &[far]);
        assert!(running.await_status(|status| status.agreement).refusals.is_empty());
    }
}

#[test]
fn each_refused_message_of_a_batch_is_known_and_the_others_are_done() {
    let host = Host::new();
    let running = host.start_with(NextHopObjects::Never);
    let (near, far) = (running.via("eth0", "10.0.0.2"), running.via("eth0", "192.0.2.2"));
    let prefixes: Vec<_> =
        (0..1000).map(|number| format!("10.{}.{}.0/24", 1 + number / 256, number % 256)).collect();
    let routes: Vec<_> = prefixes
        .iter()
        .enumerate()
        .map(|(number, prefix)| (prefix.as_str(), over(&[if number % 10 == 0 { near } else { far }])))
        .collect();
    let status = running.install(&routes);
    assert_eq!((status.installed, status.refusal_count), (100, 900));
    assert_eq!(status.refusals.len(), muslin_route_programmer::Status::SAMPLES);
    assert_eq!(host.own_routes().len(), 100);
    let reports = running.wait(running.programmer.routes(None, 2000)).unwrap();
    let refused = reports.iter().filter(|report| matches!(report.state, RouteState::Refused(_))).count();
    assert_eq!(refused, 900);
}

#[test]
fn equal_sets_share_a_group_and_a_lost_next_hop_costs_one_message() {
    for resilience in [None, Some(Resilience::default())] {
        let host = Host::new();
        let running = host.start(muslin_route_programmer::ProgrammerConfig { resilience, ..no_audits() });
        let (a, b) = (running.via("eth0", "10.0.0.2"), running.via("eth1", "10.0.1.2"));
        let prefixes: Vec<_> = (1..=100).map(|number| format!("10.{number}.0.0/16")).collect();
        let routes: Vec<_> = prefixes.iter().map(|prefix| (prefix.as_str(), over(&[a, b]))).collect();
        let status = running.install(&routes);
        assert!(status.agreement, "{status:#?}");
        assert_eq!(next_hop_objects(&host.namespace), 3);

        let accepted = status.counters.accepted;
        running.wait(running.programmer.next_hop_lost(b)).unwrap();
        let status = running.settled();
        assert_eq!(status.counters.accepted - accepted, 1);
        host.await_hops("10.50.0.0/16", &[a]);

        // Named again, it is back for all of them.
        running.install(&[("10.50.0.0/16", over(&[b, a]))]);
        host.await_hops("10.60.0.0/16", &[a, b]);
        assert_eq!(host.own_routes().len(), 100);
        assert!(host.own_routes().iter().all(|route| route.protocol == OURS));
    }
}
