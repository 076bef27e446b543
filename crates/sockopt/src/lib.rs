//! The few socket options that no crate offers: TCP-MD5 and minimum TTL.
//!
//! This is the one crate that may hold `unsafe`: a single call of `setsockopt`. It must never grow into
//! anything else.
//!
//! ```
//! use std::net::{IpAddr, TcpListener};
//!
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! // Packets that crossed a router are dropped by the kernel (RFC 5082).
//! muslin_sockopt::set_min_ttl(&listener, 255)?;
//! // Everyone in 192.0.2.0/24 must sign with this key (RFC 2385).
//! muslin_sockopt::set_md5_key(&listener, IpAddr::from([192, 0, 2, 0]), 24, b"secret")?;
//! # std::io::Result::Ok(())
//! ```

use std::ffi::c_int;
use std::io::{Error, ErrorKind, Result};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use socket2::{SockAddr, SockAddrStorage};

/// Longest TCP-MD5 key, in octets.
pub const MD5_KEY_MAX: usize = libc::TCP_MD5SIG_MAXKEYLEN;

/// `TCP_MD5SIG_FLAG_PREFIX` of linux/tcp.h: the key is for a range of addresses.
const FLAG_PREFIX: u8 = 1;

/// `struct tcp_md5sig` of linux/tcp.h.
#[repr(C)]
struct TcpMd5Sig {
    address: SockAddrStorage,
    flags: u8,
    prefix_length: u8,
    key_length: u16,
    interface: c_int,
    key: [u8; MD5_KEY_MAX],
}

/// Sets the TCP-MD5 key (RFC 2385) for segments from and to `address`/`prefix_length`; an empty key removes
/// it. On a listener it counts for new connections, on a connection at once.
///
/// # Errors
/// `InvalidInput` for a key longer than [`MD5_KEY_MAX`] or a prefix longer than the address; `NotFound` when
/// a key that is not there is removed; else what the system said.
pub fn set_md5_key(socket: &impl AsFd, address: IpAddr, prefix_length: u8, key: &[u8]) -> Result<()> {
    let longest = if address.is_ipv4() { 32 } else { 128 };
    if prefix_length > longest {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            format!("prefix /{prefix_length} of an address of {longest} bits"),
        ));
    }
    let mut option = TcpMd5Sig {
        address: SockAddr::from(SocketAddr::new(address, 0)).as_storage(),
        flags: FLAG_PREFIX,
        prefix_length,
        key_length: 0,
        interface: 0,
        key: [0; MD5_KEY_MAX],
    };
    let Some(room) = option.key.get_mut(..key.len()) else {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            format!("a key of {} octets; {MD5_KEY_MAX} are allowed", key.len()),
        ));
    };
    room.copy_from_slice(key);
    option.key_length = key.len() as u16;
    set(socket.as_fd(), libc::IPPROTO_TCP, libc::TCP_MD5SIG_EXT, &option)
}

/// Drops IPv4 packets that arrive with a smaller TTL (RFC 5082); 0 takes all.
///
/// # Errors
/// What the system said.
pub fn set_min_ttl(socket: &impl AsFd, ttl: u8) -> Result<()> {
    set(socket.as_fd(), libc::IPPROTO_IP, libc::IP_MINTTL, &c_int::from(ttl))
}

/// Drops IPv6 packets that arrive with a smaller hop limit (RFC 5082); 0 takes all.
///
/// # Errors
/// What the system said.
pub fn set_min_hop_limit(socket: &impl AsFd, hop_limit: u8) -> Result<()> {
    set(socket.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_MINHOPCOUNT, &c_int::from(hop_limit))
}

#[allow(unsafe_code, reason = "no crate offers these options")]
fn set<T>(socket: BorrowedFd<'_>, level: c_int, name: c_int, value: &T) -> Result<()> {
    let value: *const T = value;
    let length = size_of::<T>() as libc::socklen_t;
    // SAFETY: the descriptor is open as long as it is borrowed, and `value` points to `length` octets that
    // stay valid and unchanged during the call; the kernel only reads them.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, value.cast(), length) };
    if result == 0 { Ok(()) } else { Err(Error::last_os_error()) }
}

#[cfg(test)]
mod tests;
