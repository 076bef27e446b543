//! Capabilities out of an OPEN. Each value is read within its own length and nowhere else.

use bytes::Bytes;
use nom::combinator::{all_consuming, map};
use nom::multi::many0;
use nom::number::complete::{be_u8, be_u16};
use nom::{IResult, Parser};

use super::{
    AddPathFamily, AddPathMode, Capability, ExtendedNextHop, GracefulFamily, GracefulRestart,
    LongLivedFamily, Role, code,
};
use crate::wire::{Parsed, Short, array, block8};
use crate::{AfiSafi, Asn};

/// Longest software version that the draft allows, in octets.
const SOFTWARE_VERSION_MAX: usize = 64;

impl Capability {
    /// Reads the value of a capability with this code. A malformed value makes it [`Capability::Unknown`].
    pub(crate) fn decode(code: u8, value: &[u8]) -> Self {
        known(code, value).unwrap_or_else(|| Self::Unknown { code, value: Bytes::copy_from_slice(value) })
    }
}

fn known(code: u8, value: &[u8]) -> Option<Capability> {
    match code {
        code::MULTIPROTOCOL => whole(multiprotocol, value).map(Capability::Multiprotocol),
        code::ROUTE_REFRESH => value.is_empty().then_some(Capability::RouteRefresh),
        code::EXTENDED_NEXT_HOP => whole(many0(extended_next_hop), value).map(Capability::ExtendedNextHop),
        code::EXTENDED_MESSAGE => value.is_empty().then_some(Capability::ExtendedMessage),
        code::ROLE => whole(be_u8, value).and_then(Role::from_octet).map(Capability::Role),
        code::GRACEFUL_RESTART => whole(graceful_restart, value).map(Capability::GracefulRestart),
        code::FOUR_OCTET_AS => {
            whole(array, value).map(|octets| Capability::FourOctetAs(Asn(u32::from_be_bytes(octets))))
        }
        code::ADD_PATH => {
            // RFC 7911 §4: a tuple with another Send/Receive value is ignored.
            let families = whole(many0(add_path), value)?;
            Some(Capability::AddPath(families.into_iter().flatten().collect()))
        }
        code::ENHANCED_ROUTE_REFRESH => value.is_empty().then_some(Capability::EnhancedRouteRefresh),
        code::LONG_LIVED_GRACEFUL_RESTART => {
            whole(many0(long_lived), value).map(Capability::LongLivedGracefulRestart)
        }
        code::FQDN => {
            let (host, domain) = whole((block8, block8), value)?;
            Some(Capability::Fqdn { host: text(host)?, domain: text(domain)? })
        }
        code::SOFTWARE_VERSION => {
            let version = whole(block8, value)?;
            let fits = (1..=SOFTWARE_VERSION_MAX).contains(&version.len());
            text(version).filter(|_| fits).map(Capability::SoftwareVersion)
        }
        _ => None,
    }
}

/// What `parser` reads, provided that nothing is left.
fn whole<'a, T>(parser: impl Parser<&'a [u8], Output = T, Error = Short>, value: &'a [u8]) -> Option<T> {
    let result: IResult<_, _, Short> = all_consuming(parser).parse_complete(value);
    result.ok().map(|(_, read)| read)
}

fn text(octets: &[u8]) -> Option<String> {
    std::str::from_utf8(octets).ok().map(ToOwned::to_owned)
}

fn afi_safi(input: &[u8]) -> Parsed<'_, AfiSafi> {
    map((be_u16, be_u8), |(afi, safi)| AfiSafi { afi, safi }).parse_complete(input)
}

fn multiprotocol(input: &[u8]) -> Parsed<'_, AfiSafi> {
    // The octet between is reserved (RFC 4760 §8).
    map((be_u16, be_u8, be_u8), |(afi, _, safi)| AfiSafi { afi, safi }).parse_complete(input)
}

fn extended_next_hop(input: &[u8]) -> Parsed<'_, ExtendedNextHop> {
    // SAFI has two octets here, of which the upper is always zero (RFC 8950 §4).
    map((be_u16, be_u8, be_u8, be_u16), |(afi, _, safi, next_hop_afi)| ExtendedNextHop {
        family: AfiSafi { afi, safi },
        next_hop_afi,
    })
    .parse_complete(input)
}

fn graceful_restart(input: &[u8]) -> Parsed<'_, GracefulRestart> {
    let family = map((afi_safi, be_u8), |(family, flags)| GracefulFamily {
        family,
        forwarding_kept: flags & 0x80 != 0,
    });
    map((be_u16, many0(family)), |(head, families)| GracefulRestart {
        restarted: head & 0x8000 != 0,
        notification: head & 0x4000 != 0,
        restart_time: head & 0x0FFF,
        families,
    })
    .parse_complete(input)
}

fn long_lived(input: &[u8]) -> Parsed<'_, LongLivedFamily> {
    map((afi_safi, be_u8, array), |(family, flags, [high, middle, low])| LongLivedFamily {
        family,
        forwarding_kept: flags & 0x80 != 0,
        stale_time: u32::from_be_bytes([0, high, middle, low]),
    })
    .parse_complete(input)
}

fn add_path(input: &[u8]) -> Parsed<'_, Option<AddPathFamily>> {
    map((afi_safi, be_u8), |(family, mode)| {
        let mode = match mode {
            1 => AddPathMode::Receive,
            2 => AddPathMode::Send,
            3 => AddPathMode::Both,
            _ => return None,
        };
        Some(AddPathFamily { family, mode })
    })
    .parse_complete(input)
}
