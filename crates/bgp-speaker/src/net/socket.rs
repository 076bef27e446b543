//! Options of TCP sockets that carry BGP.

use std::io::{ErrorKind, Result};
use std::net::IpAddr;
use std::os::fd::AsFd;

use ipnet::IpNet;
use muslin_sockopt as sockopt;
use socket2::SockRef;

use crate::config::{Secret, TcpAo, TcpAoAlgorithm};
use crate::speaker::SocketOptions;

/// Octets that the kernel holds beyond what the peer has room for: what waits longer is still up to date in the
/// RIB, and a peer that takes nothing is noticed.
const UNSENT: u32 = 128 * 1024;

/// Sets TTL, timeout, least TTL and TCP-MD5 key of a connection with `remote`, before it is opened or while it is.
///
/// # Errors
/// What the system said; options before the one that failed are set.
pub(super) fn tune(socket: &impl AsFd, remote: IpAddr, options: &SocketOptions) -> Result<()> {
    let reference = SockRef::from(socket);
    match remote {
        IpAddr::V4(_) => reference.set_ttl_v4(options.ttl.into())?,
        IpAddr::V6(_) => reference.set_unicast_hops_v6(options.ttl.into())?,
    }
    reference.set_tcp_user_timeout(Some(options.user_timeout))?;
    reference.set_tcp_notsent_lowat(UNSENT)?;
    sockopt::set_minimum_ttl(socket, options.min_ttl.unwrap_or(0))?;
    if let Some(key) = &options.tcp_ao {
        // A connection that was accepted, or is open, has its key from the listener or from its beginning.
        match set_ao(socket, remote.into(), key) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            result => result?,
        }
    }
    match &options.password {
        Some(key) => set_md5(socket, remote.into(), Some(key))?,
        // Of a connection that is open it may have been taken back; others have none, or no kernel for it.
        None => drop(set_md5(socket, remote.into(), None)),
    }
    Ok(())
}

/// Sets or removes the TCP-MD5 key (RFC 2385) of everyone in `from`.
pub(super) fn set_md5(socket: &impl AsFd, from: IpNet, key: Option<&Secret>) -> Result<()> {
    let scope = sockopt::Md5Scope::Prefix(from.addr(), from.prefix_len());
    match key {
        Some(Secret(key)) => sockopt::set_md5_key(socket, scope, key),
        None => sockopt::remove_md5_key(socket, scope),
    }
}

/// Sets the TCP-AO key (RFC 5925) of everyone in `from`.
pub(super) fn set_ao(socket: &impl AsFd, from: IpNet, ao: &TcpAo) -> Result<()> {
    let algorithm = match ao.algorithm {
        TcpAoAlgorithm::HmacSha1 => sockopt::AoAlgorithm::HmacSha1,
        TcpAoAlgorithm::AesCmac => sockopt::AoAlgorithm::AesCmac,
    };
    let key = sockopt::AoKey { algorithm, send_id: ao.send_id, receive_id: ao.receive_id, key: &ao.key.0 };
    sockopt::add_ao_key(socket, from.addr(), from.prefix_len(), key)
}

/// The number of an interface in this network namespace.
pub(super) fn interface_index(socket: &impl AsFd, name: &str) -> Option<u32> {
    rustix::net::netdevice::name_to_index(socket, name).ok()
}
