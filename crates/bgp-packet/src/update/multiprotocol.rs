//! MP_REACH_NLRI and MP_UNREACH_NLRI (RFC 4760 §3 and §4).

use crate::next_hop::Extended;
use crate::nlri::FamilyNlri;
use crate::wire::{self, Parsed};
use crate::{AfiSafi, DecodeContext, Family, NextHop, Notification, UpdateError};

/// Routes that MP_REACH_NLRI announces.
#[derive(Clone, Copy, Debug)]
pub struct MpReach<'a> {
    /// Their next hop.
    pub next_hop: NextHop,
    /// Their prefixes.
    pub nlri: FamilyNlri<'a>,
}

/// Routes that MP_UNREACH_NLRI withdraws.
#[derive(Clone, Copy, Debug)]
pub struct MpUnreach<'a> {
    /// Their prefixes.
    pub nlri: FamilyNlri<'a>,
}

/// What became of a multiprotocol attribute.
#[derive(Clone, Copy, Debug)]
pub(super) enum Multiprotocol<T> {
    Absent,
    /// Of a family that was not negotiated (RFC 4760 §6).
    Ignored {
        afi_safi: AfiSafi,
        is_empty: bool,
    },
    /// Malformed, so that nothing of the family can be trusted (RFC 7606 §5.3).
    Disabled(AfiSafi),
    Used(T),
}

impl<T> Multiprotocol<T> {
    pub(super) const fn is_present(&self) -> bool {
        !matches!(self, Self::Absent)
    }

    pub(super) const fn used(&self) -> Option<&T> {
        match self {
            Self::Used(value) => Some(value),
            _ => None,
        }
    }

    pub(super) const fn disabled(&self) -> Option<AfiSafi> {
        match self {
            Self::Disabled(afi_safi) => Some(*afi_safi),
            _ => None,
        }
    }
}

/// Reads an MP_REACH_NLRI of this `value`; `whole` is the attribute with its header.
pub(super) fn reach<'a>(
    context: DecodeContext,
    value: &'a [u8],
    whole: &[u8],
) -> Result<Multiprotocol<MpReach<'a>>, Notification> {
    let (family, rest) = match family(context, value, whole)? {
        (_, Some(family), rest) => (family, rest),
        (afi_safi, None, _) => return Ok(Multiprotocol::Ignored { afi_safi, is_empty: false }),
    };
    let read = || {
        let (rest, next_hop) = wire::block8(rest).ok()?;
        // The reserved octet, once the number of SNPAs, is ignored (RFC 4760 §3).
        let (_, prefixes) = rest.split_first()?;
        let extended = if context.extended_next_hop.contains(family) {
            Extended::Negotiated
        } else {
            Extended::NotNegotiated
        };
        let next_hop = NextHop::read(family, extended, next_hop)?;
        let nlri = FamilyNlri::check(family, prefixes, super::path_ids(context, family)).ok()?;
        Some(MpReach { next_hop, nlri })
    };
    read().map_or_else(|| malformed(context, family, whole), |reach| Ok(Multiprotocol::Used(reach)))
}

/// Reads an MP_UNREACH_NLRI of this `value`; `whole` is the attribute with its header.
pub(super) fn unreach<'a>(
    context: DecodeContext,
    value: &'a [u8],
    whole: &[u8],
) -> Result<Multiprotocol<MpUnreach<'a>>, Notification> {
    let (family, rest) = match family(context, value, whole)? {
        (_, Some(family), rest) => (family, rest),
        (afi_safi, None, rest) => {
            return Ok(Multiprotocol::Ignored { afi_safi, is_empty: rest.is_empty() });
        }
    };
    match FamilyNlri::check(family, rest, super::path_ids(context, family)) {
        Ok(nlri) => Ok(Multiprotocol::Used(MpUnreach { nlri })),
        Err(_) => malformed(context, family, whole),
    }
}

/// The family of the attribute, `None` if it was not negotiated, and what follows.
fn family<'a>(
    context: DecodeContext,
    value: &'a [u8],
    whole: &[u8],
) -> Result<(AfiSafi, Option<Family>, &'a [u8]), Notification> {
    // Without a family nothing can be disabled.
    let (rest, afi_safi) =
        afi_safi(value).map_err(|_| Notification::update(UpdateError::OptionalAttribute, whole))?;
    let family = afi_safi.family().filter(|family| context.families.contains(*family));
    Ok((afi_safi, family, rest))
}

fn afi_safi(value: &[u8]) -> Parsed<'_, AfiSafi> {
    let (rest, [high, low, safi]) = wire::array(value)?;
    Ok((rest, AfiSafi { afi: u16::from_be_bytes([high, low]), safi }))
}

/// RFC 7606 §5.3 and §7.11 leave the choice: the family is disabled where the session has others, otherwise
/// it is of no use.
fn malformed<T>(
    context: DecodeContext,
    family: Family,
    whole: &[u8],
) -> Result<Multiprotocol<T>, Notification> {
    if context.families.without(family).is_empty() {
        return Err(Notification::update(UpdateError::OptionalAttribute, whole));
    }
    Ok(Multiprotocol::Disabled(family.into()))
}
