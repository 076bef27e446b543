//! Autonomous system numbers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An autonomous system number, always 32 bits wide (RFC 6793).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Asn(pub u32);

impl Asn {
    /// Stands for a 4-octet AS number in a 2-octet field (RFC 6793 §9).
    pub const TRANS: Self = Self(23456);

    /// Reserved; illegal in OPEN, AS_PATH and AGGREGATOR (RFC 7607).
    pub const ZERO: Self = Self(0);

    /// The number as it stands in a 2-octet field: itself, or [`Asn::TRANS`] if it is too large.
    #[must_use]
    pub fn to_two_octets(self) -> u16 {
        u16::try_from(self.0).unwrap_or(23456)
    }

    /// Whether a 2-octet field can hold the number.
    pub fn fits_two_octets(self) -> bool {
        u16::try_from(self.0).is_ok()
    }

    /// Whether the number is for private use (RFC 6996).
    pub fn is_private(self) -> bool {
        matches!(self.0, 64512..=65534 | 4_200_000_000..=4_294_967_294)
    }
}

impl fmt::Display for Asn {
    /// The plain decimal form ("asplain", RFC 5396).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl From<u32> for Asn {
    fn from(number: u32) -> Self {
        Self(number)
    }
}

impl From<Asn> for u32 {
    fn from(asn: Asn) -> Self {
        asn.0
    }
}

/// Text that is no AS number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an AS number: expected 0 to 4294967295, or two parts of 0 to 65535 as in `65000.1`")]
pub struct ParseAsnError(String);

impl FromStr for Asn {
    type Err = ParseAsnError;

    /// Reads "asplain" and "asdot+" (RFC 5396 §2).
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = match text.split_once('.') {
            None => decimal(text),
            Some((high, low)) => match (decimal(high), decimal(low)) {
                (Some(high @ 0..=0xFFFF), Some(low @ 0..=0xFFFF)) => Some(high << 16 | low),
                _ => None,
            },
        };
        number.map(Self).ok_or_else(|| ParseAsnError(text.to_owned()))
    }
}

/// Digits only: `u32::from_str` would also accept a sign.
fn decimal(text: &str) -> Option<u32> {
    if text.bytes().all(|octet| octet.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_notations_of_rfc5396_are_read() {
        assert_eq!("64512".parse(), Ok(Asn(64512)));
        assert_eq!("1.10".parse(), Ok(Asn(65546)));
        assert_eq!("65535.65535".parse(), Ok(Asn(u32::MAX)));
    }

    #[test]
    fn other_text_is_refused_and_named() {
        for text in ["", "+1", "-1", "1.", ".1", "1.65536", "65536.1", "4294967296", "1.2.3", "AS1"] {
            let error = text.parse::<Asn>().unwrap_err();
            assert!(error.to_string().contains(&format!("`{text}`")));
        }
    }

    #[test]
    fn a_large_number_hides_behind_as_trans() {
        assert_eq!(Asn(65536).to_two_octets(), 23456);
        assert_eq!(Asn(65535).to_two_octets(), 65535);
    }
}
