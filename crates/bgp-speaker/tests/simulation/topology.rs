//! The networks that are simulated: who is in which AS, and who peers with whom and how.

use std::collections::BTreeSet;
use std::time::Duration;

use ipnet::IpNet;

use crate::random::Random;

/// What two speakers are to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    External,
    Internal,
    /// The first reflects for the second (RFC 4456).
    Reflection,
}

/// How learned routes are guarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guarding {
    None,
    /// The last `nodes` speakers are nodes: nobody's block is learned but from its owner, one's own never.
    Nodes(usize),
}

/// What is configured on one side of a link.
#[derive(Clone, Debug, Default)]
pub(crate) struct Side {
    pub(crate) absent: bool,
    pub(crate) shut_down: bool,
    pub(crate) refused_in: BTreeSet<IpNet>,
    pub(crate) refused_out: BTreeSet<IpNet>,
    pub(crate) prepend: u8,
    pub(crate) med: Option<u32>,
    pub(crate) community: Option<u16>,
}

/// Two speakers that peer, and what is the same on both sides.
#[derive(Clone, Debug)]
pub(crate) struct Peering {
    pub(crate) ends: [usize; 2],
    pub(crate) relation: Relation,
    pub(crate) add_path: bool,
    pub(crate) restart: Option<Duration>,
    /// How long routes outlive that (RFC 9494).
    pub(crate) long_lived: Option<Duration>,
    pub(crate) hold: Duration,
    /// The first end knows the second only by range, or only waits for it.
    pub(crate) waits: bool,
    pub(crate) by_range: bool,
    pub(crate) sides: [Side; 2],
}

#[derive(Clone, Debug)]
pub(crate) struct Topology {
    pub(crate) name: &'static str,
    pub(crate) asns: Vec<u32>,
    pub(crate) peerings: Vec<Peering>,
    pub(crate) guarding: Guarding,
    /// All are on one link, so that external peers may be told a third party's next hop.
    pub(crate) shared_link: bool,
    pub(crate) allowed_own_as: u8,
}

/// Makes one of the topologies.
pub(crate) fn generate(random: &mut Random) -> Topology {
    let kind = random.below(9);
    let (name, asns, pairs, guarding) = match kind {
        0 => ("chain of ASes", distinct(8), (1..8).map(|i| external(i - 1, i)).collect(), Guarding::None),
        1 => {
            ("ring of ASes", distinct(8), (0..8).map(|i| external(i, (i + 1) % 8)).collect(), Guarding::None)
        }
        2 => ("random ASes", distinct(9), random_graph(random, 9), Guarding::None),
        3 => ("internal mesh", vec![65000; 8], mesh(0, 8), Guarding::None),
        4 => ("one reflector", vec![65000; 9], reflect(&[0], 1..9), Guarding::None),
        5 => {
            let mut pairs = reflect(&[0, 1], 2..10);
            pairs.push((0, 1, Relation::Internal));
            ("two reflectors", vec![65000; 10], pairs, Guarding::None)
        }
        6 => {
            // Borders 1 and 2 of an AS with a reflector, and three neighbours that also see one another.
            let mut asns = vec![65000; 6];
            asns.extend([65101, 65102, 65103]);
            let mut pairs = reflect(&[0], 1..6);
            pairs.extend([external(1, 6), external(1, 7), external(2, 7), external(2, 8), external(7, 8)]);
            ("reflector with borders", asns, pairs, Guarding::None)
        }
        7 => {
            let asns = [65100, 65100].into_iter().chain(65001..=65006).collect();
            ("fabric of one spine AS", asns, racks(2, 6), Guarding::None)
        }
        _ => {
            let shared = random.chance(50);
            let nodes = (0..6).map(|node| if shared { 65000 } else { 65001 + node });
            let asns = [65201, 65202].into_iter().chain(nodes).collect();
            let name = if shared { "cluster of one AS" } else { "cluster of an AS per node" };
            (name, asns, racks(2, 6), Guarding::Nodes(6))
        }
    };
    let peering = |(a, b, relation)| Peering {
        ends: [a, b],
        relation,
        add_path: random.chance(if relation == Relation::External { 15 } else { 40 }),
        restart: random.chance(50).then_some(Duration::from_secs(20)),
        // Without the restart time it means nothing (RFC 9494 §3.1).
        long_lived: random.chance(50).then_some(Duration::from_secs(25)),
        hold: Duration::from_secs(random.pick(&[9, 15, 30])),
        waits: random.chance(25),
        by_range: relation == Relation::Reflection && random.chance(30),
        sides: [Side::default(), Side::default()],
    };
    let peerings = pairs.into_iter().map(peering).collect();
    let allowed_own_as = u8::from(name == "cluster of one AS");
    Topology { name, asns, peerings, guarding, shared_link: random.chance(30), allowed_own_as }
}

impl Topology {
    /// Whether an AS is at one place of the network only, seen from outside.
    pub(crate) fn has_unique_ases(&self) -> bool {
        !matches!(self.name, "fabric of one spine AS" | "cluster of one AS")
    }

    /// Whether a speaker is a node that owns blocks.
    pub(crate) fn is_node(&self, speaker: usize) -> bool {
        matches!(self.guarding, Guarding::Nodes(nodes) if speaker + nodes >= self.asns.len())
    }
}

type Pair = (usize, usize, Relation);

fn distinct(count: u32) -> Vec<u32> {
    (65001..65001 + count).collect()
}

fn external(a: usize, b: usize) -> Pair {
    (a, b, Relation::External)
}

fn mesh(first: usize, end: usize) -> Vec<Pair> {
    (first..end).flat_map(|a| (a + 1..end).map(move |b| (a, b, Relation::Internal))).collect()
}

fn reflect(reflectors: &[usize], clients: std::ops::Range<usize>) -> Vec<Pair> {
    clients.flat_map(|client| reflectors.iter().map(move |r| (*r, client, Relation::Reflection))).collect()
}

/// Every one below connected to every one above.
fn racks(above: usize, below: usize) -> Vec<Pair> {
    (above..above + below).flat_map(|low| (0..above).map(move |high| external(high, low))).collect()
}

/// A tree and some more.
fn random_graph(random: &mut Random, count: usize) -> Vec<Pair> {
    let mut pairs: BTreeSet<(usize, usize)> = (1..count).map(|b| (random.below(b), b)).collect();
    for _ in 0..4 {
        let (a, b) = (random.below(count), random.below(count));
        if a != b {
            pairs.insert((a.min(b), a.max(b)));
        }
    }
    pairs.into_iter().map(|(a, b)| external(a, b)).collect()
}

impl Topology {
    /// Whether MEDs may differ: with reflection they may keep a network from ever settling (RFC 3345).
    pub(crate) fn compares_meds(&self) -> bool {
        self.name != "reflector with borders"
    }
}
