//! Peers that are found: at the other end of an interface, and by the default route.

use muslin_bgp_packet::Family;
use muslin_bgp_speaker::config::RemoteAs;

use super::{node, plan_of, resource, uplink};
use crate::{DefaultGateway, Interface, KernelFacts, Neighbour, NodePlan};

/// A node whose address is on its loopback, with these interfaces, ready all.
fn facts(interfaces: &[&str]) -> KernelFacts {
    let interface = |name: &&str| Interface { name: (*name).into(), mtu: 9000, ready: true, fault: None };
    KernelFacts {
        uplink_mtu: None,
        interfaces: interfaces.iter().map(interface).collect(),
        ..uplink(&["10.255.0.1/32"])
    }
}

fn hearing(interfaces: &[&str], neighbours: &[(&str, &str)]) -> KernelFacts {
    let neighbour = |(interface, address): &(&str, &str)| Neighbour {
        interface: (*interface).into(),
        address: address.parse().unwrap(),
    };
    KernelFacts { neighbours: neighbours.iter().map(neighbour).collect(), ..facts(interfaces) }
}

fn with(facts: &KernelFacts, spec: &str) -> NodePlan {
    let manifest = node("n1", &["10.255.0.1"], &["10.244.1.0/24"]) + &resource("BGPPeer", "tor", spec);
    plan_of(&manifest, facts, "n1")
}

fn peers(plan: &NodePlan) -> Vec<(String, String, Option<String>)> {
    let peers = plan.speaker.peers.iter();
    peers
        .map(|peer| {
            (peer.key.to_string(), peer.address.to_string(), peer.interface.as_deref().map(str::to_owned))
        })
        .collect()
}

fn awaited(plan: &NodePlan) -> Vec<String> {
    plan.discovery.awaited.iter().map(ToString::to_string).collect()
}

fn peer(key: &str, address: &str, interface: Option<&str>) -> (String, String, Option<String>) {
    (key.to_owned(), address.to_owned(), interface.map(str::to_owned))
}

#[test]
fn rfc8950_2_a_peer_on_an_interface_is_whoever_advertises_there() {
    let plan =
        with(&hearing(&["eth0", "eth1"], &[("eth0", "fe80::1")]), "interface: eth0, peerASN: external");
    assert_eq!(peers(&plan), [peer("tor/eth0", "fe80::1", Some("eth0"))]);
    let session = &plan.speaker.peers[0].session;
    assert_eq!(session.families, [Family::Ipv4Unicast, Family::Ipv6Unicast]);
    assert!(session.extended_next_hop, "IPv4 routes have no other next hop");
    assert_eq!(session.remote_as, RemoteAs::External);
    assert_eq!((plan.problems.len(), awaited(&plan).len()), (0, 0));
    let looked: Vec<_> = plan.discovery.interfaces.iter().map(|on| (&*on.value, &*on.cause)).collect();
    assert_eq!(looked, [("eth0", "BGPPeer tor .spec.interface")]);
    assert_eq!(plan.mtu, Some(9000), "pods have the MTU of the way out");
}

#[test]
fn rfc8950_2_a_peer_that_is_not_found_yet_is_awaited_with_a_remedy() {
    let plan = with(&facts(&["eth0"]), "interface: eth0, peerASN: external");
    assert_eq!(peers(&plan), []);
    assert_eq!(plan.problems, [], "nothing is wrong yet");
    assert_eq!(
        awaited(&plan),
        ["peer tor/eth0: waiting for a router advertisement on eth0; let the router send them (FRR: \
             `neighbor eth0 interface`; others: `no ipv6 nd suppress-ra`), or write its link-local `peerAddress`"],
    );
    let mut down = facts(&["eth0"]);
    down.interfaces[0].ready = false;
    let plan = with(&down, "interface: eth0, peerASN: external");
    assert!(awaited(&plan)[0].starts_with("peer tor/eth0: eth0 has no carrier or no link-local address; "));
    down.interfaces[0].fault = Some("router advertisements on eth0 need CAP_NET_RAW: …".to_owned());
    let plan = with(&down, "interface: eth0, peerASN: external");
    assert!(awaited(&plan)[0].starts_with("peer tor/eth0: router advertisements on eth0 need CAP_NET_RAW"));
    let plan = with(&facts(&["eth0"]), "interface: eth7, peerASN: external");
    assert!(awaited(&plan)[0].starts_with("peer tor/eth7: there is no interface eth7; correct the name"));
    assert!(!plan.discovery.awaited[0].expected);
    let plan = with(&facts(&["eth0"]), "interface: eth0, peerASN: external, shutdown: later");
    assert_eq!(awaited(&plan), [""; 0]);
}

#[test]
fn rfc8950_2_two_links_to_one_router_are_two_sessions() {
    let heard = hearing(&["eth0", "eth1", "mgmt0"], &[("eth0", "fe80::1"), ("eth1", "fe80::1")]);
    for spec in ["interface: eth*", "interfaces: [eth0, eth1]", "interfaces: [eth0, \"eth*\"]"] {
        let plan = with(&heard, &format!("{spec}, peerASN: 65000"));
        assert_eq!(
            peers(&plan),
            [peer("tor/eth0", "fe80::1", Some("eth0")), peer("tor/eth1", "fe80::1", Some("eth1"))],
            "{spec}"
        );
        assert_eq!(plan.speaker.validate(), Ok(()));
        assert_eq!(plan.problems, []);
    }
}

#[test]
fn of_two_objects_for_one_interface_the_written_address_counts() {
    let manifest = node("n1", &["10.255.0.1"], &[])
        + &resource("BGPPeer", "a", "interface: eth0, peerASN: external")
        + &resource("BGPPeer", "b", "interface: eth0, peerAddress: \"fe80::1\", peerASN: external");
    let plan = plan_of(&manifest, &hearing(&["eth0"], &[("eth0", "fe80::1")]), "n1");
    assert_eq!(peers(&plan), [peer("b", "fe80::1", Some("eth0"))]);
    assert!(
        plan.problems[0]
            .to_string()
            .ends_with("BGPPeer a .spec.interface: BGPPeer b has fe80::1 already; remove one of the two")
    );
}

fn gateway(address: &str, interface: &str, metric: u32) -> DefaultGateway {
    DefaultGateway { address: address.parse().unwrap(), interface: interface.into(), metric }
}

#[test]
fn the_default_gateways_of_the_lowest_metric_are_peers() {
    let facts = KernelFacts {
        default_gateways: vec![
            gateway("172.30.1.1", "eth0", 100),
            gateway("172.31.1.1", "eth1", 100),
            gateway("192.168.0.1", "wlan0", 600),
            gateway("fe80::1", "eth0", 1024),
        ],
        ..uplink(&["172.30.1.2/24"])
    };
    let plan = with(&facts, "autoDiscovery: {mode: DefaultGateway}, peerASN: 65000");
    assert_eq!(
        peers(&plan),
        [
            peer("tor/172.30.1.1", "172.30.1.1", None),
            peer("tor/172.31.1.1", "172.31.1.1", None),
            peer("tor/fe80::1%eth0", "fe80::1", Some("eth0")),
        ],
    );
    let families: Vec<_> = plan
        .speaker
        .peers
        .iter()
        .map(|peer| (peer.session.families.clone(), peer.session.extended_next_hop))
        .collect();
    assert_eq!(families[0], (vec![Family::Ipv4Unicast], false));
    assert_eq!(families[2], (vec![Family::Ipv6Unicast], false));
    let plan = with(&facts, "autoDiscovery: {mode: DefaultGateway, addressFamily: IPv6}, peerASN: 65000");
    assert_eq!(peers(&plan).len(), 1);
    let both = "families: [IPv4, IPv6]";
    let spec =
        format!("autoDiscovery: {{mode: DefaultGateway, addressFamily: IPv6}}, peerASN: 65000, {both}");
    assert!(with(&facts, &spec).speaker.peers[0].session.extended_next_hop);
}

#[test]
fn a_node_without_a_default_route_says_so() {
    let plan =
        with(&facts(&["eth0"]), "autoDiscovery: {mode: DefaultGateway, addressFamily: IPv4}, peerASN: 1");
    assert_eq!(
        awaited(&plan),
        [
            "peer tor/gateway: this node has no default route for IPv4 of its own; add one, or name the peer's \
             `peerAddress`; one that was learned by BGP does not count"
        ],
    );
}
