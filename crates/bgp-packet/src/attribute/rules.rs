//! The one table of what a path attribute must look like, and what happens when it does not (RFC 7606 §7).
//!
//! The verdict on an attribute is decided by its type, who sent it, its flags and its length, in this order;
//! only then is its value looked at.

use super::header::{AttributeFlags, RawAttribute, type_code};
use crate::{AsWidth, AttributeContext, PeerKind, Treatment, UpdateError};

/// What the specification of one type says.
pub(super) struct Rule {
    pub(super) type_code: u8,
    pub(super) name: &'static str,
    class: Class,
    senders: Senders,
    shape: Shape,
    /// What a wrong length or value leads to.
    pub(super) malformed: Treatment,
}

/// What Optional and Transitive must be.
#[derive(Clone, Copy)]
enum Class {
    WellKnown,
    Transitive,
    NonTransitive,
}

/// From whom the attribute is taken; from others it is discarded unseen.
#[derive(Clone, Copy)]
enum Senders {
    Anyone,
    /// RFC 7606 §7.5: not from external peers; within a confederation it crosses member ASes (RFC 5065 §5.2).
    OurAs,
    /// RFC 7606 §7.9 and §7.10.
    Internal,
    /// RFC 6793 §6: a speaker of 4-octet numbers must not send it.
    TwoOctetSpeakers,
    /// Reserved, or deprecated by IANA. Such attributes reset old receivers more than once, so they are not
    /// passed on.
    Nobody,
}

/// What the value must be made of.
#[derive(Clone, Copy)]
enum Shape {
    Any,
    Octets(usize),
    AtLeast(usize),
    /// At least one, of so many octets.
    Items(usize),
    /// AS number of the session's width and address.
    Aggregator,
    /// At least one, with type and length of so many octets. We pass these on and do not break others by
    /// doing so.
    Tlvs(TlvHeader),
}

#[derive(Clone, Copy)]
enum TlvHeader {
    /// One octet of type, two of length.
    Three,
    /// Two octets of type, two of length.
    Four,
}

/// A rejected attribute.
pub(super) struct Rejection {
    pub(super) error: UpdateError,
    pub(super) treatment: Treatment,
    pub(super) reason: &'static str,
}

const DISCARD: Treatment = Treatment::AttributeDiscard;
const WITHDRAW: Treatment = Treatment::TreatAsWithdraw;

macro_rules! table {
    ($($code:expr, $name:literal, $class:ident, $senders:ident, $shape:expr, $malformed:expr;)*) => {
        &[$(Rule {
            type_code: $code,
            name: $name,
            class: Class::$class,
            senders: Senders::$senders,
            shape: $shape,
            malformed: $malformed,
        }),*]
    };
}

use Shape::{Any, AtLeast, Items, Octets, Tlvs};
use type_code as t;

#[rustfmt::skip]
static RULES: &[Rule] = table![
    // type                         name                  class          senders           shape
    // malformed
    t::ORIGIN,                     "ORIGIN",              WellKnown,     Anyone,           Octets(1),                WITHDRAW; // RFC 7606 §7.1
    t::AS_PATH,                    "AS_PATH",             WellKnown,     Anyone,           Any,                      WITHDRAW; // §7.2
    t::NEXT_HOP,                   "NEXT_HOP",            WellKnown,     Anyone,           Octets(4),                WITHDRAW; // §7.3
    t::MULTI_EXIT_DISC,            "MULTI_EXIT_DISC",     NonTransitive, Anyone,           Octets(4),                WITHDRAW; // §7.4
    t::LOCAL_PREF,                 "LOCAL_PREF",          WellKnown,     OurAs,            Octets(4),                WITHDRAW; // §7.5
    t::ATOMIC_AGGREGATE,           "ATOMIC_AGGREGATE",    WellKnown,     Anyone,           Octets(0),                DISCARD;  // §7.6
    t::AGGREGATOR,                 "AGGREGATOR",          Transitive,    Anyone,           Shape::Aggregator,        DISCARD;  // §7.7
    t::COMMUNITIES,                "COMMUNITIES",         Transitive,    Anyone,           Items(4),                 WITHDRAW; // §7.8
    t::ORIGINATOR_ID,              "ORIGINATOR_ID",       NonTransitive, Internal,         Octets(4),                WITHDRAW; // §7.9
    t::CLUSTER_LIST,               "CLUSTER_LIST",        NonTransitive, Internal,         Items(4),                 WITHDRAW; // §7.10
    t::MP_REACH_NLRI,              "MP_REACH_NLRI",       NonTransitive, Anyone,           Any,                      WITHDRAW; // §7.11, see update
    t::MP_UNREACH_NLRI,            "MP_UNREACH_NLRI",     NonTransitive, Anyone,           Any,                      WITHDRAW; // §7.12, see update
    t::EXTENDED_COMMUNITIES,       "EXTENDED_COMMUNITIES", Transitive,   Anyone,           Items(8),                 WITHDRAW; // §7.14
    t::AS4_PATH,                   "AS4_PATH",            Transitive,    TwoOctetSpeakers, Any,                      DISCARD;  // RFC 6793 §6
    t::AS4_AGGREGATOR,             "AS4_AGGREGATOR",      Transitive,    TwoOctetSpeakers, Octets(8),                DISCARD;  // RFC 6793 §6
    t::PMSI_TUNNEL,                "PMSI_TUNNEL",         Transitive,    Anyone,           AtLeast(5),                DISCARD;
    t::TUNNEL_ENCAPSULATION,       "TUNNEL_ENCAPSULATION", Transitive,   Anyone,           Tlvs(TlvHeader::Four),    DISCARD;  // RFC 9012 §13
    t::AIGP,                       "AIGP",                NonTransitive, Nobody,           Any,                      DISCARD;  // RFC 7311 §3.3, unused here
    t::IPV6_EXTENDED_COMMUNITIES,  "IPV6_EXTENDED_COMMUNITIES", Transitive, Anyone,        Items(20),                WITHDRAW; // RFC 7606 §7.15
    t::LARGE_COMMUNITY,            "LARGE_COMMUNITY",     Transitive,    Anyone,           Items(12),                WITHDRAW; // RFC 8092 §6
    t::ONLY_TO_CUSTOMER,           "ONLY_TO_CUSTOMER",    Transitive,    Anyone,           Octets(4),                WITHDRAW; // RFC 9234 §5
    t::PREFIX_SID,                 "PREFIX_SID",          Transitive,    Anyone,           Tlvs(TlvHeader::Three),   DISCARD;  // RFC 8669 §6
    0,                             "attribute 0",         Transitive,    Nobody,           Any,                      DISCARD;  // reserved
    11,                            "DPA",                 Transitive,    Nobody,           Any,                      DISCARD;  // RFC 6938
    12,                            "ADVERTISER",          Transitive,    Nobody,           Any,                      DISCARD;  // RFC 6938
    13,                            "RCID_PATH",           Transitive,    Nobody,           Any,                      DISCARD;  // RFC 6938
    28,                            "ENTROPY_LABEL",       Transitive,    Nobody,           Any,                      DISCARD;  // RFC 7447
    30,                            "attribute 30",        Transitive,    Nobody,           Any,                      DISCARD;  // RFC 8093
    31,                            "attribute 31",        Transitive,    Nobody,           Any,                      DISCARD;  // RFC 8093
    128,                           "ATTR_SET",            Transitive,    Anyone,           AtLeast(4),               DISCARD;  // RFC 6368 §5
    129,                           "attribute 129",       Transitive,    Nobody,           Any,                      DISCARD;  // RFC 8093
    241,                           "attribute 241",       Transitive,    Nobody,           Any,                      DISCARD;  // RFC 8093
    242,                           "attribute 242",       Transitive,    Nobody,           Any,                      DISCARD;  // RFC 8093
    243,                           "attribute 243",       Transitive,    Nobody,           Any,                      DISCARD;  // RFC 8093
    255,                           "attribute 255",       Transitive,    Nobody,           Any,                      DISCARD;  // RFC 2042
];

/// The rule of a type, if we know it.
pub(super) fn of(type_code: u8) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.type_code == type_code)
}

impl Rule {
    /// Everything that can be said before the value is interpreted.
    pub(super) fn check(&self, raw: &RawAttribute<'_>, context: AttributeContext) -> Result<(), Rejection> {
        if let Some(reason) = self.senders.refuse(context) {
            // RFC 7606 §7: discarded even if it is malformed, so nothing else of it is looked at.
            return Err(Rejection { error: UpdateError::OptionalAttribute, treatment: DISCARD, reason });
        }
        if !self.class.agrees_with(raw.flags) {
            return Err(Rejection {
                error: UpdateError::AttributeFlags,
                treatment: WITHDRAW, // RFC 7606 §3 c, whatever the type
                reason: "the flags conflict with the type",
            });
        }
        if !self.shape.fits(raw.value, context.as_width) {
            return Err(Rejection {
                error: UpdateError::AttributeLength,
                treatment: self.malformed.clone(),
                reason: "the length conflicts with the type",
            });
        }
        Ok(())
    }
}

/// Whether a known type has flags that it must not have (RFC 7606 §3 c).
pub(crate) fn conflicting_flags(raw: &RawAttribute<'_>) -> bool {
    of(raw.type_code).is_some_and(|rule| !rule.class.agrees_with(raw.flags))
}

impl Class {
    /// Only these two bits decide; Partial is not checked (RFC 7606 §3 c).
    fn agrees_with(self, flags: AttributeFlags) -> bool {
        let expected = match self {
            Self::WellKnown => AttributeFlags::TRANSITIVE,
            Self::Transitive => AttributeFlags::OPTIONAL | AttributeFlags::TRANSITIVE,
            Self::NonTransitive => AttributeFlags::OPTIONAL,
        };
        flags & (AttributeFlags::OPTIONAL | AttributeFlags::TRANSITIVE) == expected
    }
}

impl Senders {
    /// Why the attribute is not taken from this peer.
    fn refuse(self, context: AttributeContext) -> Option<&'static str> {
        match self {
            Self::OurAs if context.peer == PeerKind::External => Some("from an external peer"),
            Self::Internal if context.peer != PeerKind::Internal => Some("from a peer that is not internal"),
            Self::TwoOctetSpeakers if context.as_width == AsWidth::Four => {
                Some("from a speaker of 4-octet AS numbers")
            }
            Self::Nobody => Some("neither used nor passed on"),
            _ => None,
        }
    }
}

impl Shape {
    fn fits(self, value: &[u8], width: AsWidth) -> bool {
        match self {
            Self::Any => true,
            Self::Octets(count) => value.len() == count,
            Self::AtLeast(count) => value.len() >= count,
            Self::Items(size) => !value.is_empty() && value.len().is_multiple_of(size),
            Self::Aggregator => match width {
                AsWidth::Two => value.len() == 6,
                AsWidth::Four => value.len() == 8,
            },
            Self::Tlvs(header) => header.divides(value),
        }
    }
}

impl TlvHeader {
    fn divides(self, value: &[u8]) -> bool {
        let type_octets = match self {
            Self::Three => 1,
            Self::Four => 2,
        };
        let mut rest = value;
        while let Some(after) = rest.get(type_octets..).and_then(|tlv| crate::wire::block16(tlv).ok()) {
            rest = after.0;
        }
        rest.is_empty() && !value.is_empty()
    }
}
