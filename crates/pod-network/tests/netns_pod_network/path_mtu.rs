//! A link on the way that carries less than pods send: who says so to whom, and whether it is heard.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;

use ipnet::IpNet;
use muslin_netns::{Namespace, connect};
use muslin_pod_network::{FirewallPlan, Masquerade, firewall};
use rustix::net::sockopt::{
    Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ipv6_mtu_discover,
};
use rustix::net::{AddressFamily, SocketType, ipproto, socket};

use crate::firewall::plan;
use crate::node::{Node, PATIENCE, Pod, await_local};

/// What the router's links to the second node and to the outside carry; everything else carries 1500.
const NARROW: u32 = 1400;
const SENT: usize = 60_000;

/// Two nodes, a pod on each with an interface of 1500, and a router between them.
struct Site {
    nodes: [Node; 2],
    pods: [Pod; 2],
    outside: Namespace,
    _router: Namespace,
    /// IPv4 and IPv6.
    families: [Addresses; 2],
}

#[derive(Clone, Copy)]
struct Addresses {
    pods: [IpAddr; 2],
    /// Of the second node, on the narrow link.
    node: IpAddr,
    /// Of the router, on the first node's link.
    router: IpAddr,
    outside: IpAddr,
}

impl Site {
    fn new() -> Self {
        let blocks = [["10.244.1.0/24", "fd00:10:244:1::/64"], ["10.244.2.0/24", "fd00:10:244:2::/64"]];
        let (nodes, router) = (blocks.map(|blocks| Node::with_blocks(&blocks)), Namespace::new("r").unwrap());
        router.sysctl("net/ipv4/ip_forward", "1").unwrap();
        router.sysctl("net/ipv6/conf/all/forwarding", "1").unwrap();
        for (number, (node, blocks)) in (1..).zip(nodes.iter().zip(blocks)) {
            let link = format!("n{number}");
            connect(&node.host, "eth0", &router, &link).unwrap();
            let subnets =
                [(format!("192.0.{number}."), 24, "0.0.0.0/0"), (format!("2001:db8:{number}::"), 64, "::/0")];
            for ((subnet, length, everything), block) in subnets.iter().zip(blocks) {
                let address = |host: u8| ip(&format!("{subnet}{host}"));
                node.host.add_address("eth0", IpNet::new(address(1), *length).unwrap()).unwrap();
                router.add_address(&link, IpNet::new(address(254), *length).unwrap()).unwrap();
                node.host.add_route(everything.parse().unwrap(), address(254)).unwrap();
                router.add_route(block.parse().unwrap(), address(1)).unwrap();
            }
            let masquerade = Masquerade {
                pod_ranges: blocks.map(|block| block.parse().unwrap()).into(),
                ..plan().masquerade
            };
            let plan = FirewallPlan { masquerade, ..plan() };
            node.host.run(|| firewall::apply(&plan)).unwrap().unwrap();
        }
        nodes[1].host.set_mtu("eth0", NARROW).unwrap();
        router.set_mtu("n2", NARROW).unwrap();
        let pods = ["a", "b"].map(Pod::new);
        let given = [0, 1].map(|number: usize| nodes[number].add(&pods[number]).addresses());
        let outside = Namespace::new("outside").unwrap();
        connect(&router, "out", &outside, "eth0").unwrap();
        // Who sees a narrow link of its own asks for small packets from the first one on.
        router.set_mtu("out", NARROW).unwrap();
        let families = [
            ("192.0.2.1", "192.0.1.254", "203.0.113.254/24", "203.0.113.9/24", "0.0.0.0/0"),
            ("2001:db8:2::1", "2001:db8:1::254", "2001:db8:9::254/64", "2001:db8:9::9/64", "::/0"),
        ];
        let families = [0, 1].map(|family: usize| {
            let (node, at_first, gateway, out, everything) = families[family];
            let (gateway, out): (IpNet, IpNet) = (gateway.parse().unwrap(), out.parse().unwrap());
            router.add_address("out", gateway).unwrap();
            outside.add_address("eth0", out).unwrap();
            await_local(&outside, &[out.addr()]);
            outside.add_route(everything.parse().unwrap(), gateway.addr()).unwrap();
            Addresses {
                pods: [given[0][family], given[1][family]],
                node: ip(node),
                router: ip(at_first),
                outside: out.addr(),
            }
        });
        Self { nodes, pods, outside, _router: router, families }
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Hears every ICMP message that `pod` gets.
fn icmp(pod: &Pod, family: IpAddr) -> UdpSocket {
    let open = || match family {
        IpAddr::V4(_) => socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::ICMP)).unwrap(),
        IpAddr::V6(_) => socket(AddressFamily::INET6, SocketType::RAW, Some(ipproto::ICMPV6)).unwrap(),
    };
    let socket = UdpSocket::from(pod.netns.run(open).unwrap());
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// The sender of the next word that a packet was too large, and the size that it names.
fn too_large(icmp: &UdpSocket) -> (IpAddr, u32) {
    let mut packet = [0; 2048];
    loop {
        let (_, sender) = icmp.recv_from(&mut packet).unwrap();
        let size = |at: usize| u32::from_be_bytes(packet[at..at + 4].try_into().unwrap());
        // RFC 792 and 1191 behind an IP header of 20 octets, RFC 4443 §3.2 without.
        match sender.ip() {
            source @ IpAddr::V4(_) if packet[20..22] == [3, 4] => return (source, size(24) & 0xffff),
            source @ IpAddr::V6(_) if packet[..2] == [2, 0] => return (source, size(4)),
            _ => {}
        }
    }
}

/// Sends `SENT` octets over one connection and returns whom the listener saw.
fn transfer(from: &Namespace, at: &Namespace, to: IpAddr) -> IpAddr {
    let listener = at.run(|| TcpListener::bind((to, 0)).unwrap()).unwrap();
    let target = listener.local_addr().unwrap();
    let mut sender = from.run(|| TcpStream::connect_timeout(&target, PATIENCE).unwrap()).unwrap();
    let (mut receiver, seen) = listener.accept().unwrap();
    receiver.set_read_timeout(Some(PATIENCE)).unwrap();
    let sent: Vec<u8> = (0..SENT).map(|octet| octet as u8).collect();
    let mut received = vec![0; SENT];
    thread::scope(|scope| {
        scope.spawn(|| sender.write_all(&sent).unwrap());
        receiver.read_exact(&mut received).unwrap();
    });
    assert_eq!(received, sent);
    seen.ip()
}

/// A UDP socket whose packets nobody may cut.
fn uncut(at: &Namespace, address: IpAddr) -> UdpSocket {
    let socket = at.run(|| UdpSocket::bind((address, 0)).unwrap()).unwrap();
    match address {
        IpAddr::V4(_) => set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::DO).unwrap(),
        IpAddr::V6(_) => set_ipv6_mtu_discover(&socket, Ipv6PathMtuDiscovery::DO).unwrap(),
    }
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

#[test]
fn fault_33_a_narrow_link_on_the_way_is_learned_of_by_tcp_in_both_directions() {
    // Who has learned of it tells the other with its first packet, so each direction has hosts of its own.
    for from in [0, 1] {
        let site = Site::new();
        for Addresses { pods, node, router, .. } in site.families {
            // From the first node the router finds that a packet is too large, from the second its own node does.
            let finder = [router, node][from];
            let (sender, receiver, to) = (&site.pods[from], &site.pods[1 - from], pods[1 - from]);
            let heard = icmp(sender, to);
            assert_eq!(transfer(&sender.netns, &receiver.netns, to), pods[from]);
            assert_eq!(too_large(&heard), (finder, NARROW), "on the way to {to}");
        }
    }
}

#[test]
fn fault_33_a_datagram_that_nobody_may_cut_is_refused_with_the_size_that_fits() {
    let site = Site::new();
    let [a, b] = &site.pods;
    for Addresses { pods: [to_a, to_b], node, router, .. } in site.families {
        let headers = if to_a.is_ipv4() { 28 } else { 48 };
        for (from, at, to, finder) in [(a, b, to_b, router), (b, a, to_a, node)] {
            let (heard, receiver) = (icmp(from, to), uncut(&at.netns, to));
            let source = if from.container == "a" { to_a } else { to_b };
            let sender = uncut(&from.netns, source);
            let target: SocketAddr = receiver.local_addr().unwrap();
            let send = |size: u32| sender.send_to(&vec![0; (size - headers) as usize], target);
            send(1500).unwrap();
            assert_eq!(too_large(&heard), (finder, NARROW), "on the way to {to}");
            // What was learned holds for the next one.
            let refused = send(NARROW + 1).unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(libc::EMSGSIZE), "{refused}");
            send(NARROW).unwrap();
            let mut buffer = [0; 2048];
            let (length, seen) = receiver.recv_from(&mut buffer).unwrap();
            assert_eq!(
                (length, seen.ip()),
                ((NARROW - headers) as usize, source),
                "the first one did not arrive"
            );
        }
    }
}

#[test]
fn fault_33_word_of_a_narrow_link_outside_the_cluster_comes_back_through_the_masquerade() {
    let site = Site::new();
    let first = &site.nodes[0];
    for Addresses { pods: [a, _], router, outside, .. } in site.families {
        let heard = icmp(&site.pods[0], a);
        let seen = transfer(&site.pods[0].netns, &site.outside, outside);
        let own: Vec<IpAddr> = first.host.addresses("eth0").unwrap().iter().map(IpNet::addr).collect();
        assert!(own.contains(&seen), "{seen} was not masqueraded");
        assert_eq!(too_large(&heard), (router, NARROW), "on the way to {outside}");
    }
}
