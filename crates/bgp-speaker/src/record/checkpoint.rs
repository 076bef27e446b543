//! A speaker put together again: its sessions, and the routes that each peer has announced.

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use muslin_bgp_packet::frame::encode_keepalive;
use muslin_bgp_packet::{Family, UpdateEncoder};

use super::entry::Entry;
use super::recorded::Tape;
use crate::Speaker;
use crate::session::ConnId;
use crate::speaker::Input;

/// Octets of one entry, about.
const CHUNK: usize = 32 * 1024;

/// Writes down the connections, and for each what its peer would have to send to make everything as it is.
pub(super) fn write(speaker: &Speaker, now: Instant, tape: &mut Tape) {
    for line in speaker.lines() {
        let (conn, peer) = (line.conn, line.peer.clone());
        tape.put(now, &Entry::Connection { conn, peer, remote: line.remote, local: line.local });
        let mut octets = BytesMut::new();
        if let Some(open) = &line.peer_open {
            open.encode(&mut octets);
        }
        if let Some(index) = line.established {
            encode_keepalive(&mut octets);
            let rib = speaker.rib();
            let Some(view) = rib.up_peer(index) else { continue };
            let width = view.decode.attributes.as_width;
            for prefix in rib.destinations_after(None) {
                for path in rib.monitored(prefix).iter().filter(|path| path.peer == index) {
                    let family = Family::from(prefix);
                    let path_id = view.decode.add_path.contains(family).then_some(path.path_id);
                    rib.write_route(&mut octets, prefix, path_id, path.received, width);
                }
                if octets.len() >= CHUNK {
                    received(now, conn, octets.split().freeze(), tape);
                }
            }
            for family in line.ended.iter() {
                UpdateEncoder::end_of_rib(family, &mut octets);
            }
        }
        octets.extend_from_slice(&line.unread);
        received(now, conn, octets.freeze(), tape);
    }
    tape.put(now, &Entry::CheckpointEnd { dialed: speaker.dialed() });
}

fn received(now: Instant, conn: ConnId, octets: Bytes, tape: &mut Tape) {
    if !octets.is_empty() {
        tape.put(now, &Entry::Input(Input::Received { conn, octets: octets.into() }));
    }
}
