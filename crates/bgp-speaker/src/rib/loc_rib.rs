//! The table at work: paths come and go, the best are elected, and what changed is noted in the ring.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnet::IpNet;
use muslin_bgp_packet::Family;
use smallvec::SmallVec;

use super::attributes::{AttributeId, Attributes, Identity};
use super::changes::Changes;
use super::decision::{Candidate, Class, elect};
use super::destination::{DestinationId, Destinations, Path, PathHandle, PathState};
use super::guard::Guard;
use super::next_hops::{NextHops, Reach};
use super::originate::Originated;
use super::peers::{Peer, PeerIndex, Peers, slot};
use super::slab::Handle;
use super::tap::{Tap, Tapped};

/// All routes: Adj-RIBs-In and Loc-RIB.
pub(crate) struct LocRib {
    pub(crate) destinations: Destinations,
    pub(crate) attributes: Attributes,
    pub(crate) peers: Peers,
    pub(crate) changes: Changes,
    /// The same by name, for those who look in from outside.
    pub(crate) tap: Tap,
    pub(crate) guard: Arc<Guard>,
    /// What we originate.
    pub(crate) originated: Originated,
    /// Most paths of an ECMP set.
    pub(crate) max_paths: u8,
    /// Whether somebody follows all paths and not just the selected ones (ADD-PATH).
    pub(crate) follows_all_paths: bool,
    /// Whether only what originates here is sent to peers.
    pub(crate) defers_learned: bool,
    /// Seconds since the RIB began.
    pub(crate) seconds: u32,
}

/// A path as import judged it. Attribute references stay with the giver.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Judged {
    pub(crate) received: AttributeId,
    pub(crate) attributes: AttributeId,
    pub(crate) state: PathState,
}

/// What a path was to the election before it changed.
#[derive(Clone, Copy, Debug, Default)]
struct Was {
    selected: bool,
    class: Option<Class>,
}

impl LocRib {
    pub(crate) fn new(identity: Identity, next_hops: NextHops, guard: Guard, max_paths: u8) -> Self {
        Self {
            destinations: Destinations::default(),
            attributes: Attributes::new(identity, next_hops),
            peers: Peers::default(),
            changes: Changes::default(),
            tap: Tap::default(),
            guard: Arc::new(guard),
            originated: Originated::default(),
            max_paths,
            follows_all_paths: false,
            defers_learned: false,
            seconds: 0,
        }
    }

    /// Puts a peer's path in, in place of the one that it announced before.
    pub(crate) fn put(&mut self, peer: PeerIndex, prefix: IpNet, path_id: u32, judged: Judged) {
        #[cfg(feature = "planted-bugs")]
        let path_id =
            if crate::planted::is_planted(crate::planted::Bug::PathIdIgnored) { 0 } else { path_id };
        let id = self.destinations.find_or_insert(prefix);
        let epoch = self.epoch(peer, self.destinations.family(id));
        let (handle, was) = match self.destinations.path_of(id, peer, path_id) {
            Some(handle) => {
                let path = self.destinations.path_mut(handle);
                path.epoch = epoch;
                let same_state = path.state == judged.state
                    || (path.state == PathState::Selected && judged.state == PathState::Accepted);
                if same_state && path.received == judged.received && path.attributes == judged.attributes {
                    return;
                }
                (handle, self.replace(id, handle, judged))
            }
            None => (self.insert(id, peer, path_id, epoch, judged), Was::default()),
        };
        let next_hop = self.attributes.row(judged.attributes).next_hop;
        self.attributes.next_hops.note_use(next_hop, id);
        self.reelect(id, Some(handle), was);
        self.tap.note(|| Tapped::Path { peer, prefix, path_id });
    }

    fn insert(
        &mut self,
        id: DestinationId,
        peer: PeerIndex,
        path_id: u32,
        epoch: u8,
        judged: Judged,
    ) -> PathHandle {
        let Judged { received, attributes, state } = judged;
        self.attributes.retain(received);
        self.attributes.retain(attributes);
        let family = self.destinations.family(id);
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.blocks.insert(id);
            let counts = &mut peer.counts[slot(family)];
            counts.received += 1;
            counts.accepted += u32::from(state.is_accepted());
        }
        let since = self.seconds;
        let path = Path { received, attributes, next: None, id: path_id, since, peer, epoch, state };
        self.destinations.add_path(id, path)
    }

    fn replace(&mut self, id: DestinationId, handle: PathHandle, judged: Judged) -> Was {
        let was = self.was(handle);
        self.attributes.retain(judged.received);
        self.attributes.retain(judged.attributes);
        let since = self.seconds;
        let path = self.destinations.path_mut(handle);
        let before = (path.received, path.attributes, path.state.is_accepted());
        path.received = judged.received;
        path.attributes = judged.attributes;
        path.state = judged.state;
        path.since = since;
        let peer = path.peer;
        self.attributes.release(before.0);
        self.attributes.release(before.1);
        let family = self.destinations.family(id);
        if let Some(peer) = self.peers.get_mut(peer) {
            let counts = &mut peer.counts[slot(family)];
            counts.accepted += u32::from(judged.state.is_accepted());
            counts.accepted -= u32::from(before.2);
        }
        was
    }

    /// Takes a peer's path out; nothing happens if there is none.
    pub(crate) fn withdraw(&mut self, peer: PeerIndex, prefix: IpNet, path_id: u32) {
        if let Some(id) = self.destinations.find(prefix)
            && let Some(handle) = self.destinations.path_of(id, peer, path_id)
        {
            self.remove(id, handle);
        }
    }

    /// Takes a path out.
    pub(crate) fn remove(&mut self, id: DestinationId, handle: PathHandle) {
        let was = self.was(handle);
        let family = self.destinations.family(id);
        let path = self.destinations.remove_path(id, handle);
        self.attributes.release(path.received);
        self.attributes.release(path.attributes);
        if let Some(peer) = self.peers.get_mut(path.peer) {
            let counts = &mut peer.counts[slot(family)];
            counts.received -= 1;
            counts.accepted -= u32::from(path.state.is_accepted());
        }
        self.reelect(id, None, was);
        let destinations = &self.destinations;
        self.tap.note(|| Tapped::Path { peer: path.peer, prefix: destinations.prefix(id), path_id: path.id });
        self.destinations.free_if_unused(id);
    }

    /// Judges a path anew, as policy or guard changed.
    pub(crate) fn rejudge(&mut self, id: DestinationId, handle: PathHandle, judged: Judged) {
        let path = self.destinations.path(handle);
        if path.attributes == judged.attributes && path.state.is_accepted() == judged.state.is_accepted() {
            if !judged.state.is_accepted() {
                self.destinations.path_mut(handle).state = judged.state;
            }
            return;
        }
        let since = path.since;
        let was = self.replace(id, handle, judged);
        self.destinations.path_mut(handle).since = since;
        self.reelect(id, Some(handle), was);
        let destinations = &self.destinations;
        self.tap.note(|| {
            let path = destinations.path(handle);
            Tapped::Path { peer: path.peer, prefix: destinations.prefix(id), path_id: path.id }
        });
    }

    /// Elects anew because something that paths depend on changed; `changed` says whether a selected path
    /// is concerned, which counts as a change even if it stays selected.
    pub(crate) fn reelect_whole(&mut self, id: DestinationId, changed: bool) {
        self.elect_all(id, changed || self.follows_all_paths);
    }

    /// Elects anew everywhere.
    pub(crate) fn reelect_everything(&mut self) {
        for row in 0..self.destinations.rows() {
            let id = DestinationId::from_index(row);
            if self.destinations.is_used(id) {
                self.elect_all(id, false);
            }
        }
    }

    fn was(&self, handle: PathHandle) -> Was {
        let path = self.destinations.path(handle);
        Was { selected: path.state == PathState::Selected, class: self.eligible_class(path) }
    }

    fn epoch(&self, peer: PeerIndex, family: Family) -> u8 {
        self.peers.get(peer).map_or(0, |peer| peer.epoch(family))
    }

    fn class(&self, path: &Path) -> Class {
        let class = self.attributes.row(path.attributes).class;
        if path.peer == PeerIndex::LOCAL { class.originated() } else { class }
    }

    fn eligible_class(&self, path: &Path) -> Option<Class> {
        let usable = path.state.is_accepted() && self.attributes.reach(path.attributes).is_usable();
        usable.then(|| self.class(path))
    }

    fn reelect(&mut self, id: DestinationId, touched: Option<PathHandle>, was: Was) {
        if !was.selected
            && let Some((best, path)) = self.destinations.best(id)
            && touched != Some(best)
        {
            // Neither what the path was nor what it is reaches the best path's class: nothing can change.
            let best = self.class(path);
            let now = touched.and_then(|handle| self.eligible_class(self.destinations.path(handle)));
            if was.class.is_none_or(|class| class < best) && now.is_none_or(|class| class < best) {
                if self.follows_all_paths {
                    self.note_change(id);
                }
                return;
            }
        }
        self.elect_all(id, was.selected || self.follows_all_paths);
    }

    fn elect_all(&mut self, id: DestinationId, changed: bool) {
        let first = self.destinations[id].first;
        if first.is_none_or(|first| self.destinations.path(first).next.is_none()) {
            self.elect_only(id, first, changed);
        } else {
            self.elect_among(id, changed);
        }
    }

    /// The election where there is one path or none, as in most tables of a node.
    fn elect_only(&mut self, id: DestinationId, only: Option<PathHandle>, mut changed: bool) {
        let best = self.destinations.best(id).map(|(handle, _)| handle);
        let winner = only.filter(|only| self.eligible_class(self.destinations.path(*only)).is_some());
        changed |= best != winner;
        if let Some(path) = only.map(|only| self.destinations.path_mut(only))
            && path.state.is_accepted()
        {
            let state = if winner.is_some() { PathState::Selected } else { PathState::Accepted };
            changed |= path.state != state;
            path.state = state;
        }
        self.destinations[id].selected = u8::from(winner.is_some());
        if changed {
            self.note_change(id);
        }
    }

    fn elect_among(&mut self, id: DestinationId, mut changed: bool) {
        let winners = self.winners(id);
        let best = self.destinations.best(id).map(|(handle, _)| handle);
        changed |= best != winners.first().copied();
        let mut next = self.destinations[id].first;
        while let Some(handle) = next {
            let path = self.destinations.path_mut(handle);
            next = path.next;
            if path.state.is_accepted() {
                let state = if winners.contains(&handle) { PathState::Selected } else { PathState::Accepted };
                changed |= path.state != state;
                path.state = state;
            }
        }
        #[cfg(feature = "planted-bugs")]
        if crate::planted::is_planted(crate::planted::Bug::MultipathChangeMissed) {
            changed = best != winners.first().copied();
        }
        // There are at most `max_paths` winners, an octet.
        self.destinations[id].selected = winners.len() as u8;
        if let Some(best) = winners.first() {
            self.destinations.move_to_front(id, *best);
        }
        if changed {
            self.note_change(id);
        }
    }

    fn note_change(&mut self, id: DestinationId) {
        self.changes.push(id, &mut self.destinations);
        let destinations = &self.destinations;
        self.tap.note(|| Tapped::Best(destinations.prefix(id)));
    }

    /// The best path and the others of its ECMP set.
    fn winners(&self, id: DestinationId) -> SmallVec<[PathHandle; 8]> {
        let family = self.destinations.family(id);
        let mut candidates: SmallVec<[Candidate; 16]> = SmallVec::new();
        let mut top = Class::default();
        for (handle, path) in self.destinations.paths(id) {
            if let Some(class) = self.eligible_class(path)
                && class >= top
            {
                if class > top {
                    top = class;
                    candidates.clear();
                }
                candidates.extend(self.candidate(family, handle, path));
            }
        }
        let equal = elect(&mut candidates);
        self.distinct_ways(&candidates[..equal])
    }

    /// As many paths as an ECMP set may have, each over a neighbour of its own: two reflectors bring every path
    /// twice, and the second one adds no way.
    fn distinct_ways(&self, equal: &[Candidate]) -> SmallVec<[PathHandle; 8]> {
        let mut ways: SmallVec<[(PathHandle, Reach); 8]> = SmallVec::new();
        for candidate in equal {
            let path = self.destinations.path(candidate.path);
            let reach = self.reach(path);
            if ways.len() < usize::from(self.max_paths.max(1))
                && ways.iter().all(|(_, way)| !way.is_same(reach))
            {
                ways.push((candidate.path, reach));
            }
        }
        ways.into_iter().map(|(handle, _)| handle).collect()
    }

    /// The eligible paths, each the best of those that are left.
    pub(crate) fn ranked(&self, id: DestinationId) -> Vec<PathHandle> {
        let mut candidates = self.candidates(id);
        let mut rest = &mut candidates[..];
        while !rest.is_empty() {
            let equal = elect(rest);
            rest = &mut rest[equal.max(1)..];
        }
        candidates.into_iter().map(|candidate| candidate.path).collect()
    }

    /// All eligible paths, in no order.
    pub(crate) fn candidates(&self, id: DestinationId) -> Vec<Candidate> {
        let family = self.destinations.family(id);
        let paths = self.destinations.paths(id);
        paths.filter_map(|(handle, path)| self.candidate(family, handle, path)).collect()
    }

    /// A path with everything that the decision compares; `None` if it is not eligible.
    pub(crate) fn candidate(&self, family: Family, handle: PathHandle, path: &Path) -> Option<Candidate> {
        let class = self.eligible_class(path)?;
        let row = self.attributes.row(path.attributes);
        let peer = self.peers.get(path.peer);
        let (id, address) = peer.map_or((Ipv4Addr::UNSPECIFIED, IpAddr::V4(Ipv4Addr::UNSPECIFIED)), |peer| {
            (peer.view.id, peer.view.address)
        });
        Some(Candidate {
            path: handle,
            class,
            neighbour: row.neighbour,
            med: row.med,
            external: peer.is_some_and(|peer| !peer.view.is_internal()),
            metric: self.attributes.reach(path.attributes).metric(),
            silent: peer.is_some_and(|peer| peer.silent && peer.epoch(family) != path.epoch),
            // RFC 4456 §9: ORIGINATOR_ID stands for the identifier.
            router_id: if row.originator == 0 { u32::from(id) } else { row.originator },
            cluster_length: row.cluster_length,
            address,
            path_id: path.id,
            lost: None,
        })
    }

    /// The peer of a path; `None` for our own.
    pub(crate) fn peer_of(&self, path: &Path) -> Option<&Peer> {
        self.peers.get(path.peer)
    }

    /// Where a path leads.
    pub(crate) fn reach(&self, path: &Path) -> Reach {
        self.attributes.reach(path.attributes)
    }
}
