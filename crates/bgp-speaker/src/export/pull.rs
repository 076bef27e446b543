//! What a member is sent next.

use bytes::{Bytes, BytesMut};
use muslin_bgp_packet::{Family, FamilySet, RefreshSubtype, RouteRefresh};

use super::Pull;
use super::group::Group;
use super::member::{Position, Replay};
use super::pack::{Item, Packer};
use super::table::{Sent, after};
use crate::rib::slab::Handle;
use crate::rib::{DestinationId, LocRib, PeerIndex};

/// Entries of the table that one slice of a replay looks at, and routes that it sends.
const LOOKS: usize = 4 * ROUTES;
const ROUTES: usize = if cfg!(test) { 4 } else { 2048 };
/// Flushes that one pull does before it returns, so that nobody waits for a walk over a large table.
const FLUSHES: usize = 4;

impl Group {
    /// Appends messages for a member; see [`Rib::pull`](crate::rib::Rib::pull).
    pub(crate) fn pull(
        &mut self,
        rib: &mut LocRib,
        peer: PeerIndex,
        room: usize,
        out: &mut Vec<Bytes>,
    ) -> Pull {
        let mut octets = 0;
        let mut flushes = 0;
        loop {
            let head = self.journal.head();
            let pending = self.has_pending(rib);
            let Some(member) = self.members.get_mut(&peer) else { return Pull::Drained };
            if octets >= room {
                return Pull::More;
            }
            if member.overrun {
                if !member.enhanced_refresh {
                    return Pull::Overrun;
                }
                // RFC 7313: between BoRR and EoRR the peer forgets whatever is not repeated.
                member.overrun = false;
                member.asked = self.key.shape.families;
                member.cursor = head;
                member.replay = None;
            }
            if member.replay.is_some() {
                octets += self.replay(rib, peer, out);
                continue;
            }
            if member.cursor < head {
                if let Some(segment) = self.journal.get(member.cursor) {
                    octets += segment.read(peer, out);
                    member.cursor += 1;
                } else {
                    member.replay = Some(Replay::new(FamilySet::EMPTY, member.cursor, head));
                }
                continue;
            }
            let complete = !rib.defers_learned && self.cursor.passed(member.joined);
            #[cfg(feature = "planted-bugs")]
            let complete = complete || crate::planted::is_planted(crate::planted::Bug::EndOfRibTooEarly);
            if !member.end_of_rib.is_empty() && complete {
                let families = std::mem::take(&mut member.end_of_rib);
                octets += self.end_of_rib(families, out);
                continue;
            }
            if !member.asked.is_empty() && member.end_of_rib.is_empty() {
                octets += self.begin_refresh(peer, out);
                continue;
            }
            if !pending {
                member.idle = true;
                self.idle.push(peer);
                return Pull::Drained;
            }
            if flushes == FLUSHES {
                return Pull::More;
            }
            flushes += 1;
            self.flush(rib);
        }
    }

    fn end_of_rib(&self, families: FamilySet, out: &mut Vec<Bytes>) -> usize {
        let mut packer = Packer::new(&self.key);
        #[cfg(feature = "planted-bugs")]
        let families = if crate::planted::is_planted(crate::planted::Bug::EndOfRibForgotten) {
            families.without(Family::Ipv6Unicast)
        } else {
            families
        };
        families.iter().for_each(|family| packer.end_of_rib(family));
        push(packer.take(), out)
    }

    fn begin_refresh(&mut self, peer: PeerIndex, out: &mut Vec<Bytes>) -> usize {
        let Some(member) = self.members.get_mut(&peer) else { return 0 };
        let families = std::mem::take(&mut member.asked);
        let mut replay = Replay::new(families, member.cursor, member.cursor);
        let marked = member.enhanced_refresh;
        #[cfg(feature = "planted-bugs")]
        if crate::planted::is_planted(crate::planted::Bug::RefreshSendsNothing) {
            replay.resend = FamilySet::EMPTY;
        }
        if marked {
            replay.refresh = families;
        }
        member.replay = Some(replay);
        if marked { push(marks(families, RefreshSubtype::Begin), out) } else { 0 }
    }

    /// One slice of a member's walk over the table.
    fn replay(&mut self, rib: &LocRib, peer: PeerIndex, out: &mut Vec<Bytes>) -> usize {
        let Some(member) = self.members.get(&peer) else { return 0 };
        let Some(mut replay) = member.replay.clone() else { return 0 };
        let mut packer = Packer::new(&self.key);
        let done = match replay.position {
            Position::Routes(_) => {
                self.replay_routes(rib, peer, &mut replay, &mut packer);
                false
            }
            Position::Withdrawn(_) => self.replay_withdrawn(rib, &mut replay, &mut packer),
        };
        let mut octets = push(packer.take(), out);
        if done && !replay.refresh.is_empty() {
            octets += push(marks(replay.refresh, RefreshSubtype::End), out);
        }
        if let Some(member) = self.members.get_mut(&peer) {
            if done {
                member.cursor = replay.resume;
            }
            member.replay = (!done).then_some(replay);
        }
        octets
    }

    fn replay_routes(&self, rib: &LocRib, peer: PeerIndex, replay: &mut Replay, packer: &mut Packer) {
        let Position::Routes(mut place) = replay.position else { return };
        let mut routes: Vec<(Sent, Family, DestinationId, u32)> = Vec::new();
        let mut withdrawn = Vec::new();
        let mut looks = 0;
        let end = loop {
            if looks == LOOKS || routes.len() == ROUTES {
                break Position::Routes(place);
            }
            let Some(((row, path_id), sent)) = self.table.next(place) else {
                break Position::Withdrawn((0, 0));
            };
            looks += 1;
            place = after((row, path_id));
            let id = DestinationId::from_index(row);
            let family = rib.destinations.family(id);
            let is_new = is_since(sent.version, replay.since);
            if sent.offer().source == peer {
                // It may have had this from another source before.
                if is_new && replay.since < replay.resume {
                    withdrawn.push(self.item(rib, id, path_id));
                }
            } else if is_new || replay.resend.contains(family) {
                routes.push((sent, family, id, path_id));
            }
        };
        let order = |(sent, family, ..): &(Sent, Family, _, _)| (sent.offer(), *family);
        routes.sort_by_key(order);
        for run in routes.chunk_by(|one, other| order(one) == order(other)) {
            self.replay_run(rib, run, packer);
        }
        packer.withdraw(&withdrawn);
        replay.position = end;
    }

    fn replay_run(&self, rib: &LocRib, run: &[(Sent, Family, DestinationId, u32)], packer: &mut Packer) {
        let Some((sent, family, ..)) = run.first() else { return };
        // During the walk after a change of policy, one part of the table is still of the old key.
        for part in run.chunk_by(|one, other| std::ptr::eq(self.sent_under(one.2), self.sent_under(other.2)))
        {
            let key = part.first().map_or(&self.key, |(.., id, _)| self.sent_under(*id));
            if let Ok(outgoing) = key.rewrite(rib, sent.offer(), *family) {
                let items: Vec<_> =
                    part.iter().map(|(.., id, path_id)| self.item(rib, *id, *path_id)).collect();
                packer.announce(key, &outgoing, *family, &items);
            }
        }
    }

    /// Withdraws what was withdrawn since; returns whether the walk is over.
    fn replay_withdrawn(&self, rib: &LocRib, replay: &mut Replay, packer: &mut Packer) -> bool {
        let Position::Withdrawn(place) = replay.position else { return true };
        let slice: Vec<_> = self.withdrawn.range(place..).take(LOOKS).collect();
        let items: Vec<_> = slice
            .iter()
            .filter(|(_, version)| **version >= replay.since && **version < replay.resume)
            .map(|((row, path_id), _)| self.item(rib, DestinationId::from_index(*row), *path_id))
            .collect();
        packer.withdraw(&items);
        match slice.last() {
            Some((place, _)) if slice.len() == LOOKS => {
                replay.position = Position::Withdrawn(after(**place));
                false
            }
            _ => true,
        }
    }

    fn item(&self, rib: &LocRib, id: DestinationId, path_id: u32) -> Item {
        let prefix = rib.destinations.prefix(id);
        Item { prefix, path_id: self.wire_path_id(rib.destinations.family(id), path_id) }
    }
}

/// Whether a segment's number, known modulo 2^32, is `since` or later.
fn is_since(version: u32, since: u64) -> bool {
    version.wrapping_sub(since as u32).cast_signed() >= 0
}

/// `BoRR` or `EoRR` messages (RFC 7313 §3.2).
fn marks(families: FamilySet, subtype: RefreshSubtype) -> Bytes {
    let mut messages = BytesMut::new();
    for family in families.iter() {
        RouteRefresh { afi_safi: family.into(), subtype }.encode(&mut messages);
    }
    messages.freeze()
}

fn push(messages: Bytes, out: &mut Vec<Bytes>) -> usize {
    let octets = messages.len();
    if octets > 0 {
        out.push(messages);
    }
    octets
}
