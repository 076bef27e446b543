//! Messages put together by hand, right or wrong.

use std::net::Ipv4Addr;

use muslin_bgp_packet::{
    AsWidth, AttributeContext, DecodeContext, FamilySet, Notification, ParsedAttributes, PeerKind, Treatment,
    UpdateView, parse_attributes,
};

pub(crate) const WELL_KNOWN: u8 = 0x40;
pub(crate) const TRANSITIVE: u8 = 0xC0;
pub(crate) const NON_TRANSITIVE: u8 = 0x80;

pub(crate) const EXTERNAL: AttributeContext =
    AttributeContext { as_width: AsWidth::Four, peer: PeerKind::External };
pub(crate) const INTERNAL: AttributeContext =
    AttributeContext { as_width: AsWidth::Four, peer: PeerKind::Internal };
pub(crate) const OLD: AttributeContext =
    AttributeContext { as_width: AsWidth::Two, peer: PeerKind::External };

/// A session with these attributes and both families.
pub(crate) fn session(attributes: AttributeContext) -> DecodeContext {
    DecodeContext { attributes, ..DecodeContext::new(PeerKind::External, FamilySet::ALL) }
}

/// An attribute, with two octets of length where one is too small.
pub(crate) fn attribute(flags: u8, type_code: u8, value: &[u8]) -> Vec<u8> {
    let mut octets = if let Ok(length) = u8::try_from(value.len()) {
        vec![flags, type_code, length]
    } else {
        let [high, low] = u16::try_from(value.len()).unwrap().to_be_bytes();
        vec![flags | 0x10, type_code, high, low]
    };
    octets.extend_from_slice(value);
    octets
}

pub(crate) fn origin() -> Vec<u8> {
    attribute(WELL_KNOWN, 1, &[0])
}

pub(crate) fn as_path() -> Vec<u8> {
    attribute(WELL_KNOWN, 2, &[2, 1, 0, 0, 0xFD, 0xE9])
}

pub(crate) fn next_hop() -> Vec<u8> {
    attribute(WELL_KNOWN, 3, &Ipv4Addr::new(192, 0, 2, 1).octets())
}

/// What an external peer must send.
pub(crate) fn mandatory() -> Vec<u8> {
    [origin(), as_path(), next_hop()].concat()
}

/// MP_REACH_NLRI of `2001:db8:1::/48`.
pub(crate) fn mp_reach() -> Vec<u8> {
    let mut value = vec![0, 2, 1, 16];
    value.extend_from_slice(&"2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap().octets());
    value.extend_from_slice(&[0, 48, 0x20, 0x01, 0x0D, 0xB8, 0, 1]);
    attribute(NON_TRANSITIVE, 14, &value)
}

/// 10.1.0.0/16.
pub(crate) const PREFIX: [u8; 3] = [16, 10, 1];

/// The body of an UPDATE.
pub(crate) fn update(withdrawn: &[u8], attributes: &[u8], announced: &[u8]) -> Vec<u8> {
    let length = |field: &[u8]| u16::try_from(field.len()).unwrap().to_be_bytes();
    [&length(withdrawn), withdrawn, &length(attributes), attributes, announced].concat()
}

/// An UPDATE that announces 10.1.0.0/16 with these attributes.
pub(crate) fn announcing(attributes: &[u8]) -> Vec<u8> {
    update(&[], attributes, &PREFIX)
}

/// What a receiver of `body` does: the attributes that it understood and the treatment.
pub(crate) fn receive(context: DecodeContext, body: &[u8]) -> (ParsedAttributes, Treatment) {
    match UpdateView::parse(context, body) {
        Err(notification) => (ParsedAttributes::default(), Treatment::SessionReset(notification)),
        Ok(view) => {
            let mut scratch = Vec::new();
            let block = view.attribute_block().contiguous(&mut scratch);
            let parsed = parse_attributes(context.attributes, block);
            let verdict = view.verdict(parsed.absent, &parsed.faults);
            (parsed, verdict)
        }
    }
}

/// What an external peer's 10.1.0.0/16 with the mandatory attributes and this one becomes.
pub(crate) fn receive_with(attribute: &[u8]) -> (ParsedAttributes, Treatment) {
    receive(session(EXTERNAL), &announcing(&[mandatory(), attribute.to_vec()].concat()))
}

/// Code and subcode of the NOTIFICATION that ends the session.
pub(crate) fn reset(treatment: &Treatment) -> Option<(u8, u8)> {
    match treatment {
        Treatment::SessionReset(Notification { code, subcode, .. }) => Some((*code, *subcode)),
        _ => None,
    }
}
