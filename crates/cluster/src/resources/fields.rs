//! Field types that read their text form and say what they expect.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use muslin_bgp_packet::{AnyCommunity, Asn, Community, LargeCommunity};
use serde::de::{self, Deserialize, Deserializer, Unexpected, Visitor};
use serde::ser::{Serialize, Serializer};

use super::schema;

/// Reads a field from text or a whole number; `parse` refuses with `None`.
pub(crate) fn from_text<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    expected: &'static str,
    parse: fn(&str) -> Option<T>,
) -> Result<T, D::Error> {
    struct Text<T> {
        expected: &'static str,
        parse: fn(&str) -> Option<T>,
    }

    impl<T> Visitor<'_> for Text<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.expected)
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            (self.parse)(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
        }

        fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
            (self.parse)(&number.to_string())
                .ok_or_else(|| E::invalid_value(Unexpected::Unsigned(number), &self))
        }

        fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
            (self.parse)(&number.to_string())
                .ok_or_else(|| E::invalid_value(Unexpected::Signed(number), &self))
        }
    }

    deserializer.deserialize_any(Text { expected, parse })
}

/// The schema of a field that has a text form.
macro_rules! text_schema {
    ($type:ident, $expected:expr, $schema:path, $rule:expr) => {
        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                $schema($expected, $rule)
            }
        }
    };
}

/// Gives a newtype its text form: how it is read, what is expected, how it is shown, and by which CEL rule the API
/// server refuses what does not fit.
macro_rules! text_field {
    ($type:ident, $expected:expr, $schema:path, $rule:expr, $parse:expr) => {
        text_schema!($type, $expected, $schema, $rule);

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                from_text(deserializer, $expected, $parse)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

/// An AS number that a speaker may have, in either notation of RFC 5396.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AsNumber(pub Asn);

text_field!(
    AsNumber,
    "an AS number from 1 to 4294967294 that is not reserved, or \"65000.1\" in quotes",
    as_number,
    "",
    |text| usable_asn(text).map(AsNumber)
);

/// Both notations.
pub(super) const AS_NUMBER: &str = "[1-9][0-9]{0,9}|[0-9]{1,5}[.][0-9]{1,5}";

/// The least and the greatest.
pub(super) const AS_NUMBERS: (u64, u64) = (1, 4_294_967_294);

/// Between the two, and nobody's.
pub(super) const RESERVED_AS_NUMBERS: [u32; 2] = [23_456, 65_535];

fn as_number(expected: &str, _: &str) -> schemars::Schema {
    schema::number_or_text(expected, &format!("^({AS_NUMBER})$"), AS_NUMBERS, &RESERVED_AS_NUMBERS)
}

/// Communities by their form.
const ANY_COMMUNITY: &str = "^([a-z-]+|[0-9]{1,5}:[0-9]{1,5}|[0-9]{1,10}(:[0-9]{1,10}){2}|[a-z]+:[0-9a-zA-Z.:/-]+|0x[0-9a-fA-F]{16})$";

/// Refuses what nobody may use: 0 (RFC 7607), `AS_TRANS` (RFC 6793 §9), and the last of each range (RFC 7300).
pub fn usable_asn(text: &str) -> Option<Asn> {
    let asn = text.parse().ok()?;
    (!matches!(asn, Asn::ZERO | Asn::TRANS | Asn(65535 | u32::MAX))).then_some(asn)
}

/// A BGP identifier: an IPv4 address in form, not in meaning; never zero (RFC 6286 §2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouterId(pub Ipv4Addr);

text_field!(
    RouterId,
    "four numbers as in 10.0.0.1, not all of them zero",
    schema::text::<15>,
    "isIP(self) && ip(self).family() == 4 && self != '0.0.0.0'",
    |text| { Ipv4Addr::from_str(text).ok().filter(|id| !id.is_unspecified()).map(RouterId) }
);

/// An address range without bits beyond its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr(pub IpNet);

text_field!(
    Cidr,
    "an address range without host bits, as 10.244.0.0/16 or fd44::/48",
    schema::text::<43>,
    "isCIDR(self) && cidr(self) == cidr(self).masked()",
    |text| { IpNet::from_str(text).ok().filter(|range| range.trunc() == *range).map(Cidr) }
);

/// A standard community (RFC 1997).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommunityValue(pub Community);

text_field!(
    CommunityValue,
    "a community as \"64512:1\", or a name such as no-export",
    schema::matching::<32>,
    "^(graceful-shutdown|llgr-stale|no-llgr|no-export|no-advertise|no-export-subconfed|[0-9]{1,5}:[0-9]{1,5})$",
    |text| { text.parse().ok().map(CommunityValue) }
);

/// A large community (RFC 8092).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LargeCommunityValue(pub LargeCommunity);

text_field!(
    LargeCommunityValue,
    "a large community as \"64512:1:2\"",
    schema::matching::<32>,
    "^[0-9]{1,10}(:[0-9]{1,10}){2}$",
    |text| { text.parse().ok().map(LargeCommunityValue) }
);

/// A community of any kind; its text form tells which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnyCommunityValue(pub AnyCommunity);

text_field!(
    AnyCommunityValue,
    "a community: \"65000:1\", a name such as no-export, \"65000:1:2\" (large) or \"rt:65000:1\" (extended)",
    schema::matching::<64>,
    ANY_COMMUNITY,
    |text| { text.parse().ok().map(AnyCommunityValue) }
);

/// A community of any kind, or a regular expression between slashes over the text forms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommunityPattern {
    /// This community.
    Is(AnyCommunity),
    /// Every community whose text form matches.
    Like(String),
}

impl<'de> Deserialize<'de> for CommunityPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer, COMMUNITY_PATTERN, |text| match text.strip_prefix('/') {
            Some(pattern) => pattern.strip_suffix('/').map(|pattern| Self::Like(pattern.to_owned())),
            None => text.parse().ok().map(Self::Is),
        })
    }
}

const COMMUNITY_PATTERN: &str = "a community (\"65000:1\", no-export, \"65000:1:2\", \"rt:65000:1\"), or an expression between slashes as \"/^65000:/\"";

text_schema!(
    CommunityPattern,
    COMMUNITY_PATTERN,
    schema::pattern::<600>,
    "^(/.*/|[a-z-]+|[0-9]{1,5}:[0-9]{1,5}|[0-9]{1,10}(:[0-9]{1,10}){2}|[a-z]+:[0-9a-zA-Z.:/-]+|0x[0-9a-fA-F]{16})$"
);

impl Serialize for CommunityPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for CommunityPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(community) => fmt::Display::fmt(community, f),
            Self::Like(pattern) => write!(f, "/{pattern}/"),
        }
    }
}

/// A peer by name, or peers by address or range of addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerRef {
    /// The `BGPPeer` of this name; all peers of it if it has a listen range.
    Name(String),
    /// Peers whose address is within.
    Within(IpNet),
}

impl<'de> Deserialize<'de> for PeerRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer, PEER_REF, |text| {
            if let Ok(address) = text.parse::<IpAddr>() {
                return Some(Self::Within(address.into()));
            }
            match text.parse::<IpNet>() {
                Ok(range) => (range.trunc() == range).then_some(Self::Within(range)),
                Err(_) => (!text.is_empty()).then(|| Self::Name(text.to_owned())),
            }
        })
    }
}

const PEER_REF: &str = "a peer's name, its address, or a range of addresses without host bits";

text_schema!(PeerRef, PEER_REF, schema::text::<253>, "size(self) > 0");

impl Serialize for PeerRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for PeerRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Within(range) if range.prefix_len() == range.max_prefix_len() => {
                fmt::Display::fmt(&range.addr(), f)
            }
            Self::Within(range) => fmt::Display::fmt(range, f),
        }
    }
}

/// Bits per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BitRate(pub u64);

/// Units of bit rates, the larger first.
const BIT_UNITS: [(&str, u64); 5] =
    [("Tbps", 1_000_000_000_000), ("Gbps", 1_000_000_000), ("Mbps", 1_000_000), ("kbps", 1000), ("bps", 1)];

impl<'de> Deserialize<'de> for BitRate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer, BIT_RATE, |text| {
            let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
            let (_, unit) = BIT_UNITS.iter().find(|(name, _)| *name == unit)?;
            number.parse::<u64>().ok()?.checked_mul(*unit).filter(|rate| *rate > 0).map(Self)
        })
    }
}

const BIT_RATE: &str = "bits per second with their unit, as 10Gbps, 2500Mbps or 64kbps";

text_schema!(BitRate, BIT_RATE, schema::text::<20>, "self.matches('^0*[1-9][0-9]{0,11}([TGMk]?bps)$')");

impl Serialize for BitRate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for BitRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match BIT_UNITS.iter().find(|(_, unit)| self.0.is_multiple_of(*unit)) {
            Some((name, unit)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{}bps", self.0),
        }
    }
}

/// A length of time, as Kubernetes writes it: `90s`, `1m30s`, `500ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeSpan(pub Duration);

impl<'de> Deserialize<'de> for TimeSpan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer, TIME_SPAN, |text| time_span(text).map(TimeSpan))
    }
}

const TIME_SPAN: &str = "a time with its unit, as 90s, 1m30s or 500ms";

text_schema!(TimeSpan, TIME_SPAN, schema::text::<32>, "self.matches('^(0|([0-9]{1,9}(ms|s|m|h))+)$')");

impl FromStr for TimeSpan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = || format!("'{text}' is no time: write it with its unit, as 90s, 1m30s or 500ms");
        time_span(text).map(TimeSpan).ok_or_else(wanted)
    }
}

impl Serialize for TimeSpan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.subsec_millis() {
            0 => write!(f, "{}s", self.0.as_secs()),
            _ => write!(f, "{}ms", self.0.as_millis()),
        }
    }
}

/// Reads numbers with units, one after the other; a bare `0` needs none.
fn time_span(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let (number, tail) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let number: u64 = number.parse().ok()?;
        let (unit, tail) = tail.split_at(tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len()));
        total = total.checked_add(match unit {
            "ms" => Duration::from_millis(number),
            "s" => Duration::from_secs(number),
            "m" => Duration::from_secs(number.checked_mul(60)?),
            "h" => Duration::from_secs(number.checked_mul(3600)?),
            _ => return None,
        })?;
        rest = tail;
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_spans_are_sums_of_numbers_with_units() {
        assert_eq!(time_span("1m30s"), Some(Duration::from_secs(90)));
        assert_eq!(time_span("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(time_span("0"), Some(Duration::ZERO));
        for wrong in ["", "90", "s", "1x", "-1s", "1.5s", "99999999999999999999s", "18446744073709551615h"] {
            assert_eq!(time_span(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_bit_rate_is_shown_in_its_largest_whole_unit() {
        let read =
            |text: &str| BitRate::deserialize(de::value::StrDeserializer::<de::value::Error>::new(text));
        for text in ["10Gbps", "2500Mbps", "64kbps", "1bps", "1Tbps"] {
            assert_eq!(read(text).unwrap().to_string(), text);
        }
        assert_eq!(read("1000Mbps").unwrap().to_string(), "1Gbps");
        for wrong in ["10", "Gbps", "10G", "0bps", "1.5Gbps", "99999999999Tbps"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn reserved_as_numbers_are_not_usable() {
        for reserved in ["0", "23456", "65535", "4294967295"] {
            assert_eq!(usable_asn(reserved), None, "{reserved}");
        }
        assert_eq!(usable_asn("1.10"), Some(Asn(65546)));
    }
}
