//! What was asked, answered and seen: the input of the judges.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use muslin_netns::Link;

use crate::addresses::{Dual, Family};
use crate::blueprint::{Blueprint, Place};
use crate::capture::{Carried, Direction, Sighting, Sightings, matching};
use crate::lab::Lab;
use crate::probe::{Answer, Answers, Protocol};

/// Everything that one round of probes brought to light.
#[derive(Debug)]
pub(super) struct Evidence {
    pub(super) blueprint: Blueprint,
    pub(super) members: Vec<Member>,
    pub(super) wires: Vec<Wire>,
}

/// A pod or the outside host.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) addresses: Dual,
    pub(super) place: Place,
    /// Answers to what it asked.
    pub(super) answers: Answers,
    /// Packets that it sent and received.
    pub(super) seen: Sightings,
}

/// A namespace between the nodes.
#[derive(Debug)]
pub(super) struct Wire {
    /// Interface index to the place of the node at its far end.
    pub(super) links: HashMap<u32, usize>,
    pub(super) seen: Sightings,
}

impl Wire {
    /// Links are named for the nodes that they lead to.
    pub(super) fn links_of_nodes(lab: &Lab, links: &[Link]) -> HashMap<u32, usize> {
        let nodes = lab.blueprint.nodes.iter().enumerate();
        let named = nodes.filter_map(|(node, part)| {
            links.iter().find(|link| link.name == part.name).map(|link| (link.index, node))
        });
        named.collect()
    }

    /// TTLs of such packets that went past on the link of `node`.
    pub(super) fn ttls(&self, node: usize, direction: Direction, kind: Kind) -> Vec<u8> {
        let seen = kind.among(&self.seen, direction);
        seen.filter(|sighting| self.links.get(&sighting.interface) == Some(&node))
            .map(|sighting| sighting.ttl)
            .collect()
    }
}

/// What tells one probe from another on the wire.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) carried: Carried,
}

impl Kind {
    /// The sightings of such packets.
    pub(super) fn among(self, seen: &Sightings, direction: Direction) -> impl Iterator<Item = &Sighting> {
        matching(seen, self.destination, self.carried, direction, self.source..=self.source)
    }
}

/// One probe between two members.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probe<'a> {
    pub(super) from: &'a Member,
    pub(super) to: &'a Member,
    pub(super) family: Family,
    pub(super) protocol: Protocol,
}

impl Probe<'_> {
    /// "n1-pod1 → n2-pod1 TCP".
    pub(super) fn name(&self) -> String {
        format!("{} → {} {}", self.from.name, self.to.name, self.protocol.name())
    }

    pub(super) fn answer(&self) -> Answer {
        let to = self.to.addresses.get(self.family);
        self.from.answers.get(&(to, self.protocol)).copied().unwrap_or(Answer::None)
    }

    /// The probe as it leaves the asking pod.
    pub(super) fn kind(&self) -> Kind {
        Kind {
            source: self.from.addresses.get(self.family),
            destination: self.to.addresses.get(self.family),
            carried: self.protocol.carried(),
        }
    }

    /// Sources and TTLs with which such packets came in at the receiver.
    pub(super) fn arrived(&self) -> impl Iterator<Item = (IpAddr, u8)> {
        let Kind { destination, carried, .. } = self.kind();
        let anywhere = Ipv4Addr::from_bits(0).into()..=Ipv6Addr::from_bits(u128::MAX).into();
        let came = matching(&self.to.seen, destination, carried, Direction::In, anywhere);
        came.map(|sighting| (sighting.source, sighting.ttl))
    }

    /// Addresses that the receiver may see as source.
    pub(super) fn rightful_sources(&self, lab: &Blueprint) -> Vec<IpAddr> {
        match (self.from.place, self.to.place) {
            (Place::Node(node), Place::Outside) => {
                lab.nodes[node].addresses().iter().map(|address| address.get(self.family)).collect()
            }
            _ => vec![self.from.addresses.get(self.family)],
        }
    }
}

impl Evidence {
    /// All probes between two different members of which at least one is a pod.
    pub(super) fn probes(&self) -> impl Iterator<Item = Probe<'_>> {
        let pairs = self.members.iter().flat_map(|from| self.members.iter().map(move |to| (from, to)));
        let pairs = pairs.filter(|(from, to)| from.name != to.name);
        pairs.flat_map(|(from, to)| {
            let families = Family::BOTH.into_iter();
            families
                .flat_map(move |family| Protocol::ALL.map(|protocol| Probe { from, to, family, protocol }))
        })
    }

    /// Probes between pods.
    pub(super) fn between_pods(&self) -> impl Iterator<Item = Probe<'_>> {
        self.probes().filter(|probe| ![probe.from.place, probe.to.place].contains(&Place::Outside))
    }
}
