//! The TCP Authentication Option (RFC 5925), as `linux/tcp.h` describes it since Linux 6.7.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use socket2::{Domain, SockAddr, SockAddrStorage, SockRef, Socket, Type};

use crate::option::{OptionValue, set};

/// Longest key, in octets (`TCP_AO_MAXKEYLEN`).
pub const AO_KEY_MAX: usize = 80;

/// `TCP_AO_ADD_KEY`, which libc does not define.
const TCP_AO_ADD_KEY: libc::c_int = 38;

/// Octets of the message authentication code in every segment (RFC 5926 §3.2).
const CODE_LENGTH: u8 = 12;

/// How segments are signed (RFC 5926 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AoAlgorithm {
    /// HMAC-SHA-1-96.
    HmacSha1,
    /// AES-128-CMAC-96.
    AesCmac,
}

impl AoAlgorithm {
    /// The kernel's name for it.
    const fn name(self) -> &'static str {
        match self {
            Self::HmacSha1 => "hmac(sha1)",
            Self::AesCmac => "cmac(aes128)",
        }
    }
}

/// A master key tuple (RFC 5925 §3.1).
#[derive(Clone, Copy)]
pub struct AoKey<'a> {
    /// How segments are signed.
    pub algorithm: AoAlgorithm,
    /// Identifier of the key in segments that we send.
    pub send_id: u8,
    /// Identifier of the key in segments that we receive.
    pub receive_id: u8,
    /// The master key.
    pub key: &'a [u8],
}

/// `struct tcp_ao_add`.
#[repr(C, align(8))]
struct AddKey {
    address: SockAddrStorage,
    algorithm: [u8; 64],
    interface: libc::c_int,
    /// `set_current`, `set_rnext`, and reserved bits.
    flags: u32,
    reserved: u16,
    prefix: u8,
    send_id: u8,
    receive_id: u8,
    code_length: u8,
    key_flags: u8,
    key_length: u8,
    key: [u8; AO_KEY_MAX],
}

// SAFETY: the fields are those of `struct tcp_ao_add` in their order, and their sizes leave no padding, as is
// asserted below; `SockAddrStorage` is a transparent `sockaddr_storage`, whose octets are all initialized
// because it starts out zeroed.
unsafe impl OptionValue for AddKey {}

const _: () = assert!(size_of::<AddKey>() == size_of::<SockAddrStorage>() + 64 + 16 + AO_KEY_MAX);

/// Signs segments to, and demands signed ones from, everyone whose address begins with so many bits of
/// `address`: on connections that a listener accepts, or on the one that a socket is about to make. A socket
/// with a key for a peer accepts nothing unsigned from it.
///
/// # Errors
/// [`InvalidInput`](io::ErrorKind::InvalidInput) for an empty key or one of more than [`AO_KEY_MAX`] octets;
/// otherwise what the kernel says, such as `ENOPROTOOPT` when it has no TCP-AO, `EEXIST` when the peer has a
/// key of these identifiers, or `EKEYREJECTED` beside a TCP-MD5 key.
pub fn add_ao_key(socket: &impl AsFd, address: IpAddr, prefix: u8, key: AoKey<'_>) -> io::Result<()> {
    if key.key.is_empty() || key.key.len() > AO_KEY_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("TCP-AO key: {} octets, but 1 to {AO_KEY_MAX} are allowed", key.key.len()),
        ));
    }
    let socket = socket.as_fd();
    let (address, prefix) = match (address, SockRef::from(&socket).domain()?) {
        (IpAddr::V4(address), Domain::IPV6) => (address.to_ipv6_mapped().into(), prefix + 96),
        (address, _) => (address, prefix),
    };
    let mut value = AddKey {
        address: SockAddr::from(SocketAddr::new(address, 0)).as_storage(),
        algorithm: [0; 64],
        interface: 0,
        flags: 0,
        reserved: 0,
        prefix,
        send_id: key.send_id,
        receive_id: key.receive_id,
        code_length: CODE_LENGTH,
        key_flags: 0,
        key_length: key.key.len() as u8,
        key: [0; AO_KEY_MAX],
    };
    let name = key.algorithm.name().as_bytes();
    value.algorithm[..name.len()].copy_from_slice(name);
    value.key[..key.key.len()].copy_from_slice(key.key);
    set(socket, libc::IPPROTO_TCP, TCP_AO_ADD_KEY, &value)
}

/// Whether this kernel has TCP-AO: Linux 6.7 or later, built with `CONFIG_TCP_AO`.
#[must_use]
pub fn has_tcp_ao() -> bool {
    let Ok(socket) = Socket::new(Domain::IPV4, Type::STREAM, None) else { return false };
    let probe = AoKey { algorithm: AoAlgorithm::HmacSha1, send_id: 1, receive_id: 1, key: b"probe" };
    add_ao_key(&socket, IpAddr::from([192, 0, 2, 1]), 32, probe).is_ok()
}
