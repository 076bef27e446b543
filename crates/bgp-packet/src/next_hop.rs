//! Next hops of MP_REACH_NLRI (RFC 4760 §3, RFC 2545 §3, RFC 8950 §3).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytes::{BufMut, BytesMut};

use crate::Family;

/// Where packets of a route are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NextHop {
    /// The address to be resolved. It is link-local when the peer has no other.
    pub global: IpAddr,
    /// The router's link-local address, of meaning only on a link that it shares with us (RFC 2545 §3).
    pub link_local: Option<Ipv6Addr>,
}

impl NextHop {
    /// A next hop without link-local address.
    pub const fn new(global: IpAddr) -> Self {
        Self { global, link_local: None }
    }

    /// Whether no router can have this address: unspecified, loopback, multicast, broadcast or class E. Such
    /// a route is unusable, which is no fault of the session (RFC 4271 §6.3).
    pub fn is_martian(&self) -> bool {
        match self.global {
            IpAddr::V4(address) => {
                address.octets()[0] == 0 || address.is_loopback() || address.octets()[0] >= 224
            }
            IpAddr::V6(address) => {
                address.is_unspecified() || address.is_loopback() || address.is_multicast()
            }
        }
    }

    /// Reads the next hop field of `family`; `None` if its length is not one that was agreed on.
    pub(crate) fn read(family: Family, extended: Extended, octets: &[u8]) -> Option<Self> {
        match (family, extended, octets.len()) {
            (Family::Ipv4Unicast, _, 4) => {
                let octets: [u8; 4] = octets.try_into().ok()?;
                Some(Self::new(Ipv4Addr::from(octets).into()))
            }
            (Family::Ipv6Unicast, _, 16 | 32) | (Family::Ipv4Unicast, Extended::Negotiated, 16 | 32) => {
                let (global, rest) = octets.split_first_chunk::<16>()?;
                let second: Option<[u8; 16]> = rest.try_into().ok();
                Some(Self::from_pair(Ipv6Addr::from(*global), second.map(Ipv6Addr::from)))
            }
            _ => None,
        }
    }

    /// Speakers without a global address put `::` in its place, or their link-local address twice.
    fn from_pair(global: Ipv6Addr, second: Option<Ipv6Addr>) -> Self {
        let link_local = second.filter(Ipv6Addr::is_unicast_link_local);
        match link_local {
            Some(address) if global.is_unspecified() => Self { global: address.into(), link_local },
            _ => Self { global: global.into(), link_local },
        }
    }

    /// Appends the field with its length octet. An IPv4 address for IPv6 routes is written IPv4-mapped.
    pub(crate) fn write(&self, family: Family, out: &mut BytesMut) {
        match (self.global, family) {
            (IpAddr::V4(address), Family::Ipv4Unicast) => {
                out.put_u8(4);
                out.put_slice(&address.octets());
            }
            (IpAddr::V4(address), Family::Ipv6Unicast) => self.write_ipv6(address.to_ipv6_mapped(), out),
            (IpAddr::V6(address), _) => self.write_ipv6(address, out),
        }
    }

    fn write_ipv6(&self, global: Ipv6Addr, out: &mut BytesMut) {
        out.put_u8(if self.link_local.is_some() { 32 } else { 16 });
        out.put_slice(&global.octets());
        if let Some(link_local) = self.link_local {
            out.put_slice(&link_local.octets());
        }
    }

    /// Octets that [`NextHop::write`] appends.
    pub(crate) fn written(&self, family: Family) -> usize {
        match (self.global, family) {
            (IpAddr::V4(_), Family::Ipv4Unicast) => 1 + 4,
            _ if self.link_local.is_some() => 1 + 32,
            _ => 1 + 16,
        }
    }
}

/// Whether routes that are not IPv6 may have an IPv6 next hop (RFC 8950).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extended {
    Negotiated,
    NotNegotiated,
}

impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.global, f)?;
        match self.link_local {
            Some(link_local) if IpAddr::from(link_local) != self.global => write!(f, " ({link_local})"),
            _ => Ok(()),
        }
    }
}
