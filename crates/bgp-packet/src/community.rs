//! Communities: standard (RFC 1997), extended (RFC 4360) and large (RFC 8092).

mod any;
mod extended;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use any::{AnyCommunity, CommunityKind};
pub use extended::ExtendedCommunity;

use crate::Asn;

/// A standard community (RFC 1997).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Community(pub u32);

/// Well-known communities by name.
const WELL_KNOWN: [(Community, &str); 6] = [
    (Community::GRACEFUL_SHUTDOWN, "graceful-shutdown"),
    (Community::LLGR_STALE, "llgr-stale"),
    (Community::NO_LLGR, "no-llgr"),
    (Community::NO_EXPORT, "no-export"),
    (Community::NO_ADVERTISE, "no-advertise"),
    (Community::NO_EXPORT_SUBCONFED, "no-export-subconfed"),
];

impl Community {
    /// Planned shutdown of a session: set LOCAL_PREF to 0 (RFC 8326).
    pub const GRACEFUL_SHUTDOWN: Self = Self(0xFFFF_0000);
    /// Kept past graceful restart; least preferred (RFC 9494).
    pub const LLGR_STALE: Self = Self(0xFFFF_0006);
    /// Not to be kept past graceful restart (RFC 9494).
    pub const NO_LLGR: Self = Self(0xFFFF_0007);
    /// Not to leave the AS or confederation (RFC 1997).
    pub const NO_EXPORT: Self = Self(0xFFFF_FF01);
    /// Not to be advertised to any peer (RFC 1997).
    pub const NO_ADVERTISE: Self = Self(0xFFFF_FF02);
    /// Not to leave the member AS (RFC 1997).
    pub const NO_EXPORT_SUBCONFED: Self = Self(0xFFFF_FF03);

    /// The community `high:low`.
    pub const fn new(high: u16, low: u16) -> Self {
        Self((high as u32) << 16 | low as u32)
    }

    /// The upper half, by convention an AS number.
    pub const fn high(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// The lower half.
    pub const fn low(self) -> u16 {
        self.0 as u16
    }
}

impl fmt::Display for Community {
    /// `high:low`, or the name of a well-known community.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match WELL_KNOWN.iter().find(|(community, _)| community == self) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "{}:{}", self.high(), self.low()),
        }
    }
}

/// Text that is no community.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {kind}: expected {expected}")]
pub struct ParseCommunityError {
    text: String,
    kind: &'static str,
    expected: &'static str,
}

impl FromStr for Community {
    type Err = ParseCommunityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = match WELL_KNOWN.iter().find(|(_, name)| *name == text) {
            Some((community, _)) => Some(*community),
            None => text.split_once(':').and_then(|(high, low)| Some(Self::new(digits(high)?, digits(low)?))),
        };
        parsed.ok_or_else(|| ParseCommunityError {
            text: text.to_owned(),
            kind: "community",
            expected: "`high:low` of 0 to 65535 each, or a name such as `no-export`",
        })
    }
}

/// A large community (RFC 8092).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LargeCommunity {
    /// Global administrator: the AS that defines the rest.
    pub global: Asn,
    /// First part of local data.
    pub local1: u32,
    /// Second part of local data.
    pub local2: u32,
}

impl LargeCommunity {
    pub(crate) fn from_octets(octets: [u8; 12]) -> Self {
        let bits = u128::from_be_bytes(std::array::from_fn(|at| if at < 4 { 0 } else { octets[at - 4] }));
        Self { global: Asn((bits >> 64) as u32), local1: (bits >> 32) as u32, local2: bits as u32 }
    }
}

impl fmt::Display for LargeCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.global, self.local1, self.local2)
    }
}

impl FromStr for LargeCommunity {
    type Err = ParseCommunityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split(':').map(digits::<u32>);
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(Some(global)), Some(Some(local1)), Some(Some(local2)), None) => {
                Ok(Self { global: Asn(global), local1, local2 })
            }
            _ => Err(ParseCommunityError {
                text: text.to_owned(),
                kind: "large community",
                expected: "three numbers of 0 to 4294967295 as in `65000:1:2`",
            }),
        }
    }
}

/// Decimal digits only: integer parsing of the standard library would also accept a sign.
fn digits<N: FromStr>(text: &str) -> Option<N> {
    if text.bytes().all(|octet| octet.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_forms_are_read_back() {
        for text in ["65000:1", "0:0", "no-export", "graceful-shutdown"] {
            assert_eq!(text.parse::<Community>().unwrap().to_string(), text);
        }
        assert_eq!("4200000000:1:2".parse::<LargeCommunity>().unwrap().to_string(), "4200000000:1:2");
    }

    #[test]
    fn wrong_text_is_refused() {
        for text in ["", "1", "65536:1", "1:+1", "1:2:3", "noexport"] {
            assert!(text.parse::<Community>().is_err(), "{text}");
        }
        for text in ["", "1:2", "1:2:3:4", "4294967296:0:0"] {
            assert!(text.parse::<LargeCommunity>().is_err(), "{text}");
        }
    }
}
