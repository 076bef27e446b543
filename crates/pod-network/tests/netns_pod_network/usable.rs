//! What a pod can rely on the moment its ADD has returned.

use std::net::{IpAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::ScopedJoinHandle;

use muslin_netns::{Namespace, connect};

use crate::node::{Node, PATIENCE, Pod};

/// Pods that are added at a time, and how often.
const PODS: usize = 4;
const ROUNDS: usize = 25;
/// Those who make and remove links elsewhere all the while: the kernel makes an IPv6 address local once its work queue
/// gets the lock that they all want.
const BUSY: usize = 6;

/// Links come and go until `over`.
fn be_busy(number: usize, over: &AtomicBool) {
    let namespace = |side: &str| Namespace::new(&format!("busy-{number}-{side}")).unwrap();
    let (here, there) = (namespace("here"), namespace("there"));
    while !over.load(Ordering::Relaxed) {
        connect(&here, "eth0", &there, "eth0").unwrap();
        here.remove_link("eth0").unwrap();
    }
}

/// Does a packet that the pod sends to its own address come back?
fn reaches_itself(pod: &Pod, address: IpAddr) -> bool {
    let talk = || {
        let socket = UdpSocket::bind((address, 0))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.send_to(b"hello", socket.local_addr()?)?;
        socket.recv(&mut [0; 5])
    };
    pod.netns.run(talk).unwrap().is_ok()
}

/// Has the node the gateway's address on the pod's link, to which the pod answers?
fn node_is_gateway(node: &Node, interface: &str) -> bool {
    const LOCAL: u32 = 255;
    let links = node.host.links().unwrap();
    let index = links.iter().find(|link| link.name == interface).unwrap().index;
    let gateway = "fe80::1/128".parse().unwrap();
    let is_it = |route: &muslin_netns::Route| {
        let on_link = route.next_hops.iter().any(|hop| hop.interface == index);
        route.table == LOCAL && route.prefix == gateway && on_link
    };
    node.host.routes().unwrap().iter().any(is_it)
}

#[test]
fn an_add_on_a_busy_node_returns_when_the_pods_ipv6_address_can_be_used() {
    let (node, over) = (Node::new(), AtomicBool::new(false));
    let add_and_look = |lane: usize| {
        let mut early = Vec::new();
        for round in 0..ROUNDS {
            let pod = Pod::new(&format!("pod-{lane}-{round}"));
            let answer = node.add(&pod);
            if !node_is_gateway(&node, &answer.host_interface()) {
                early.push(format!("{}: the node is not yet its gateway", pod.container));
            }
            for address in answer.addresses() {
                if !reaches_itself(&pod, address) {
                    early.push(format!("{} cannot reach its own {address}", pod.container));
                }
            }
            node.del(&pod);
        }
        early
    };
    let early: Vec<String> = std::thread::scope(|scope| {
        for number in 0..BUSY {
            let over = &over;
            scope.spawn(move || be_busy(number, over));
        }
        let lanes: Vec<_> = (0..PODS).map(|lane| scope.spawn(move || add_and_look(lane))).collect();
        let early = lanes.into_iter().map(ScopedJoinHandle::join).collect::<Vec<_>>();
        over.store(true, Ordering::Relaxed);
        early.into_iter().flat_map(Result::unwrap).collect()
    });
    assert!(early.is_empty(), "{} of {}: {early:#?}", early.len(), PODS * ROUNDS);
}
