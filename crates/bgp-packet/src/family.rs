//! Address families.

use std::fmt;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// An address family and subsequent address family as they stand on the wire (RFC 4760 §3), known or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AfiSafi {
    /// Address family identifier, IANA "Address Family Numbers".
    pub afi: u16,
    /// Subsequent address family identifier, IANA "SAFI Values".
    pub safi: u8,
}

/// AFI of IPv4.
pub const AFI_IPV4: u16 = 1;
/// AFI of IPv6.
pub const AFI_IPV6: u16 = 2;
const SAFI_UNICAST: u8 = 1;

/// A family whose routes this crate decodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Family {
    /// AFI 1, SAFI 1.
    Ipv4Unicast,
    /// AFI 2, SAFI 1.
    Ipv6Unicast,
}

impl Family {
    /// All families, in the order of their AFI.
    pub const ALL: [Self; 2] = [Self::Ipv4Unicast, Self::Ipv6Unicast];

    /// The family's numbers on the wire.
    pub const fn afi_safi(self) -> AfiSafi {
        match self {
            Self::Ipv4Unicast => AfiSafi { afi: AFI_IPV4, safi: SAFI_UNICAST },
            Self::Ipv6Unicast => AfiSafi { afi: AFI_IPV6, safi: SAFI_UNICAST },
        }
    }
}

impl AfiSafi {
    /// The family, if this crate decodes its routes.
    pub const fn family(self) -> Option<Family> {
        match (self.afi, self.safi) {
            (AFI_IPV4, SAFI_UNICAST) => Some(Family::Ipv4Unicast),
            (AFI_IPV6, SAFI_UNICAST) => Some(Family::Ipv6Unicast),
            _ => None,
        }
    }
}

impl From<IpNet> for Family {
    fn from(prefix: IpNet) -> Self {
        match prefix {
            IpNet::V4(_) => Self::Ipv4Unicast,
            IpNet::V6(_) => Self::Ipv6Unicast,
        }
    }
}

impl From<Family> for AfiSafi {
    fn from(family: Family) -> Self {
        family.afi_safi()
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4Unicast => "ipv4-unicast",
            Self::Ipv6Unicast => "ipv6-unicast",
        })
    }
}

impl fmt::Display for AfiSafi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.family() {
            Some(family) => fmt::Display::fmt(&family, f),
            None => write!(f, "afi {} safi {}", self.afi, self.safi),
        }
    }
}

/// A set of [`Family`] values in one octet.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Vec<Family>", into = "Vec<Family>")]
pub struct FamilySet(u8);

impl FamilySet {
    /// No family.
    pub const EMPTY: Self = Self(0);
    /// Every family.
    pub const ALL: Self = Self(0b11);

    const fn bit(family: Family) -> u8 {
        match family {
            Family::Ipv4Unicast => 1,
            Family::Ipv6Unicast => 2,
        }
    }

    /// Whether the family is in the set.
    pub const fn contains(self, family: Family) -> bool {
        self.0 & Self::bit(family) != 0
    }

    /// The set with the family added.
    #[must_use]
    pub const fn with(self, family: Family) -> Self {
        Self(self.0 | Self::bit(family))
    }

    /// The set with the family taken out.
    #[must_use]
    pub const fn without(self, family: Family) -> Self {
        Self(self.0 & !Self::bit(family))
    }

    /// Whether no family is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The families, in the order of [`Family::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Family> {
        Family::ALL.into_iter().filter(move |family| self.contains(*family))
    }
}

impl From<Family> for FamilySet {
    fn from(family: Family) -> Self {
        Self::EMPTY.with(family)
    }
}

impl From<Vec<Family>> for FamilySet {
    fn from(families: Vec<Family>) -> Self {
        families.into_iter().collect()
    }
}

impl From<FamilySet> for Vec<Family> {
    fn from(families: FamilySet) -> Self {
        families.iter().collect()
    }
}

impl FromIterator<Family> for FamilySet {
    fn from_iter<I: IntoIterator<Item = Family>>(families: I) -> Self {
        families.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl fmt::Debug for FamilySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
