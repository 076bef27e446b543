//! The expressions of `nf_tables` that our rules are made of (`linux/netfilter/nf_tables.h`).
//!
//! A rule is a chain of small steps: load something into a register, compare it, and the rest of the rule is
//! for packets for which that held.

use super::interval::Family;
use crate::netlink::Attributes;

/// The one data register that we use, and the one that takes verdicts.
const REGISTER: u32 = 1;
const VERDICT_REGISTER: u32 = 0;

const NFTA_LIST_ELEM: u16 = 1;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
pub(super) const NFTA_DATA_VALUE: u16 = 1;
const NFTA_DATA_VERDICT: u16 = 2;

/// One step of a rule.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expression<'a> {
    /// `iifname "…*"`: the name of the interface that the packet came in by begins with this.
    ComesInBy(&'a str),
    /// `ip saddr @set` and its kin.
    Address { family: Family, which: End, set: &'a str, is: Membership },
    /// `fib saddr . iif oif missing`: answers to this source would not leave by where the packet came in.
    SourceBelongsElsewhere,
    /// `ct state established`: the kernel has seen packets of the connection in both directions.
    Established,
    /// `ct status dnat`: never so of a packet whose connection the kernel does not follow.
    Translated,
    /// `meta l4proto … th dport …`
    ToPort { protocol: u8, port: u16 },
    /// `icmpv6 type …`
    IcmpV6(u8),
    /// `counter`
    Count,
    /// `accept`: the rest of the chain does not see the packet.
    Accept,
    /// `drop`
    Drop,
    /// `masquerade fully-random`: the kernel's usual choice of ports collides under load.
    Masquerade,
}

/// Which address of a packet.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    Source,
    Destination,
}

/// Whether it is to be in a set.
#[derive(Clone, Copy, Debug)]
pub(super) enum Membership {
    In,
    NotIn,
}

/// Appends `expression` to a rule's list.
pub(super) fn write(m: &mut Attributes<'_>, expression: Expression<'_>) {
    match expression {
        Expression::ComesInBy(prefix) => {
            load_meta(m, NFT_META_IIFNAME);
            compare(m, prefix.as_bytes());
        }
        Expression::Address { family, which, set, is } => {
            load_meta(m, NFT_META_NFPROTO);
            compare(m, &[family_number(family)]);
            let (offset, length) = place(family, which);
            load_payload(m, NFT_PAYLOAD_NETWORK_HEADER, offset, length);
            look_up(m, set, is);
        }
        Expression::SourceBelongsElsewhere => {
            step(m, "fib", |m| {
                m.be32(NFTA_FIB_DREG, REGISTER);
                m.be32(NFTA_FIB_RESULT, NFT_FIB_RESULT_OIF);
                m.be32(NFTA_FIB_FLAGS, NFTA_FIB_F_SADDR | NFTA_FIB_F_IIF | NFTA_FIB_F_PRESENT);
            });
            compare(m, &0u32.to_ne_bytes());
        }
        Expression::Established => {
            load_connection(m, NFT_CT_STATE);
            mask(m, STATE_ESTABLISHED);
            compare_by(m, NFT_CMP_NEQ, &0u32.to_ne_bytes());
        }
        Expression::Translated => {
            load_connection(m, NFT_CT_STATUS);
            mask(m, IPS_DST_NAT);
            compare_by(m, NFT_CMP_NEQ, &0u32.to_ne_bytes());
        }
        Expression::ToPort { protocol, port } => {
            load_meta(m, NFT_META_L4PROTO);
            compare(m, &[protocol]);
            load_payload(m, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2);
            compare(m, &port.to_be_bytes());
        }
        Expression::IcmpV6(kind) => {
            load_meta(m, NFT_META_L4PROTO);
            compare(m, &[libc::IPPROTO_ICMPV6 as u8]);
            load_payload(m, NFT_PAYLOAD_TRANSPORT_HEADER, 0, 1);
            compare(m, &[kind]);
        }
        Expression::Count => step(m, "counter", |_| {}),
        Expression::Accept => verdict(m, NF_ACCEPT),
        Expression::Drop => verdict(m, NF_DROP),
        Expression::Masquerade => {
            step(m, "masq", |m| m.be32(NFTA_MASQ_FLAGS, NF_NAT_RANGE_PROTO_RANDOM_FULLY));
        }
    }
}

fn step(m: &mut Attributes<'_>, name: &str, data: impl FnOnce(&mut Attributes<'_>)) {
    m.nest(NFTA_LIST_ELEM, |m| {
        m.string(NFTA_EXPR_NAME, name);
        m.nest(NFTA_EXPR_DATA, data);
    });
}

fn verdict(m: &mut Attributes<'_>, code: u32) {
    step(m, "immediate", |m| {
        m.be32(NFTA_IMMEDIATE_DREG, VERDICT_REGISTER);
        let verdict = |m: &mut Attributes<'_>| m.be32(NFTA_VERDICT_CODE, code);
        m.nest(NFTA_IMMEDIATE_DATA, |m| m.nest(NFTA_DATA_VERDICT, verdict));
    });
}

fn load_meta(m: &mut Attributes<'_>, key: u32) {
    step(m, "meta", |m| {
        m.be32(NFTA_META_DREG, REGISTER);
        m.be32(NFTA_META_KEY, key);
    });
}

fn load_connection(m: &mut Attributes<'_>, key: u32) {
    step(m, "ct", |m| {
        m.be32(NFTA_CT_DREG, REGISTER);
        m.be32(NFTA_CT_KEY, key);
    });
}

fn load_payload(m: &mut Attributes<'_>, base: u32, offset: u32, length: u32) {
    step(m, "payload", |m| {
        m.be32(NFTA_PAYLOAD_DREG, REGISTER);
        m.be32(NFTA_PAYLOAD_BASE, base);
        m.be32(NFTA_PAYLOAD_OFFSET, offset);
        m.be32(NFTA_PAYLOAD_LEN, length);
    });
}

fn compare(m: &mut Attributes<'_>, value: &[u8]) {
    compare_by(m, NFT_CMP_EQ, value);
}

fn compare_by(m: &mut Attributes<'_>, operation: u32, value: &[u8]) {
    step(m, "cmp", |m| {
        m.be32(NFTA_CMP_SREG, REGISTER);
        m.be32(NFTA_CMP_OP, operation);
        m.nest(NFTA_CMP_DATA, |m| m.bytes(NFTA_DATA_VALUE, value));
    });
}

/// Keeps only the bits of `mask`, which is in the host's byte order as the kernel's own fields are.
fn mask(m: &mut Attributes<'_>, mask: u32) {
    step(m, "bitwise", |m| {
        m.be32(NFTA_BITWISE_SREG, REGISTER);
        m.be32(NFTA_BITWISE_DREG, REGISTER);
        m.be32(NFTA_BITWISE_LEN, 4);
        m.nest(NFTA_BITWISE_MASK, |m| m.u32(NFTA_DATA_VALUE, mask));
        m.nest(NFTA_BITWISE_XOR, |m| m.u32(NFTA_DATA_VALUE, 0));
    });
}

fn look_up(m: &mut Attributes<'_>, set: &str, is: Membership) {
    step(m, "lookup", |m| {
        m.string(NFTA_LOOKUP_SET, set);
        m.be32(NFTA_LOOKUP_SREG, REGISTER);
        match is {
            Membership::In => {}
            Membership::NotIn => m.be32(NFTA_LOOKUP_FLAGS, NFT_LOOKUP_F_INV),
        }
    });
}

fn family_number(family: Family) -> u8 {
    match family {
        Family::V4 => libc::NFPROTO_IPV4 as u8,
        Family::V6 => libc::NFPROTO_IPV6 as u8,
    }
}

/// Offset and length of an address in the network header (RFC 791 §3.1, RFC 8200 §3).
fn place(family: Family, which: End) -> (u32, u32) {
    match (family, which) {
        (Family::V4, End::Source) => (12, 4),
        (Family::V4, End::Destination) => (16, 4),
        (Family::V6, End::Source) => (8, 16),
        (Family::V6, End::Destination) => (24, 16),
    }
}

const NFTA_META_DREG: u16 = 1;
const NFTA_META_KEY: u16 = 2;
const NFT_META_IIFNAME: u32 = 6;
const NFT_META_NFPROTO: u32 = 15;
const NFT_META_L4PROTO: u32 = 16;

const NFTA_PAYLOAD_DREG: u16 = 1;
const NFTA_PAYLOAD_BASE: u16 = 2;
const NFTA_PAYLOAD_OFFSET: u16 = 3;
const NFTA_PAYLOAD_LEN: u16 = 4;
const NFT_PAYLOAD_NETWORK_HEADER: u32 = 1;
const NFT_PAYLOAD_TRANSPORT_HEADER: u32 = 2;

const NFTA_CMP_SREG: u16 = 1;
const NFTA_CMP_OP: u16 = 2;
const NFTA_CMP_DATA: u16 = 3;
const NFT_CMP_EQ: u32 = 0;
const NFT_CMP_NEQ: u32 = 1;

const NFTA_LOOKUP_SET: u16 = 1;
const NFTA_LOOKUP_SREG: u16 = 2;
const NFTA_LOOKUP_FLAGS: u16 = 5;
const NFT_LOOKUP_F_INV: u32 = 1;

const NFTA_CT_DREG: u16 = 1;
const NFTA_CT_KEY: u16 = 2;
const NFT_CT_STATE: u32 = 0;
/// The bit of `IP_CT_ESTABLISHED` (`linux/netfilter/nf_conntrack_common.h`).
const STATE_ESTABLISHED: u32 = 1 << 1;
const NFT_CT_STATUS: u32 = 2;
const IPS_DST_NAT: u32 = 1 << 5;

const NFTA_BITWISE_SREG: u16 = 1;
const NFTA_BITWISE_DREG: u16 = 2;
const NFTA_BITWISE_LEN: u16 = 3;
const NFTA_BITWISE_MASK: u16 = 4;
const NFTA_BITWISE_XOR: u16 = 5;

const NFTA_IMMEDIATE_DREG: u16 = 1;
const NFTA_IMMEDIATE_DATA: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;
const NF_DROP: u32 = 0;
const NF_ACCEPT: u32 = 1;

const NFTA_FIB_DREG: u16 = 1;
const NFTA_FIB_RESULT: u16 = 2;
const NFTA_FIB_FLAGS: u16 = 3;
const NFT_FIB_RESULT_OIF: u32 = 1;
const NFTA_FIB_F_SADDR: u32 = 1;
const NFTA_FIB_F_IIF: u32 = 1 << 3;
const NFTA_FIB_F_PRESENT: u32 = 1 << 5;

const NFTA_MASQ_FLAGS: u16 = 1;
const NF_NAT_RANGE_PROTO_RANDOM_FULLY: u32 = 1 << 4;
