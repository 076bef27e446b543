use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both, IPv4 first.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// "IPv4" or "IPv6".
    pub fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

/// A host's addresses, one of each family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dual {
    /// The IPv4 address.
    pub v4: Ipv4Addr,
    /// The IPv6 address.
    pub v6: Ipv6Addr,
}

impl Dual {
    /// The one of a family.
    pub fn get(self, family: Family) -> IpAddr {
        match family {
            Family::V4 => self.v4.into(),
            Family::V6 => self.v6.into(),
        }
    }

    /// The one of a family, as an address of a link with the lab's usual prefix length.
    pub(crate) fn on_link(self, family: Family) -> IpNet {
        match family {
            Family::V4 => Ipv4Net::new_assert(self.v4, 24).into(),
            Family::V6 => Ipv6Net::new_assert(self.v6, 64).into(),
        }
    }
}

/// A range of each family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DualNet {
    /// The IPv4 range.
    pub v4: Ipv4Net,
    /// The IPv6 range.
    pub v6: Ipv6Net,
}

impl DualNet {
    /// The one of a family.
    pub fn get(self, family: Family) -> IpNet {
        match family {
            Family::V4 => self.v4.into(),
            Family::V6 => self.v6.into(),
        }
    }
}
