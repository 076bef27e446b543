//! Routes as UPDATE messages for those who look in from outside: BMP collectors and records.

use std::net::{IpAddr, Ipv4Addr};

use bytes::BytesMut;
use ipnet::IpNet;
use muslin_bgp_packet::frame::MAX_EXTENDED_LENGTH;
use muslin_bgp_packet::{AsWidth, Family, NextHop, Nlri, UpdateEncoder};
use smallvec::SmallVec;

use super::Rib;
use super::attributes::AttributeId;
use super::next_hops::NextHopKey;
use super::peers::{PeerIndex, PeerView};

/// A path as it is told to others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Monitored {
    /// Who announced it.
    pub(crate) peer: PeerIndex,
    /// Its identifier in the table.
    pub(crate) path_id: u32,
    /// Attributes before policy.
    pub(crate) received: AttributeId,
    /// Attributes after policy, if import accepted it.
    pub(crate) accepted: Option<AttributeId>,
    /// Whether it is the best of its destination.
    pub(crate) best: bool,
    /// Seconds since it was received in this form.
    pub(crate) age: u32,
}

impl Rib {
    /// Destinations in order, IPv4 first, from after a prefix.
    pub(crate) fn destinations_after(&self, after: Option<IpNet>) -> impl Iterator<Item = IpNet> {
        let begun =
            move |family: &Family| !(*family == Family::Ipv4Unicast && matches!(after, Some(IpNet::V6(_))));
        let families = Family::ALL.into_iter().filter(begun);
        let destinations = &self.routes.destinations;
        families.flat_map(move |family| destinations.ordered(family, after)).map(|id| destinations.prefix(id))
    }

    /// All paths of a destination, the best one first.
    pub(crate) fn monitored(&self, prefix: IpNet) -> SmallVec<[Monitored; 4]> {
        let rib = &self.routes;
        let Some(id) = rib.destinations.find(prefix) else { return SmallVec::new() };
        let best = rib.destinations.best(id).map(|(handle, _)| handle);
        let paths = rib.destinations.paths(id);
        paths
            .map(|(handle, path)| Monitored {
                peer: path.peer,
                path_id: path.id,
                received: path.received,
                accepted: path.state.is_accepted().then_some(path.attributes),
                best: Some(handle) == best,
                age: rib.seconds.saturating_sub(path.since),
            })
            .collect()
    }

    /// What a peer is to the RIB, while its session is up.
    pub(crate) fn up_peer(&self, peer: PeerIndex) -> Option<&PeerView> {
        self.routes.peers.get(peer).filter(|peer| peer.up).map(|peer| &*peer.view)
    }

    /// Appends the UPDATE that announces a prefix with these attributes; nothing if it does not fit into any.
    pub(crate) fn write_route(
        &self,
        out: &mut BytesMut,
        prefix: IpNet,
        path_id: Option<u32>,
        attributes: AttributeId,
        width: AsWidth,
    ) {
        let rib = &self.routes.attributes;
        let encoder = UpdateEncoder::new(MAX_EXTENDED_LENGTH);
        let next_hop = match rib.next_hop(attributes) {
            NextHopKey::LOCAL if matches!(prefix, IpNet::V4(_)) => {
                NextHop::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
            }
            NextHopKey { global, link_local, .. } => NextHop { global, link_local },
        };
        let mut narrow = BytesMut::new();
        let octets = match width {
            AsWidth::Four => &*rib.row(attributes).octets,
            AsWidth::Two => {
                rib.decode(attributes).encode_canonical(width, &mut narrow);
                &narrow[..]
            }
        };
        let start = out.len();
        let written = match prefix {
            IpNet::V4(prefix) => encoder.announce(out, octets, &next_hop, [Nlri { prefix, path_id }]),
            IpNet::V6(prefix) => encoder.announce(out, octets, &next_hop, [Nlri { prefix, path_id }]),
        };
        if written.is_err() {
            out.truncate(start);
        }
    }
}

/// Appends the UPDATE that withdraws a prefix.
pub(crate) fn write_withdrawal(out: &mut BytesMut, prefix: IpNet, path_id: Option<u32>) {
    let encoder = UpdateEncoder::new(MAX_EXTENDED_LENGTH);
    match prefix {
        IpNet::V4(prefix) => encoder.withdraw(out, [Nlri { prefix, path_id }]),
        IpNet::V6(prefix) => encoder.withdraw(out, [Nlri { prefix, path_id }]),
    }
}
