//! What goes wrong on a real host: restarts, deletions, links that go and come, events that are lost.

use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use muslin_netns::LinkState;
use muslin_route_programmer::{DesiredRoute, NextHopObjects, ProgrammerConfig};

use crate::host::{Host, OURS, PATIENCE, net, no_audits, over};
use crate::raw::{Act, Ear, ForeignMessage, next_hop_objects, send_foreign};

const BOTH: [NextHopObjects; 2] = [NextHopObjects::WherePossible, NextHopObjects::Never];

fn deletion(prefix: &str, metric: u32) -> ForeignMessage<'_> {
    ForeignMessage { act: Act::Delete, prefix, protocol: OURS, metric, gateway: None }
}

#[test]
fn fault_01_a_restart_adopts_everything_and_the_kernel_sees_no_change() {
    for objects in BOTH {
        let host = Host::new();
        let routes = |running: &crate::host::Running<'_>| {
            let (a, b) = (running.via("eth0", "10.0.0.2"), running.via("eth1", "10.0.1.2"));
            let (a6, b6) = (running.via("eth0", "fd00::2"), running.via("eth1", "fd00:1::2"));
            [
                ("10.1.0.0/16", over(&[a])),
                ("10.2.0.0/16", over(&[a, b])),
                ("10.3.0.0/16", DesiredRoute::blackhole()),
                ("10.4.0.0/16", over(&[a6])),
                ("fd44:1::/64", over(&[a6])),
                ("fd44:2::/64", over(&[a6, b6])),
                ("fd44:3::/64", DesiredRoute::blackhole()),
            ]
        };
        let first = host.start_with(objects);
        assert!(first.install(&routes(&first)).agreement);
        let left = host.own_routes();
        drop(first);

        let ear = Ear::new(&host.namespace);
        let second = host.start_with(objects);
        assert_eq!(second.programmer.status().adopted.routes, left.len());
        assert_eq!(second.programmer.status().unclaimed, left.len());
        let status = second.install(&routes(&second));
        assert!(status.agreement, "{status:#?}");
        assert_eq!(ear.heard(), 0, "{objects:?}: {status:#?}");
        assert_eq!(host.own_routes(), left);
    }
}

#[test]
fn fault_01_leftovers_of_an_earlier_process_stay_until_synced() {
    let host = Host::new();
    let first = host.start_with(NextHopObjects::WherePossible);
    let a = first.via("eth0", "10.0.0.2");
    first.install(&[("10.1.0.0/16", over(&[a])), ("10.2.0.0/16", over(&[a]))]);
    drop(first);
    let second = host.start_with(NextHopObjects::WherePossible);
    second.settled();
    assert_eq!(host.own_routes().len(), 2);
    let status = second.install(&[("10.1.0.0/16", over(&[a]))]);
    assert_eq!(host.own_routes().len(), 1);
    assert!(status.agreement);

    drop(second);
    let third = host.start_with(NextHopObjects::WherePossible);
    third.install(&[]);
    assert_eq!(host.own_routes(), []);
    assert_eq!(next_hop_objects(&host.namespace), 0);
}

#[test]
fn fault_07_deleted_routes_are_back_at_once() {
    for objects in BOTH {
        let host = Host::new();
        let running = host.start_with(objects);
        let (a, a6) = (running.via("eth0", "10.0.0.2"), running.via("eth0", "fd00::2"));
        let prefixes: Vec<_> = (1..=50)
            .map(|number| (format!("10.{number}.0.0/16"), a))
            .chain((1..=50).map(|number| (format!("fd44:{number}::/64"), a6)))
            .collect();
        let routes: Vec<_> = prefixes.iter().map(|(prefix, hop)| (prefix.as_str(), over(&[*hop]))).collect();
        running.install(&routes);

        // As `ip route flush proto 77` does.
        let deletions: Vec<_> = prefixes.iter().map(|(prefix, _)| deletion(prefix, 77)).collect();
        let flushed = Instant::now();
        send_foreign(&host.namespace, &deletions);
        running.await_status(|status| status.counters.disturbed == 100 && status.agreement);
        assert_prompt(flushed);
        assert_eq!(host.own_routes().len(), 100);
    }
}

#[test]
fn fault_07_a_next_hop_object_that_someone_deleted_is_back_with_its_routes() {
    let host = Host::new();
    let running = host.start_with(NextHopObjects::WherePossible);
    let a = running.via("eth0", "10.0.0.2");
    running.install(&[("10.1.0.0/16", over(&[a])), ("10.2.0.0/16", over(&[a]))]);
    let flushed = Instant::now();
    crate::raw::delete_next_hop_objects(&host.namespace);
    host.await_hops("10.1.0.0/16", &[a]);
    host.await_hops("10.2.0.0/16", &[a]);
    assert_prompt(flushed);
    assert_eq!(next_hop_objects(&host.namespace), 1);
}

#[test]
fn fault_09_routes_are_back_after_their_link_was_down() {
    for objects in BOTH {
        let host = Host::new();
        let running = host.start_with(objects);
        let (a, a6) = (running.via("eth0", "10.0.0.2"), running.via("eth0", "fe80::2"));
        running.install(&[("10.1.0.0/16", over(&[a])), ("fd44:1::/64", over(&[a6]))]);
        host.namespace.set_link("eth0", LinkState::Down).unwrap();
        let status = running.await_status(|status| status.installed == 0);
        assert!(status.refusal_count > 0, "{status:#?}");
        let up = Instant::now();
        host.namespace.set_link("eth0", LinkState::Up).unwrap();
        host.await_hops("10.1.0.0/16", &[a]);
        host.await_hops("fd44:1::/64", &[a6]);
        assert_prompt(up);
        running.await_status(|status| status.agreement);
    }
}

#[test]
fn fault_09_a_group_does_without_the_link_that_is_down_and_takes_it_back() {
    let host = Host::new();
    let running = host.start_with(NextHopObjects::WherePossible);
    let (a, b) = (running.via("eth0", "10.0.0.2"), running.via("eth1", "10.0.1.2"));
    let (a6, b6) = (running.via("eth0", "fe80::2"), running.via("eth1", "fe80::2"));
    running.install(&[("10.1.0.0/16", over(&[a, b])), ("fd44:1::/64", over(&[a6, b6]))]);
    let ways = |prefix: &str| {
        host.own_routes()
            .iter()
            .find(|route| route.prefix == net(prefix))
            .map(|route| route.next_hops.clone())
    };
    host.namespace.set_link("eth1", LinkState::Down).unwrap();
    running.await_status(|status| status.refusal_count > 0);
    for prefix in ["10.1.0.0/16", "fd44:1::/64"] {
        let ways = ways(prefix).unwrap();
        assert_eq!(ways.iter().map(|hop| hop.interface).collect::<Vec<_>>(), [a.interface], "{prefix}");
    }
    host.namespace.set_link("eth1", LinkState::Up).unwrap();
    running.await_status(|status| status.agreement);
    for prefix in ["10.1.0.0/16", "fd44:1::/64"] {
        assert_eq!(ways(prefix).unwrap().len(), 2, "{prefix}");
    }
}

#[test]
fn fault_09_routes_are_back_after_the_carrier_was_lost() {
    for objects in BOTH {
        let host = Host::new();
        let running = host.start_with(objects);
        let (a, a6) = (running.via("eth0", "10.0.0.2"), running.via("eth0", "fd00::2"));
        running.install(&[("10.1.0.0/16", over(&[a])), ("fd44:1::/64", over(&[a6]))]);
        host.neighbours[0].set_link("uplink", LinkState::Down).unwrap();
        let mut view = running.programmer.watch_view();
        let eth0 = running.link("eth0");
        running.wait(view.wait_for(|view| view.link(eth0).is_some_and(|link| !link.carrier))).unwrap();
        let up = Instant::now();
        host.neighbours[0].set_link("uplink", LinkState::Up).unwrap();
        host.await_hops("10.1.0.0/16", &[a]);
        host.await_hops("fd44:1::/64", &[a6]);
        assert_prompt(up);
        running.await_status(|status| status.agreement);
    }
}

#[test]
fn fault_09_routes_are_back_after_addresses_were_flushed_and_set_again() {
    for objects in BOTH {
        let host = Host::new();
        let running = host.start_with(objects);
        let a = running.via("eth0", "10.0.0.2");
        running.install(&[("10.1.0.0/16", over(&[a]))]);
        host.namespace.remove_address("eth0", net("10.0.0.1/24")).unwrap();
        // Over an object they outlive the address; written plainly they go without a word.
        let left = usize::from(objects == NextHopObjects::WherePossible);
        running.await_status(|status| status.installed == left && status.counters.resyncs > 1);
        let set = Instant::now();
        host.namespace.add_address("eth0", net("10.0.0.1/24")).unwrap();
        host.await_hops("10.1.0.0/16", &[a]);
        assert_prompt(set);
    }
}

#[test]
fn fault_09_a_new_mtu_or_hardware_address_of_either_side_changes_no_route_and_ends_no_connection() {
    for objects in BOTH {
        let host = Host::new();
        let running = host.start_with(objects);
        let left = &host.neighbours[0];
        let ways = [
            ("10.1.0.0/16", "10.1.0.1", "10.0.0.2/24", running.via("eth0", "10.0.0.2")),
            ("fd44:1::/64", "fd44:1::1", "fd00::2/64", running.via("eth0", "fd00::2")),
        ];
        running.install(&ways.map(|(prefix, _, _, hop)| (prefix, over(&[hop]))));
        let mut connections = ways.map(|(_, target, neighbour, _)| {
            let target: IpAddr = target.parse().unwrap();
            left.add_address("uplink", net(neighbour)).unwrap();
            left.add_address("lo", target.into()).unwrap();
            let listener = left.run(|| TcpListener::bind((target, 0)).unwrap()).unwrap();
            let address = listener.local_addr().unwrap();
            let out = host.namespace.run(|| TcpStream::connect_timeout(&address, PATIENCE).unwrap());
            (out.unwrap(), listener.accept().unwrap().0)
        });
        let before = (host.own_routes(), running.programmer.status().counters.disturbed);
        let ear = Ear::new(&host.namespace);
        let mut view = running.programmer.watch_view();

        host.namespace.set_mtu("eth0", 1400).unwrap();
        left.set_mtu("uplink", 1400).unwrap();
        converse(&mut connections);
        host.namespace.set_hardware_address("eth0", [2, 0, 0, 0, 0, 1]).unwrap();
        // Whose address is new asks for the other's before it says anything, and thereby tells its own.
        for (host_side, neighbour_side) in &mut connections {
            say(host_side, neighbour_side);
        }
        converse(&mut connections);
        left.set_hardware_address("uplink", [2, 0, 0, 0, 0, 2]).unwrap();
        for (from, to) in [("10.0.0.2", "10.0.0.1"), ("fd00::2", "fd00::1")] {
            let hello = || UdpSocket::bind((from, 0)).unwrap().send_to(b"hello", (to, 9));
            left.run(hello).unwrap().unwrap();
        }
        converse(&mut connections);

        let told = view.wait_for(|view| view.link_named("eth0").is_some_and(|link| link.mtu == 1400));
        running.wait(told).unwrap();
        let status = running.settled();
        assert!(status.agreement, "{status:#?}");
        assert_eq!((host.own_routes(), status.counters.disturbed), before);
        assert_eq!(ear.heard(), 0, "{objects:?}");
    }
}

/// More than one packet's worth each way, the neighbour first.
fn converse(connections: &mut [(TcpStream, TcpStream)]) {
    for (host_side, neighbour_side) in connections {
        say(neighbour_side, host_side);
        say(host_side, neighbour_side);
    }
}

fn say(from: &mut TcpStream, to: &mut TcpStream) {
    let said = [7; 9000];
    to.set_read_timeout(Some(PATIENCE)).unwrap();
    from.write_all(&said).unwrap();
    let mut heard = [0; 9000];
    to.read_exact(&mut heard).unwrap();
    assert_eq!(heard, said);
}

/// What an event tells is done within the second that is promised; it takes milliseconds.
#[expect(clippy::print_stdout, reason = "what a run measured")]
fn assert_prompt(since: Instant) {
    let took = since.elapsed();
    println!("after {took:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn fault_06_lost_events_are_made_up_for_by_a_full_read() {
    let host = Host::new();
    let running = host.start(ProgrammerConfig { event_buffer: 4096, ..no_audits() });
    let a = running.via("eth0", "10.0.0.2");
    let prefixes: Vec<_> = (1..=50).map(|number| format!("10.{number}.0.0/16")).collect();
    let routes: Vec<_> = prefixes.iter().map(|prefix| (prefix.as_str(), over(&[a]))).collect();
    running.install(&routes);

    let storm: Vec<_> = (0..=255).map(|number| format!("172.20.{number}.0/24")).collect();
    let foreign =
        |act, prefix| ForeignMessage { act, prefix, protocol: 4, metric: 9, gateway: Some("10.0.0.9") };
    let appended = storm.iter().map(|prefix| foreign(Act::Append, prefix.as_str()));
    let messages: Vec<_> = appended.chain(prefixes.iter().map(|prefix| deletion(prefix, 77))).collect();
    let stall = host.stall();
    send_foreign(&host.namespace, &messages);
    drop(stall);

    let status = running.settled();
    assert!(status.counters.overruns > 0 && status.agreement, "{status:#?}");
    assert_eq!(host.own_routes().len(), 50, "{status:#?}");
    let view = running.programmer.view();
    assert_eq!(view.foreign_routes().filter(|(_, route)| route.protocol == 4).count(), 256);
}
