//! The few socket options that no crate offers: TCP-MD5, TCP-AO and minimum TTL.
//!
//! This is the only place for `unsafe`. It knows sockets and nothing of what is spoken over them; options
//! that [`socket2`] has (TTL, `TCP_USER_TIMEOUT`, binding to a device) are not repeated here.
//!
//! ```
//! use muslin_sockopt::{Md5Scope, set_md5_key, set_minimum_ttl};
//! use std::net::TcpListener;
//!
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! // Peers at 192.0.2.1 must sign with this key, and be directly connected.
//! set_md5_key(&listener, Md5Scope::Host([192, 0, 2, 1].into()), b"secret")?;
//! set_minimum_ttl(&listener, 255)?;
//! # Ok::<(), std::io::Error>(())
//! ```

mod ao;
mod md5;
mod option;

use std::io;
use std::os::fd::AsFd;

use socket2::{Domain, SockRef};

pub use ao::{AO_KEY_MAX, AoAlgorithm, AoKey, add_ao_key, has_tcp_ao};
pub use md5::{MD5_KEY_MAX, Md5Scope, remove_md5_key, set_md5_key};

use option::set;

/// Drops packets that arrive with a smaller TTL or hop limit, before TCP sees them (RFC 5082). On a listener
/// it holds for connections to come as well. An IPv6 socket is told for both families, since it may serve
/// IPv4 too.
///
/// # Errors
/// What the kernel says.
pub fn set_minimum_ttl(socket: &impl AsFd, ttl: u8) -> io::Result<()> {
    let socket = socket.as_fd();
    let ttl = libc::c_int::from(ttl);
    if SockRef::from(&socket).domain()? == Domain::IPV6 {
        set(socket, libc::IPPROTO_IPV6, libc::IPV6_MINHOPCOUNT, &ttl)?;
    }
    set(socket, libc::IPPROTO_IP, libc::IP_MINTTL, &ttl)
}

/// Sets the receive buffer to `size` octets, also beyond `net.core.rmem_max`.
///
/// # Errors
/// [`PermissionDenied`](io::ErrorKind::PermissionDenied) without `CAP_NET_ADMIN` in the machine's own user
/// namespace.
pub fn force_receive_buffer(socket: &impl AsFd, size: usize) -> io::Result<()> {
    let size = libc::c_int::try_from(size).unwrap_or(libc::c_int::MAX);
    set(socket.as_fd(), libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &size)
}

#[cfg(test)]
mod tests;
