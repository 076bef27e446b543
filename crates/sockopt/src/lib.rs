//! The few socket options that no crate offers: TCP-MD5, TCP-AO, minimum TTL, low-water mark.
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
use std::time::Duration;

use socket2::{Domain, SockRef};

pub use ao::{AO_KEY_MAX, AoAlgorithm, AoKey, add_ao_key, has_tcp_ao};
pub use md5::{MD5_KEY_MAX, Md5Scope, remove_md5_key, set_md5_key};

use option::{get, set};

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

/// Octets that have to wait before the socket is readable and wakes anybody; an end or an error always does. The mark
/// may be lowered while octets wait: who they are enough for by now is woken.
///
/// # Errors
/// What the kernel says.
pub fn set_low_water_mark(socket: &impl AsFd, octets: u16) -> io::Result<()> {
    set(socket.as_fd(), libc::SOL_SOCKET, libc::SO_RCVLOWAT, &libc::c_int::from(octets))
}

/// How long ago the peer's last octets came (`tcpi_last_data_recv`, in ticks of the kernel's clock).
///
/// # Errors
/// What the kernel says.
pub fn silent_for(socket: &impl AsFd) -> io::Result<Duration> {
    let info: libc::tcp_info = get(socket.as_fd(), libc::IPPROTO_TCP, libc::TCP_INFO)?;
    Ok(Duration::from_millis(info.tcpi_last_data_recv.into()))
}

#[cfg(test)]
mod tests;
