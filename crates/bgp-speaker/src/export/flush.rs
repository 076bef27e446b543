//! From changes of the Loc-RIB to a segment of the journal.

use bytes::Bytes;
use muslin_bgp_packet::Family;

use super::group::Group;
use super::journal::{Segment, Skip};
use super::pack::{Item, Packer};
use super::rewrite::Outgoing;
use super::select::Offer;
use super::table::Sent;
use crate::rib::{Cursor, DestinationId, LocRib, PeerIndex};

/// Changes of one segment, and destinations that are looked at for it. Tests have small ones, so that work is
/// interrupted.
const CHANGES: usize = if cfg!(test) { 8 } else { 2048 };
const LOOKS: usize = 16 * CHANGES;

/// What is to change for one destination and path identifier.
#[derive(Clone, Copy, Debug)]
struct Change {
    id: DestinationId,
    path_id: u32,
    family: Family,
    held: Option<Sent>,
    offer: Option<Offer>,
}

impl Change {
    fn source(&self) -> Option<PeerIndex> {
        self.held.map(|sent| sent.offer().source)
    }

    /// Routes that share a message stand together; withdrawals come first.
    fn order(&self) -> (Option<Offer>, Family) {
        (self.offer, self.family)
    }
}

/// A segment in the making.
struct Draft {
    packer: Packer,
    only: Packer,
    skips: Vec<Skip>,
    only_messages: Vec<(PeerIndex, Bytes)>,
}

impl Group {
    /// Looks at the next changes of the Loc-RIB and writes a segment if members have to be told something.
    pub(crate) fn flush(&mut self, rib: &mut LocRib) {
        let mut changes = self.collect(rib);
        changes.sort_by_key(Change::order);
        let mut draft = Draft {
            packer: Packer::new(&self.key),
            only: Packer::new(&self.key),
            skips: Vec::new(),
            only_messages: Vec::new(),
        };
        let number = self.journal.head();
        let announced_from = changes.partition_point(|change| change.offer.is_none());
        let (withdrawals, announcements) = changes.split_at(announced_from);
        let mut withdrawals = withdrawals.to_vec();
        for run in announcements.chunk_by(|one, other| one.order() == other.order()) {
            self.announce(rib, run, number, &mut draft, &mut withdrawals);
        }
        withdrawals.sort_by_key(Change::source);
        for run in withdrawals.chunk_by(|one, other| one.source() == other.source()) {
            self.withdraw(rib, run, number, &mut draft);
        }
        let segment = Segment::new(draft.packer.take(), draft.skips, draft.only_messages);
        self.trim(rib);
        if !segment.is_empty() {
            self.journal.push(segment);
        }
        if !matches!(self.cursor, Cursor::Walk { since: None, .. }) {
            self.previous = None;
        }
    }

    fn collect(&mut self, rib: &LocRib) -> Vec<Change> {
        let mut changes = Vec::new();
        for _ in 0..LOOKS {
            if changes.len() >= CHANGES {
                break;
            }
            let Some(id) = rib.changes.next(&mut self.cursor, &rib.destinations) else { break };
            let family = rib.destinations.family(id);
            let held = self.table.get(id);
            let offers = self.key.offers(rib, id);
            for (path_id, sent) in &held {
                if offers.binary_search_by_key(path_id, |(offered, _)| *offered).is_err() {
                    let (path_id, held) = (*path_id, Some(*sent));
                    changes.push(Change { id, path_id, family, held, offer: None });
                }
            }
            for (path_id, offer) in offers {
                let at = held.binary_search_by_key(&path_id, |(held, _)| *held).ok();
                let held = at.map(|at| held[at].1);
                // After a change of policy the same offer may be sent as something else.
                if self.previous.is_some() || held.map(|sent| sent.offer()) != Some(offer) {
                    changes.push(Change { id, path_id, family, held, offer: Some(offer) });
                }
            }
        }
        changes
    }

    /// Writes routes that share an offer. What cannot be sent joins the withdrawals.
    fn announce(
        &mut self,
        rib: &mut LocRib,
        run: &[Change],
        number: u64,
        draft: &mut Draft,
        withdrawals: &mut Vec<Change>,
    ) {
        let Some(Change { offer: Some(offer), family, .. }) = run.first().copied() else { return };
        let withdrawn = |change: &Change| Change { offer: None, ..*change };
        let Ok(outgoing) = self.key.rewrite(rib, offer, family) else {
            withdrawals.extend(run.iter().filter(|change| change.held.is_some()).map(withdrawn));
            return;
        };
        let (unchanged, mut changed): (Vec<_>, Vec<_>) = {
            let mut known = None;
            run.iter().copied().partition(|change| self.is_unchanged(rib, change, &outgoing, &mut known))
        };
        for change in unchanged {
            let version = change.held.map_or(0, |sent| sent.version);
            self.record(rib, change.id, change.path_id, Some(Sent::new(offer, version)), number);
        }
        let mut items = self.items(rib, &changed);
        let start = draft.packer.len();
        let too_long = draft.packer.announce(&self.key, &outgoing, family, &items);
        for index in too_long.into_iter().rev() {
            let change = changed.swap_remove(index);
            items.swap_remove(index);
            withdrawals.extend(change.held.map(|_| withdrawn(&change)));
        }
        draft.skip(self, offer.source, start);
        if self.members.contains_key(&offer.source) {
            // The new source had the route from somebody else until now, and is not sent its own.
            let flipped = |change: &Change| change.source().is_some_and(|source| source != offer.source);
            let flips: Vec<_> = changed.iter().copied().filter(flipped).collect();
            #[cfg(feature = "planted-bugs")]
            let flips = if crate::planted::is_planted(crate::planted::Bug::SourceFlipMissed) {
                Vec::new()
            } else {
                flips
            };
            if !flips.is_empty() {
                draft.only.withdraw(&self.items(rib, &flips));
                draft.only_messages.push((offer.source, draft.only.take()));
            }
        }
        for change in changed {
            let sent = Sent::new(offer, number as u32);
            self.record(rib, change.id, change.path_id, Some(sent), number);
        }
    }

    /// Whether the members have exactly this already, though it was made from something else.
    fn is_unchanged(
        &self,
        rib: &LocRib,
        change: &Change,
        outgoing: &Outgoing,
        known: &mut Option<(Offer, bool)>,
    ) -> bool {
        let (Some(held), Some(offer)) = (change.held.map(|sent| sent.offer()), change.offer) else {
            return false;
        };
        if held.source != offer.source {
            return false;
        }
        match known {
            Some((compared, same)) if *compared == held => *same,
            _ => {
                let key = self.previous.as_ref().unwrap_or(&self.key);
                let same = key.rewrite(rib, held, change.family).is_ok_and(|before| before == *outgoing);
                *known = Some((held, same));
                same
            }
        }
    }

    /// Writes withdrawals of routes that came from one source.
    fn withdraw(&mut self, rib: &mut LocRib, run: &[Change], number: u64, draft: &mut Draft) {
        let start = draft.packer.len();
        #[cfg(feature = "planted-bugs")]
        let run_sent =
            if crate::planted::is_planted(crate::planted::Bug::WithdrawalDropped) && number % 4 == 3 {
                &[]
            } else {
                run
            };
        #[cfg(not(feature = "planted-bugs"))]
        let run_sent = run;
        draft.packer.withdraw(&self.items(rib, run_sent));
        if let Some(source) = run.first().and_then(Change::source) {
            draft.skip(self, source, start);
        }
        for change in run {
            self.record(rib, change.id, change.path_id, None, number);
        }
    }

    fn items(&self, rib: &LocRib, changes: &[Change]) -> Vec<Item> {
        changes
            .iter()
            .map(|change| Item {
                prefix: rib.destinations.prefix(change.id),
                path_id: self.wire_path_id(change.family, change.path_id),
            })
            .collect()
    }
}

impl Draft {
    /// What was written since `start` is not for its source.
    fn skip(&mut self, group: &Group, source: PeerIndex, start: usize) {
        let end = self.packer.len();
        if end > start && group.members.contains_key(&source) {
            self.skips.push(Skip { peer: source, start, end });
        }
    }
}
