//! What else the kernel's nftables hold, as far as it concerns pods.

use std::fmt;
use std::net::IpAddr;

use super::ruleset::{HEADER, message};
use super::{FirewallError, TABLE};
use crate::netlink::{Batch, Message, Socket, attributes, find};

/// A chain of somebody else that drops what its rules do not accept, in the way of packets that are forwarded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardDrop {
    /// The family of that table.
    pub family: Family,
    /// The table that it is in.
    pub table: String,
    /// Its name.
    pub chain: String,
}

/// Whose packets a table sees, of those families that routed packets have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
    /// Both.
    Inet,
}

impl Family {
    fn of(number: u8) -> Option<Self> {
        match libc::c_int::from(number) {
            libc::NFPROTO_IPV4 => Some(Self::Ip),
            libc::NFPROTO_IPV6 => Some(Self::Ip6),
            libc::NFPROTO_INET => Some(Self::Inet),
            _ => None,
        }
    }

    /// As `nft` calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Inet => "inet",
        }
    }

    /// Whether packets to and from this address come by.
    pub fn sees(self, address: IpAddr) -> bool {
        match self {
            Self::Ip => address.is_ipv4(),
            Self::Ip6 => address.is_ipv6(),
            Self::Inet => true,
        }
    }
}

impl fmt::Display for ForwardDrop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.family.name(), self.table, self.chain)
    }
}

/// A chain of the packet filter, whoever made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// The table that it is in.
    pub table: String,
    /// Its name.
    pub name: String,
    /// It drops what its rules do not accept, in the way of packets that are forwarded: of this family.
    pub drops_forwarded: Option<Family>,
}

impl Chain {
    /// What it drops.
    pub fn forward_drop(&self) -> Option<ForwardDrop> {
        let family = self.drops_forwarded?;
        Some(ForwardDrop { family, table: self.table.clone(), chain: self.name.clone() })
    }
}

/// Is our table there? Somebody may have flushed the whole rule set.
pub fn is_present() -> Result<bool, FirewallError> {
    let mut batch = Batch::default();
    let get = (message(libc::NFT_MSG_GETTABLE), 0);
    batch.push(format!("look at table {TABLE}"), get, &HEADER, |m| m.string(NFTA_TABLE_NAME, TABLE));
    match Socket::netfilter().and_then(|mut socket| socket.execute(batch)) {
        Ok(_) => Ok(true),
        Err(error) if error.errno() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(FirewallError(error)),
    }
}

/// Chains that drop forwarded packets unless some rule of theirs accepts, as Docker's `FORWARD` does: pods' packets
/// may end there, and we do not touch what is not ours. Tables of the old `iptables-legacy` are not seen.
pub fn forward_drops() -> Result<Vec<ForwardDrop>, FirewallError> {
    Ok(chains()?.iter().filter_map(Chain::forward_drop).collect())
}

/// All chains of all tables.
pub fn chains() -> Result<Vec<Chain>, FirewallError> {
    let kind = message(libc::NFT_MSG_GETCHAIN);
    let all_families = [libc::AF_UNSPEC as u8, 0, 0, 0];
    let chains =
        Socket::netfilter().and_then(|mut socket| socket.dump("list chains", kind, &all_families, read));
    chains.map_err(FirewallError)
}

fn read(chain: &Message) -> Option<Chain> {
    let get = |kind| find(chain.attributes(HEADER.len()), kind);
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).trim_end_matches('\0').to_owned();
    let (table, name) = (text(get(NFTA_CHAIN_TABLE)?), text(get(NFTA_CHAIN_NAME)?));
    Some(Chain { table, name, drops_forwarded: drops_forwarded(chain) })
}

fn drops_forwarded(chain: &Message) -> Option<Family> {
    let get = |kind| find(chain.attributes(HEADER.len()), kind);
    let number = |octets: &[u8]| octets.try_into().ok().map(u32::from_be_bytes);
    let family = Family::of(*chain.payload.first()?)?;
    let hook = find(attributes(get(NFTA_CHAIN_HOOK)?), NFTA_HOOK_HOOKNUM).and_then(number)?;
    let drops = get(NFTA_CHAIN_POLICY).and_then(number)? == NF_DROP;
    (drops && hook == libc::NF_INET_FORWARD.cast_unsigned()).then_some(family)
}

// Attributes (linux/netfilter/nf_tables.h).
const NFTA_TABLE_NAME: u16 = 1;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NF_DROP: u32 = 0;
