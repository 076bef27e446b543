//! Peers of several ASes around one speaker, what they announce with which attributes, and what they are sent.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use muslin_bgp_packet::{
    Asn, DecodeContext, FamilySet, MessageType, Open, PathAttributes, PeerKind, UpdateView, parse_attributes,
};

use super::lone::*;
use crate::config::{PeerConfig, SessionConfig, SpeakerConfig};
use crate::session::ConnId;

/// A speaker with a peer for each session: the first at 10.0.0.11, and so on.
pub(super) fn among(sessions: &[SessionConfig]) -> Lone {
    let peers = (11..).zip(sessions).map(|(host, session)| PeerConfig::new(at(host), session.clone()));
    Lone::configured(SpeakerConfig { peers: peers.collect(), ..SpeakerConfig::new(OUR_AS, OUR_ID) })
}

fn at(host: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, host).into()
}

/// The peer at 10.0.0.`host` comes up in this AS.
pub(super) fn up(lone: &mut Lone, host: u8, asn: Asn) -> ConnId {
    up_with(lone, host, &peer_open_with(asn, Ipv4Addr::new(10, 0, 0, host)))
}

pub(super) fn up_with(lone: &mut Lone, host: u8, open: &Open) -> ConnId {
    let conn = lone.accept_from(at(host));
    lone.greet(conn, open);
    conn
}

/// An UPDATE for 10.1.`third`.0/24 with this AS_PATH and further attributes as octets.
pub(super) fn route(third: u8, path: &[u32], further: &[u8]) -> Vec<u8> {
    let mut attributes = vec![0x40, 1, 1, 0, 0x40, 2];
    if path.is_empty() {
        attributes.push(0);
    } else {
        attributes.extend([2 + 4 * path.len() as u8, 2, path.len() as u8]);
        attributes.extend(path.iter().flat_map(|asn| asn.to_be_bytes()));
    }
    attributes.extend([0x40, 3, 4, 10, 0, 0, 11]);
    attributes.extend(further);
    let mut body = vec![0, 0];
    body.extend((attributes.len() as u16).to_be_bytes());
    body.extend(attributes);
    body.extend([24, 10, 1, third]);
    message(2, &body)
}

/// ONLY_TO_CUSTOMER.
pub(super) fn otc(asn: u32) -> Vec<u8> {
    [&[0xc0, 35, 4][..], &asn.to_be_bytes()].concat()
}

/// What a peer was sent since the last look, by prefix; `None` is withdrawn.
pub(super) fn sent(lone: &mut Lone, conn: ConnId) -> BTreeMap<String, Option<PathAttributes>> {
    let context = DecodeContext::new(PeerKind::Internal, FamilySet::ALL);
    let mut routes = BTreeMap::new();
    for frame in lone.frames(conn).into_iter().filter(|frame| frame.kind == MessageType::Update) {
        let view = UpdateView::parse(context, &frame.body).unwrap();
        let mut scratch = Vec::new();
        let parsed =
            parse_attributes(context.attributes, view.attribute_block().contiguous(&mut scratch)).attributes;
        routes.extend(view.withdrawn().iter().map(|nlri| (nlri.prefix.to_string(), None)));
        let announced = view.announced().iter();
        routes.extend(announced.map(|nlri| (nlri.prefix.to_string(), Some(parsed.clone()))));
    }
    routes
}

/// Refusals of the peer at 10.0.0.`host` by reason.
pub(super) fn refused(lone: &Lone, host: u8) -> BTreeMap<String, u64> {
    let peers = lone.speaker.peers(lone.now);
    peers.into_iter().find(|peer| peer.address == at(host)).unwrap().refused
}
