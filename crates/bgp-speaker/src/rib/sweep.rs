//! Work over many destinations, done in slices so that a lost peer with a million routes stops nobody.

use std::collections::VecDeque;

use muslin_bgp_packet::FamilySet;
use smallvec::SmallVec;

use super::attributes::Marks;
use super::blocks::BLOCK;
use super::destination::{DestinationId, PathHandle};
use super::import::Import;
use super::loc_rib::LocRib;
use super::next_hops::NextHopId;
use super::peers::PeerIndex;
use super::slab::Handle;

/// One piece of work over the blocks of a peer or a next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// Remove a peer's paths that are older than its epoch.
    Flush(PeerIndex, FamilySet),
    /// Mark a peer's paths that are older than its epoch as long-lived stale (RFC 9494 §4.2).
    Outlive(PeerIndex, FamilySet),
    /// Judge a peer's paths anew: its policy or the guard changed.
    Rejudge(PeerIndex),
    /// Elect anew wherever a peer has paths: it fell silent, or is back.
    Reelect(PeerIndex),
    /// Elect anew where a next hop is used: its reach changed.
    NextHop(NextHopId),
}

#[derive(Debug)]
struct Job {
    task: Task,
    /// The block to look at next.
    block: u32,
}

/// Jobs in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Jobs(VecDeque<Job>);

impl Jobs {
    /// Adds a task; one that waits or runs already starts over.
    pub(crate) fn push(&mut self, task: Task) {
        match self.0.iter_mut().find(|job| job.task == task) {
            Some(job) => job.block = 0,
            None => self.0.push_back(Job { task, block: 0 }),
        }
    }

    /// Whether a peer's paths still have to be removed.
    pub(crate) fn is_flushing(&self, peer: PeerIndex) -> bool {
        self.0.iter().any(|job| matches!(job.task, Task::Flush(flushed, _) if flushed == peer))
    }

    /// Works until about `budget` destinations were looked at; says whether work is left.
    pub(crate) fn advance(&mut self, rib: &mut LocRib, mut budget: usize) -> bool {
        while let Some(job) = self.0.front_mut() {
            if budget == 0 {
                return true;
            }
            match next_block(rib, job) {
                Some(block) => {
                    work(rib, job.task, block);
                    job.block = block + 1;
                    budget = budget.saturating_sub(BLOCK as usize);
                }
                None => {
                    self.0.pop_front();
                }
            }
        }
        false
    }

    /// Finishes the flushes of a peer now.
    pub(crate) fn finish_flush(&mut self, rib: &mut LocRib, peer: PeerIndex) {
        let (flushes, others): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut self.0)
            .into_iter()
            .partition(|job| matches!(job.task, Task::Flush(flushed, _) if flushed == peer));
        self.0 = flushes;
        self.advance(rib, usize::MAX);
        self.0 = others;
    }
}

fn next_block(rib: &LocRib, job: &Job) -> Option<u32> {
    match job.task {
        Task::Flush(peer, _) | Task::Outlive(peer, _) | Task::Reelect(peer) | Task::Rejudge(peer) => {
            rib.peers.get(peer)?.blocks.next(job.block)
        }
        Task::NextHop(id) if rib.attributes.next_hops.is_used(id) => {
            rib.attributes.next_hops.get(id).blocks.next(job.block)
        }
        Task::NextHop(_) => None,
    }
}

/// Destinations of a block that are in use.
fn destinations(rib: &LocRib, block: u32) -> Vec<DestinationId> {
    let rows = block * BLOCK..((block + 1) * BLOCK).min(rib.destinations.rows());
    rows.map(DestinationId::from_index).filter(|id| rib.destinations.is_used(*id)).collect()
}

fn work(rib: &mut LocRib, task: Task, block: u32) {
    match task {
        Task::Flush(peer, families) => flush(rib, peer, families, block),
        Task::Outlive(peer, families) => outlive(rib, peer, families, block),
        Task::Reelect(peer) => {
            for id in destinations(rib, block) {
                if !paths_of(rib, id, peer).is_empty() {
                    rib.reelect_whole(id, false);
                }
            }
        }
        Task::Rejudge(peer) => rejudge(rib, peer, block),
        Task::NextHop(next_hop) => follow_next_hop(rib, next_hop, block),
    }
}

fn flush(rib: &mut LocRib, peer: PeerIndex, families: FamilySet, block: u32) {
    let mut left = 0;
    for id in destinations(rib, block) {
        let family = rib.destinations.family(id);
        let Some(epoch) = rib.peers.get(peer).map(|peer| peer.epoch(family)) else { return };
        let of_peer = paths_of(rib, id, peer);
        left += of_peer.len();
        for handle in of_peer {
            if families.contains(family) && rib.destinations.path(handle).epoch != epoch {
                rib.remove(id, handle);
                left -= 1;
            }
        }
    }
    if left == 0
        && let Some(peer) = rib.peers.get_mut(peer)
    {
        peer.blocks.remove(block);
    }
}

fn rejudge(rib: &mut LocRib, peer: PeerIndex, block: u32) {
    for id in destinations(rib, block) {
        for handle in paths_of(rib, id, peer) {
            judge_anew(rib, peer, id, handle);
        }
    }
}

fn judge_anew(rib: &mut LocRib, index: PeerIndex, id: DestinationId, handle: PathHandle) {
    let Some(peer) = rib.peers.get(index) else { return };
    let (received, epoch) = {
        let path = rib.destinations.path(handle);
        (path.received, path.epoch)
    };
    let mut import = Import::new(peer.view.clone(), rib.guard.clone(), &rib.attributes, received);
    if peer.is_long_lived_stale(rib.destinations.family(id), epoch) {
        import = import.of_long_lived_stale();
    }
    let judged = import.judge(rib.destinations.prefix(id), &mut rib.attributes);
    rib.rejudge(id, handle, judged);
    import.finish(&mut rib.attributes);
}

fn outlive(rib: &mut LocRib, index: PeerIndex, families: FamilySet, block: u32) {
    for id in destinations(rib, block) {
        let family = rib.destinations.family(id);
        for handle in paths_of(rib, id, index) {
            let path = rib.destinations.path(handle);
            let stale = rib.peers.get(index).is_some_and(|peer| peer.is_long_lived_stale(family, path.epoch));
            if !stale || !families.contains(family) {
                continue;
            }
            let marks = |id| rib.attributes.row(id).marks;
            if (marks(path.received) | marks(path.attributes)).contains(Marks::NO_LLGR) {
                rib.remove(id, handle);
            } else {
                judge_anew(rib, index, id, handle);
            }
        }
    }
}

fn follow_next_hop(rib: &mut LocRib, next_hop: NextHopId, block: u32) {
    let mut used = false;
    for id in destinations(rib, block) {
        let uses = |path: &super::destination::Path, rib: &LocRib| {
            rib.attributes.row(path.attributes).next_hop == next_hop
        };
        let (mut concerned, mut selected) = (false, false);
        for (_, path) in rib.destinations.paths(id) {
            if uses(path, rib) {
                concerned = true;
                selected |= path.state == super::destination::PathState::Selected;
            }
        }
        if concerned {
            used = true;
            rib.reelect_whole(id, selected);
        }
    }
    if !used {
        rib.attributes.next_hops.forget_block(next_hop, block);
    }
}

fn paths_of(rib: &LocRib, id: DestinationId, peer: PeerIndex) -> SmallVec<[PathHandle; 4]> {
    rib.destinations.paths(id).filter(|(_, path)| path.peer == peer).map(|(handle, _)| handle).collect()
}
