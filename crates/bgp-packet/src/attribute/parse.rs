//! Attributes out of a block, with a verdict on each that is wrong.

use std::net::Ipv4Addr;

use bitflags::bitflags;

use super::header::{AttributeFlags, RawAttribute, raw_attribute, type_code};
use super::rules::{self, Rejection};
use super::{Aggregator, Origin, PathAttributes, UnknownAttribute};
use crate::{
    AsPath, AsWidth, Asn, AttributeContext, AttributeFault, Community, ExtendedCommunity, LargeCommunity,
    PeerKind, Treatment, UpdateError,
};

bitflags! {
    /// Mandatory attributes that a block does not have.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Absent: u8 {
        /// ORIGIN.
        const ORIGIN = 1;
        /// AS_PATH.
        const AS_PATH = 1 << 1;
        /// NEXT_HOP, which only routes in the message's own NLRI field need (RFC 4760 §3).
        const NEXT_HOP = 1 << 2;
        /// LOCAL_PREF from an internal peer (RFC 4271 §5.1.5).
        const LOCAL_PREF = 1 << 3;
    }
}

/// What a block of attributes says, and what is wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParsedAttributes {
    /// What could be used.
    pub attributes: PathAttributes,
    /// Everything that is wrong, in the order of the wire.
    pub faults: Vec<AttributeFault>,
    /// Mandatory attributes that are not there. What that means depends on the message:
    /// see [`UpdateView::verdict`](crate::UpdateView::verdict).
    pub absent: Absent,
}

impl ParsedAttributes {
    /// The strongest treatment that a fault asks for.
    pub fn treatment(&self) -> Treatment {
        self.faults.iter().map(|fault| fault.treatment.clone()).max().unwrap_or_default()
    }
}

/// Interprets a block of path attributes:
/// [`UpdateView::attribute_block`](crate::UpdateView::attribute_block). MP_REACH_NLRI and MP_UNREACH_NLRI are
/// not part of such a block and are skipped.
///
/// It never fails: every fault is returned as a value with the treatment of RFC 7606, none of which ends a
/// session.
pub fn parse_attributes(context: AttributeContext, block: &[u8]) -> ParsedAttributes {
    let mut parser = Parser::default();
    let mut rest = block;
    while !rest.is_empty() {
        let offset = block.len() - rest.len();
        let Ok((after, raw)) = raw_attribute(rest) else {
            // Does not happen with a block of an UpdateView, which ends before what is not complete.
            parser.fault(rest.get(1).copied().unwrap_or(0), offset, OVERRUN);
            break;
        };
        rest = after;
        if let Err(rejection) = parser.attribute(context, &raw) {
            parser.fault(raw.type_code, offset, rejection);
        }
    }
    parser.finish(context)
}

const OVERRUN: Rejection = Rejection {
    error: UpdateError::MalformedAttributeList,
    treatment: Treatment::TreatAsWithdraw,
    reason: "the attribute is longer than the message's attributes",
};

#[derive(Default)]
struct Parser {
    parsed: ParsedAttributes,
    seen: TypeSet,
    as4_path: Option<AsPath>,
    as4_aggregator: Option<Aggregator>,
}

impl Parser {
    fn fault(&mut self, type_code: u8, offset: usize, rejection: Rejection) {
        let Rejection { error, treatment, reason } = rejection;
        self.parsed.faults.push(AttributeFault { type_code, error, treatment, offset, reason });
    }

    fn attribute(&mut self, context: AttributeContext, raw: &RawAttribute<'_>) -> Result<(), Rejection> {
        if matches!(raw.type_code, type_code::MP_REACH_NLRI | type_code::MP_UNREACH_NLRI) {
            return Ok(());
        }
        if !self.seen.insert(raw.type_code) {
            // RFC 7606 §3 g: the first one counts.
            return Err(Rejection {
                error: UpdateError::MalformedAttributeList,
                treatment: Treatment::AttributeDiscard,
                reason: "the attribute is there twice",
            });
        }
        let Some(rule) = rules::of(raw.type_code) else { return self.unknown(raw) };
        rule.check(raw, context)?;
        self.value(context, raw).map_err(|(error, reason)| Rejection {
            error,
            treatment: rule.malformed.clone(),
            reason,
        })
    }

    /// Takes the value of an attribute whose length the rule has checked.
    fn value(
        &mut self,
        context: AttributeContext,
        raw: &RawAttribute<'_>,
    ) -> Result<(), (UpdateError, &'static str)> {
        let attributes = &mut self.parsed.attributes;
        let value = raw.value;
        match raw.type_code {
            type_code::ORIGIN => {
                attributes.origin =
                    origin(value).ok_or((UpdateError::InvalidOrigin, "an undefined value"))?;
            }
            type_code::AS_PATH => {
                attributes.as_path = AsPath::decode(value, context.as_width, context.peer)
                    .map_err(|reason| (UpdateError::MalformedAsPath, reason))?;
            }
            type_code::NEXT_HOP => attributes.next_hop = address(value),
            type_code::MULTI_EXIT_DISC => attributes.med = number(value),
            type_code::LOCAL_PREF => attributes.local_pref = number(value),
            type_code::ATOMIC_AGGREGATE => attributes.atomic_aggregate = true,
            type_code::AGGREGATOR => attributes.aggregator = Some(aggregator(value, context.as_width)?),
            type_code::COMMUNITIES => {
                attributes.communities = set(value, |octets| Community(u32::from_be_bytes(octets)));
            }
            type_code::ORIGINATOR_ID => attributes.originator_id = address(value),
            type_code::CLUSTER_LIST => {
                attributes.cluster_list =
                    value.as_chunks::<4>().0.iter().map(|octets| Ipv4Addr::from(*octets)).collect();
            }
            type_code::EXTENDED_COMMUNITIES => {
                attributes.extended_communities = set(value, ExtendedCommunity);
            }
            type_code::AS4_PATH => {
                let path =
                    AsPath::decode_as4(value).map_err(|reason| (UpdateError::OptionalAttribute, reason))?;
                self.as4_path = Some(path);
            }
            type_code::AS4_AGGREGATOR => self.as4_aggregator = Some(aggregator(value, AsWidth::Four)?),
            type_code::LARGE_COMMUNITY => {
                attributes.large_communities = set(value, LargeCommunity::from_octets);
            }
            type_code::ONLY_TO_CUSTOMER => attributes.otc = number(value).map(Asn),
            _ => self.pass_on(raw),
        }
        Ok(())
    }

    /// An attribute without a rule: passed on or dropped as its flags say (RFC 4271 §5).
    fn unknown(&mut self, raw: &RawAttribute<'_>) -> Result<(), Rejection> {
        if !raw.flags.contains(AttributeFlags::OPTIONAL) {
            // RFC 4271 §6.3 resets the session; but nobody can tell a new well-known attribute from flags
            // that somebody far away got wrong, so the rule for conflicting flags applies (RFC 7606 §3 c).
            return Err(Rejection {
                error: UpdateError::UnrecognizedWellKnown,
                treatment: Treatment::TreatAsWithdraw,
                reason: "said to be well-known but is not",
            });
        }
        if raw.flags.contains(AttributeFlags::TRANSITIVE) {
            self.pass_on(raw);
        }
        Ok(())
    }

    fn pass_on(&mut self, raw: &RawAttribute<'_>) {
        let unknown = &mut self.parsed.attributes.unknown;
        let at = unknown.partition_point(|other| other.type_code < raw.type_code);
        unknown.insert(at, UnknownAttribute { type_code: raw.type_code, value: raw.value.into() });
    }

    fn finish(mut self, context: AttributeContext) -> ParsedAttributes {
        self.merge_as4();
        let absent = &mut self.parsed.absent;
        absent.set(Absent::ORIGIN, !self.seen.contains(type_code::ORIGIN));
        absent.set(Absent::AS_PATH, !self.seen.contains(type_code::AS_PATH));
        absent.set(Absent::NEXT_HOP, !self.seen.contains(type_code::NEXT_HOP));
        let local_pref_expected = context.peer == PeerKind::Internal;
        absent.set(Absent::LOCAL_PREF, local_pref_expected && !self.seen.contains(type_code::LOCAL_PREF));
        self.parsed
    }

    /// RFC 6793 §4.2.3. Only 2-octet speakers get this far with an AS4 attribute.
    fn merge_as4(&mut self) {
        let attributes = &mut self.parsed.attributes;
        if let (Some(old), Some(new)) = (attributes.aggregator, self.as4_aggregator) {
            if old.asn != Asn::TRANS {
                // Somebody who knows only AGGREGATOR aggregated again: both AS4 attributes are out of date.
                return;
            }
            attributes.aggregator = Some(new);
        }
        if let Some(as4_path) = &self.as4_path {
            attributes.as_path = attributes.as_path.merged_with_as4(as4_path);
        }
    }
}

/// Which of the 256 types were there.
#[derive(Default)]
struct TypeSet([u64; 4]);

impl TypeSet {
    /// Whether the type was not there before.
    fn insert(&mut self, type_code: u8) -> bool {
        let is_new = !self.contains(type_code);
        self.0[usize::from(type_code >> 6)] |= 1 << (type_code & 63);
        is_new
    }

    fn contains(&self, type_code: u8) -> bool {
        self.0[usize::from(type_code >> 6)] & 1 << (type_code & 63) != 0
    }
}

fn origin(value: &[u8]) -> Option<Origin> {
    match value {
        [0] => Some(Origin::Igp),
        [1] => Some(Origin::Egp),
        [2] => Some(Origin::Incomplete),
        _ => None,
    }
}

fn number(value: &[u8]) -> Option<u32> {
    value.first_chunk().map(|octets| u32::from_be_bytes(*octets))
}

fn address(value: &[u8]) -> Option<Ipv4Addr> {
    value.first_chunk::<4>().map(|octets| Ipv4Addr::from(*octets))
}

fn aggregator(value: &[u8], width: AsWidth) -> Result<Aggregator, (UpdateError, &'static str)> {
    let (asn, octets) = match width {
        AsWidth::Two => {
            value.split_first_chunk().map(|(asn, rest)| (u32::from(u16::from_be_bytes(*asn)), rest)).unzip()
        }
        AsWidth::Four => {
            value.split_first_chunk().map(|(asn, rest)| (u32::from_be_bytes(*asn), rest)).unzip()
        }
    };
    match (asn, octets.and_then(address)) {
        // RFC 7607 §2
        (Some(0), _) => Err((UpdateError::OptionalAttribute, "AS 0")),
        (Some(asn), Some(address)) => Ok(Aggregator { asn: Asn(asn), address }),
        _ => Err((UpdateError::AttributeLength, "not complete")),
    }
}

/// A set in its canonical order; a speaker must not tell duplicates apart (RFC 8092 §5).
fn set<const N: usize, T: Ord>(value: &[u8], item: impl Fn([u8; N]) -> T) -> Vec<T> {
    let mut items: Vec<T> = value.as_chunks::<N>().0.iter().map(|octets| item(*octets)).collect();
    items.sort_unstable();
    items.dedup();
    items
}
