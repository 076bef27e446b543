//! Probes and witnesses on links with static routes: what they must see, and what they must not.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::net::IpAddr;
use std::time::Duration;

use muslin_lab::capture::{Carried, Direction, Sightings, Witness};
use muslin_lab::probe::{Answer, Host, Protocol, Responders, ask, fire};
use muslin_lab::{Dual, Family};
use muslin_netns::{Namespace, connect};

type Outcome = Result<(), Box<dyn std::error::Error>>;

const PATIENCE: Duration = Duration::from_secs(3);

/// `left` and `right` with a router between them.
struct Line {
    left: Host,
    router: Namespace,
    right: Host,
}

impl Line {
    fn new() -> Result<Self, Box<dyn std::error::Error>> {
        let router = Namespace::new("router")?;
        router.sysctl("net/ipv4/ip_forward", "1")?;
        router.sysctl("net/ipv6/conf/all/forwarding", "1")?;
        let host = |name: &str, net: u8| -> Result<Host, Box<dyn std::error::Error>> {
            let namespace = Namespace::new(name)?;
            connect(&namespace, "eth0", &router, name)?;
            let addresses =
                Dual { v4: [10, 0, net, 2].into(), v6: [0xfd00, 0, 0, net.into(), 0, 0, 0, 2].into() };
            namespace.add_address("eth0", format!("10.0.{net}.2/24").parse()?)?;
            namespace.add_address("eth0", format!("fd00:0:0:{net}::2/64").parse()?)?;
            router.add_address(name, format!("10.0.{net}.1/24").parse()?)?;
            router.add_address(name, format!("fd00:0:0:{net}::1/64").parse()?)?;
            namespace.add_route("0.0.0.0/0".parse()?, format!("10.0.{net}.1").parse()?)?;
            namespace.add_route("::/0".parse()?, format!("fd00:0:0:{net}::1").parse()?)?;
            Ok(Host { name: name.to_owned(), namespace, addresses })
        };
        Ok(Self { left: host("left", 1)?, right: host("right", 2)?, router })
    }

    fn targets(&self) -> [IpAddr; 2] {
        Family::BOTH.map(|family| self.right.addresses.get(family))
    }
}

/// TTLs of such packets from `source` to either address of `to`.
fn ttls(seen: &Sightings, direction: Direction, source: IpAddr, to: &Host, carried: Carried) -> Vec<u8> {
    let to = to.addresses.get(Family::of(source));
    let matching = seen.keys().filter(|sighting| {
        sighting.direction == direction
            && sighting.source == source
            && sighting.destination == to
            && sighting.carried == carried
    });
    matching.map(|sighting| sighting.ttl).collect()
}

#[test]
fn every_protocol_is_answered_with_the_source_that_was_seen() -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let _context = runtime.enter();
    let line = Line::new()?;
    let _responders = Responders::start(std::slice::from_ref(&line.right))?;
    let witness = Witness::start(&line.right.namespace)?;
    let answers = ask(&line.left, &line.targets(), &Protocol::ALL, PATIENCE)?;
    let seen = witness.take();
    for family in Family::BOTH {
        let (own, target) = (line.left.addresses.get(family), line.right.addresses.get(family));
        for protocol in Protocol::ALL {
            let told = (protocol != Protocol::Icmp).then_some(own);
            assert_eq!(answers[&(target, protocol)], Answer::From(told), "{protocol:?} {family:?}");
            assert_eq!(
                ttls(&seen, Direction::In, own, &line.right, protocol.carried()),
                [63],
                "{protocol:?} {family:?}"
            );
        }
    }
    Ok(())
}

#[test]
fn a_witness_at_the_router_sees_both_sides_of_the_way() -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let _context = runtime.enter();
    let line = Line::new()?;
    let witness = Witness::start(&line.router)?;
    ask(&line.left, &line.targets(), &[Protocol::Icmp], PATIENCE)?;
    let seen = witness.take();
    for family in Family::BOTH {
        let own = line.left.addresses.get(family);
        assert_eq!(ttls(&seen, Direction::In, own, &line.right, Carried::EchoRequest), [64]);
        assert_eq!(ttls(&seen, Direction::Out, own, &line.right, Carried::EchoRequest), [63]);
    }
    assert!(witness.take().is_empty(), "what was taken is not seen again");
    Ok(())
}

#[test]
fn what_is_fired_leaves_and_without_a_route_never_arrives() -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let _context = runtime.enter();
    let line = Line::new()?;
    for route in ["10.0.2.0/24", "fd00:0:0:2::/64"] {
        line.router.remove_route(route.parse()?)?;
    }
    let (left, right) = (Witness::start(&line.left.namespace)?, Witness::start(&line.right.namespace)?);
    fire(&line.left, &line.targets())?;
    // Answered by the router after it has dealt with everything before it on this link.
    let near: [IpAddr; 2] = ["10.0.1.1".parse()?, "fd00:0:0:1::1".parse()?];
    let control = ask(&line.left, &near, &[Protocol::Icmp], PATIENCE)?;
    assert!(control.values().all(|answer| *answer != Answer::None), "{control:?}");
    let (left, right) = (left.take(), right.take());
    for family in Family::BOTH {
        let own = line.left.addresses.get(family);
        for protocol in Protocol::ALL {
            assert_eq!(
                ttls(&left, Direction::Out, own, &line.right, protocol.carried()),
                [64],
                "{protocol:?} {family:?}"
            );
            assert_eq!(ttls(&right, Direction::In, own, &line.right, protocol.carried()), [0u8; 0]);
        }
    }
    Ok(())
}

#[test]
fn nobody_listening_is_no_answer_and_does_not_take_longer_than_patience() -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let _context = runtime.enter();
    let line = Line::new()?;
    let begun = std::time::Instant::now();
    let patience = Duration::from_millis(200);
    let answers = ask(&line.left, &line.targets(), &[Protocol::Tcp, Protocol::Udp], patience)?;
    assert!(answers.values().all(|answer| *answer == Answer::None), "{answers:?}");
    assert_eq!(answers.len(), 4);
    assert!(begun.elapsed() < 10 * patience);
    Ok(())
}
