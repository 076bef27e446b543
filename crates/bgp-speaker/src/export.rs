//! Export by peer group: peers with the same view share one Adj-RIB-Out and one journal of encoded messages.
//!
//! A group pulls changes from the Loc-RIB when its fastest member has read everything, packs them into
//! messages once, and each member is only a cursor in the journal. A member that is too slow reads the current
//! table instead of what it missed; it never makes anything grow and never holds up another one.

mod counts;
mod flush;
mod group;
mod journal;
mod key;
mod member;
mod pack;
mod pull;
mod rewrite;
mod select;
mod state;
mod table;

use bytes::Bytes;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use muslin_bgp_packet::Family;

pub(crate) use group::Group;
pub(crate) use key::GroupKey;
pub(crate) use rewrite::Outgoing;
pub use select::Withheld;
pub use state::ExportState;

use crate::rib::{LocRib, PeerIndex};

/// A group's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct GroupId(u16);

/// How a pull ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pull {
    /// There is nothing more; the peer is named by [`Rib::poll_ready`](crate::rib::Rib::poll_ready) when there is.
    Drained,
    /// There is more: pull again when the connection has room.
    More,
    /// The peer was away for so long that it cannot be told any more what was withdrawn: the session must end
    /// (Cease, out of resources).
    Overrun,
}

/// All groups.
#[derive(Default)]
pub(crate) struct Exports {
    groups: Vec<Option<Group>>,
    by_key: HashMap<GroupKey, GroupId, RandomState>,
    /// Groups without members that still hold on to routes.
    disbanding: Vec<Group>,
}

impl Exports {
    /// An established peer joins the group of its view.
    pub(crate) fn join(&mut self, rib: &mut LocRib, index: PeerIndex) {
        let Some(peer) = rib.peers.get(index) else { return };
        let key = GroupKey::of(&peer.view, rib.attributes.identity.cluster_id);
        let enhanced = peer.view.enhanced_refresh;
        let id = self.by_key.get(&key).copied().unwrap_or_else(|| {
            rib.follows_all_paths |= key.sends_several();
            self.add(Group::new(key, rib))
        });
        if let Some(group) = self.group_mut(id) {
            group.join(index, enhanced, rib);
        }
        if let Some(peer) = rib.peers.get_mut(index) {
            peer.group = Some(id);
        }
    }

    /// A peer is lost.
    pub(crate) fn leave(&mut self, rib: &mut LocRib, index: PeerIndex) {
        let Some(id) = rib.peers.get_mut(index).and_then(|peer| peer.group.take()) else { return };
        if let Some(group) = self.group_mut(id) {
            group.leave(index);
            if group.members.is_empty() {
                self.remove(id);
            }
        }
    }

    /// A peer asked for our routes again.
    pub(crate) fn refresh(&mut self, rib: &LocRib, index: PeerIndex, family: Family) {
        if let Some(group) = self.of_peer_mut(rib, index) {
            group.refresh(index, family);
        }
    }

    /// The export policies of these peers changed. Members that change alike stay together; a group of which
    /// all change keeps its table and compares it with what it should be.
    pub(crate) fn regroup(&mut self, rib: &mut LocRib, peers: &[PeerIndex]) {
        let mut moves: Vec<(GroupId, GroupKey, Vec<PeerIndex>)> = Vec::new();
        for index in peers {
            let Some(peer) = rib.peers.get(*index) else { continue };
            let Some(group) = peer.group else { continue };
            let key = GroupKey::of(&peer.view, rib.attributes.identity.cluster_id);
            match moves.iter_mut().find(|(from, to, _)| *from == group && *to == key) {
                Some((.., members)) => members.push(*index),
                None => moves.push((group, key, vec![*index])),
            }
        }
        for (from, key, members) in moves {
            self.rekey(rib, from, key, &members);
        }
    }

    fn rekey(&mut self, rib: &mut LocRib, from: GroupId, key: GroupKey, members: &[PeerIndex]) {
        let Some(group) = self.group_mut(from) else { return };
        // The table may hold routes of two keys, not of three.
        while group.previous.is_some() {
            group.flush(rib);
        }
        let id = if members.len() == group.members.len() {
            from
        } else {
            let split = group.split(members, rib);
            let id = self.add_unnamed(split);
            for member in members {
                if let Some(peer) = rib.peers.get_mut(*member) {
                    peer.group = Some(id);
                }
            }
            id
        };
        self.by_key.retain(|_, named| *named != id);
        let cursor = rib.changes.walk();
        if let Some(group) = self.group_mut(id) {
            group.previous = Some(std::mem::replace(&mut group.key, key.clone()));
            group.cursor = cursor;
        }
        // Another group may have this view already. Moving into it would mean to send everything again, so
        // this one stays beside it; sessions to come join the other.
        self.by_key.entry(key).or_insert(id);
    }

    /// Which routes may be sent changed as a whole.
    pub(crate) fn look_at_everything(&mut self, rib: &mut LocRib) {
        for group in self.groups.iter_mut().flatten() {
            group.look_at_everything(rib);
        }
    }

    /// See [`Rib::pull`](crate::rib::Rib::pull).
    pub(crate) fn pull(
        &mut self,
        rib: &mut LocRib,
        index: PeerIndex,
        room: usize,
        out: &mut Vec<Bytes>,
    ) -> Pull {
        match self.of_peer_mut(rib, index) {
            Some(group) => group.pull(rib, index, room, out),
            None => Pull::Drained,
        }
    }

    /// See [`Rib::poll_ready`](crate::rib::Rib::poll_ready).
    pub(crate) fn poll_ready(&mut self, rib: &mut LocRib, out: &mut Vec<PeerIndex>) {
        for group in self.groups.iter_mut().flatten() {
            group.trim(rib);
            out.append(&mut group.ready);
            if group.idle.is_empty() {
                continue;
            }
            let head = group.journal.head();
            if group.has_pending(rib) {
                group.flush(rib);
            }
            // A walk that goes on may have said nothing yet; pulling goes on with it.
            if group.journal.head() > head || group.has_pending(rib) {
                for peer in group.idle.drain(..) {
                    if let Some(member) = group.members.get_mut(&peer) {
                        member.idle = false;
                        out.push(peer);
                    }
                }
            }
        }
    }

    /// Disbands groups in slices; says whether there is more to do.
    pub(crate) fn advance(&mut self, rib: &mut LocRib, budget: usize) -> bool {
        if let Some(group) = self.disbanding.last_mut()
            && !group.disband(rib, budget)
        {
            self.disbanding.pop();
        }
        !self.disbanding.is_empty()
    }

    /// The group of a peer.
    pub(crate) fn of_peer(&self, rib: &LocRib, index: PeerIndex) -> Option<&Group> {
        let id = rib.peers.get(index)?.group?;
        self.groups.get(usize::from(id.0))?.as_ref()
    }

    fn of_peer_mut(&mut self, rib: &LocRib, index: PeerIndex) -> Option<&mut Group> {
        let id = rib.peers.get(index)?.group?;
        self.group_mut(id)
    }

    fn group_mut(&mut self, id: GroupId) -> Option<&mut Group> {
        self.groups.get_mut(usize::from(id.0))?.as_mut()
    }

    /// All groups.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter().flatten()
    }

    fn add(&mut self, group: Group) -> GroupId {
        let key = group.key.clone();
        let id = self.add_unnamed(group);
        self.by_key.insert(key, id);
        id
    }

    fn add_unnamed(&mut self, group: Group) -> GroupId {
        let free = self.groups.iter().position(Option::is_none);
        let slot = free.unwrap_or(self.groups.len());
        if slot == self.groups.len() {
            self.groups.push(None);
        }
        self.groups[slot] = Some(group);
        // A group has a member and members are numbered in 16 bits.
        GroupId(slot as u16)
    }

    fn remove(&mut self, id: GroupId) {
        self.by_key.retain(|_, named| *named != id);
        if let Some(group) = self.groups.get_mut(usize::from(id.0)).and_then(Option::take) {
            self.disbanding.push(group);
        }
    }
}
