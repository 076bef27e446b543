//! Next-hop tracking: which next hops paths depend on, where they lead now, and which destinations use them.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use muslin_bgp_packet::NextHop;

use super::blocks::Blocks;
use super::destination::DestinationId;
use super::slab::{Handle, Slab, handle};

handle!(
    /// A tracked next hop.
    NextHopId
);

/// A view of where addresses lead: the kernel's routes without our own, so that a learned route never
/// resolves through another learned one.
pub trait NextHopResolver {
    /// Where an address leads; `interface` is the link of a link-local one. `None` when it is unreachable.
    fn resolve(&self, next_hop: IpAddr, interface: Option<u32>) -> Option<Resolution>;

    /// Whether an address is one of this host's.
    fn is_local(&self, address: IpAddr) -> bool;

    /// This host's addresses on an interface, of which sessions choose the next hops that they send.
    fn addresses_of(&self, interface: u32) -> Vec<IpAddr> {
        let _ = interface;
        Vec::new()
    }

    /// The number of an interface. Peers with one link-local address on several links are told apart by it;
    /// without it such an address is one peer only, whatever the link.
    fn interface_named(&self, name: &str) -> Option<u32> {
        let _ = name;
        None
    }

    /// The name of an interface: by it a peer of a listen range is called whose address is link-local.
    fn interface_name(&self, interface: u32) -> Option<Arc<str>> {
        let _ = interface;
        None
    }
}

/// Where a next hop leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Resolution {
    /// The neighbour that packets are handed to: the next hop itself, or the gateway on the way there.
    pub gateway: IpAddr,
    /// The outgoing interface.
    pub interface: u32,
    /// Cost of the way, the "IGP metric" of RFC 4271 §9.1.2.2 (e).
    pub metric: u32,
    /// Whether the next hop is on the link itself.
    pub direct: bool,
}

/// What a next hop is worth at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Nothing leads there.
    Unreachable,
    /// Something leads there by a gateway, and it has to be on a link itself.
    OffLink,
    /// It is our own address: the path leads back here (RFC 4271 §5.1.3).
    Own,
    /// Ourselves as originator: nothing to resolve.
    Local,
    /// It leads there.
    Via(Resolution),
}

impl Reach {
    /// Whether a path over it may be used.
    pub(crate) fn is_usable(self) -> bool {
        matches!(self, Self::Local | Self::Via(_))
    }

    /// Whether packets go to the same neighbour.
    pub(crate) fn is_same(self, other: Self) -> bool {
        match (self, other) {
            (Self::Via(one), Self::Via(other)) => {
                (one.gateway, one.interface) == (other.gateway, other.interface)
            }
            _ => self == other,
        }
    }

    /// The cost of the way.
    pub(crate) fn metric(self) -> u32 {
        match self {
            Self::Via(resolution) => resolution.metric,
            Self::Local => 0,
            Self::Unreachable | Self::OffLink | Self::Own => u32::MAX,
        }
    }
}

/// What makes a next hop: its addresses, and the link if one of them is link-local.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct NextHopKey {
    /// The address that the attribute names; the unspecified one for ourselves.
    pub(crate) global: IpAddr,
    /// The link-local address beside it (RFC 2545 §3).
    pub(crate) link_local: Option<Ipv6Addr>,
    /// The link of link-local addresses.
    pub(crate) interface: Option<u32>,
    /// Whether it has to be on a link itself: a gateway, such as that of a default route, would be another way than the
    /// one that the peer offered.
    pub(crate) on_link: bool,
}

/// Where a peer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Vicinity {
    /// The link that it is on.
    pub(crate) interface: Option<u32>,
    /// Whether it is external and one hop away, so that its next hops are on the link with it (RFC 4271 §5.1.3).
    pub(crate) one_hop: bool,
}

impl NextHopKey {
    /// Ourselves.
    pub(crate) const LOCAL: Self =
        Self { global: IpAddr::V6(Ipv6Addr::UNSPECIFIED), link_local: None, interface: None, on_link: false };

    /// A received next hop; a link-local address counts only on the link to the peer.
    pub(crate) fn received(next_hop: NextHop, from: Vicinity) -> Self {
        let Vicinity { interface, one_hop: on_link } = from;
        let link_local = next_hop.link_local.filter(|_| interface.is_some());
        let scoped = link_local.is_some() || is_link_local(next_hop.global);
        Self { global: next_hop.global, link_local, interface: interface.filter(|_| scoped), on_link }
    }

    /// Whether it is ours. The same link-local address may be ours on one link and a neighbour's on another.
    fn is_own(&self, resolver: &dyn NextHopResolver) -> bool {
        match self.interface.filter(|_| is_link_local(self.global)) {
            Some(interface) => resolver.addresses_of(interface).contains(&self.global),
            None => resolver.is_local(self.global),
        }
    }

    fn reach(&self, resolver: &dyn NextHopResolver) -> Reach {
        if *self == Self::LOCAL {
            return Reach::Local;
        }
        if self.is_own(resolver) {
            return Reach::Own;
        }
        let on_link = self.link_local.and_then(|address| resolver.resolve(address.into(), self.interface));
        match on_link.or_else(|| resolver.resolve(self.global, self.interface)) {
            Some(resolution) if resolution.direct || !self.on_link => Reach::Via(resolution),
            Some(_) => Reach::OffLink,
            None => Reach::Unreachable,
        }
    }
}

/// Whether an address is meaningful on one link only.
pub(crate) fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// A tracked next hop.
#[derive(Debug)]
pub(crate) struct TrackedNextHop {
    pub(crate) key: NextHopKey,
    pub(crate) reach: Reach,
    references: u32,
    /// Where destinations are that have a path over it.
    pub(crate) blocks: Blocks,
}

impl Default for TrackedNextHop {
    fn default() -> Self {
        Self { key: NextHopKey::LOCAL, reach: Reach::Unreachable, references: 0, blocks: Blocks::default() }
    }
}

/// All tracked next hops.
pub(crate) struct NextHops {
    rows: Slab<NextHopId, TrackedNextHop>,
    by_key: HashMap<NextHopKey, NextHopId, RandomState>,
    resolver: Box<dyn NextHopResolver + Send>,
}

impl NextHops {
    pub(crate) fn new(resolver: Box<dyn NextHopResolver + Send>) -> Self {
        Self { rows: Slab::default(), by_key: HashMap::default(), resolver }
    }

    /// The row of a next hop with one reference more, resolved if it is new.
    pub(crate) fn acquire(&mut self, key: NextHopKey) -> NextHopId {
        let id = *self.by_key.entry(key).or_insert_with(|| {
            let reach = key.reach(&*self.resolver);
            self.rows.insert(TrackedNextHop { key, reach, ..TrackedNextHop::default() })
        });
        self.rows[id].references += 1;
        id
    }

    /// Gives a reference back.
    pub(crate) fn release(&mut self, id: NextHopId) {
        let row = &mut self.rows[id];
        row.references -= 1;
        if row.references == 0 {
            let row = self.rows.remove(id);
            self.by_key.remove(&row.key);
        }
    }

    /// A next hop.
    pub(crate) fn get(&self, id: NextHopId) -> &TrackedNextHop {
        &self.rows[id]
    }

    /// Notes that a destination has a path over a next hop.
    pub(crate) fn note_use(&mut self, id: NextHopId, destination: DestinationId) {
        self.rows[id].blocks.insert(destination);
    }

    /// Forgets a block in which no destination uses the next hop.
    pub(crate) fn forget_block(&mut self, id: NextHopId, block: u32) {
        self.rows[id].blocks.remove(block);
    }

    /// Resolves everything anew; returns the next hops whose reach changed.
    pub(crate) fn resolve_all(&mut self) -> Vec<NextHopId> {
        let mut changed: Vec<_> = Vec::new();
        for id in self.by_key.values() {
            let row = &mut self.rows[*id];
            let reach = row.key.reach(&*self.resolver);
            if reach != row.reach {
                row.reach = reach;
                changed.push(*id);
            }
        }
        changed.sort_unstable_by_key(|id| id.index());
        changed
    }

    /// Whether a row is in use.
    pub(crate) fn is_used(&self, id: NextHopId) -> bool {
        self.rows[id].references > 0
    }

    /// The view of where addresses lead.
    pub(crate) fn resolver(&self) -> &dyn NextHopResolver {
        &*self.resolver
    }

    /// Next hops in use.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }
}
