//! What makes peers share an export group: everything that changes the octets that they are sent.

use std::hash::{Hash, Hasher};
use std::net::Ipv4Addr;
use std::sync::Arc;

use muslin_bgp_packet::{AsWidth, Asn, FamilySet, Role};

use crate::config::{NextHopMode, Policy};
use crate::policy::{has_same_effect, hash_effect};
use crate::rib::{AddPathSend, LocalAddresses, PeerView};

/// The export view of a group.
#[derive(Clone, Debug)]
pub(crate) struct GroupKey {
    pub(crate) shape: Shape,
    pub(crate) policy: Arc<Policy>,
}

/// The part of the view that is not policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Shape {
    pub(crate) relation: Relation,
    pub(crate) as_width: AsWidth,
    pub(crate) families: FamilySet,
    pub(crate) add_path: AddPathSend,
    pub(crate) extended_next_hop: FamilySet,
    pub(crate) max_message: u16,
    pub(crate) local: LocalAddresses,
    /// The shared link, on which third-party next hops may be sent (RFC 4271 §5.1.3).
    pub(crate) interface: Option<u32>,
    pub(crate) next_hop: NextHopMode,
    pub(crate) takes_long_lived_stale: bool,
    pub(crate) graceful_shutdown: bool,
}

/// How the members stand to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Relation {
    /// In another AS, towards which we are this one.
    External {
        /// The first AS of what is sent.
        local_as: Asn,
        /// Our own AS, if it is shown as well.
        as_behind: Option<Asn>,
        /// Our place beside it.
        role: Option<Role>,
    },
    /// In our AS, where reflected routes name this cluster.
    Internal { cluster: Ipv4Addr },
    /// The same, and a client of our reflection.
    Client { cluster: Ipv4Addr },
}

impl GroupKey {
    /// The key of a peer of a speaker in this cluster.
    pub(crate) fn of(view: &PeerView, cluster: Ipv4Addr) -> Self {
        let relation = if !view.is_internal() {
            Relation::External { local_as: view.local_as, as_behind: view.as_behind, role: view.role }
        } else if view.is_client() {
            Relation::Client { cluster }
        } else {
            Relation::Internal { cluster }
        };
        let shape = Shape {
            relation,
            as_width: view.decode.attributes.as_width,
            families: view.families,
            add_path: view.add_path_send,
            extended_next_hop: view.extended_next_hop,
            max_message: view.max_message,
            local: view.local,
            interface: view.interface,
            next_hop: view.next_hop,
            takes_long_lived_stale: view.takes_long_lived_stale,
            graceful_shutdown: view.graceful_shutdown,
        };
        Self { shape, policy: view.export.clone() }
    }

    /// Whether the members are in another AS.
    pub(crate) fn is_external(&self) -> bool {
        matches!(self.shape.relation, Relation::External { .. })
    }

    /// Whether several paths of a destination are sent in a family.
    pub(crate) fn sends_several(&self) -> bool {
        !self.shape.add_path.families.is_empty() && self.shape.add_path.paths > 1
    }
}

impl PartialEq for GroupKey {
    fn eq(&self, other: &Self) -> bool {
        self.shape == other.shape
            && (Arc::ptr_eq(&self.policy, &other.policy) || has_same_effect(&self.policy, &other.policy))
    }
}

impl Eq for GroupKey {}

impl Hash for GroupKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.shape.hash(state);
        hash_effect(&self.policy, state);
    }
}
