//! OPEN messages (RFC 4271 §4.2, RFC 5492, RFC 9072).

use std::net::Ipv4Addr;

use bytes::{BufMut, BytesMut};
use nom::Parser;
use nom::number::complete::{be_u8, be_u16};

use crate::capability::code;
use crate::frame::{self, MAX_LENGTH, MessageType, patch_u16};
use crate::wire::{Parsed, array, block8, block16, tlv8, tlv16};
use crate::{AfiSafi, Asn, Capability, Notification};

const VERSION: u8 = 4;
/// The optional parameter that holds capabilities (RFC 5492 §4).
const CAPABILITIES: u8 = 2;
/// Says that lengths have two octets: as length of the parameters and as type of the first one (RFC 9072 §2).
const EXTENDED: u8 = 255;

/// An OPEN message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// The speaker's AS: the number of its 4-octet AS capability if it has one.
    pub asn: Asn,
    /// The hold time that it offers, in seconds: 0 or at least 3.
    pub hold_time: u16,
    /// Its identifier, never zero.
    pub id: Ipv4Addr,
    /// Its capabilities in the order of the wire, duplicates included.
    pub capabilities: Vec<Capability>,
}

impl Open {
    /// An OPEN that says `asn` in full: the 4-octet AS capability is put first, so `capabilities` are the
    /// others.
    pub fn new(
        asn: Asn,
        hold_time: u16,
        id: Ipv4Addr,
        capabilities: impl IntoIterator<Item = Capability>,
    ) -> Self {
        let capabilities = std::iter::once(Capability::FourOctetAs(asn)).chain(capabilities).collect();
        Self { asn, hold_time, id, capabilities }
    }

    /// Families that the speaker wants to exchange. One that lists none means IPv4 unicast (RFC 4760 §8).
    pub fn families(&self) -> impl Iterator<Item = AfiSafi> {
        let listed = self.capabilities.iter().filter_map(|capability| match capability {
            Capability::Multiprotocol(family) => Some(*family),
            _ => None,
        });
        let default = listed.clone().next().is_none().then(|| crate::Family::Ipv4Unicast.into());
        listed.chain(default)
    }

    /// Whether the speaker has 4-octet AS numbers.
    pub fn has_four_octet_as(&self) -> bool {
        self.capabilities.iter().any(|capability| matches!(capability, Capability::FourOctetAs(_)))
    }

    /// Reads the body of an OPEN. What depends on our configuration, such as the expected AS, is not checked.
    ///
    /// # Errors
    /// 2/1 for another version, 2/2 for AS 0 or two numbers that contradict each other, 2/3 for identifier 0,
    /// 2/6 for a hold time of 1 or 2, 2/4 for a parameter that is no capabilities parameter,
    /// 2/11 for different roles, and 2/0 for lengths that do not fit together.
    pub fn decode(body: &[u8]) -> Result<Self, Notification> {
        let (parameters, fixed) = fixed_part(body).map_err(unspecific)?;
        if fixed.version != VERSION {
            return Err(Notification::unsupported_version());
        }
        let capabilities = capabilities(parameters)?;
        let asn = asn(Asn(fixed.asn.into()), &capabilities)?;
        if fixed.id.is_unspecified() {
            return Err(Notification::bad_bgp_identifier());
        }
        if matches!(fixed.hold_time, 1 | 2) {
            return Err(Notification::unacceptable_hold_time());
        }
        if roles_differ(&capabilities) {
            return Err(Notification::role_mismatch());
        }
        Ok(Self { asn, hold_time: fixed.hold_time, id: fixed.id, capabilities })
    }

    /// Appends the whole message, with all capabilities in one parameter and extended lengths only where they
    /// are needed. Capabilities that would make it longer than 4096 octets are left out.
    pub fn encode(&self, out: &mut BytesMut) {
        let start = out.len();
        frame::message(out, MessageType::Open, |out| {
            out.put_u8(VERSION);
            out.put_u16(self.asn.to_two_octets());
            out.put_u16(self.hold_time);
            out.put_slice(&self.id.octets());
            let mut encoded = BytesMut::new();
            for capability in &self.capabilities {
                let before = encoded.len();
                capability.encode(&mut encoded);
                // The extended form adds the length of the parameters and two octets to that of the
                // parameter.
                if out.len() - start + 4 + 3 + encoded.len() > MAX_LENGTH {
                    encoded.truncate(before);
                }
            }
            put_parameters(&encoded, out);
        });
    }
}

fn put_parameters(capabilities: &[u8], out: &mut BytesMut) {
    match u8::try_from(capabilities.len()) {
        Ok(0) => out.put_u8(0),
        Ok(length @ ..=252) => {
            out.put_slice(&[length + 2, CAPABILITIES, length]);
            out.put_slice(capabilities);
        }
        _ => {
            out.put_slice(&[EXTENDED, EXTENDED, 0, 0, CAPABILITIES, 0, 0]);
            let at = out.len();
            out.put_slice(capabilities);
            patch_u16(out, at - 2, capabilities.len());
            patch_u16(out, at - 5, capabilities.len() + 3);
        }
    }
}

fn unspecific<E>(_: E) -> Notification {
    Notification::open_unspecific()
}

struct Fixed {
    version: u8,
    asn: u16,
    hold_time: u16,
    id: Ipv4Addr,
}

fn fixed_part(body: &[u8]) -> Parsed<'_, Fixed> {
    let (rest, (version, asn, hold_time, id)) = (be_u8, be_u16, be_u16, array).parse_complete(body)?;
    Ok((rest, Fixed { version, asn, hold_time, id: Ipv4Addr::from(id) }))
}

/// Everything that follows the fixed part: lengths, parameters, capabilities.
fn capabilities(input: &[u8]) -> Result<Vec<Capability>, Notification> {
    // RFC 9072 §2: the type decides; the length before it should be 255 but may be any other than 0.
    let is_extended = matches!(input, [length, EXTENDED, ..] if *length != 0);
    let (rest, mut parameters) =
        if is_extended { block16(&input[2..]) } else { block8(input) }.map_err(unspecific)?;
    if !rest.is_empty() {
        return Err(Notification::open_unspecific());
    }
    let parameter = if is_extended { tlv16 } else { tlv8 };
    let mut capabilities = Vec::new();
    while !parameters.is_empty() {
        let (rest, (kind, value)) = parameter(parameters).map_err(unspecific)?;
        if kind != CAPABILITIES {
            return Err(Notification::unsupported_optional_parameter());
        }
        read_capabilities(value, &mut capabilities)?;
        parameters = rest;
    }
    Ok(capabilities)
}

fn read_capabilities(mut input: &[u8], capabilities: &mut Vec<Capability>) -> Result<(), Notification> {
    while !input.is_empty() {
        let (rest, (code, value)) = tlv8(input).map_err(unspecific)?;
        let capability = Capability::decode(code, value);
        if code == code::FOUR_OCTET_AS && matches!(capability, Capability::Unknown { .. }) {
            // Taken as absent it would change the width of AS numbers for us but not for the peer.
            return Err(Notification::open_unspecific());
        }
        capabilities.push(capability);
        input = rest;
    }
    Ok(())
}

/// The speaker's AS out of the field of two octets and the capability (RFC 6793 §4.1, RFC 7607 §2).
fn asn(field: Asn, capabilities: &[Capability]) -> Result<Asn, Notification> {
    let full = capabilities.iter().find_map(|capability| match capability {
        Capability::FourOctetAs(asn) => Some(*asn),
        _ => None,
    });
    let asn = full.unwrap_or(field);
    let agrees = field == asn || field == Asn::TRANS;
    if field == Asn::ZERO || asn == Asn::ZERO || !agrees {
        return Err(Notification::bad_peer_as());
    }
    Ok(asn)
}

/// RFC 9234 §4.2: several role capabilities must agree.
fn roles_differ(capabilities: &[Capability]) -> bool {
    let mut roles = capabilities.iter().filter_map(|capability| match capability {
        Capability::Role(role) => Some(role),
        _ => None,
    });
    roles.next().is_some_and(|first| roles.any(|other| other != first))
}
