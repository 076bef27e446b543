//! BGP identifiers that two routers share. Within an AS each must have one of its own (RFC 6286 §2.1): a reflected
//! route names its originator by it, and who has the same takes the route for its own and refuses it.

use std::borrow::Cow;

use super::peer::Peer;
use super::{Output, Speaker, SpeakerEvent};
use crate::rib::PeerIndex;
use crate::session::Negotiated;

impl Speaker {
    /// Tells of an established internal peer with the identifier of one that has just come up. It may be the same
    /// router by another link, so both sessions stay.
    pub(super) fn look_for_twin(&mut self, index: PeerIndex) {
        let Some(peer) = self.peers.get(index) else { return };
        if let (Some(id), Some(twin)) = (identifier(peer), self.twin(index, peer)) {
            let event =
                SpeakerEvent::SharedIdentifier { peer: peer.key.clone(), id, other: twin.key.clone() };
            self.outputs.push_back(Output::Event(event));
        }
    }

    /// What a person should know of a peer's identifier, and of ours as the peer has seen it.
    pub(super) fn identifier_notes(&self, index: PeerIndex, peer: &Peer) -> Vec<Cow<'static, str>> {
        let mut notes = Vec::new();
        if let (Some(id), Some(twin)) = (identifier(peer), self.twin(index, peer)) {
            notes.push(
                format!(
                    "peer {} has the identifier {id} as well: unless both are one router, each refuses what the \
                     other originates; give one of them another router id",
                    twin.key
                )
                .into(),
            );
        }
        if let Some(prefix) = self.rib.own_identifier_seen(index) {
            let id = self.config.router_id;
            notes.push(
                format!(
                    "{prefix} came with our own identifier {id} as originator, and is not ours: another router has \
                     the identifier too, and its routes are refused here; give one of the two another router id"
                )
                .into(),
            );
        }
        notes
    }

    /// An established internal peer at another address of the same family with the same identifier.
    fn twin(&self, index: PeerIndex, peer: &Peer) -> Option<&Peer> {
        let id = identifier(peer)?;
        let carries = |other: &Peer| {
            let families = |peer: &Peer| peer.session.negotiated().map(Negotiated::families);
            let (ours, theirs) = (families(peer).unwrap_or_default(), families(other).unwrap_or_default());
            ours.iter().any(|family| theirs.contains(family))
        };
        self.peers
            .iter()
            .find(|(other, twin)| *other != index && identifier(twin) == Some(id) && carries(twin))
            .map(|(_, twin)| twin)
    }
}

/// The identifier of an established internal peer.
fn identifier(peer: &Peer) -> Option<std::net::Ipv4Addr> {
    let negotiated = peer.session.negotiated()?;
    let internal = negotiated.peer_kind() == muslin_bgp_packet::PeerKind::Internal;
    internal.then_some(negotiated.remote_id)
}
