//! What a route looks like when it leaves: the rules of RFC 4271 §5 and §9.2, RFC 4456 §8 and §9, and policy.

use std::net::{IpAddr, Ipv4Addr};

use bytes::BytesMut;
use ipnet::IpNet;
use muslin_bgp_packet::{Community, Family, NextHop, PathAttributes};

use super::key::{GroupKey, Relation};
use super::pack::{Item, Packer};
use super::select::{Offer, Withheld};
use crate::config::{Action, NextHopChange, NextHopMode};
use crate::policy::{apply, next_hop};
use crate::rib::{DEFAULT_LOCAL_PREF, LocRib, NextHopKey, PeerIndex, Reach, adds_on_egress, is_link_local};

/// A route as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outgoing {
    pub(crate) attributes: PathAttributes,
    pub(crate) next_hop: NextHop,
}

impl Outgoing {
    /// Canonical octets for the encoder.
    pub(crate) fn encode(&self, key: &GroupKey, out: &mut BytesMut) {
        out.clear();
        self.attributes.encode_canonical(key.shape.as_width, out);
    }
}

impl GroupKey {
    /// The route that an offer is sent as.
    pub(crate) fn rewrite(&self, rib: &LocRib, offer: Offer, family: Family) -> Result<Outgoing, Withheld> {
        let actions = || offer.trail.actions(&self.policy);
        let next_hop = self.next_hop(rib, offer, family, next_hop(actions())).ok_or(Withheld::NextHop)?;
        let mut attributes = rib.attributes.decode(offer.attributes);
        attributes.next_hop = None;
        match self.shape.relation {
            Relation::External { local_as, as_behind, role } => {
                // RFC 4271 §5.1.4: a MED of another AS goes no further. Policy may set one of ours.
                if !attributes.as_path.is_empty() {
                    attributes.med = None;
                }
                attributes.originator_id = None;
                attributes.cluster_list.clear();
                // RFC 4360 §6: what is not transitive ends here.
                attributes.extended_communities.retain(|community| community.is_transitive());
                apply(actions(), &mut attributes);
                attributes.local_pref = None;
                let_bandwidth_pass(&mut attributes);
                let path = attributes.as_path.without_confederation();
                let path = as_behind.map_or(path.clone(), |own| path.prepended(own, 1));
                attributes.as_path = path.prepended(local_as, 1);
                if adds_on_egress(role) {
                    attributes.otc.get_or_insert(local_as);
                }
            }
            Relation::Internal { cluster } | Relation::Client { cluster } => {
                reflect(rib, offer, cluster, &mut attributes);
                attributes.local_pref.get_or_insert(DEFAULT_LOCAL_PREF);
                apply(actions(), &mut attributes);
            }
        }
        if self.shape.graceful_shutdown {
            apply(&[Action::AddCommunity(Community::GRACEFUL_SHUTDOWN.into())], &mut attributes);
            if !self.is_external() {
                apply(&[Action::LocalPref(0)], &mut attributes);
            }
        }
        Ok(Outgoing { attributes, next_hop })
    }

    /// Whether a route fits into a message together with its attributes.
    pub(crate) fn fits(&self, outgoing: &Outgoing, prefix: IpNet) -> bool {
        let item = Item { prefix, path_id: None };
        Packer::new(self).announce(self, outgoing, family_of(prefix), &[item]).is_empty()
    }

    fn next_hop(
        &self,
        rib: &LocRib,
        offer: Offer,
        family: Family,
        change: Option<NextHopChange>,
    ) -> Option<NextHop> {
        let mode = match change {
            Some(NextHopChange::Address(address)) => {
                return self.can_send(family, address).then(|| NextHop::new(address));
            }
            Some(NextHopChange::Itself) => NextHopMode::Itself,
            Some(NextHopChange::Unchanged) => NextHopMode::Unchanged,
            None => self.shape.next_hop,
        };
        let received = rib.attributes.next_hop(offer.attributes);
        // A link-local address means nothing beyond its link.
        let same_link = received.interface.is_none() || received.interface == self.shape.interface;
        let means_something = same_link || !is_link_local(received.global);
        let keeps = offer.source != PeerIndex::LOCAL
            && match mode {
                NextHopMode::Itself => false,
                NextHopMode::Auto if self.is_external() => self.is_on_shared_link(rib, offer),
                NextHopMode::Auto | NextHopMode::Unchanged => means_something,
            };
        // RFC 2545 §3: it goes along where the next hop and both speakers are on one link.
        let kept = NextHop { global: received.global, link_local: received.link_local.filter(|_| same_link) };
        if keeps && self.can_send(family, kept.global) { Some(kept) } else { self.own_address(family) }
    }

    /// RFC 4271 §5.1.3, "third party": the next hop is on the link that we share with the members.
    fn is_on_shared_link(&self, rib: &LocRib, offer: Offer) -> bool {
        let NextHopKey { interface: scope, .. } = rib.attributes.next_hop(offer.attributes);
        match rib.attributes.reach(offer.attributes) {
            Reach::Via(via) => via.direct && scope.is_none() && Some(via.interface) == self.shape.interface,
            Reach::Local | Reach::Own | Reach::OffLink | Reach::Unreachable => false,
        }
    }

    fn own_address(&self, family: Family) -> Option<NextHop> {
        let local = self.shape.local;
        let ipv6 = local
            .ipv6
            .or(local.link_local)
            .map(|address| NextHop { global: address.into(), link_local: local.link_local });
        match family {
            Family::Ipv4Unicast => local
                .ipv4
                .map(|address: Ipv4Addr| NextHop::new(address.into()))
                .or(ipv6.filter(|_| self.shape.extended_next_hop.contains(family))),
            Family::Ipv6Unicast => ipv6,
        }
    }

    /// Whether the members understand a next hop of this kind (RFC 8950).
    fn can_send(&self, family: Family, next_hop: IpAddr) -> bool {
        match (family, next_hop) {
            (Family::Ipv4Unicast, IpAddr::V4(_)) | (Family::Ipv6Unicast, IpAddr::V6(_)) => true,
            (Family::Ipv4Unicast, IpAddr::V6(_)) => self.shape.extended_next_hop.contains(family),
            (Family::Ipv6Unicast, IpAddr::V4(_)) => false,
        }
    }
}

fn family_of(prefix: IpNet) -> Family {
    match prefix {
        IpNet::V4(_) => Family::Ipv4Unicast,
        IpNet::V6(_) => Family::Ipv6Unicast,
    }
}

/// A bandwidth that policy sets may cross the border: whoever sets it means the neighbour to have it.
fn let_bandwidth_pass(attributes: &mut PathAttributes) {
    let communities = &mut attributes.extended_communities;
    for community in communities.iter_mut().filter(|community| community.as_link_bandwidth().is_some()) {
        *community = community.transitive();
    }
    communities.retain(|community| community.is_transitive());
    communities.sort_unstable();
    communities.dedup();
}

/// RFC 4456 §8: a reflected route says who originated it and which clusters it passed.
fn reflect(rib: &LocRib, offer: Offer, cluster: Ipv4Addr, attributes: &mut PathAttributes) {
    let Some(source) = rib.peers.get(offer.source).filter(|peer| peer.view.is_internal()) else { return };
    attributes.originator_id.get_or_insert(source.view.id);
    attributes.cluster_list.insert(0, cluster);
}
