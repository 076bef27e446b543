//! The kernel's own state, as the rest of the program sees it.

use std::net::IpAddr;

use muslin_netns::LinkState;
use muslin_route_programmer::NextHopObjects;

use crate::host::{Host, PATIENCE, net, over};

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn destinations_resolve_over_routes_that_are_not_ours() {
    let host = Host::new();
    host.namespace.add_route(net("0.0.0.0/0"), address("10.0.0.254")).unwrap();
    host.namespace.add_route(net("192.0.2.0/24"), address("10.0.1.254")).unwrap();
    let running = host.start_with(NextHopObjects::WherePossible);
    let (eth0, eth1) = (running.link("eth0"), running.link("eth1"));
    running.install(&[("192.0.2.128/25", over(&[running.via("eth0", "10.0.0.2")]))]);
    let view = running.programmer.view();
    let way = |text: &str| view.route_to(address(text)).map(|way| (way.gateway, way.interface));

    assert_eq!(way("10.0.1.7"), Some((None, eth1)));
    assert_eq!(way("fd00::7"), Some((None, eth0)));
    assert_eq!(way("192.0.2.200"), Some((Some(address("10.0.1.254")), eth1)), "not by our own route");
    assert_eq!(way("198.51.100.1"), Some((Some(address("10.0.0.254")), eth0)));
    assert_eq!(way("2001:db8::1"), None);
    assert_eq!(way("10.0.0.1"), None, "an address of this host");
    assert_eq!(view.default_gateways().len(), 1);
    assert_eq!(view.uplink_mtu(), Some(1500));
    assert!(view.is_local(address("fd00:1::1")));
    assert!(view.route_on_link(address("fe80::7"), eth1).is_some());
}

#[test]
fn the_view_follows_links_addresses_and_routes() {
    let host = Host::new();
    let running = host.start_with(NextHopObjects::WherePossible);
    let eth1 = running.link("eth1");
    let mut changes = running.programmer.watch_view();
    let mut until = |holds: &dyn Fn(&muslin_route_programmer::KernelView) -> bool| {
        let waited = running.wait(async {
            tokio::time::timeout(PATIENCE, changes.wait_for(|view| holds(view))).await.map(|_| ())
        });
        assert!(waited.is_ok(), "{:#?}", running.programmer.view());
    };
    host.namespace.add_route(net("0.0.0.0/0"), address("10.0.1.254")).unwrap();
    until(&|view| view.default_gateways().iter().any(|default| default.interface == eth1));
    host.namespace.set_mtu("eth1", 1400).unwrap();
    until(&|view| view.uplink_mtu() == Some(1400));
    host.namespace.set_link("eth1", LinkState::Down).unwrap();
    until(&|view| view.route_to(address("10.0.1.7")).is_none() && view.default_gateways().is_empty());
    host.namespace.set_link("eth1", LinkState::Up).unwrap();
    until(&|view| view.route_to(address("10.0.1.7")).is_some());
    assert!(running.programmer.view().default_gateways().is_empty(), "the kernel does not bring it back");
    host.namespace.remove_link("eth1").unwrap();
    until(&|view| view.link(eth1).is_none() && view.route_to(address("fd00:1::7")).is_none());
}
