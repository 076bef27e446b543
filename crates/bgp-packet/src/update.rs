//! UPDATE messages as a borrowed view (RFC 4271 §4.3).

mod block;
mod multiprotocol;
mod verdict;

use ipnet::Ipv4Net;

pub use block::AttributeBlock;
pub use multiprotocol::{MpReach, MpUnreach};

use crate::attribute::{RawAttribute, conflicting_flags, raw_attribute, type_code};
use crate::nlri::{NlriError, NlriField, PathIds};
use crate::{AfiSafi, AttributeFault, DecodeContext, Family, Notification, Treatment, UpdateError, wire};
use multiprotocol::Multiprotocol;

/// An UPDATE whose lengths and prefixes were checked, while its attributes were only passed over: nothing is
/// copied and nothing is allocated.
///
/// What the message means is decided in two steps, so that the same attributes need to be interpreted only
/// once: [`parse_attributes`](crate::parse_attributes) on [`attribute_block`](Self::attribute_block), then
/// [`verdict`](Self::verdict).
#[derive(Clone, Debug)]
pub struct UpdateView<'a> {
    /// Whether the message's own fields, which are IPv4 unicast, are of a negotiated family.
    own_fields: OwnFields,
    withdrawn: NlriField<'a, Ipv4Net>,
    announced: NlriField<'a, Ipv4Net>,
    reach: Multiprotocol<MpReach<'a>>,
    unreach: Multiprotocol<MpUnreach<'a>>,
    block: AttributeBlock<'a>,
    structure: Structure,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OwnFields {
    Used,
    /// RFC 4760 §6: routes of a family that was not negotiated are ignored.
    Ignored,
}

/// What is wrong with a message apart from the values of its attributes.
#[derive(Clone, Debug, Default)]
struct Structure {
    /// A fault that can be worked around by withdrawing the routes.
    fault: Option<AttributeFault>,
    /// Families that cannot be used any more.
    disabled: Option<AfiSafi>,
}

impl<'a> UpdateView<'a> {
    /// Reads the body of an UPDATE: one walk over the headers of its attributes and one over its prefixes.
    ///
    /// # Errors
    /// What cannot be worked around, so that the session must end: 3/1 for lengths that do not fit together
    /// and repeated multiprotocol attributes, 3/9 for multiprotocol attributes that are malformed, 3/10 for
    /// prefixes that are (RFC 7606 §3 and §5).
    pub fn parse(context: DecodeContext, body: &'a [u8]) -> Result<Self, Notification> {
        let malformed = |_| Notification::update(UpdateError::MalformedAttributeList, &[]);
        let (rest, withdrawn) = wire::block16(body).map_err(malformed)?;
        let (announced, attributes) = wire::block16(rest).map_err(malformed)?;
        let mut view = Self {
            own_fields: if context.families.contains(Family::Ipv4Unicast) {
                OwnFields::Used
            } else {
                OwnFields::Ignored
            },
            withdrawn: own_field(context, withdrawn)?,
            announced: own_field(context, announced)?,
            reach: Multiprotocol::Absent,
            unreach: Multiprotocol::Absent,
            block: AttributeBlock::default(),
            structure: Structure::default(),
        };
        view.walk(context, attributes)?;
        Ok(view)
    }

    fn walk(&mut self, context: DecodeContext, attributes: &'a [u8]) -> Result<(), Notification> {
        let mut rest = attributes;
        let mut run = 0;
        while !rest.is_empty() {
            let offset = attributes.len() - rest.len();
            let Ok((after, raw)) = raw_attribute(rest) else {
                self.overrun(offset, rest)?;
                // What is before it can still be used to understand the message, what is in it can not.
                self.block.push(&attributes[run..offset]);
                return Ok(());
            };
            rest = after;
            if matches!(raw.type_code, type_code::MP_REACH_NLRI | type_code::MP_UNREACH_NLRI) {
                let end = attributes.len() - rest.len();
                self.multiprotocol(context, &raw, offset, &attributes[offset..end])?;
                self.block.push(&attributes[run..offset]);
                run = end;
            }
        }
        self.block.push(&attributes[run..]);
        Ok(())
    }

    /// An attribute that ends after the attributes do (RFC 7606 §4).
    fn overrun(&mut self, offset: usize, rest: &[u8]) -> Result<(), Notification> {
        let type_code = rest.get(1).copied().unwrap_or(0);
        if matches!(type_code, type_code::MP_REACH_NLRI | type_code::MP_UNREACH_NLRI) {
            // The routes that it is about cannot be found, so they cannot be withdrawn (RFC 7606 §3 j).
            return Err(Notification::update(UpdateError::MalformedAttributeList, &[]));
        }
        self.structure.fault = Some(AttributeFault {
            type_code,
            error: UpdateError::MalformedAttributeList,
            treatment: Treatment::TreatAsWithdraw,
            offset,
            reason: "the attribute is longer than the message's attributes",
        });
        Ok(())
    }

    fn multiprotocol(
        &mut self,
        context: DecodeContext,
        raw: &RawAttribute<'a>,
        offset: usize,
        whole: &'a [u8],
    ) -> Result<(), Notification> {
        let is_reach = raw.type_code == type_code::MP_REACH_NLRI;
        if if is_reach { self.reach.is_present() } else { self.unreach.is_present() } {
            // RFC 7606 §3 g
            return Err(Notification::update(UpdateError::MalformedAttributeList, &[]));
        }
        let disabled = if is_reach {
            self.reach = multiprotocol::reach(context, raw.value, whole)?;
            self.reach.disabled()
        } else {
            self.unreach = multiprotocol::unreach(context, raw.value, whole)?;
            self.unreach.disabled()
        };
        self.structure.disabled = self.structure.disabled.max(disabled);
        if conflicting_flags(raw) && self.structure.fault.is_none() {
            self.structure.fault = Some(AttributeFault {
                type_code: raw.type_code,
                error: UpdateError::AttributeFlags,
                treatment: Treatment::TreatAsWithdraw,
                offset,
                reason: "the flags conflict with the type",
            });
        }
        Ok(())
    }

    /// IPv4 prefixes of the Withdrawn Routes field. A prefix that is also announced counts as announced (RFC
    /// 4271 §4.3).
    pub const fn withdrawn(&self) -> NlriField<'a, Ipv4Net> {
        match self.own_fields {
            OwnFields::Used => self.withdrawn,
            OwnFields::Ignored => NlriField::EMPTY,
        }
    }

    /// IPv4 prefixes of the NLRI field, whose next hop is the NEXT_HOP attribute.
    pub const fn announced(&self) -> NlriField<'a, Ipv4Net> {
        match self.own_fields {
            OwnFields::Used => self.announced,
            OwnFields::Ignored => NlriField::EMPTY,
        }
    }

    /// What MP_REACH_NLRI announces, if its family was negotiated.
    pub const fn mp_reach(&self) -> Option<&MpReach<'a>> {
        self.reach.used()
    }

    /// What MP_UNREACH_NLRI withdraws, if its family was negotiated.
    pub const fn mp_unreach(&self) -> Option<&MpUnreach<'a>> {
        self.unreach.used()
    }

    /// All attributes but MP_REACH_NLRI and MP_UNREACH_NLRI: with the
    /// [`AttributeContext`](crate::AttributeContext) the key under which interpreted attributes can be kept.
    pub const fn attribute_block(&self) -> &AttributeBlock<'a> {
        &self.block
    }

    /// The family whose initial routes are complete (RFC 4724 §2), which may be one that was not negotiated.
    pub fn end_of_rib(&self) -> Option<AfiSafi> {
        let nothing_else = self.withdrawn.is_empty()
            && self.announced.is_empty()
            && self.block.is_empty()
            && self.structure.fault.is_none()
            && !self.reach.is_present();
        match &self.unreach {
            Multiprotocol::Absent if nothing_else => Some(Family::Ipv4Unicast.into()),
            Multiprotocol::Used(unreach) if nothing_else && unreach.nlri.is_empty() => {
                Some(unreach.nlri.family().into())
            }
            Multiprotocol::Ignored { afi_safi, is_empty: true } if nothing_else => Some(*afi_safi),
            _ => None,
        }
    }

    /// What is wrong with the message apart from what [`parse_attributes`](crate::parse_attributes) finds in
    /// its block, if that can be made up for by withdrawing. [`verdict`](Self::verdict) takes it into
    /// account.
    pub const fn fault(&self) -> Option<&AttributeFault> {
        self.structure.fault.as_ref()
    }

    /// Whether the message announces anything that we understand.
    pub fn is_reachable(&self) -> bool {
        !self.announced().is_empty() || self.reach.used().is_some()
    }
}

/// A field of the message's own, which is IPv4 unicast (RFC 4271 §4.3).
fn own_field(context: DecodeContext, octets: &[u8]) -> Result<NlriField<'_, Ipv4Net>, Notification> {
    NlriField::check(octets, path_ids(context, Family::Ipv4Unicast)).map_err(
        |NlriError { offset, .. }| {
            // The data is what cannot be read; with its identifier a prefix is at most 9 octets long.
            let wrong = &octets[offset..octets.len().min(offset + 9)];
            Notification::update(UpdateError::InvalidNetworkField, wrong)
        },
    )
}

fn path_ids(context: DecodeContext, family: Family) -> PathIds {
    if context.add_path.contains(family) { PathIds::Present } else { PathIds::Absent }
}
