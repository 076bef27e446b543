use std::collections::HashMap;

use super::super::evidence::{Member, Wire};
use super::*;
use crate::addresses::Dual;
use crate::blueprint::Blueprint;
use crate::capture::{Sighting, Sightings};
use crate::options::LabOptions;

/// A lab of one router in which all goes as it should; node links of the router have index 1 and 2.
struct Fabric(Evidence);

impl Fabric {
    fn sound() -> Self {
        let blueprint = Blueprint::new(&LabOptions { nodes: 2, pods: 1, ..LabOptions::default() });
        let places = [("a", Place::Node(0), 1), ("b", Place::Node(1), 2), ("outside", Place::Outside, 9)];
        let members = places.map(|(name, place, number)| Member {
            name: name.to_owned(),
            addresses: Dual {
                v4: [10, 244, number, 2].into(),
                v6: [0xfd44, 0, 0, number.into(), 0, 0, 0, 2].into(),
            },
            place,
            answers: HashMap::new(),
            seen: Sightings::new(),
        });
        let wires = vec![Wire { links: [(1, 0), (2, 1)].into(), seen: Sightings::new() }];
        let mut fabric = Self(Evidence { blueprint, members: members.into(), wires });
        fabric.carry_all();
        fabric
    }

    fn carry_all(&mut self) {
        for from in 0..3 {
            for to in (0..3).filter(|to| *to != from) {
                for family in Family::BOTH {
                    for protocol in Protocol::ALL {
                        self.carry(from, to, family, protocol);
                    }
                }
            }
        }
    }

    fn carry(&mut self, from: usize, to: usize, family: Family, protocol: Protocol) {
        let evidence = &mut self.0;
        let places = [evidence.members[from].place, evidence.members[to].place];
        let own = evidence.members[from].addresses.get(family);
        let destination = evidence.members[to].addresses.get(family);
        let seen_source = match places {
            [Place::Node(node), Place::Outside] => evidence.blueprint.nodes[node].address().get(family),
            _ => own,
        };
        let told = (protocol != Protocol::Icmp).then_some(seen_source);
        evidence.members[from].answers.insert((destination, protocol), Answer::From(told));
        let see = |seen: &mut Sightings, interface, direction, source, ttl| {
            let carried = protocol.carried();
            *seen.entry(Sighting { destination, carried, direction, source, interface, ttl }).or_default() +=
                1;
        };
        see(&mut evidence.members[from].seen, 1, Direction::Out, own, 64);
        let ttl = 64 - evidence.blueprint.hops(places[0], places[1]);
        see(&mut evidence.members[to].seen, 1, Direction::In, seen_source, ttl);
        let wire = &mut evidence.wires[0].seen;
        if let Place::Node(node) = places[0] {
            see(wire, node as u32 + 1, Direction::In, seen_source, 63);
        }
        if let Place::Node(node) = places[1] {
            see(wire, node as u32 + 1, Direction::Out, seen_source, ttl + 1);
        }
    }

    /// Changes every sighting of packets from `a` to `b` at `b`.
    fn at_b(&mut self, change: impl Fn(&mut Sighting)) {
        let a = self.0.members[0].addresses;
        let seen = std::mem::take(&mut self.0.members[1].seen);
        self.0.members[1].seen = seen
            .into_iter()
            .map(|(mut sighting, count)| {
                if sighting.source == a.get(Family::of(sighting.source)) {
                    change(&mut sighting);
                }
                (sighting, count)
            })
            .collect();
    }
}

#[test]
fn a_sound_fabric_passes_every_judge_of_reachability() {
    let Fabric(evidence) = Fabric::sound();
    for judge in [other_node, source, hops, wire, masquerade, from_outside] {
        let proof = judge(&evidence);
        assert!(proof.holds(), "{proof:?}");
    }
    assert!(no_tunnel(&evidence, &[]).holds());
}

#[test]
fn a_missing_answer_fails_reachability_and_names_the_pair() {
    let mut fabric = Fabric::sound();
    let b = fabric.0.members[1].addresses;
    fabric.0.members[0].answers.insert((b.v4.into(), Protocol::Tcp), Answer::None);
    let proof = other_node(&fabric.0);
    assert!(!proof.holds());
    assert_eq!(proof.ipv4.failures, ["a → b TCP: no answer"]);
    assert_eq!((proof.ipv4.passed, proof.ipv4.total), (5, 6));
}

#[test]
fn a_translated_source_fails_even_if_the_answer_comes() {
    let mut fabric = Fabric::sound();
    let b = fabric.0.members[1].addresses;
    let node = "172.30.1.2".parse().ok();
    fabric.0.members[0].answers.insert((b.v4.into(), Protocol::Udp), Answer::From(node));
    let proof = source(&fabric.0);
    assert_eq!(proof.ipv4.failures, ["a → b UDP: the receiver saw 172.30.1.2, expected 10.244.1.2"]);
}

#[test]
fn an_echo_with_a_translated_source_fails_by_the_capture_alone() {
    let mut fabric = Fabric::sound();
    fabric.at_b(|sighting| {
        if sighting.carried == Carried::EchoRequest {
            sighting.source = "172.30.1.2".parse().unwrap();
        }
    });
    assert!(other_node(&fabric.0).holds());
    assert!(!source(&fabric.0).holds());
}

#[test]
fn a_hop_too_many_or_too_few_fails() {
    for wrong in [60, 62] {
        let mut fabric = Fabric::sound();
        fabric.at_b(|sighting| sighting.ttl = wrong);
        let proof = hops(&fabric.0);
        assert!(!proof.holds());
        assert!(proof.ipv4.failures[0].ends_with(&format!("arrived with {wrong}, expected 61")), "{proof:?}");
    }
}

#[test]
fn packets_that_went_another_way_fail_the_wire_proof() {
    let mut fabric = Fabric::sound();
    fabric.0.wires[0].seen.retain(|sighting, _| sighting.carried != Carried::Udp);
    let proof = wire(&fabric.0);
    assert_eq!((proof.ipv6.passed, proof.ipv6.total), (4, 6));
}

#[test]
fn a_tunnelled_packet_or_device_fails() {
    let mut fabric = Fabric::sound();
    assert!(!no_tunnel(&fabric.0, &["vxlan0 (vxlan) in n1".to_owned()]).holds());
    let node = |text: &str| text.parse().unwrap();
    let sighting = Sighting {
        interface: 1,
        direction: Direction::In,
        source: node("172.30.1.2"),
        destination: node("172.30.2.2"),
        carried: Carried::Tunnel,
        ttl: 64,
    };
    fabric.0.wires[0].seen.insert(sighting, 1);
    assert_eq!(no_tunnel(&fabric.0, &[]).ipv4.failures, ["tunnelled: 172.30.1.2 → 172.30.2.2"]);
}

#[test]
fn a_pod_that_is_not_masqueraded_fails() {
    let mut fabric = Fabric::sound();
    let (pod, outside) = (fabric.0.members[0].addresses, fabric.0.members[2].addresses);
    let unchanged = Answer::From(Some(pod.v4.into()));
    fabric.0.members[0].answers.insert((outside.v4.into(), Protocol::Tcp), unchanged);
    assert!(!masquerade(&fabric.0).holds());
}

#[test]
fn silence_needs_questions_that_left_and_none_that_arrived() {
    let loud = Fabric::sound();
    assert!(!silence(&loud.0).holds(), "everything arrived");

    let mut quiet = Fabric::sound();
    let arrivals = |sighting: &Sighting| sighting.direction == Direction::Out;
    for member in &mut quiet.0.members {
        member.seen.retain(|sighting, _| arrivals(sighting));
    }
    quiet.0.wires[0].seen.clear();
    assert!(silence(&quiet.0).holds());

    quiet.carry(2, 1, Family::V4, Protocol::Tcp);
    quiet.0.wires[0].seen.clear();
    assert!(silence(&quiet.0).holds(), "what comes from outside is no arrival from another node");
    let foreign = Sighting {
        interface: 1,
        direction: Direction::In,
        source: "172.30.1.2".parse().unwrap(),
        destination: quiet.0.members[1].addresses.v4.into(),
        carried: Carried::Udp,
        ttl: 61,
    };
    quiet.0.members[1].seen.insert(foreign, 1);
    assert_eq!(silence(&quiet.0).ipv4.failures, ["a → b UDP arrived"], "also with a translated source");

    for member in &mut quiet.0.members {
        member.seen.clear();
    }
    let proof = silence(&quiet.0);
    assert_eq!(proof.ipv4.failures[0], "a → b TCP was not sent");
}

#[test]
fn an_untranslated_packet_must_reach_a_node_and_must_not_return() {
    let mut fabric = Fabric::sound();
    let nothing_sent = untranslated(&fabric.0);
    assert!(!nothing_sent.holds());
    let outside = fabric.0.members[2].addresses;
    let mut pass = |direction| {
        for family in Family::BOTH {
            for protocol in Protocol::ALL {
                let sighting = Sighting {
                    interface: 1,
                    direction,
                    source: outside.get(family),
                    destination: Web::CLUSTER_IP.get(family),
                    carried: protocol.carried(),
                    ttl: 62,
                };
                fabric.0.wires[0].seen.insert(sighting, 1);
            }
        }
        untranslated(&fabric.0)
    };
    assert!(pass(Direction::Out).holds());
    assert!(pass(Direction::In).ipv4.failures[0].contains("came back"));
}
