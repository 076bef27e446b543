//! NOTIFICATION messages: why a session ends (RFC 4271 §4.5).

mod names;

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

use crate::frame::{self, MessageType};

/// A NOTIFICATION message, received or to be sent. Every refusal of this crate that ends a session is one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Notification {
    /// Error code.
    pub code: u8,
    /// Error subcode; 0 is unspecific.
    pub subcode: u8,
    /// Details, in a form that depends on code and subcode.
    pub data: Bytes,
}

/// Longest text of an administrative communication (RFC 9003 §2), in octets.
const COMMUNICATION_MAX: usize = 255;
/// Longest data field of a message of 4096 octets.
const DATA_MAX: usize = 4096 - frame::HEADER_LENGTH - 2;

/// Why a session is ended that has no fault (RFC 4486, RFC 8538, RFC 9384).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Cease {
    /// The peer sent more prefixes than it may.
    MaximumPrefixes = 1,
    /// An operator shut the peer down.
    AdministrativeShutdown = 2,
    /// The peer is no longer configured.
    PeerDeconfigured = 3,
    /// An operator reset the session.
    AdministrativeReset = 4,
    /// The connection is not wanted.
    ConnectionRejected = 5,
    /// A change of configuration that only a new session can take up.
    OtherConfigurationChange = 6,
    /// Another connection to the same peer won (RFC 4271 §6.8).
    ConnectionCollision = 7,
    /// We ran out of something.
    OutOfResources = 8,
    /// Not to be taken as graceful restart (RFC 8538); see [`Notification::hard_reset`].
    HardReset = 9,
    /// BFD says that the path is down (RFC 9384).
    BfdDown = 10,
}

/// The state in which a message of the wrong kind came (RFC 6608).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum UnexpectedIn {
    /// Before the peer's OPEN.
    OpenSent = 1,
    /// Before the peer's KEEPALIVE.
    OpenConfirm = 2,
    /// An OPEN after the session was up.
    Established = 3,
}

/// What is wrong with an UPDATE (RFC 4271 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum UpdateError {
    /// Lengths do not fit together, or an attribute is there twice.
    MalformedAttributeList = 1,
    /// A well-known attribute that is not known.
    UnrecognizedWellKnown = 2,
    /// A mandatory attribute is missing.
    MissingWellKnown = 3,
    /// Flags conflict with the type.
    AttributeFlags = 4,
    /// Length conflicts with the type.
    AttributeLength = 5,
    /// ORIGIN has an undefined value.
    InvalidOrigin = 6,
    /// NEXT_HOP is no address.
    InvalidNextHop = 8,
    /// The value of an optional attribute is wrong.
    OptionalAttribute = 9,
    /// A prefix is wrong.
    InvalidNetworkField = 10,
    /// AS_PATH is wrong.
    MalformedAsPath = 11,
}

impl Notification {
    /// A notification without data.
    pub const fn new(code: u8, subcode: u8) -> Self {
        Self { code, subcode, data: Bytes::new() }
    }

    /// The same with data; what does not fit into a message is cut.
    #[must_use]
    pub fn with_data(mut self, data: &[u8]) -> Self {
        self.data = Bytes::copy_from_slice(&data[..data.len().min(DATA_MAX)]);
        self
    }

    /// 1/1: the marker is not all ones.
    pub const fn connection_not_synchronized() -> Self {
        Self::new(1, 1)
    }

    /// 1/2: the length field is out of bounds for its type.
    pub fn bad_message_length(length: u16) -> Self {
        Self::new(1, 2).with_data(&length.to_be_bytes())
    }

    /// 1/3: no such message type.
    pub fn bad_message_type(kind: u8) -> Self {
        Self::new(1, 3).with_data(&[kind])
    }

    /// 2/0: an OPEN whose parts do not fit together.
    pub const fn open_unspecific() -> Self {
        Self::new(2, 0)
    }

    /// 2/1: not version 4; the data tells ours.
    pub fn unsupported_version() -> Self {
        Self::new(2, 1).with_data(&4_u16.to_be_bytes())
    }

    /// 2/2: the peer's AS is not the one that we expect.
    pub const fn bad_peer_as() -> Self {
        Self::new(2, 2)
    }

    /// 2/3: the identifier is zero, or ours over an internal session (RFC 6286).
    pub const fn bad_bgp_identifier() -> Self {
        Self::new(2, 3)
    }

    /// 2/4: an optional parameter that is no capabilities parameter.
    pub const fn unsupported_optional_parameter() -> Self {
        Self::new(2, 4)
    }

    /// 2/6: a hold time of one or two seconds.
    pub const fn unacceptable_hold_time() -> Self {
        Self::new(2, 6)
    }

    /// 2/7: a capability that we insist on is missing (RFC 5492 §5); the data is that capability.
    pub fn unsupported_capability(capability: &crate::Capability) -> Self {
        let mut data = BytesMut::new();
        capability.encode(&mut data);
        Self::new(2, 7).with_data(&data)
    }

    /// 2/11: roles do not pair (RFC 9234 §4.2).
    pub const fn role_mismatch() -> Self {
        Self::new(2, 11)
    }

    /// 3/n: an UPDATE that ends the session.
    pub fn update(error: UpdateError, data: &[u8]) -> Self {
        Self::new(3, error as u8).with_data(data)
    }

    /// 4/0: nothing was heard for the hold time.
    pub const fn hold_timer_expired() -> Self {
        Self::new(4, 0)
    }

    /// 5/n: a message that the state does not allow.
    pub const fn unexpected_message(state: UnexpectedIn) -> Self {
        Self::new(5, state as u8)
    }

    /// 6/n: the end of a session that has no fault.
    pub const fn cease(reason: Cease) -> Self {
        Self::new(6, reason as u8)
    }

    /// 6/2 or 6/4 with a text for the peer's operator (RFC 9003), cut at 255 octets.
    #[must_use]
    pub fn cease_with_text(reason: Cease, text: &str) -> Self {
        let text = &text[..text.floor_char_boundary(COMMUNICATION_MAX)];
        let mut data = BytesMut::with_capacity(1 + text.len());
        data.put_u8(text.len() as u8);
        data.put_slice(text.as_bytes());
        Self { data: data.freeze(), ..Self::cease(reason) }
    }

    /// 6/9: `inner`, not to be taken as graceful restart (RFC 8538 §3.1).
    #[must_use]
    pub fn hard_reset(inner: &Self) -> Self {
        let mut data = vec![inner.code, inner.subcode];
        data.extend_from_slice(&inner.data);
        Self::cease(Cease::HardReset).with_data(&data)
    }

    /// 7/1: a `BoRR` or `EoRR` of the wrong length (RFC 7313 §5); the data is the whole message.
    pub fn bad_route_refresh_length(message: &[u8]) -> Self {
        Self::new(7, 1).with_data(message)
    }

    /// 8/0: the peer did not read for the send hold time (RFC 9687).
    pub const fn send_hold_timer_expired() -> Self {
        Self::new(8, 0)
    }

    /// Whether this is 6/`reason`.
    pub fn is_cease(&self, reason: Cease) -> bool {
        self.code == 6 && self.subcode == reason as u8
    }

    /// The operator's text in an administrative shutdown or reset (RFC 9003), if it is well-formed and
    /// not empty. It is the peer's: escape it before showing it, as `Display` does.
    pub fn communication(&self) -> Option<&str> {
        if !self.is_cease(Cease::AdministrativeShutdown) && !self.is_cease(Cease::AdministrativeReset) {
            return None;
        }
        let (&length, text) = self.data.split_first()?;
        let text = std::str::from_utf8(text.get(..usize::from(length))?).ok()?;
        (!text.is_empty()).then_some(text)
    }

    /// What a hard reset carries (RFC 8538 §3.1).
    pub fn inner(&self) -> Option<Self> {
        match *self.data {
            [code, subcode, ..] if self.is_cease(Cease::HardReset) => {
                Some(Self { code, subcode, data: self.data.slice(2..) })
            }
            _ => None,
        }
    }

    /// Reads the body of a NOTIFICATION.
    ///
    /// # Errors
    /// 1/2 when code or subcode is missing; it must not be sent, only logged (RFC 4271 §6.4).
    pub fn decode(body: &[u8]) -> Result<Self, Self> {
        match body {
            [code, subcode, data @ ..] => {
                Ok(Self { code: *code, subcode: *subcode, data: Bytes::copy_from_slice(data) })
            }
            _ => Err(Self::bad_message_length((frame::HEADER_LENGTH + body.len()) as u16)),
        }
    }

    /// Appends the whole message.
    pub fn encode(&self, out: &mut BytesMut) {
        frame::message(out, MessageType::Notification, |out| {
            out.put_u8(self.code);
            out.put_u8(self.subcode);
            out.put_slice(&self.data[..self.data.len().min(DATA_MAX)]);
        });
    }
}

impl fmt::Display for Notification {
    /// Code and subcode in words and numbers, then the text or the data: "Cease: administrative shutdown
    /// (6/2) "maintenance"".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (code, subcode) = names::of(self.code, self.subcode);
        f.write_str(code)?;
        if !subcode.is_empty() {
            write!(f, ": {subcode}")?;
        }
        write!(f, " ({}/{})", self.code, self.subcode)?;
        if let Some(text) = self.communication() {
            return write!(f, " \"{}\"", text.escape_debug());
        }
        if let Some(inner) = self.inner() {
            return write!(f, " for {inner}");
        }
        if self.data.is_empty() {
            return Ok(());
        }
        f.write_str(" data ")?;
        for octet in self.data.iter().take(DATA_SHOWN) {
            write!(f, "{octet:02x}")?;
        }
        if self.data.len() > DATA_SHOWN { f.write_str("…") } else { Ok(()) }
    }
}

impl std::error::Error for Notification {}

/// Octets of data that are shown; more tells people nothing and lets a peer flood the log.
const DATA_SHOWN: usize = 32;

#[cfg(test)]
mod tests;
