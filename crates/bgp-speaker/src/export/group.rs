//! An export group: one table and one journal for all peers with the same view.

use std::collections::BTreeMap;

use muslin_bgp_packet::Family;

use super::counts::Counts;
use super::journal::Journal;
use super::key::GroupKey;
use super::member::Member;
use super::table::{AdjRibOut, Place, Sent, after};
use crate::rib::slab::Handle;
use crate::rib::{Cursor, DestinationId, LocRib, PeerIndex, Tapped};

/// Most withdrawals that are remembered for members that are behind.
const WITHDRAWN_LIMIT: usize = if cfg!(test) { 200 } else { 1 << 17 };

/// A group.
pub(crate) struct Group {
    pub(crate) key: GroupKey,
    /// While the walk after a change of policy goes on: the key under which the rest of the table was sent.
    pub(crate) previous: Option<GroupKey>,
    /// The group's place in the Loc-RIB's changes.
    pub(crate) cursor: Cursor,
    pub(crate) table: AdjRibOut,
    pub(crate) counts: Counts,
    pub(crate) journal: Journal,
    /// Routes that were withdrawn, with the segment that said so, while a member may not have read it.
    pub(crate) withdrawn: BTreeMap<Place, u64>,
    /// The newest segment that any of them names.
    newest_withdrawal: u64,
    /// Up to where `withdrawn` has been cleaned.
    cleaned: u64,
    pub(crate) members: BTreeMap<PeerIndex, Member>,
    /// Members that were drained.
    pub(crate) idle: Vec<PeerIndex>,
    /// Members that were not but have to be pulled from now: they joined or asked for a refresh.
    pub(crate) ready: Vec<PeerIndex>,
}

impl Group {
    /// An empty group that will walk the whole Loc-RIB.
    pub(crate) fn new(key: GroupKey, rib: &LocRib) -> Self {
        Self {
            table: if key.sends_several() { AdjRibOut::several() } else { AdjRibOut::single() },
            counts: Counts::default(),
            key,
            previous: None,
            cursor: rib.changes.walk(),
            journal: Journal::default(),
            withdrawn: BTreeMap::new(),
            newest_withdrawal: 0,
            cleaned: 0,
            members: BTreeMap::new(),
            idle: Vec::new(),
            ready: Vec::new(),
        }
    }

    pub(crate) fn join(&mut self, peer: PeerIndex, enhanced_refresh: bool, rib: &LocRib) {
        let families = self.key.shape.families;
        let member = Member::new(families, self.journal.head(), rib.changes.head(), enhanced_refresh);
        self.members.insert(peer, member);
        self.ready.push(peer);
    }

    pub(crate) fn leave(&mut self, peer: PeerIndex) {
        self.members.remove(&peer);
        self.idle.retain(|other| *other != peer);
        self.ready.retain(|other| *other != peer);
    }

    /// A member asked for a family again (RFC 2918).
    pub(crate) fn refresh(&mut self, peer: PeerIndex, family: Family) {
        if let Some(member) = self.members.get_mut(&peer)
            && self.key.shape.families.contains(family)
        {
            member.asked = member.asked.with(family);
            if std::mem::take(&mut member.idle) {
                self.idle.retain(|other| *other != peer);
                self.ready.push(peer);
            }
        }
    }

    /// Compares every destination with what was sent of it; members that were drained are looked at again.
    pub(crate) fn look_at_everything(&mut self, rib: &mut LocRib) {
        // A walk that tells routes of two keys apart must not start over.
        while self.previous.is_some() {
            self.flush(rib);
        }
        self.cursor = rib.changes.walk();
        for peer in self.idle.drain(..) {
            if let Some(member) = self.members.get_mut(&peer) {
                member.idle = false;
            }
            self.ready.push(peer);
        }
    }

    /// Whether the Loc-RIB has changes that the group has not looked at.
    pub(crate) fn has_pending(&self, rib: &LocRib) -> bool {
        !rib.changes.drained(self.cursor)
    }

    /// The key under which a destination's entries were sent.
    pub(crate) fn sent_under(&self, id: DestinationId) -> &GroupKey {
        match (&self.previous, self.cursor) {
            (Some(previous), Cursor::Walk { row, since: None, .. }) if id.index() >= row => previous,
            _ => &self.key,
        }
    }

    /// The path identifier that goes on the wire.
    pub(crate) fn wire_path_id(&self, family: Family, path_id: u32) -> Option<u32> {
        self.key.shape.add_path.families.contains(family).then_some(path_id)
    }

    /// Changes what was sent of a destination, `version` being the segment that tells the members.
    pub(crate) fn record(
        &mut self,
        rib: &mut LocRib,
        id: DestinationId,
        path_id: u32,
        sent: Option<Sent>,
        version: u64,
    ) {
        // Whatever is recorded holds the destination: as sent, or as withdrawn while a member may not know.
        let held_as_one_of_several = match self.table {
            AdjRibOut::Single(_) => false,
            AdjRibOut::Several(_) => self.holds(id),
        };
        if let Some(sent) = sent {
            rib.attributes.retain(sent.offer().attributes);
        }
        let place = (id.index(), path_id);
        let before = self.table.set(id, path_id, sent);
        let was_withdrawn = match (&before, &sent) {
            (_, Some(_)) => self.withdrawn.remove(&place).is_some(),
            (Some(_), None) => {
                self.newest_withdrawal = self.newest_withdrawal.max(version);
                self.withdrawn.insert(place, version).is_some()
            }
            (None, None) => return,
        };
        if before.is_none() && !was_withdrawn && !held_as_one_of_several {
            rib.destinations[id].holders += 1;
        }
        let family = rib.destinations.family(id);
        let destinations = &rib.destinations;
        rib.tap.note(|| Tapped::Sent(destinations.prefix(id)));
        if let Some(sent) = sent {
            self.counts.add(family, sent.offer().source);
        }
        if let Some(before) = before {
            self.counts.remove(family, before.offer().source);
            rib.attributes.release(before.offer().attributes);
        }
    }

    fn holds(&self, id: DestinationId) -> bool {
        let row = id.index();
        self.table.has(id)
            || match self.table {
                AdjRibOut::Single(_) => self.withdrawn.contains_key(&(row, 0)),
                AdjRibOut::Several(_) => self.withdrawn.range((row, 0)..=(row, u32::MAX)).next().is_some(),
            }
    }

    /// Tells the destination whether it is still needed.
    fn hold(&self, rib: &mut LocRib, id: DestinationId, before: bool) {
        let after = self.holds(id);
        let holders = &mut rib.destinations[id].holders;
        *holders = *holders + u16::from(after) - u16::from(before);
        if !after {
            rib.destinations.free_if_unused(id);
        }
    }

    /// Drops what no member needs any more.
    pub(crate) fn trim(&mut self, rib: &mut LocRib) {
        if self.journal.is_empty() && self.withdrawn.is_empty() {
            return;
        }
        let head = self.journal.head();
        let floor = self.members.values().map(Member::reads).min().unwrap_or(head);
        self.journal.trim(floor);
        if self.withdrawn.len() > WITHDRAWN_LIMIT {
            // Whoever cannot read the withdrawals from the journal cannot be helped by remembering more.
            let first = self.journal.first();
            for member in self.members.values_mut().filter(|member| member.needs() < first) {
                member.overrun = true;
            }
        }
        let following = self.members.values().filter(|member| !member.overrun);
        let needed = following.map(Member::needs).min().unwrap_or(head);
        if needed > self.cleaned {
            self.cleaned = needed;
            let mut rows: Vec<_> = if self.newest_withdrawal < needed {
                std::mem::take(&mut self.withdrawn).into_keys().map(|(row, _)| row).collect()
            } else {
                let gone = self.withdrawn.extract_if(.., |_, version| *version < needed);
                gone.map(|((row, _), _)| row).collect()
            };
            rows.dedup();
            for row in rows {
                self.hold(rib, DestinationId::from_index(row), true);
            }
        }
    }

    /// Lets go of up to `budget` entries of a group without members; says whether some are left.
    pub(crate) fn disband(&mut self, rib: &mut LocRib, budget: usize) -> bool {
        let places: Vec<_> = self.withdrawn.keys().copied().collect();
        for place in places {
            self.withdrawn.remove(&place);
            self.hold(rib, DestinationId::from_index(place.0), true);
        }
        let mut place = (0, 0);
        for _ in 0..budget {
            let Some(((row, path_id), _)) = self.table.next(place) else { return false };
            let id = DestinationId::from_index(row);
            self.record(rib, id, path_id, None, 0);
            self.withdrawn.remove(&(row, path_id));
            self.hold(rib, id, true);
            place = (row, path_id);
        }
        true
    }

    /// A group for some of the members, which takes over what they were sent.
    pub(crate) fn split(&mut self, peers: &[PeerIndex], rib: &mut LocRib) -> Self {
        let mut split = Self {
            key: self.key.clone(),
            previous: self.previous.clone(),
            cursor: self.cursor,
            table: self.table.clone(),
            counts: self.counts.clone(),
            journal: self.journal.clone(),
            withdrawn: self.withdrawn.clone(),
            newest_withdrawal: self.newest_withdrawal,
            cleaned: self.cleaned,
            members: BTreeMap::new(),
            idle: Vec::new(),
            ready: peers.to_vec(),
        };
        for peer in peers {
            if let Some(member) = self.members.get(peer) {
                split.members.insert(*peer, Member { idle: false, ..member.clone() });
            }
            self.leave(*peer);
        }
        split.retain_all(rib);
        split
    }

    fn retain_all(&self, rib: &mut LocRib) {
        let mut held = std::collections::BTreeSet::new();
        let mut place = (0, 0);
        while let Some(((row, path_id), sent)) = self.table.next(place) {
            rib.attributes.retain(sent.offer().attributes);
            held.insert(row);
            place = after((row, path_id));
        }
        held.extend(self.withdrawn.keys().map(|(row, _)| *row));
        for row in held {
            rib.destinations[DestinationId::from_index(row)].holders += 1;
        }
    }
}
