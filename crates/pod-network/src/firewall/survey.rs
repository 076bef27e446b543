//! What else the kernel's nftables hold, as far as it concerns pods.

use super::ruleset::{HEADER, message};
use super::{FirewallError, TABLE};
use crate::netlink::{Batch, Message, Socket, attributes, find};

/// A chain of somebody else that drops what its rules do not accept, in the way of packets that are forwarded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardDrop {
    /// The table that it is in.
    pub table: String,
    /// Its name.
    pub chain: String,
}

/// A chain of the packet filter, whoever made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// The table that it is in.
    pub table: String,
    /// Its name.
    pub name: String,
    /// It drops what its rules do not accept, in the way of packets that are forwarded.
    pub drops_forwarded: bool,
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
    let drops = chains()?.into_iter().filter(|chain| chain.drops_forwarded);
    Ok(drops.map(|Chain { table, name, .. }| ForwardDrop { table, chain: name }).collect())
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
    Some(Chain { table, name, drops_forwarded: drops_forwarded(chain).unwrap_or_default() })
}

fn drops_forwarded(chain: &Message) -> Option<bool> {
    let get = |kind| find(chain.attributes(HEADER.len()), kind);
    let number = |octets: &[u8]| octets.try_into().ok().map(u32::from_be_bytes);
    let family = libc::c_int::from(*chain.payload.first()?);
    let routes_packets = matches!(family, libc::NFPROTO_INET | libc::NFPROTO_IPV4 | libc::NFPROTO_IPV6);
    let hook = find(attributes(get(NFTA_CHAIN_HOOK)?), NFTA_HOOK_HOOKNUM).and_then(number)?;
    let drops = get(NFTA_CHAIN_POLICY).and_then(number)? == NF_DROP;
    Some(routes_packets && drops && hook == libc::NF_INET_FORWARD.cast_unsigned())
}

// Attributes (linux/netfilter/nf_tables.h).
const NFTA_TABLE_NAME: u16 = 1;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NF_DROP: u32 = 0;
