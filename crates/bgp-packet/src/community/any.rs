//! A community of whatever kind, as people write it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Community, ExtendedCommunity, LargeCommunity, ParseCommunityError};

/// A community of any of the three kinds. Their text forms tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AnyCommunity {
    /// RFC 1997.
    Standard(Community),
    /// RFC 4360.
    Extended(ExtendedCommunity),
    /// RFC 8092.
    Large(LargeCommunity),
}

/// One of the three kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum CommunityKind {
    /// RFC 1997.
    Standard,
    /// RFC 4360.
    Extended,
    /// RFC 8092.
    Large,
}

impl fmt::Display for CommunityKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Standard => "standard",
            Self::Extended => "extended",
            Self::Large => "large",
        })
    }
}

impl From<Community> for AnyCommunity {
    fn from(community: Community) -> Self {
        Self::Standard(community)
    }
}

impl From<ExtendedCommunity> for AnyCommunity {
    fn from(community: ExtendedCommunity) -> Self {
        Self::Extended(community)
    }
}

impl From<LargeCommunity> for AnyCommunity {
    fn from(community: LargeCommunity) -> Self {
        Self::Large(community)
    }
}

impl fmt::Display for AnyCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard(community) => community.fmt(f),
            Self::Extended(community) => community.fmt(f),
            Self::Large(community) => community.fmt(f),
        }
    }
}

impl FromStr for AnyCommunity {
    type Err = ParseCommunityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let standard = text.parse().map(Self::Standard);
        let parsed = standard.or_else(|_| text.parse().map(Self::Large));
        parsed.or_else(|_| text.parse().map(Self::Extended)).map_err(|_: ParseCommunityError| {
            ParseCommunityError {
                text: text.to_owned(),
                kind: "community",
                expected: "`65000:1`, a name such as `no-export`, `65000:1:2` (large), or `rt:65000:1` (extended)",
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_form_tells_the_kind() {
        for (text, kind) in [
            ("65000:1", CommunityKind::Standard),
            ("no-export", CommunityKind::Standard),
            ("65000:1:2", CommunityKind::Large),
            ("rt:65000:1", CommunityKind::Extended),
            ("0x4300000000000002", CommunityKind::Extended),
        ] {
            let community: AnyCommunity = text.parse().unwrap();
            let found = match community {
                AnyCommunity::Standard(_) => CommunityKind::Standard,
                AnyCommunity::Extended(_) => CommunityKind::Extended,
                AnyCommunity::Large(_) => CommunityKind::Large,
            };
            assert_eq!((found, community.to_string().as_str()), (kind, text));
        }
        assert!("65536:1".parse::<AnyCommunity>().unwrap_err().to_string().contains("(large)"));
    }
}
