//! Real packets: what passes, with which source, and what does not.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};

use ipnet::IpNet;
use muslin_netns::{Namespace, connect};
use muslin_pod_network::firewall;
use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto, sendto, socket};

use crate::firewall::plan;
use crate::node::{Node, PATIENCE, Pod, await_local, is_tracked, nft};

/// A node with two pods, the firewall, and a neighbour that it sends its packets to and that knows the way back.
pub(crate) struct Site {
    pub(crate) node: Node,
    pub(crate) a: Pod,
    pub(crate) b: Pod,
    pub(crate) outside: Namespace,
    /// IPv4 and IPv6.
    pub(crate) families: [Addresses; 2],
}

/// Who has which address in one family.
#[derive(Clone, Copy)]
pub(crate) struct Addresses {
    pub(crate) a: IpAddr,
    pub(crate) b: IpAddr,
    pub(crate) node: IpAddr,
    /// Of the neighbour: inside the cluster's ranges, outside of them, and a Service's, whose packets it would be
    /// glad to get.
    pub(crate) inside: IpAddr,
    pub(crate) outside: IpAddr,
    pub(crate) service: IpAddr,
    /// Nobody's.
    pub(crate) stranger: IpAddr,
    /// How `nft` calls the family.
    pub(crate) word: &'static str,
}

impl Site {
    pub(crate) fn new() -> Self {
        Self::on(Node::new())
    }

    pub(crate) fn on(node: Node) -> Self {
        let outside = Namespace::new("outside").unwrap();
        connect(&node.host, "eth0", &outside, "eth0").unwrap();
        let (a, b) = (Pod::new("a"), Pod::new("b"));
        let (a_addresses, b_addresses) = (node.add(&a).addresses(), node.add(&b).addresses());
        let families = [
            Addresses {
                a: a_addresses[0],
                b: b_addresses[0],
                node: ip("192.0.2.1"),
                inside: ip("192.0.2.2"),
                outside: ip("203.0.113.9"),
                service: ip("10.96.0.10"),
                stranger: ip("192.0.2.66"),
                word: "ip",
            },
            Addresses {
                a: a_addresses[1],
                b: b_addresses[1],
                node: ip("2001:db8::1"),
                inside: ip("2001:db8::2"),
                outside: ip("2001:db8:9::9"),
                service: ip("fd00:10:96::10"),
                stranger: ip("2001:db8::66"),
                word: "ip6",
            },
        ];
        let mut plan = plan();
        for (family, pods) in families.iter().zip(["10.244.1.0/24", "fd00:10:244:1::/64"]) {
            let (length, everything) = if family.node.is_ipv4() { (24, "0.0.0.0/0") } else { (64, "::/0") };
            node.host.add_address("eth0", IpNet::new(family.node, length).unwrap()).unwrap();
            outside.add_address("eth0", IpNet::new(family.inside, length).unwrap()).unwrap();
            outside.add_address("lo", IpNet::from(family.outside)).unwrap();
            outside.add_address("lo", IpNet::from(family.service)).unwrap();
            node.host.add_route(everything.parse().unwrap(), family.inside).unwrap();
            outside.add_route(pods.parse().unwrap(), family.node).unwrap();
            plan.masquerade.never.push(IpNet::from(family.inside));
        }
        node.host.run(|| firewall::apply(&plan)).unwrap().unwrap();
        for Addresses { node: own, inside, outside: other, service, .. } in families {
            await_local(&node.host, &[own]);
            await_local(&outside, &[inside, other, service]);
        }
        Self { node, a, b, outside, families }
    }

    /// How many packets the rules with this comment have dropped.
    pub(crate) fn dropped(&self, comment: &str) -> u64 {
        let text = nft(&self.node.host, &["-j", "list", "table", "inet", firewall::TABLE]);
        let listing: serde_json::Value = serde_json::from_str(&text).unwrap();
        let rules = listing["nftables"].as_array().unwrap().iter().map(|object| &object["rule"]);
        let ours = rules.filter(|rule| rule["comment"] == comment);
        let expressions = ours.flat_map(|rule| rule["expr"].as_array().unwrap());
        expressions.filter_map(|expression| expression["counter"]["packets"].as_u64()).sum()
    }
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Who the listener sees when `from` connects to `to` in the namespace `at`.
pub(crate) fn seen_source(from: &Namespace, at: &Namespace, to: IpAddr) -> IpAddr {
    let listener = at.run(|| TcpListener::bind((to, 0)).unwrap()).unwrap();
    let target = listener.local_addr().unwrap();
    let connected = from.run(|| TcpStream::connect_timeout(&target, PATIENCE)).unwrap();
    let _connected = connected.unwrap_or_else(|error| panic!("to {target}: {error}"));
    listener.accept().unwrap().1.ip()
}

/// A UDP socket in `at` that gives up after a while.
pub(crate) fn receiver(at: &Namespace, address: IpAddr) -> (UdpSocket, SocketAddr) {
    let socket = at.run(|| UdpSocket::bind((address, 0)).unwrap()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

pub(crate) fn receive(socket: &UdpSocket) -> (String, IpAddr) {
    let mut buffer = [0; 100];
    let (length, from) = socket.recv_from(&mut buffer).unwrap();
    (String::from_utf8_lossy(&buffer[..length]).into_owned(), from.ip())
}

pub(crate) fn send(from: &Namespace, source: IpAddr, text: &str, to: SocketAddr) {
    from.run(|| UdpSocket::bind((source, 0)).unwrap().send_to(text.as_bytes(), to).unwrap()).unwrap();
}

#[test]
fn pods_reach_each_other_and_the_node_and_are_seen_by_their_own_addresses() {
    let site = Site::new();
    for Addresses { a, b, node, .. } in site.families {
        assert_eq!(seen_source(&site.a.netns, &site.b.netns, b), a);
        assert_eq!(seen_source(&site.b.netns, &site.a.netns, a), b);
        assert_eq!(seen_source(&site.a.netns, &site.node.host, node), a);
        assert_eq!(seen_source(&site.node.host, &site.a.netns, a), node);
    }
}

#[test]
fn the_first_packet_leaves_at_once_because_there_is_no_neighbour_to_be_found() {
    let site = Site::new();
    for Addresses { a, node, .. } in site.families {
        let (socket, target) = receiver(&site.node.host, node);
        send(&site.a.netns, a, "first", target);
        assert_eq!(receive(&socket), ("first".to_owned(), a));
    }
    let table = site.a.netns.run(|| std::fs::read_to_string("/proc/thread-self/net/arp")).unwrap().unwrap();
    let permanent = "0x6";
    let entries: Vec<&str> = table.lines().skip(1).collect();
    assert!(matches!(entries[..], [entry] if entry.contains(permanent)), "{table}");
}

#[test]
fn outside_the_cluster_a_pod_has_its_nodes_address_and_inside_its_own() {
    let site = Site::new();
    for Addresses { a, node, inside, outside, .. } in site.families {
        assert_eq!(seen_source(&site.a.netns, &site.outside, outside), node);
        assert_eq!(seen_source(&site.a.netns, &site.outside, inside), a);
        assert_eq!(seen_source(&site.outside, &site.a.netns, a), inside, "and is reached by its own");
    }
}

#[test]
fn fault_21_a_service_address_that_nothing_translates_goes_nowhere() {
    let site = Site::new();
    for Addresses { a, node, inside, service, .. } in site.families {
        let (at_service, service) = receiver(&site.outside, service);
        let (at_inside, inside) = receiver(&site.outside, inside);
        send(&site.a.netns, a, "from a pod", service);
        send(&site.a.netns, a, "behind it", inside);
        assert_eq!(receive(&at_inside).0, "behind it");
        // The node's own conversations do not pass the forward hook.
        send(&site.node.host, node, "from the node", service);
        assert_eq!(receive(&at_service).0, "from the node", "the pod's packet left the node");
    }
    assert_eq!(site.dropped("a Service address that nothing translated"), 2);
}

#[test]
fn fault_21_what_connection_tracking_calls_invalid_goes_to_no_service_either() {
    let site = Site::new();
    for Addresses { a, inside, service, .. } in site.families {
        let (at_inside, inside) = receiver(&site.outside, inside);
        let domain = if service.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        // A reset of no connection; nothing translates it.
        let mut reset = [0; 20];
        (reset[1], reset[3], reset[12], reset[13]) = (80, 80, 5 << 4, 4);
        site.a
            .netns
            .run(|| {
                let raw = socket(domain, SocketType::RAW, Some(ipproto::TCP)).unwrap();
                sendto(&raw, &reset, SendFlags::empty(), &SocketAddr::new(service, 0)).unwrap();
            })
            .unwrap();
        send(&site.a.netns, a, "behind it", inside);
        assert_eq!(receive(&at_inside).0, "behind it");
    }
    assert_eq!(site.dropped("a Service address that nothing translated"), 2);
}

#[test]
fn a_service_address_that_is_translated_reaches_its_endpoint_with_the_pods_own_address() {
    let site = Site::new();
    for Addresses { a, b, service, word, .. } in site.families {
        let endpoint = SocketAddr::new(b, 80);
        let listener = site.b.netns.run(|| TcpListener::bind(endpoint).unwrap()).unwrap();
        // As kube-proxy does it.
        let rule = format!("{word} daddr {service} tcp dport 80 dnat to {endpoint}");
        let chain = format!("chain c {{ type nat hook prerouting priority dstnat; {rule}; }};");
        nft(&site.node.host, &[&format!("table {word} proxy {{ {chain} }}")]);
        let service = SocketAddr::new(service, 80);
        site.a.netns.run(|| TcpStream::connect_timeout(&service, PATIENCE)).unwrap().unwrap();
        assert_eq!(listener.accept().unwrap().1.ip(), a);
    }
}

#[test]
fn fault_26_who_gets_an_address_next_is_found_at_its_own_hardware_address() {
    let site = Site::new();
    let entries = |address: IpAddr| {
        let read = || std::fs::read_to_string("/proc/thread-self/net/arp").unwrap();
        let table = site.node.host.run(read).unwrap();
        let rows = table.lines().skip(1).map(|row| row.split_whitespace().map(str::to_owned).collect());
        rows.filter(|row: &Vec<String>| row[0] == address.to_string()).collect::<Vec<_>>()
    };
    let reached = |pod: &Pod| {
        for Addresses { a, node, .. } in site.families {
            assert_eq!(seen_source(&site.node.host, &pod.netns, a), node);
        }
    };
    reached(&site.a);
    let before = entries(site.families[0].a);
    let [entry] = &before[..] else { panic!("{before:?}") };
    site.node.del(&site.a);
    let next = Pod::new("next");
    let ips = site.families.map(|family| family.a.to_string());
    let config = serde_json::json!({ "restSeconds": 0, "runtimeConfig": { "ips": ips } });
    let added = site.node.call("ADD", Some(&next), &site.node.config_with(config), &[]);
    assert_eq!(added.addresses(), site.families.map(|family| family.a));
    reached(&next);
    let after = entries(site.families[0].a);
    assert!(
        matches!(&after[..], [new] if new[3] != entry[3] && new[5] == added.host_interface()),
        "{after:?}"
    );
}

#[test]
fn fault_38_without_proxy_arp_pods_go_on() {
    let site = Site::new();
    for interface in site.node.pod_interfaces() {
        site.node.host.sysctl(&format!("net/ipv4/conf/{interface}/proxy_arp"), "0").unwrap();
    }
    let Addresses { a, b, inside, .. } = site.families[0];
    assert_eq!(seen_source(&site.a.netns, &site.b.netns, b), a);
    assert_eq!(seen_source(&site.a.netns, &site.outside, inside), a);
    assert_eq!(seen_source(&site.outside, &site.a.netns, a), inside);
}

#[test]
fn fault_26_the_node_forgets_the_conversations_of_a_pod_that_is_gone() {
    let site = Site::new();
    for Addresses { a, b, outside, .. } in site.families {
        let (_socket, target) = receiver(&site.outside, outside);
        send(&site.a.netns, a, "tracked", target);
        send(&site.b.netns, b, "tracked", target);
        assert!(is_tracked(&site.node.host, a) && is_tracked(&site.node.host, b));
    }
    site.node.del(&site.a);
    site.node.await_pod_interfaces(1);
    for Addresses { a, b, .. } in site.families {
        assert!(!is_tracked(&site.node.host, a));
        assert!(is_tracked(&site.node.host, b), "others' conversations go on");
    }
}
