//! The peers as the RIB sees them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;
use muslin_bgp_packet::{Asn, DecodeContext, Family, FamilySet, Role};
use serde::{Deserialize, Serialize};

use super::blocks::Blocks;
use super::limit::LimitMark;
use super::next_hops::Vicinity;
use super::refusal::RefusalCounts;
use crate::config::{NextHopMode, PeerKey, Policy, PrefixLimit, ReflectorRole};
use crate::export::GroupId;

/// A peer's number: small, given out by the session layer, reused only after [`Rib::is_flushed`](super::Rib::is_flushed).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerIndex(pub u16);

impl PeerIndex {
    /// Stands for ourselves: the source of what we originate.
    pub const LOCAL: Self = Self(u16::MAX);
}

/// What a session gives the RIB to know when it becomes established.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "facts of a session that have nothing to do with one another"
)]
pub struct PeerView {
    /// Name.
    pub key: PeerKey,
    /// The peer's AS.
    pub asn: Asn,
    /// Our AS towards the peer.
    pub local_as: Asn,
    /// The speaker's own AS, where AS paths show it behind `local_as`.
    pub as_behind: Option<Asn>,
    /// Whether `local_as` is put before received AS paths.
    pub prepends_received: bool,
    /// Our place beside the peer (RFC 9234).
    pub role: Option<Role>,
    /// The peer's BGP identifier.
    pub id: Ipv4Addr,
    /// The peer's address.
    pub address: IpAddr,
    /// Our own addresses on this session, as next hops.
    pub local: LocalAddresses,
    /// The interface that the peer is directly attached to; `None` if it is not.
    pub interface: Option<u32>,
    /// Whether it is external and sessions with it span one hop.
    pub one_hop: bool,
    /// How UPDATEs of the peer are read; says internal or external too.
    pub decode: DecodeContext,
    /// Negotiated families.
    pub families: FamilySet,
    /// Families in which we may send several paths, and how many (RFC 7911).
    pub add_path_send: AddPathSend,
    /// Families that we may send with an IPv6 next hop though they are not IPv6 (RFC 8950).
    pub extended_next_hop: FamilySet,
    /// Longest message that we may send: 4096, or 65535 (RFC 8654).
    pub max_message: u16,
    /// Whether enhanced route refresh was negotiated (RFC 7313).
    pub enhanced_refresh: bool,
    /// Whether what it is sent says that we are about to go (RFC 8326).
    pub graceful_shutdown: bool,
    /// Whether it may be sent routes that are long-lived stale (RFC 9494 §4.3).
    pub takes_long_lived_stale: bool,
    /// Reflection towards the peer.
    pub reflector: ReflectorRole,
    /// NEXT_HOP that we send.
    pub next_hop: NextHopMode,
    /// What is accepted.
    pub import: Arc<Policy>,
    /// What is sent.
    pub export: Arc<Policy>,
    /// How often our own AS may stand in a received AS_PATH.
    pub allowed_own_as: u8,
    /// Most prefixes per family.
    pub max_prefixes: Option<PrefixLimit>,
}

impl PeerView {
    /// Whether the peer is in our AS.
    pub fn is_internal(&self) -> bool {
        self.decode.attributes.peer == muslin_bgp_packet::PeerKind::Internal
    }

    /// Where its next hops have to be. One that was not on a link from the start is known by routes of others.
    pub(crate) fn vicinity(&self) -> Vicinity {
        Vicinity { interface: self.interface, one_hop: self.one_hop && self.interface.is_some() }
    }

    /// Whether the peer is a client of our reflection.
    pub fn is_client(&self) -> bool {
        self.is_internal() && self.reflector == ReflectorRole::Client
    }
}

/// Families in which several paths are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct AddPathSend {
    /// Negotiated families.
    pub families: FamilySet,
    /// Most paths of one destination.
    pub paths: u16,
}

/// Our own addresses on one session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LocalAddresses {
    /// IPv4 next hop.
    pub ipv4: Option<Ipv4Addr>,
    /// Global IPv6 next hop.
    pub ipv6: Option<Ipv6Addr>,
    /// Link-local IPv6 next hop, on a shared link only (RFC 2545 §3).
    pub link_local: Option<Ipv6Addr>,
}

/// What becomes of a lost peer's routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerLoss {
    /// They are withdrawn.
    Flush,
    /// They stay, stale, until [`Rib::flush_stale`](super::Rib::flush_stale) (RFC 4724 §4.2).
    RetainStale,
    /// The same of a peer that fell silent, whose equals are preferred until it is back.
    RetainSilent,
    /// The same, and those that were stale before stay as well: the peer is there and chose another
    /// connection.
    RetainAll,
}

/// How many paths a peer has in one family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathCounts {
    /// Paths in the Adj-RIB-In.
    pub received: u32,
    /// Those of them that import accepts.
    pub accepted: u32,
}

/// A peer.
pub(crate) struct Peer {
    pub(crate) view: Arc<PeerView>,
    /// Whether the session is up.
    pub(crate) up: bool,
    /// Epoch per family: paths of an older one are stale.
    pub(crate) epochs: [u8; 2],
    /// Families with paths of an older epoch that nobody has yet said to flush.
    pub(crate) stale: FamilySet,
    /// Whether it fell silent, so that its stale paths are used only where none equals them.
    pub(crate) silent: bool,
    /// Families whose stale paths have outlived the peer's restart time (RFC 9494).
    pub(crate) long_lived: FamilySet,
    /// Families of which the peer repeats its routes (RFC 7313).
    pub(crate) refreshing: FamilySet,
    /// Families that were switched off for the rest of the session (RFC 7606 §2).
    pub(crate) disabled: FamilySet,
    /// Where its paths are.
    pub(crate) blocks: Blocks,
    pub(crate) counts: [PathCounts; 2],
    pub(crate) refusals: RefusalCounts,
    /// What was said of the prefix limit since the session came up.
    pub(crate) limit_marks: [LimitMark; 2],
    /// Families in which prefixes were discarded since then.
    pub(crate) discarded: FamilySet,
    /// Updates, announced and withdrawn prefixes received since the session came up.
    pub(crate) received: ReceivedCounts,
    /// The export group.
    pub(crate) group: Option<GroupId>,
    /// What identifiers of its paths are made of when they are sent on (RFC 7911 §5).
    pub(crate) path_seed: u32,
    /// What it sent with us as originator though it is not ours, first of the session.
    pub(crate) own_identifier: Option<IpNet>,
}

/// What a peer sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceivedCounts {
    /// UPDATE messages.
    pub updates: u64,
    /// Announced prefixes.
    pub announced: u64,
    /// Withdrawn prefixes.
    pub withdrawn: u64,
    /// UPDATEs that were treated as withdraw (RFC 7606).
    pub treated_as_withdraw: u64,
    /// UPDATEs of which an attribute was discarded (RFC 7606).
    pub attributes_discarded: u64,
}

/// The array index of a family.
pub(crate) fn slot(family: Family) -> usize {
    match family {
        Family::Ipv4Unicast => 0,
        Family::Ipv6Unicast => 1,
    }
}

impl Peer {
    pub(crate) fn new(view: PeerView) -> Self {
        Self {
            path_seed: path_seed(&view.key),
            own_identifier: None,
            view: Arc::new(view),
            up: true,
            epochs: [0; 2],
            stale: FamilySet::EMPTY,
            silent: false,
            long_lived: FamilySet::EMPTY,
            refreshing: FamilySet::EMPTY,
            disabled: FamilySet::EMPTY,
            blocks: Blocks::default(),
            counts: [PathCounts::default(); 2],
            refusals: RefusalCounts::default(),
            limit_marks: [LimitMark::Below; 2],
            discarded: FamilySet::EMPTY,
            received: ReceivedCounts::default(),
            group: None,
        }
    }

    pub(crate) fn epoch(&self, family: Family) -> u8 {
        self.epochs[slot(family)]
    }

    /// Whether a path of that epoch has outlived the peer's restart time.
    pub(crate) fn is_long_lived_stale(&self, family: Family, epoch: u8) -> bool {
        self.long_lived.contains(family) && self.epoch(family) != epoch
    }

    pub(crate) fn begin_epoch(&mut self, families: FamilySet) {
        for family in families.iter() {
            let epoch = &mut self.epochs[slot(family)];
            *epoch = epoch.wrapping_add(1);
            self.stale = self.stale.with(family);
            self.long_lived = self.long_lived.without(family);
        }
    }

    /// The session is established again.
    pub(crate) fn begin_session(&mut self, view: PeerView) {
        self.view = Arc::new(view);
        self.up = true;
        self.refreshing = FamilySet::EMPTY;
        self.disabled = FamilySet::EMPTY;
        self.received = ReceivedCounts::default();
        self.refusals = RefusalCounts::default();
        self.limit_marks = [LimitMark::Below; 2];
        self.discarded = FamilySet::EMPTY;
        self.own_identifier = None;
    }
}

/// A number that is a peer's own in this run and the next: FNV-1a of its name.
fn path_seed(PeerKey(name): &PeerKey) -> u32 {
    name.bytes().fold(0x811c_9dc5, |hash, octet| (hash ^ u32::from(octet)).wrapping_mul(0x0100_0193))
}

/// All peers by index.
#[derive(Default)]
pub(crate) struct Peers(Vec<Option<Box<Peer>>>);

impl Peers {
    pub(crate) fn get(&self, index: PeerIndex) -> Option<&Peer> {
        self.0.get(usize::from(index.0))?.as_deref()
    }

    pub(crate) fn get_mut(&mut self, index: PeerIndex) -> Option<&mut Peer> {
        self.0.get_mut(usize::from(index.0))?.as_deref_mut()
    }

    pub(crate) fn insert(&mut self, index: PeerIndex, peer: Peer) {
        let slot = usize::from(index.0);
        if slot >= self.0.len() {
            self.0.resize_with(slot + 1, || None);
        }
        self.0[slot] = Some(Box::new(peer));
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (PeerIndex, &Peer)> {
        self.0
            .iter()
            .enumerate()
            .filter_map(|(index, peer)| Some((PeerIndex(index as u16), peer.as_deref()?)))
    }
}
