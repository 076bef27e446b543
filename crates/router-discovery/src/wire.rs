//! Router solicitations and advertisements (RFC 4861 §4.1, §4.2), in ICMPv6 messages without their IPv6 header.
//!
//! The checksum is left to the kernel: it fills in what a raw ICMPv6 socket sends and checks what it receives
//! (RFC 3542 §3.1).

#[cfg(test)]
mod tests;

use std::net::Ipv6Addr;

/// All nodes of a link: who an advertisement is for (RFC 4291 §2.7.1).
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// All routers of a link: who a solicitation is for.
pub const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// ICMPv6 type of a solicitation.
pub const SOLICITATION: u8 = 133;
/// ICMPv6 type of an advertisement.
pub const ADVERTISEMENT: u8 = 134;

const SOURCE_LINK_LAYER: u8 = 1;
const MTU: u8 = 5;

/// An Ethernet address.
pub type HardwareAddress = [u8; 6];

/// A message of router discovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// "Which routers are here?"
    Solicitation(Solicitation),
    /// "I am."
    Advertisement(Advertisement),
}

/// A router solicitation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Solicitation {
    /// The asker's Ethernet address.
    pub source: Option<HardwareAddress>,
}

/// A router advertisement. The default says nothing but that a speaker is here: it is no default router and leaves
/// every parameter to others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Advertisement {
    /// Hop limit that hosts should use; 0 says nothing.
    pub hop_limit: u8,
    /// The octet of flags, the highest first: managed addresses, other configuration, and what later documents
    /// defined.
    pub flags: u8,
    /// For how many seconds hosts may take the router as a default router; 0 is never.
    pub lifetime: u16,
    /// How long a neighbour counts as reachable, in milliseconds; 0 says nothing.
    pub reachable: u32,
    /// Time between neighbour solicitations, in milliseconds; 0 says nothing.
    pub retransmit: u32,
    /// The router's Ethernet address.
    pub source: Option<HardwareAddress>,
    /// The link's MTU.
    pub mtu: Option<u32>,
}

/// Why octets are no message of router discovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Another ICMPv6 type.
    #[error("ICMPv6 type {0} is not of router discovery")]
    Type(u8),
    /// RFC 4861 §6.1: the code is zero.
    #[error("code {0} is not 0")]
    Code(u8),
    /// Shorter than the fixed part.
    #[error("{0} octets are too few")]
    Short(usize),
    /// RFC 4861 §4.6: an option has a length of at least one unit of eight octets, within the message.
    #[error("the option at octet {0} has an impossible length")]
    OptionLength(usize),
}

impl Message {
    /// Reads a message; options that it does not know are passed over (RFC 4861 §6.1).
    ///
    /// # Errors
    /// What makes the message invalid by itself; its source and hop limit are for the caller to judge.
    pub fn parse(octets: &[u8]) -> Result<Self, Malformed> {
        let short = Malformed::Short(octets.len());
        let (&[kind, code, _, _, hop_limit, flags, high, low], rest) =
            octets.split_first_chunk::<8>().ok_or(short)?;
        if !matches!(kind, SOLICITATION | ADVERTISEMENT) {
            return Err(Malformed::Type(kind));
        }
        if code != 0 {
            return Err(Malformed::Code(code));
        }
        if kind == SOLICITATION {
            let Options { source, .. } = Options::parse(rest, 8)?;
            return Ok(Self::Solicitation(Solicitation { source }));
        }
        let (reachable, rest) = rest.split_first_chunk::<4>().ok_or(short)?;
        let (retransmit, rest) = rest.split_first_chunk::<4>().ok_or(short)?;
        let Options { source, mtu } = Options::parse(rest, 16)?;
        Ok(Self::Advertisement(Advertisement {
            hop_limit,
            flags,
            lifetime: u16::from_be_bytes([high, low]),
            reachable: u32::from_be_bytes(*reachable),
            retransmit: u32::from_be_bytes(*retransmit),
            source,
            mtu,
        }))
    }

    /// Appends the message, its checksum zero.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Solicitation(Solicitation { source }) => {
                out.extend([SOLICITATION, 0, 0, 0, 0, 0, 0, 0]);
                Options { source: *source, mtu: None }.encode(out);
            }
            Self::Advertisement(advertisement) => {
                let Advertisement { hop_limit, flags, lifetime, reachable, retransmit, source, mtu } =
                    *advertisement;
                out.extend([ADVERTISEMENT, 0, 0, 0, hop_limit, flags]);
                out.extend(lifetime.to_be_bytes());
                out.extend(reachable.to_be_bytes());
                out.extend(retransmit.to_be_bytes());
                Options { source, mtu }.encode(out);
            }
        }
    }
}

/// The options that matter here.
#[derive(Clone, Copy, Debug, Default)]
struct Options {
    source: Option<HardwareAddress>,
    mtu: Option<u32>,
}

impl Options {
    fn parse(mut rest: &[u8], mut offset: usize) -> Result<Self, Malformed> {
        let mut options = Self::default();
        while !rest.is_empty() {
            let wrong = Malformed::OptionLength(offset);
            let &[kind, units, ..] = rest else { return Err(wrong) };
            let length = usize::from(units) * 8;
            if length == 0 {
                return Err(wrong);
            }
            let (option, after) = rest.split_at_checked(length).ok_or(wrong)?;
            match (kind, option) {
                // Of the same option twice the first counts.
                (SOURCE_LINK_LAYER, [_, _, address @ ..]) => {
                    options.source = options.source.or(address.try_into().ok());
                }
                (MTU, [_, _, _, _, mtu @ ..]) => {
                    options.mtu = options.mtu.or(mtu.try_into().ok().map(u32::from_be_bytes));
                }
                _ => {}
            }
            (rest, offset) = (after, offset + length);
        }
        Ok(options)
    }

    fn encode(self, out: &mut Vec<u8>) {
        if let Some(address) = self.source {
            out.extend([SOURCE_LINK_LAYER, 1]);
            out.extend(address);
        }
        if let Some(mtu) = self.mtu {
            out.extend([MTU, 1, 0, 0]);
            out.extend(mtu.to_be_bytes());
        }
    }
}
