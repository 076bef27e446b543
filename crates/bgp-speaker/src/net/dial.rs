//! Opening a connection.

use std::io::{Error, ErrorKind};
use std::net::SocketAddr;

use tokio::net::{TcpSocket, TcpStream};

use super::socket;
use crate::speaker::SocketOptions;

/// Connects to `remote` with everything set before the first packet leaves.
///
/// # Errors
/// What the system said: `NotFound` for an interface that does not exist, `AddrNotAvailable` for a local
/// address that is not ours.
pub(super) async fn dial(remote: SocketAddr, options: &SocketOptions) -> std::io::Result<TcpStream> {
    let socket = if remote.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    let remote = with_scope(&socket, remote, options)?;
    socket.set_nodelay(true)?;
    socket::tune(&socket, remote.ip(), options)?;
    if let Some(interface) = &options.interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    if let Some(local) = options.local_address {
        socket.bind(with_scope(&socket, SocketAddr::new(local, 0), options)?)?;
    }
    socket.connect(remote).await
}

/// A link-local address means something on its interface only.
fn with_scope(
    socket: &TcpSocket,
    address: SocketAddr,
    options: &SocketOptions,
) -> std::io::Result<SocketAddr> {
    match (address, &options.interface) {
        (SocketAddr::V6(mut v6), Some(interface)) if v6.ip().is_unicast_link_local() => {
            let index = socket::interface_index(socket, interface)
                .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("no interface {interface}")))?;
            v6.set_scope_id(index);
            Ok(v6.into())
        }
        _ => Ok(address),
    }
}
