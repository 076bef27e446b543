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
    let kind = message(libc::NFT_MSG_GETCHAIN);
    let all_families = [libc::AF_UNSPEC as u8, 0, 0, 0];
    let drops =
        Socket::netfilter().and_then(|mut socket| socket.dump("list chains", kind, &all_families, read));
    drops.map_err(FirewallError)
}

fn read(chain: &Message) -> Option<ForwardDrop> {
    let get = |kind| find(chain.attributes(HEADER.len()), kind);
    let number = |octets: &[u8]| octets.try_into().ok().map(u32::from_be_bytes);
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).trim_end_matches('\0').to_owned();
    let family = libc::c_int::from(*chain.payload.first()?);
    let routes_packets = matches!(family, libc::NFPROTO_INET | libc::NFPROTO_IPV4 | libc::NFPROTO_IPV6);
    let hook = find(attributes(get(NFTA_CHAIN_HOOK)?), NFTA_HOOK_HOOKNUM).and_then(number)?;
    let drops = get(NFTA_CHAIN_POLICY).and_then(number)? == NF_DROP;
    let is_in_the_way = routes_packets && drops && hook == libc::NF_INET_FORWARD.cast_unsigned();
    is_in_the_way
        .then_some(ForwardDrop { table: text(get(NFTA_CHAIN_TABLE)?), chain: text(get(NFTA_CHAIN_NAME)?) })
}

// Attributes (linux/netfilter/nf_tables.h).
const NFTA_TABLE_NAME: u16 = 1;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NF_DROP: u32 = 0;
