//! Messages cut from a stream of octets (RFC 4271 §4.1).

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::Notification;

/// Octets of marker, length and type.
pub const HEADER_LENGTH: usize = 19;
/// Octets of a KEEPALIVE, the shortest message: all others have something behind the header (RFC 4271 §4.4).
pub const KEEPALIVE_LENGTH: u16 = HEADER_LENGTH as u16;
/// A KEEPALIVE, which is the same for everyone.
pub const KEEPALIVE: [u8; HEADER_LENGTH] = {
    let mut octets = [0xff; HEADER_LENGTH];
    octets[16] = 0;
    octets[17] = HEADER_LENGTH as u8;
    octets[18] = 4;
    octets
};
/// Longest message without the extended message capability, in octets.
pub const MAX_LENGTH: usize = 4096;
/// Longest message with it (RFC 8654), in octets.
pub const MAX_EXTENDED_LENGTH: usize = 65535;

const MARKER: [u8; 16] = [0xFF; 16];

/// The kind of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum MessageType {
    /// OPEN.
    Open = 1,
    /// UPDATE.
    Update = 2,
    /// NOTIFICATION.
    Notification = 3,
    /// KEEPALIVE.
    Keepalive = 4,
    /// ROUTE-REFRESH (RFC 2918).
    RouteRefresh = 5,
}

impl MessageType {
    const fn from_octet(octet: u8) -> Option<Self> {
        match octet {
            1 => Some(Self::Open),
            2 => Some(Self::Update),
            3 => Some(Self::Notification),
            4 => Some(Self::Keepalive),
            5 => Some(Self::RouteRefresh),
            _ => None,
        }
    }

    /// Shortest and longest whole message, `max` being what the session allows (RFC 4271 §6.1, RFC 8654 §4).
    fn bounds(self, max: usize) -> (usize, usize) {
        match self {
            Self::Open => (29, max.min(MAX_LENGTH)),
            Self::Notification => (21, max),
            Self::Keepalive => (19, 19),
            Self::Update | Self::RouteRefresh => (23, max),
        }
    }
}

/// One message without its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What the message is.
    pub kind: MessageType,
    /// What follows the header.
    pub body: Bytes,
}

/// Cuts the next message from the front of `buf`; `None` when it is not complete yet. The octets are not
/// copied.
///
/// `max` is the longest message that the session allows: [`MAX_LENGTH`] or [`MAX_EXTENDED_LENGTH`].
///
/// # Errors
/// 1/1, 1/2 or 1/3 as soon as the header is there, without waiting for a body. `buf` is then left as it is.
pub fn next_frame(buf: &mut BytesMut, max: usize) -> Result<Option<Frame>, Notification> {
    let Some((kind, length)) = peek(buf, max)? else { return Ok(None) };
    if buf.len() < length {
        // The rest is taken in one read instead of growing step by step.
        buf.reserve(length - buf.len());
        return Ok(None);
    }
    let mut message = buf.split_to(length);
    message.advance(HEADER_LENGTH);
    Ok(Some(Frame { kind, body: message.freeze() }))
}

/// Kind and length, header included, of the message at the front of `octets`; `None` when its header is not
/// complete yet.
///
/// # Errors
/// As [`next_frame`].
pub fn peek(octets: &[u8], max: usize) -> Result<Option<(MessageType, usize)>, Notification> {
    let Some(header) = octets.first_chunk::<HEADER_LENGTH>() else { return Ok(None) };
    let [marker @ .., high, low, kind] = header;
    if *marker != MARKER {
        return Err(Notification::connection_not_synchronized());
    }
    let field = u16::from_be_bytes([*high, *low]);
    let length = usize::from(field);
    if length < HEADER_LENGTH || length > max {
        return Err(Notification::bad_message_length(field));
    }
    let kind = MessageType::from_octet(*kind).ok_or_else(|| Notification::bad_message_type(*kind))?;
    let (shortest, longest) = kind.bounds(max);
    if length < shortest || length > longest {
        return Err(Notification::bad_message_length(field));
    }
    Ok(Some((kind, length)))
}

/// Appends a KEEPALIVE message.
pub fn encode_keepalive(out: &mut BytesMut) {
    out.extend_from_slice(&KEEPALIVE);
}

/// Appends a message whose body is what `body` appends.
pub(crate) fn message(out: &mut BytesMut, kind: MessageType, body: impl FnOnce(&mut BytesMut)) {
    let start = begin(out, kind);
    body(out);
    finish(out, start);
}

/// Appends a header whose length [`finish`] fills in; returns where the message starts.
pub(crate) fn begin(out: &mut BytesMut, kind: MessageType) -> usize {
    let start = out.len();
    out.put_slice(&MARKER);
    out.put_u16(0);
    out.put_u8(kind as u8);
    start
}

/// Fills in the length of the message that starts at `start` and ends with `out`.
pub(crate) fn finish(out: &mut BytesMut, start: usize) {
    let length = out.len() - start;
    debug_assert!(length <= MAX_EXTENDED_LENGTH, "a message of {length} octets");
    patch_u16(out, start + MARKER.len(), length);
}

/// Overwrites two octets.
pub(crate) fn patch_u16(out: &mut BytesMut, at: usize, value: usize) {
    out[at..at + 2].copy_from_slice(&(value as u16).to_be_bytes());
}

#[cfg(test)]
mod tests;
