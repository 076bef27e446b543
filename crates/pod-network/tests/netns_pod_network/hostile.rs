//! A pod that lies: about its source, about who it is, and to the node's routing protocols.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, SocketAddrV6, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use muslin_netns::Namespace;
use rustix::net::sockopt::{Timeout, set_ipv6_multicast_hops, set_socket_timeout};
use rustix::net::{AddressFamily, SocketType, bind, connect, ipproto, socket};

use crate::node::{Node, PATIENCE, await_local, await_readable};
use crate::packets::{Addresses, Site, receive, receiver, seen_source, send};

/// The ports of BFD over one hop and over several.
const BFD: [u16; 2] = [3784, 4784];
const HURRIED: Duration = Duration::from_millis(50);
/// Of a pod on another node, and of one there that is a peer by the firewall's plan.
const ELSEWHERE: [&str; 2] = ["10.244.2.66", "fd00:10:244:2::66"];
const PEER: &str = "10.244.2.7";

#[test]
fn fault_47_a_source_that_is_not_the_pods_own_is_dropped() {
    let site = Site::new();
    for Addresses { a, b, node, inside, stranger, .. } in site.families {
        let (socket, target) = receiver(&site.outside, inside);
        for source in [stranger, b, node] {
            site.a.netns.add_address("lo", IpNet::from(source)).unwrap();
            send(&site.a.netns, source, "spoofed", target);
            send(&site.a.netns, a, "genuine", target);
            assert_eq!(receive(&socket), ("genuine".to_owned(), a));
        }
    }
    assert_eq!(site.dropped("a source that is not the pod's own"), 6);
}

#[test]
fn fault_47_no_pod_opens_a_bgp_session_with_its_node() {
    let site = Site::new();
    for Addresses { node, .. } in site.families {
        let address = SocketAddr::new(node, 179);
        let _listener = site.node.host.run(|| TcpListener::bind(address).unwrap()).unwrap();
        let connect = |patience| move || TcpStream::connect_timeout(&address, patience);
        assert!(site.a.netns.run(connect(HURRIED)).unwrap().is_err());
        // The port is open all the same, for others.
        site.outside.run(connect(PATIENCE)).unwrap().unwrap();
    }
    assert!(site.dropped("no pod speaks routing protocols with the node") >= 2);
}

#[test]
fn fault_47_no_pod_reaches_a_routing_protocol_by_the_gateways_address() {
    let site = Site::new();
    let _listener = site.node.host.run(|| TcpListener::bind("[::]:179").unwrap()).unwrap();
    let gateways = |port| {
        [
            SocketAddr::new("169.254.1.1".parse().unwrap(), port),
            SocketAddrV6::new("fe80::1".parse().unwrap(), port, 0, link(&site.a.netns)).into(),
        ]
    };
    for gateway in gateways(179) {
        let connected = site.a.netns.run(move || TcpStream::connect_timeout(&gateway, HURRIED)).unwrap();
        assert!(connected.is_err(), "{gateway}");
    }
    for port in BFD {
        let listener = site.node.host.run(|| UdpSocket::bind(("::", port)).unwrap()).unwrap();
        listener.set_read_timeout(Some(PATIENCE)).unwrap();
        for gateway in gateways(port) {
            let hostile =
                || UdpSocket::bind(("::", 0)).unwrap().send_to(b"hostile", mapped(gateway)).unwrap();
            site.a.netns.run(hostile).unwrap();
        }
        let genuine = SocketAddr::new(site.families[1].node, port);
        send(&site.outside, site.families[1].inside, "genuine", genuine);
        assert_eq!(receive(&listener).0, "genuine");
    }
    // The IPv4 gateway is nobody's address, so only what went to the other one came to the filter.
    assert!(site.dropped("no pod speaks routing protocols with the node") >= 3);
}

#[test]
fn fault_47_bfd_is_heard_from_peers_and_hosts_but_from_no_other_pod_of_any_node() {
    let site = Site::new();
    for pod in ELSEWHERE.into_iter().chain([PEER]) {
        let pod: IpAddr = pod.parse().unwrap();
        site.outside.add_address("lo", IpNet::from(pod)).unwrap();
        await_local(&site.outside, &[pod]);
    }
    for (Addresses { a, node, inside, .. }, elsewhere) in site.families.into_iter().zip(ELSEWHERE) {
        for port in BFD {
            let address = SocketAddr::new(node, port);
            let listener = site.node.host.run(|| UdpSocket::bind(address).unwrap()).unwrap();
            listener.set_read_timeout(Some(PATIENCE)).unwrap();
            send(&site.a.netns, a, "own pod", address);
            send(&site.outside, elsewhere.parse().unwrap(), "pod elsewhere", address);
            send(&site.outside, inside, "host", address);
            assert_eq!(receive(&listener), ("host".to_owned(), inside));
            if node.is_ipv4() {
                send(&site.outside, PEER.parse().unwrap(), "peer", address);
                assert_eq!(receive(&listener).0, "peer");
            }
        }
    }
    assert_eq!(site.dropped("no pod speaks routing protocols with the node"), 4);
    assert_eq!(site.dropped("nor does one of another node"), 4);
}

#[test]
fn fault_47_a_pod_of_another_node_opens_no_bgp_session_unless_it_is_a_peer() {
    let site = Site::new();
    let node = site.families[0].node;
    let _listener = site.node.host.run(|| TcpListener::bind((node, 179)).unwrap()).unwrap();
    let connects = |source: &str, patience| {
        let source: IpAddr = source.parse().unwrap();
        site.outside.add_address("lo", IpNet::from(source)).unwrap();
        let attempt = || {
            let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
            set_socket_timeout(&socket, Timeout::Send, Some(patience)).unwrap();
            bind(&socket, &SocketAddr::new(source, 0)).unwrap();
            connect(&socket, &SocketAddr::new(node, 179)).is_ok()
        };
        site.outside.run(attempt).unwrap()
    };
    assert!(!connects(ELSEWHERE[0], HURRIED));
    assert!(connects(PEER, PATIENCE));
    assert!(site.dropped("nor does one of another node") >= 1);
}

/// Whoever claims an address with an unasked-for answer is believed by the node here, if it is ever to be: each pod's
/// link is one of its own, and what is believed there leads nobody there.
#[test]
fn fault_47_claims_of_the_gateway_and_of_another_pod_mislead_nobody() {
    let node = Node::new();
    node.host.sysctl("net/ipv4/conf/default/arp_accept", "1").unwrap();
    node.host.sysctl("net/ipv6/conf/default/accept_untracked_na", "1").unwrap();
    let site = Site::on(node);
    let hostile = &site.a.netns;
    let events = neighbour_events(&site.node.host);
    let [v4, v6] = site.families.map(|family| family.b);
    for address in [v4.into(), v6.into(), "169.254.1.1/32".parse().unwrap()] {
        hostile.add_address("eth0", address).unwrap();
    }
    // With this a new hardware address is told to everybody, for every IPv4 address.
    hostile.sysctl("net/ipv4/conf/eth0/arp_notify", "1").unwrap();
    let lie = [2, 0, 0, 0x6c, 0x69, 0x65];
    hostile.set_hardware_address("eth0", lie).unwrap();
    for claimed in ["fe80::1".parse().unwrap(), v6] {
        // Type 136, meant to replace what is known, with a hardware address (RFC 4861 §4.4, §4.6.1).
        let IpAddr::V6(target) = claimed else { unreachable!() };
        let claim = [&[136, 0, 0, 0, 0x20, 0, 0, 0][..], &target.octets(), &[2, 1], &lie].concat();
        tell_everybody(hostile, &claim);
    }
    await_claims(&events, &lie, site.families.map(|family| family.b));

    for Addresses { b, node, inside, .. } in site.families {
        let (victim, target) = receiver(&site.b.netns, b);
        let stolen = hostile.run(|| UdpSocket::bind(target).unwrap()).unwrap();
        stolen.set_nonblocking(true).unwrap();
        send(&site.node.host, node, "from the node", target);
        assert_eq!(receive(&victim), ("from the node".to_owned(), node));
        send(&site.outside, inside, "from outside", target);
        assert_eq!(receive(&victim), ("from outside".to_owned(), inside));
        let nothing = stolen.recv(&mut [0; 100]).unwrap_err();
        assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
        assert_eq!(seen_source(&site.b.netns, &site.node.host, node), b);
        assert_eq!(seen_source(&site.b.netns, &site.outside, inside), b);
    }
    let table = site.b.netns.run(|| std::fs::read_to_string("/proc/thread-self/net/arp").unwrap()).unwrap();
    assert!(!table.contains("02:00:00:6c:69:65"), "{table}");
}

/// A host that takes router advertisements even though it forwards, as some are set up, takes none of a pod's.
#[test]
fn fault_47_no_pod_advertises_itself_as_the_nodes_router() {
    let node = Node::new();
    node.host.sysctl("net/ipv6/conf/default/accept_ra", "2").unwrap();
    let site = Site::on(node);
    let before = routes(&site.node.host);
    let Addresses { a, node, .. } = site.families[1];
    // Type 134, for half an hour, and a prefix that is on the link and to be used (RFC 4861 §4.2, §4.6.2).
    let mut advertisement = vec![134, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0];
    advertisement.extend([3, 4, 64, 0xc0, 0, 0, 0x07, 0x08, 0, 0, 0x07, 0x08, 0, 0, 0, 0]);
    advertisement.extend([0x20, 1, 0xd, 0xb8, 0, 0x66, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let (socket, target) = receiver(&site.node.host, node);
    tell_everybody(&site.a.netns, &advertisement);
    send(&site.a.netns, a, "behind it", target);
    assert_eq!(receive(&socket).0, "behind it");
    assert_eq!(routes(&site.node.host), before);
    assert_eq!(site.dropped("no pod is a router"), 1);
}

/// Sends an ICMPv6 message to all on the pod's link, from its own address there.
fn tell_everybody(pod: &Namespace, message: &[u8]) {
    let everybody = SocketAddrV6::new("ff02::1".parse().unwrap(), 0, 0, link(pod));
    let tell = || {
        let socket = socket(AddressFamily::INET6, SocketType::RAW, Some(ipproto::ICMPV6)).unwrap();
        set_ipv6_multicast_hops(&socket, 255).unwrap();
        UdpSocket::from(socket).send_to(message, everybody).unwrap();
    };
    pod.run(tell).unwrap();
}

/// All routes, in an order.
fn routes(node: &Namespace) -> Vec<String> {
    let mut routes: Vec<_> = node.routes().unwrap().iter().map(|route| format!("{route:?}")).collect();
    routes.sort();
    routes
}

/// The number of a pod's link.
fn link(pod: &Namespace) -> u32 {
    pod.links().unwrap().iter().find(|link| link.name == "eth0").unwrap().index
}

/// As a socket of both families writes it.
fn mapped(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) => SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port()),
        SocketAddr::V6(_) => address,
    }
}

fn neighbour_events(node: &Namespace) -> netlink_sys::Socket {
    const RTMGRP_NEIGH: u32 = 4;
    let open = || {
        let mut socket = netlink_sys::Socket::new(netlink_sys::protocols::NETLINK_ROUTE).unwrap();
        socket.bind(&netlink_sys::SocketAddr::new(0, RTMGRP_NEIGH)).unwrap();
        socket
    };
    node.run(open).unwrap()
}

/// Waits until the node believes that each of these addresses is at this hardware address.
fn await_claims(events: &netlink_sys::Socket, hardware: &[u8], addresses: [IpAddr; 2]) {
    let deadline = Instant::now() + PATIENCE;
    let mut missing = addresses.to_vec();
    while !missing.is_empty() {
        assert!(await_readable(events.as_fd(), deadline), "the node does not believe {missing:?}");
        let (event, _) = events.recv_from_full().unwrap();
        let has = |octets: &[u8]| event.windows(octets.len()).any(|window| window == octets);
        missing.retain(|address| {
            let named = match address {
                IpAddr::V4(address) => has(&address.octets()),
                IpAddr::V6(address) => has(&address.octets()),
            };
            !(named && has(hardware))
        });
    }
}
