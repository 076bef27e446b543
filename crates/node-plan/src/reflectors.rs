//! Nodes that reflect routes (RFC 4456), and for whom.
//!
//! A node with the label [`LABEL`] reflects for the nodes of its AS, and their mesh among each other ends. Reflectors
//! of a zone serve their zone, those without a zone serve all; a node whose zone has fewer than two of them takes
//! from other zones what is missing, so that one that is down is no loss. Every node comes to the same answer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use muslin_bgp_packet::Asn;
use muslin_cluster::ClusterState;

use crate::settings::asn_of;

/// Nodes with this label reflect routes, unless its value is `false`.
const LABEL: &str = "muslin.dev/route-reflector";
const ZONE: &str = "topology.kubernetes.io/zone";

/// How many reflectors a node wants at least.
const PAIR: usize = 2;

/// How another node stands to this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// As in a mesh: a peer, if there is a common link.
    Neighbour,
    /// Both reflect, each for its own.
    Fellow,
    /// It reflects for us.
    Reflector,
    /// We reflect for it.
    Client,
    /// It is reached through reflectors.
    Indirect,
}

/// The reflectors of a cluster.
#[derive(Debug)]
pub(crate) struct Reflectors<'a> {
    state: &'a ClusterState,
    by_asn: BTreeMap<Asn, BTreeMap<&'a str, Option<&'a str>>>,
}

impl<'a> Reflectors<'a> {
    pub(crate) fn of(state: &'a ClusterState) -> Self {
        let mut by_asn: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for (name, node) in &state.nodes {
            if node.labels.get(LABEL).is_some_and(|value| value != "false") {
                let of_asn = by_asn.entry(asn_of(state, name)).or_default();
                of_asn.insert(&**name, node.labels.get(ZONE));
            }
        }
        Self { state, by_asn }
    }

    /// How `other` stands to `node`.
    pub(crate) fn standing(&self, node: &str, other: &str) -> Standing {
        let asn = asn_of(self.state, node);
        let Some(reflectors) = self.by_asn.get(&asn).filter(|_| asn_of(self.state, other) == asn) else {
            return Standing::Neighbour;
        };
        let serves = |reflector: &str, client: &str| self.chosen(reflectors, client).contains(reflector);
        match (reflectors.contains_key(node), reflectors.contains_key(other)) {
            (true, true) => Standing::Fellow,
            (true, false) if serves(node, other) => Standing::Client,
            (false, true) if serves(other, node) => Standing::Reflector,
            _ => Standing::Indirect,
        }
    }

    /// Those that reflect for a node that does not itself.
    fn chosen(&self, reflectors: &BTreeMap<&'a str, Option<&'a str>>, client: &str) -> BTreeSet<&'a str> {
        let zone = self.state.nodes.get(client).and_then(|node| node.labels.get(ZONE));
        let (mut chosen, mut others) = (BTreeSet::new(), Vec::new());
        for (name, of_zone) in reflectors {
            if of_zone.is_none() || zone.is_none() || *of_zone == zone {
                chosen.insert(*name);
            } else {
                others.push(*name);
            }
        }
        let missing = PAIR.saturating_sub(chosen.len());
        if missing > 0 {
            // The highest of random weights: clients spread, and one reflector more or less moves few of them.
            others.sort_by_key(|name| std::cmp::Reverse(weight(client, name)));
            chosen.extend(others.into_iter().take(missing));
        }
        chosen
    }

    /// Whether the node reflects.
    pub(crate) fn is_reflector(&self, node: &str) -> bool {
        self.by_asn.values().any(|reflectors| reflectors.contains_key(node))
    }
}

/// FNV-1a: the same on every machine and in every version.
fn weight(client: &str, reflector: &str) -> u64 {
    let octets = client.bytes().chain([b'/']).chain(reflector.bytes());
    octets.fold(0xcbf2_9ce4_8422_2325, |hash, octet| {
        (hash ^ u64::from(octet)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The cause of a session, in words.
pub(crate) fn cause(name: &Arc<str>) -> String {
    format!("Node {name} label {LABEL}")
}
