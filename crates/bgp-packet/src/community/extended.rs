//! Extended communities (RFC 4360).

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{ParseCommunityError, digits};
use crate::Asn;

/// An extended community (RFC 4360), kept as its eight octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ExtendedCommunity(pub [u8; 8]);

/// The T bit of a type: set on what stays within the AS (RFC 4360 §3).
const NON_TRANSITIVE: u8 = 0x40;
/// Sub-types of the types that carry an AS number or an address (RFC 4360 §4 and §5, draft-ietf-idr-link-bandwidth).
const ROUTE_TARGET: u8 = 2;
const ROUTE_ORIGIN: u8 = 3;
const LINK_BANDWIDTH: u8 = 4;

impl ExtendedCommunity {
    /// Whether the community may cross an AS border (RFC 4360 §3: the T bit is clear).
    pub const fn is_transitive(self) -> bool {
        self.0[0] & NON_TRANSITIVE == 0
    }

    /// The bandwidth of the link that a route came over, in octets per second, non-transitive
    /// (draft-ietf-idr-link-bandwidth §2). The field has two octets for the AS that set it.
    pub fn link_bandwidth(asn: Asn, octets_per_second: f32) -> Self {
        let [high, low] = asn.to_two_octets().to_be_bytes();
        let [a, b, c, d] = octets_per_second.to_be_bytes();
        Self([NON_TRANSITIVE, LINK_BANDWIDTH, high, low, a, b, c, d])
    }

    /// The bandwidth in octets per second, if the community is one of either transitivity and the number can
    /// be one.
    pub fn as_link_bandwidth(self) -> Option<f32> {
        let [kind, LINK_BANDWIDTH, _, _, a, b, c, d] = self.0 else { return None };
        let octets_per_second = f32::from_be_bytes([a, b, c, d]);
        (kind & !NON_TRANSITIVE == 0 && octets_per_second.is_finite() && octets_per_second >= 0.0)
            .then_some(octets_per_second)
    }

    /// The same community, allowed to cross AS borders.
    #[must_use]
    pub const fn transitive(mut self) -> Self {
        self.0[0] &= !NON_TRANSITIVE;
        self
    }
}

impl fmt::Display for ExtendedCommunity {
    /// Route target and route origin as `rt:`/`ro:` AS (or address) `:` number, link bandwidth as `lb:` AS `:` octets
    /// per second (`lbt:` if transitive), anything else in hexadecimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = u64::from_be_bytes(self.0);
        if let Some(rate) = self.as_link_bandwidth()
            && rate.fract() == 0.0
        {
            let name = if self.is_transitive() { "lbt" } else { "lb" };
            return write!(f, "{name}:{}:{rate:.0}", u16::from_be_bytes([self.0[2], self.0[3]]));
        }
        let name = match self.0[1] {
            ROUTE_TARGET => "rt",
            ROUTE_ORIGIN => "ro",
            _ => return write!(f, "0x{value:016x}"),
        };
        let (upper, lower) = ((value >> 16) as u32, value as u32);
        match self.0[0] {
            0x00 => write!(f, "{name}:{}:{lower}", upper >> 16),
            0x01 => write!(f, "{name}:{}:{}", Ipv4Addr::from(upper), lower as u16),
            0x02 => write!(f, "{name}:{upper}:{}", lower as u16),
            _ => write!(f, "0x{value:016x}"),
        }
    }
}

impl FromStr for ExtendedCommunity {
    type Err = ParseCommunityError;

    /// Reads every form that is shown.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        read(text).ok_or_else(|| ParseCommunityError {
            text: text.to_owned(),
            kind: "extended community",
            expected: "`rt:65000:1`, `ro:10.0.0.1:1`, `lb:65000:1250000000`, or 16 hexadecimal digits after `0x`",
        })
    }
}

fn read(text: &str) -> Option<ExtendedCommunity> {
    if let Some(number) = text.strip_prefix("0x") {
        let is_hexadecimal = number.len() == 16 && number.bytes().all(|octet| octet.is_ascii_hexdigit());
        let value = is_hexadecimal.then(|| u64::from_str_radix(number, 16).ok())??;
        return Some(ExtendedCommunity(value.to_be_bytes()));
    }
    let (name, rest) = text.split_once(':')?;
    let (who, number) = rest.split_once(':')?;
    let sub_type = match name {
        "rt" => ROUTE_TARGET,
        "ro" => ROUTE_ORIGIN,
        "lb" | "lbt" => {
            #[allow(clippy::cast_precision_loss, reason = "the field is a floating-point number")]
            let octets = digits::<u64>(number)? as f32;
            let asn = Asn(u32::from(digits::<u16>(who)?));
            let community = ExtendedCommunity::link_bandwidth(asn, octets);
            return Some(if name == "lbt" { community.transitive() } else { community });
        }
        _ => return None,
    };
    let (kind, value) = if let Ok(address) = who.parse::<Ipv4Addr>() {
        (0x01, u64::from(u32::from(address)) << 16 | u64::from(digits::<u16>(number)?))
    } else if let Some(asn) = digits::<u16>(who) {
        (0x00, u64::from(asn) << 32 | u64::from(digits::<u32>(number)?))
    } else {
        (0x02, u64::from(digits::<u32>(who)?) << 16 | u64::from(digits::<u16>(number)?))
    };
    let mut octets = value.to_be_bytes();
    octets[..2].copy_from_slice(&[kind, sub_type]);
    Some(ExtendedCommunity(octets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extended_communities_are_shown_in_words_where_they_have_some() {
        assert_eq!(ExtendedCommunity([0, 2, 0xFD, 0xE8, 0, 0, 0, 7]).to_string(), "rt:65000:7");
        assert_eq!(ExtendedCommunity([1, 3, 10, 0, 0, 1, 0, 7]).to_string(), "ro:10.0.0.1:7");
        assert_eq!(ExtendedCommunity([0x43, 0, 0, 0, 0, 0, 0, 2]).to_string(), "0x4300000000000002");
        assert!(!ExtendedCommunity([0x43, 0, 0, 0, 0, 0, 0, 2]).is_transitive());
    }

    #[test]
    fn every_form_that_is_shown_is_read_back() {
        let forms =
            ["rt:65000:4294967295", "ro:10.0.0.1:65535", "rt:4200000000:7", "lb:65000:1250000000", "lbt:1:0"];
        for text in forms.into_iter().chain(["0x4300000000000002", "0x4004fde87fc00000"]) {
            assert_eq!(text.parse::<ExtendedCommunity>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn wrong_text_is_refused_with_an_example() {
        for text in [
            "",
            "65000:1",
            "rt:65000",
            "rt:65000:4294967296",
            "rt:4200000000:65536",
            "xx:1:2",
            "0x12",
            "lb:65536:1",
        ] {
            let error = text.parse::<ExtendedCommunity>().unwrap_err().to_string();
            assert!(error.contains("`rt:65000:1`"), "{error}");
        }
    }

    #[test]
    fn a_link_bandwidth_keeps_its_rate() {
        let community = ExtendedCommunity::link_bandwidth(Asn(65000), 1.25e9);
        assert_eq!(community.0, [0x40, 4, 0xFD, 0xE8, 0x4E, 0x95, 0x02, 0xF9]);
        assert_eq!(community.as_link_bandwidth(), Some(1.25e9));
        assert_eq!(community.transitive().as_link_bandwidth(), Some(1.25e9));
        assert!(community.transitive().is_transitive() && !community.is_transitive());
        for not_a_rate in [f32::NAN, f32::INFINITY, -1.0] {
            assert_eq!(ExtendedCommunity::link_bandwidth(Asn(1), not_a_rate).as_link_bandwidth(), None);
        }
    }
}
