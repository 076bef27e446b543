//! TCP-MD5 signatures (RFC 2385), as `tcp(7)` and `linux/tcp.h` describe them.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};

use socket2::{Domain, SockAddr, SockAddrStorage, SockRef};

use crate::option::{OptionValue, set};

/// Longest key, in octets.
pub const MD5_KEY_MAX: usize = libc::TCP_MD5SIG_MAXKEYLEN;

/// `TCP_MD5SIG_FLAG_PREFIX`, which libc does not define for Linux.
const FLAG_PREFIX: u8 = 1;

/// Peers that a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Md5Scope {
    /// One address.
    Host(IpAddr),
    /// All addresses that share so many leading bits. The key of the longest match counts.
    Prefix(IpAddr, u8),
}

impl Md5Scope {
    fn address(self) -> IpAddr {
        match self {
            Self::Host(address) | Self::Prefix(address, _) => address,
        }
    }
}

/// `struct tcp_md5sig`.
#[repr(C)]
struct Md5Signature {
    address: SockAddrStorage,
    flags: u8,
    prefix_length: u8,
    key_length: u16,
    interface: libc::c_int,
    key: [u8; MD5_KEY_MAX],
}

// SAFETY: the fields are those of `struct tcp_md5sig` in their order, and their sizes leave no padding, as is
// asserted below; `SockAddrStorage` is a transparent `sockaddr_storage`, whose octets are all initialized
// because it starts out zeroed.
unsafe impl OptionValue for Md5Signature {}

const _: () = assert!(size_of::<Md5Signature>() == size_of::<SockAddrStorage>() + 8 + MD5_KEY_MAX);

/// Requires and sends signatures with `key` on connections with these peers: those that a listener accepts,
/// or the one that a socket is about to make. A key that is there already for the same scope is replaced;
/// connections that are up follow it.
///
/// An IPv6 socket takes IPv4 peers too and then means their mapped addresses.
///
/// # Errors
/// [`InvalidInput`](io::ErrorKind::InvalidInput) for an empty key, one of more than [`MD5_KEY_MAX`] octets,
/// or a prefix longer than its address; otherwise what the kernel says, such as `ENOMEM` when the socket's
/// option memory (`net.core.optmem_max`) is full, or `ENOPROTOOPT` when it has no TCP-MD5.
pub fn set_md5_key(socket: &impl AsFd, scope: Md5Scope, key: &[u8]) -> io::Result<()> {
    if key.is_empty() || key.len() > MD5_KEY_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("TCP-MD5 key: {} octets, but 1 to {MD5_KEY_MAX} are allowed", key.len()),
        ));
    }
    put(socket.as_fd(), scope, key)
}

/// Removes the key of exactly this scope, if there is one.
///
/// # Errors
/// What the kernel says.
pub fn remove_md5_key(socket: &impl AsFd, scope: Md5Scope) -> io::Result<()> {
    // The kernel takes an empty key as removal.
    match put(socket.as_fd(), scope, &[]) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn put(socket: BorrowedFd<'_>, scope: Md5Scope, key: &[u8]) -> io::Result<()> {
    let address = match (scope.address(), SockRef::from(&socket).domain()?) {
        // The prefix length stays that of IPv4 (`tcp_v6_parse_md5_keys`).
        (IpAddr::V4(address), Domain::IPV6) => address.to_ipv6_mapped().into(),
        (address, _) => address,
    };
    let mut signature = Md5Signature {
        address: SockAddr::from(SocketAddr::new(address, 0)).as_storage(),
        flags: 0,
        prefix_length: 0,
        key_length: key.len() as u16,
        interface: 0,
        key: [0; MD5_KEY_MAX],
    };
    signature.key[..key.len()].copy_from_slice(key);
    let option = match scope {
        Md5Scope::Host(_) => libc::TCP_MD5SIG,
        Md5Scope::Prefix(_, length) => {
            signature.flags = FLAG_PREFIX;
            signature.prefix_length = length;
            libc::TCP_MD5SIG_EXT
        }
    };
    set(socket, libc::IPPROTO_TCP, option, &signature)
}
