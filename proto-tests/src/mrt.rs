//! MRT table dumps (RFC 6396 §4.3, `TABLE_DUMP_V2`; RFC 8050 for ADD-PATH): read, made, and turned into UPDATEs.
//!
//! Public dumps of the Internet's table are in this format; [`generate`] makes tables that look like them.
//! Reading is total: any octets are records or a [`Malformed`].

mod generate;
mod updates;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

pub use self::generate::{Shape, generate};
pub use self::updates::updates;

/// Type `TABLE_DUMP_V2`.
const TABLE_DUMP_V2: u16 = 13;

/// Its subtypes that are read.
const PEER_INDEX_TABLE: u16 = 1;
const RIB_IPV4_UNICAST: u16 = 2;
const RIB_IPV6_UNICAST: u16 = 4;
const RIB_IPV4_UNICAST_ADDPATH: u16 = 8;
const RIB_IPV6_UNICAST_ADDPATH: u16 = 10;

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The peers that the routes are of.
    Peers(Peers),
    /// The routes of one prefix.
    Routes(Routes),
    /// Something else, which does not matter here.
    Other {
        /// Its type.
        kind: u16,
        /// Its subtype.
        subtype: u16,
    },
}

/// The peers of a dump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peers {
    /// BGP identifier of whoever wrote the dump.
    pub collector: Ipv4Addr,
    /// The peers; routes name them by their place.
    pub peers: Vec<Peer>,
}

/// A peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// BGP identifier.
    pub id: Ipv4Addr,
    /// Address.
    pub address: IpAddr,
    /// AS.
    pub asn: u32,
}

/// The routes of one prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routes {
    /// Number of the record in the dump.
    pub sequence: u32,
    /// Destination.
    pub prefix: IpNet,
    /// A route a peer, or several with ADD-PATH.
    pub routes: Vec<Route>,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Place of the peer in [`Peers`].
    pub peer: u16,
    /// When it was received, in seconds since 1970.
    pub originated: u32,
    /// Path identifier (RFC 8050).
    pub path_id: Option<u32>,
    /// Attributes, AS numbers in four octets, MP_REACH_NLRI with nothing but the next hop.
    pub attributes: Vec<u8>,
}

/// Octets that are no dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Where the record begins.
    pub offset: usize,
    /// What is wrong with it.
    pub what: &'static str,
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the record at octet {} is malformed: {}", self.offset, self.what)
    }
}

impl std::error::Error for Malformed {}

/// Reads all records of a dump.
///
/// # Errors
/// At the first record that is malformed or cut off.
pub fn read(dump: &[u8]) -> Result<Vec<Record>, Malformed> {
    let mut rest = Octets(dump);
    let mut records = Vec::new();
    while !rest.0.is_empty() {
        let offset = dump.len() - rest.0.len();
        let malformed = |what| Malformed { offset, what };
        let header = (|| Some((rest.u32()?, rest.u16()?, rest.u16()?, rest.u32()?)))();
        let (_time, kind, subtype, length) = header.ok_or(malformed("its header is cut off"))?;
        let body = usize::try_from(length).ok().and_then(|length| rest.take(length));
        let mut body = Octets(body.ok_or(malformed("it is shorter than its header says"))?);
        let record = record(kind, subtype, &mut body).ok_or(malformed("its body does not fit its type"))?;
        if !body.0.is_empty() && !matches!(record, Record::Other { .. }) {
            return Err(malformed("it is longer than what is in it"));
        }
        records.push(record);
    }
    Ok(records)
}

fn record(kind: u16, subtype: u16, body: &mut Octets<'_>) -> Option<Record> {
    let (ipv6, add_path) = match (kind, subtype) {
        (TABLE_DUMP_V2, PEER_INDEX_TABLE) => return peers(body).map(Record::Peers),
        (TABLE_DUMP_V2, RIB_IPV4_UNICAST) => (false, false),
        (TABLE_DUMP_V2, RIB_IPV6_UNICAST) => (true, false),
        (TABLE_DUMP_V2, RIB_IPV4_UNICAST_ADDPATH) => (false, true),
        (TABLE_DUMP_V2, RIB_IPV6_UNICAST_ADDPATH) => (true, true),
        _ => return Some(Record::Other { kind, subtype }),
    };
    let sequence = body.u32()?;
    let prefix = if ipv6 { body.ipv6_prefix()? } else { body.ipv4_prefix()? };
    let count = body.u16()?;
    let routes: Option<Vec<Route>> = (0..count).map(|_| route(add_path, body)).collect();
    Some(Record::Routes(Routes { sequence, prefix, routes: routes? }))
}

/// RFC 6396 §4.3.1.
fn peers(body: &mut Octets<'_>) -> Option<Peers> {
    let collector = body.ipv4()?;
    let name = body.u16()?;
    body.take(name.into())?;
    let count = body.u16()?;
    let peer = |body: &mut Octets<'_>| {
        let kind = body.u8()?;
        let id = body.ipv4()?;
        let address = if kind & 1 == 0 { body.ipv4()?.into() } else { body.ipv6()?.into() };
        let asn = if kind & 2 == 0 { body.u16()?.into() } else { body.u32()? };
        Some(Peer { id, address, asn })
    };
    let peers: Option<Vec<Peer>> = (0..count).map(|_| peer(body)).collect();
    Some(Peers { collector, peers: peers? })
}

/// RFC 6396 §4.3.4, RFC 8050 §4.
fn route(add_path: bool, body: &mut Octets<'_>) -> Option<Route> {
    let (peer, originated) = (body.u16()?, body.u32()?);
    let path_id = if add_path { Some(body.u32()?) } else { None };
    let length = body.u16()?;
    Some(Route { peer, originated, path_id, attributes: body.take(length.into())?.to_vec() })
}

/// Octets that are read from the front.
struct Octets<'a>(&'a [u8]);

impl<'a> Octets<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn ipv4(&mut self) -> Option<Ipv4Addr> {
        self.array::<4>().map(Ipv4Addr::from)
    }

    fn ipv6(&mut self) -> Option<Ipv6Addr> {
        self.array::<16>().map(Ipv6Addr::from)
    }

    fn ipv4_prefix(&mut self) -> Option<IpNet> {
        let (length, octets) = self.prefix::<4>()?;
        Some(Ipv4Net::new(octets.into(), length).ok()?.trunc().into())
    }

    fn ipv6_prefix(&mut self) -> Option<IpNet> {
        let (length, octets) = self.prefix::<16>()?;
        Some(Ipv6Net::new(octets.into(), length).ok()?.trunc().into())
    }

    /// A length in bits and as many octets as it needs.
    fn prefix<const N: usize>(&mut self) -> Option<(u8, [u8; N])> {
        let length = self.u8()?;
        let written = self.take(usize::from(length).div_ceil(8))?;
        let mut octets = [0; N];
        octets.get_mut(..written.len())?.copy_from_slice(written);
        Some((length, octets))
    }
}

#[cfg(test)]
mod tests;
