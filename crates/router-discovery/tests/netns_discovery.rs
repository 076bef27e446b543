//! Two machines on one cable find each other, over real sockets.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use muslin_netns::{LinkState, Namespace, connect};
use muslin_router_discovery::{Discovery, Found, Interface};
use tokio::runtime::Runtime;
use tokio::time::timeout;

/// The kernel takes up to two seconds until a new link-local address is usable.
const PATIENCE: Duration = Duration::from_secs(20);

/// A machine with one interface, `eth0`.
struct Machine {
    namespace: Namespace,
    runtime: Runtime,
    discovery: Discovery,
}

impl Machine {
    fn new(namespace: Namespace) -> Self {
        let runtime = namespace.run(|| {
            // Its threads start, and stay, in the namespace.
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
        });
        let runtime = runtime.unwrap();
        let discovery = runtime.block_on(async { Discovery::spawn() });
        let machine = Self { namespace, runtime, discovery };
        machine.namespace.sysctl("net/ipv6/conf/eth0/accept_dad", "0").unwrap();
        machine
    }

    fn interface(&self) -> Interface {
        let links = self.namespace.links().unwrap();
        let link = links.iter().find(|link| link.name == "eth0").unwrap();
        Interface {
            name: "eth0".into(),
            index: link.index,
            hardware: link.hardware_address[..].try_into().ok(),
            ready: true,
        }
    }

    fn follow(&self) {
        self.discovery.follow(BTreeSet::from([self.interface()]));
    }

    fn link_local(&self) -> Option<Ipv6Addr> {
        let addresses = self.namespace.addresses("eth0").unwrap();
        addresses.into_iter().find_map(|address| match address.addr() {
            IpAddr::V6(address) if address.is_unicast_link_local() => Some(address),
            _ => None,
        })
    }

    fn await_found(&self, what: &str, wanted: impl Fn(&Found) -> bool) -> Found {
        let mut found = self.discovery.watch();
        let result = self.runtime.block_on(async {
            timeout(PATIENCE, found.wait_for(|found| wanted(found))).await.map(|found| found.unwrap().clone())
        });
        result.unwrap_or_else(|_| {
            panic!("{what} within {PATIENCE:?}; found {:?}", self.discovery.watch().borrow())
        })
    }

    fn await_neighbour(&self, neighbour: Ipv6Addr) {
        self.await_found(&format!("{neighbour} is found"), |found| {
            found.neighbours.get("eth0") == Some(&neighbour)
        });
    }
}

fn pair() -> (Machine, Machine) {
    let (left, right) = (Namespace::new("left").unwrap(), Namespace::new("right").unwrap());
    connect(&left, "eth0", &right, "eth0").unwrap();
    (Machine::new(left), Machine::new(right))
}

/// Waits until the kernel has given the link its address.
fn address_of(machine: &Machine) -> Ipv6Addr {
    let begun = std::time::Instant::now();
    loop {
        if let Some(address) = machine.link_local() {
            return address;
        }
        assert!(begun.elapsed() < PATIENCE, "no link-local address");
        std::thread::yield_now();
    }
}

#[test]
fn rfc8950_2_two_machines_find_each_other_whoever_comes_first() {
    let (left, right) = pair();
    let (left_address, right_address) = (address_of(&left), address_of(&right));
    left.follow();
    right.follow();
    left.await_neighbour(right_address);
    right.await_neighbour(left_address);
    // An interface that nobody wants any more is forgotten.
    left.discovery.follow(BTreeSet::new());
    left.await_found("nothing is known", |found| *found == Found::default());
}

#[test]
fn rfc8950_2_a_new_address_of_the_neighbour_is_found() {
    let (left, right) = pair();
    let (old, new) = (address_of(&right), "fe80::abcd");
    left.follow();
    right.follow();
    left.await_neighbour(old);
    right.namespace.add_address("eth0", format!("{new}/64").parse().unwrap()).unwrap();
    right.namespace.remove_address("eth0", format!("{old}/64").parse().unwrap()).unwrap();
    left.await_neighbour(new.parse().unwrap());
}

#[test]
fn an_interface_that_is_gone_is_a_fault_that_says_so() {
    let (left, right) = pair();
    left.follow();
    left.namespace.remove_link("eth0").unwrap();
    drop(right);
    let mut gone = interface_that_was();
    gone.index = 4000;
    left.discovery.follow(BTreeSet::from([gone]));
    let found = left.await_found("a fault", |found| !found.faults.is_empty());
    assert!(found.faults["eth0"].starts_with("router advertisements on eth0: "), "{found:?}");
}

fn interface_that_was() -> Interface {
    Interface { name: "eth0".into(), index: 0, hardware: None, ready: true }
}

/// Without carrier nothing can be sent; when it is back the same neighbour is known still.
#[test]
fn a_link_that_flaps_keeps_its_neighbour() {
    let (left, right) = pair();
    let address = address_of(&right);
    left.follow();
    right.follow();
    left.await_neighbour(address);
    left.namespace.set_link("eth0", LinkState::Down).unwrap();
    left.discovery.follow(BTreeSet::from([Interface { ready: false, ..left.interface() }]));
    left.namespace.set_link("eth0", LinkState::Up).unwrap();
    left.follow();
    left.await_neighbour(address);
}
