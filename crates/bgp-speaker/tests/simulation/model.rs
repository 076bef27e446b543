//! A naive model of who must know a prefix: search over peerings, with nothing that a speaker does quickly.

use std::collections::BTreeSet;

use ipnet::IpNet;

use crate::topology::{Guarding, Relation};
use crate::world::{World, owner_of};

/// How a speaker came to a route, as far as it matters for passing it on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Own,
    External,
    Client,
    NonClient,
}

struct Search<'a> {
    world: &'a World,
    prefix: IpNet,
    originators: BTreeSet<usize>,
    known: BTreeSet<usize>,
    /// Where the search has been; only sound where a route's way cannot be blocked by its AS path unless it
    /// comes back to a speaker.
    seen: BTreeSet<(usize, Source)>,
}

/// The speakers that can know a prefix, its originators included.
pub(crate) fn who_knows(world: &World, prefix: IpNet) -> BTreeSet<usize> {
    let originators: BTreeSet<usize> = world.originators(prefix).collect();
    let known = originators.clone();
    let mut search = Search { world, prefix, originators, known, seen: BTreeSet::new() };
    for originator in search.originators.clone() {
        search.spread(originator, Source::Own, &mut vec![originator], &mut Vec::new());
    }
    search.known
}

impl Search<'_> {
    fn spread(&mut self, from: usize, source: Source, way: &mut Vec<usize>, as_path: &mut Vec<u32>) {
        let topology = &self.world.topology;
        if topology.has_unique_ases() && !self.seen.insert((from, source)) {
            return;
        }
        for peering in &topology.peerings {
            let Some(end) = peering.ends.iter().position(|end| *end == from) else { continue };
            let to = peering.ends[1 - end];
            let [out, into] = [&peering.sides[end], &peering.sides[1 - end]];
            if out.absent || into.absent || way.contains(&to) || self.originators.contains(&to) {
                continue;
            }
            let to_client = peering.relation == Relation::Reflection && end == 0;
            let external = peering.relation == Relation::External;
            if !external && source == Source::NonClient && !to_client {
                continue;
            }
            if !out.lets_out(self.prefix) || !into.lets_in(self.prefix) {
                continue;
            }
            if external {
                as_path.push(topology.asns[from]);
            }
            if self.accepts(to, as_path) {
                let source = match (peering.relation, end) {
                    (Relation::External, _) => Source::External,
                    (Relation::Reflection, 1) => Source::Client,
                    (Relation::Reflection | Relation::Internal, _) => Source::NonClient,
                };
                self.known.insert(to);
                way.push(to);
                self.spread(to, source, way, as_path);
                way.pop();
            }
            if external {
                as_path.pop();
            }
        }
    }

    fn accepts(&self, speaker: usize, as_path: &[u32]) -> bool {
        let topology = &self.world.topology;
        let own_as = topology.asns[speaker];
        let allowed = if topology.is_node(speaker) { usize::from(topology.allowed_own_as) } else { 0 };
        let guarded = matches!(topology.guarding, Guarding::Nodes(_)) && topology.is_node(speaker);
        let is_owned = owner_of(self.prefix) == Some(speaker) && guarded;
        as_path.iter().filter(|asn| **asn == own_as).count() <= allowed && !is_owned
    }
}
