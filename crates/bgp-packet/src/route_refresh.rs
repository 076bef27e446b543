//! ROUTE-REFRESH messages (RFC 2918, RFC 7313).

use bytes::{BufMut, BytesMut};

use crate::frame::{self, HEADER_LENGTH, MessageType};
use crate::{AfiSafi, Notification};

/// A ROUTE-REFRESH message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RouteRefresh {
    /// The family that is refreshed.
    pub afi_safi: AfiSafi,
    /// What the message says of it.
    pub subtype: RefreshSubtype,
}

/// What a ROUTE-REFRESH message says (RFC 7313 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefreshSubtype {
    /// Send everything again.
    Request,
    /// `BoRR`: everything follows.
    Begin,
    /// `EoRR`: that was everything.
    End,
    /// Anything else, to be ignored.
    Unknown(u8),
}

impl RefreshSubtype {
    const fn from_octet(octet: u8) -> Self {
        match octet {
            0 => Self::Request,
            1 => Self::Begin,
            2 => Self::End,
            other => Self::Unknown(other),
        }
    }

    const fn octet(self) -> u8 {
        match self {
            Self::Request => 0,
            Self::Begin => 1,
            Self::End => 2,
            Self::Unknown(other) => other,
        }
    }
}

impl RouteRefresh {
    /// Reads the body of a ROUTE-REFRESH. A request may be longer: outbound route filters (RFC 5291) are
    /// never offered by us, so what follows is not looked at.
    ///
    /// # Errors
    /// 7/1 for a body that is too short, and for a `BoRR` or `EoRR` of any but the exact length (RFC 7313
    /// §5).
    pub fn decode(body: &[u8]) -> Result<Self, Notification> {
        let [high, low, subtype, safi, filters @ ..] = body else { return Err(bad_length(body)) };
        let subtype = RefreshSubtype::from_octet(*subtype);
        if matches!(subtype, RefreshSubtype::Begin | RefreshSubtype::End) && !filters.is_empty() {
            return Err(bad_length(body));
        }
        Ok(Self { afi_safi: AfiSafi { afi: u16::from_be_bytes([*high, *low]), safi: *safi }, subtype })
    }

    /// Appends the whole message.
    pub fn encode(&self, out: &mut BytesMut) {
        frame::message(out, MessageType::RouteRefresh, |out| {
            out.put_u16(self.afi_safi.afi);
            out.put_u8(self.subtype.octet());
            out.put_u8(self.afi_safi.safi);
        });
    }
}

fn bad_length(body: &[u8]) -> Notification {
    let mut message = BytesMut::with_capacity(HEADER_LENGTH + body.len());
    frame::message(&mut message, MessageType::RouteRefresh, |out| out.put_slice(body));
    Notification::bad_route_refresh_length(&message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Family;

    #[test]
    fn rfc2918_and_rfc7313_subtypes_survive_the_wire() {
        for subtype in [
            RefreshSubtype::Request,
            RefreshSubtype::Begin,
            RefreshSubtype::End,
            RefreshSubtype::Unknown(255),
        ] {
            let sent = RouteRefresh { afi_safi: Family::Ipv6Unicast.into(), subtype };
            let mut wire = BytesMut::new();
            sent.encode(&mut wire);
            assert_eq!(RouteRefresh::decode(&wire[HEADER_LENGTH..]), Ok(sent));
        }
    }

    #[test]
    fn rfc7313_1_a_marker_of_the_wrong_length_returns_the_whole_message() {
        let notification = RouteRefresh::decode(&[0, 1, 1, 1, 0]).unwrap_err();
        assert_eq!((notification.code, notification.subcode), (7, 1));
        assert_eq!(notification.data.len(), 24);
        assert_eq!(notification.data[16..], [0, 24, 5, 0, 1, 1, 1, 0]);
    }

    #[test]
    fn a4_24_filters_with_wrong_lengths_are_not_looked_at() {
        let refresh = RouteRefresh::decode(&[0, 1, 0, 1, 1, 64, 0xFF, 0xFF, 9]).unwrap();
        assert_eq!(refresh.subtype, RefreshSubtype::Request);
    }

    #[test]
    fn a_short_body_is_refused() {
        assert_eq!(RouteRefresh::decode(&[0, 1, 0]).unwrap_err().code, 7);
    }
}
