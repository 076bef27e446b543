//! What tests of the RIB's size share: a resolver, peers, and a RIB between them.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use muslin_bgp_packet::{Asn, DecodeContext, FamilySet, PeerKind};
use muslin_bgp_speaker::config::{ImportGuard, NextHopMode, PeerKey, Policy, ReflectorRole};
use muslin_bgp_speaker::rib::{
    AddPathSend, LocalAddresses, NextHopResolver, PeerView, Resolution, Rib, RibConfig,
};

pub(crate) const OWN_AS: Asn = Asn(65000);
pub(crate) const OWN_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 255, 0, 1);

/// Everything is a neighbour.
pub(crate) struct OnLink;

impl NextHopResolver for OnLink {
    fn resolve(&self, next_hop: IpAddr, _: Option<u32>) -> Option<Resolution> {
        Some(Resolution { gateway: next_hop, interface: 1, metric: 0, direct: true })
    }

    fn is_local(&self, address: IpAddr) -> bool {
        address == OWN_ADDRESS
    }
}

/// A RIB of the speaker with this identifier.
pub(crate) fn rib(now: Instant, router_id: Ipv4Addr) -> Rib {
    let config =
        RibConfig { asn: OWN_AS, router_id, cluster_id: None, max_paths: 16, guard: ImportGuard::open() };
    Rib::new(now, config, Box::new(OnLink))
}

/// The address of a peer.
pub(crate) fn address(index: u16) -> Ipv4Addr {
    let [high, low] = index.to_be_bytes();
    Ipv4Addr::new(10, 0, high, low)
}

/// A peer that accepts and is sent everything: of another AS, or a client of our reflection.
pub(crate) fn view(index: u16, kind: PeerKind) -> PeerView {
    let asn = if kind == PeerKind::Internal { OWN_AS } else { Asn(65000 + u32::from(index)) };
    PeerView {
        key: PeerKey(address(index).to_string().into()),
        asn,
        local_as: OWN_AS,
        as_behind: None,
        prepends_received: false,
        role: None,
        id: address(index),
        address: address(index).into(),
        local: LocalAddresses { ipv4: Some(OWN_ADDRESS), ..LocalAddresses::default() },
        interface: None,
        one_hop: false,
        decode: DecodeContext::new(kind, FamilySet::ALL),
        families: FamilySet::ALL,
        add_path_send: AddPathSend::default(),
        extended_next_hop: FamilySet::EMPTY,
        max_message: 4096,
        enhanced_refresh: false,
        graceful_shutdown: false,
        takes_long_lived_stale: false,
        reflector: ReflectorRole::Client,
        next_hop: NextHopMode::Auto,
        import: Arc::new(Policy::accept_all("in")),
        export: Arc::new(Policy::accept_all("out")),
        allowed_own_as: 0,
        max_prefixes: None,
    }
}
