//! Capabilities onto the wire.

use bytes::{BufMut, BytesMut};

use super::Capability;
use crate::AfiSafi;

impl Capability {
    /// Appends code, length and value. What does not fit into the 255 octets of a value is left out, item by
    /// item.
    pub(crate) fn encode(&self, out: &mut BytesMut) {
        out.put_u8(self.code());
        let at_length = out.len();
        out.put_u8(0);
        self.put_value(out);
        let end = out.len().min(at_length + 1 + VALUE_MAX);
        out.truncate(end);
        out[at_length] = (end - at_length - 1) as u8;
    }

    fn put_value(&self, out: &mut BytesMut) {
        match self {
            Self::RouteRefresh | Self::ExtendedMessage | Self::EnhancedRouteRefresh => {}
            Self::Multiprotocol(family) => {
                out.put_u16(family.afi);
                out.put_u8(0);
                out.put_u8(family.safi);
            }
            Self::ExtendedNextHop(items) => {
                for item in items.iter().take(VALUE_MAX / 6) {
                    out.put_u16(item.family.afi);
                    out.put_u16(item.family.safi.into());
                    out.put_u16(item.next_hop_afi);
                }
            }
            Self::Role(role) => out.put_u8(*role as u8),
            Self::GracefulRestart(restart) => {
                let restarted = if restart.restarted { 0x8000 } else { 0 };
                let notification = if restart.notification { 0x4000 } else { 0 };
                out.put_u16(restarted | notification | restart.restart_time.min(0x0FFF));
                for item in restart.families.iter().take((VALUE_MAX - 2) / 4) {
                    put_family(item.family, out);
                    out.put_u8(forwarding(item.forwarding_kept));
                }
            }
            Self::FourOctetAs(asn) => out.put_u32(asn.0),
            Self::AddPath(items) => {
                for item in items.iter().take(VALUE_MAX / 4) {
                    put_family(item.family, out);
                    out.put_u8(item.mode as u8);
                }
            }
            Self::LongLivedGracefulRestart(items) => {
                for item in items.iter().take(VALUE_MAX / 7) {
                    put_family(item.family, out);
                    out.put_u8(forwarding(item.forwarding_kept));
                    out.put_uint(item.stale_time.min(0x00FF_FFFF).into(), 3);
                }
            }
            Self::Fqdn { host, domain } => {
                let room = VALUE_MAX - 2;
                put_text(host, room, out);
                put_text(domain, room.saturating_sub(host.len()), out);
            }
            Self::SoftwareVersion(version) => put_text(version, 64, out),
            Self::Unknown { value, .. } => out.put_slice(value),
        }
    }
}

const VALUE_MAX: usize = 255;

fn put_family(family: AfiSafi, out: &mut BytesMut) {
    out.put_u16(family.afi);
    out.put_u8(family.safi);
}

const fn forwarding(kept: bool) -> u8 {
    if kept { 0x80 } else { 0 }
}

/// Length and text, cut between characters.
fn put_text(text: &str, max: usize, out: &mut BytesMut) {
    let text = &text[..text.floor_char_boundary(max)];
    out.put_u8(text.len() as u8);
    out.put_slice(text.as_bytes());
}
