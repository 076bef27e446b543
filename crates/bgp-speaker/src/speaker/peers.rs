//! All peers of a speaker: by number, by name, by address, by connection; and the ranges new ones come from.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use smallvec::SmallVec;

use super::peer::Peer;
use crate::config::{ListenRange, PeerKey};
use crate::rib::{NextHopResolver, PeerIndex, Rib, is_link_local};
use crate::session::ConnId;

#[derive(Default)]
pub(super) struct Peers {
    slots: Vec<Option<Peer>>,
    free: Vec<PeerIndex>,
    /// Numbers whose routes the RIB has not removed yet.
    retired: Vec<PeerIndex>,
    by_key: BTreeMap<PeerKey, PeerIndex>,
    /// Several at one address are on different links.
    by_address: HashMap<IpAddr, SmallVec<[PeerIndex; 1]>, RandomState>,
    by_connection: HashMap<ConnId, PeerIndex, RandomState>,
    ranges: Vec<Range>,
}

/// A listen range and how much of it is used.
pub(super) struct Range {
    pub(super) config: ListenRange,
    pub(super) used: u32,
}

impl Peers {
    pub(super) fn get(&self, index: PeerIndex) -> Option<&Peer> {
        self.slots.get(usize::from(index.0))?.as_ref()
    }

    pub(super) fn get_mut(&mut self, index: PeerIndex) -> Option<&mut Peer> {
        self.slots.get_mut(usize::from(index.0))?.as_mut()
    }

    /// Every peer by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (PeerIndex, &Peer)> {
        self.by_key.values().filter_map(|index| Some((*index, self.get(*index)?)))
    }

    /// The numbers of all peers, by name; a copy, so that peers can change meanwhile.
    pub(super) fn indexes(&self) -> Vec<PeerIndex> {
        self.by_key.values().copied().collect()
    }

    pub(super) fn find_by_key(&self, key: &PeerKey) -> Option<PeerIndex> {
        self.by_key.get(key).copied()
    }

    /// Which peer connects from there. Of a link-local address the link decides, as far as `links` knows its
    /// number.
    pub(super) fn find_by_address(
        &self,
        remote: SocketAddr,
        links: &dyn NextHopResolver,
    ) -> Option<PeerIndex> {
        let address = remote.ip().to_canonical();
        let found = self.by_address.get(&address)?;
        let Some(scope) = scope(remote) else { return found.first().copied() };
        let on_link = |index: &&PeerIndex| {
            let interface = self.get(**index).and_then(|peer| peer.interface.as_deref());
            interface.and_then(|name| links.interface_named(name)).is_none_or(|number| number == scope)
        };
        found.iter().find(on_link).copied()
    }

    pub(super) fn index_of_connection(&self, conn: ConnId) -> Option<PeerIndex> {
        self.by_connection.get(&conn).copied()
    }

    pub(super) fn attach(&mut self, conn: ConnId, index: PeerIndex) {
        self.by_connection.insert(conn, index);
    }

    pub(super) fn detach(&mut self, conn: ConnId) {
        self.by_connection.remove(&conn);
    }

    /// Adds a peer; `None` when there are 65,535 already.
    pub(super) fn insert(&mut self, peer: Peer) -> Option<PeerIndex> {
        let index = self.free.pop().or_else(|| {
            let next = u16::try_from(self.slots.len()).ok().map(PeerIndex)?;
            (next != PeerIndex::LOCAL).then_some(next)
        })?;
        self.by_key.insert(peer.key.clone(), index);
        self.by_address.entry(peer.address.to_canonical()).or_default().push(index);
        if let Some(range) = peer.range.as_ref().and_then(|key| self.range_mut(key)) {
            range.used += 1;
        }
        let slot = usize::from(index.0);
        if slot == self.slots.len() {
            self.slots.push(Some(peer));
        } else {
            self.slots[slot] = Some(peer);
        }
        Some(index)
    }

    /// Forgets a peer; its number rests until the RIB has removed its routes.
    pub(super) fn remove(&mut self, index: PeerIndex) {
        let Some(peer) = self.slots.get_mut(usize::from(index.0)).and_then(Option::take) else { return };
        if self.by_key.get(&peer.key) == Some(&index) {
            self.by_key.remove(&peer.key);
        }
        let address = peer.address.to_canonical();
        if let Some(there) = self.by_address.get_mut(&address) {
            there.retain(|other| *other != index);
            if there.is_empty() {
                self.by_address.remove(&address);
            }
        }
        if let Some(range) = peer.range.as_ref().and_then(|key| self.range_mut(key)) {
            range.used = range.used.saturating_sub(1);
        }
        self.retired.push(index);
    }

    /// Makes the numbers of forgotten peers available once nothing refers to them.
    pub(super) fn recycle(&mut self, rib: &Rib) {
        let free = &mut self.free;
        self.retired.retain(|index| {
            let flushed = rib.is_flushed(*index);
            if flushed {
                free.push(*index);
            }
            !flushed
        });
    }

    pub(super) fn ranges(&self) -> &[Range] {
        &self.ranges
    }

    pub(super) fn set_ranges(&mut self, ranges: &[ListenRange]) {
        let used = |key: &PeerKey| self.iter().filter(|(_, peer)| peer.range.as_ref() == Some(key)).count();
        self.ranges = ranges
            .iter()
            .map(|config| Range {
                used: u32::try_from(used(&config.key)).unwrap_or(u32::MAX),
                config: config.clone(),
            })
            .collect();
        // The longest prefix decides.
        self.ranges.sort_by_key(|range| std::cmp::Reverse(range.config.range.prefix_len()));
    }

    /// The range that an address belongs to, if it takes another peer.
    pub(super) fn range_with_room(&self, address: IpAddr) -> Option<&ListenRange> {
        let address = address.to_canonical();
        let range = self.ranges.iter().find(|range| range.config.range.contains(&address))?;
        (range.used < range.config.limit && range.config.session.shutdown.is_none()).then_some(&range.config)
    }

    fn range_mut(&mut self, key: &PeerKey) -> Option<&mut Range> {
        self.ranges.iter_mut().find(|range| range.config.key == *key)
    }
}

/// The number of the link that a link-local address is on.
pub(super) fn scope(remote: SocketAddr) -> Option<u32> {
    match remote {
        SocketAddr::V6(remote) if is_link_local((*remote.ip()).into()) => {
            Some(remote.scope_id()).filter(|scope| *scope != 0)
        }
        SocketAddr::V4(_) | SocketAddr::V6(_) => None,
    }
}
