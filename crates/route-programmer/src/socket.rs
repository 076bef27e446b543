//! Netlink sockets: opened once, in the network namespace of whoever starts us, and never again.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

/// Larger than any datagram of rtnetlink (the kernel stops at 32 KiB).
const DATAGRAM: usize = 64 << 10;

/// A non-blocking rtnetlink socket with a buffer to receive into.
#[derive(Debug)]
pub(crate) struct RouteSocket {
    socket: Socket,
    port: u32,
    buffer: Vec<u8>,
}

impl RouteSocket {
    /// Opens a socket that takes the kernel's word for errors, and little else of a refused message.
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        let port = socket.bind_auto()?.port_number();
        socket.set_non_blocking(true)?;
        // Both only add words to errors, and old kernels have neither.
        let _ = socket.set_ext_ack(true);
        let _ = socket.set_cap_ack(true);
        Ok(Self { socket, port, buffer: vec![0; DATAGRAM] })
    }

    /// The address by which the kernel knows this socket.
    pub(crate) fn port(&self) -> u32 {
        self.port
    }

    /// Dumps are then checked, and filtered, by their fixed part (Linux 4.20 and later).
    pub(crate) fn check_strictly(&self) {
        let _ = self.socket.set_netlink_get_strict_chk(true);
    }

    /// Joins a group; groups that the kernel does not know are refused.
    pub(crate) fn join(&mut self, group: u32) -> io::Result<()> {
        self.socket.add_membership(group)
    }

    /// Sets the receive buffer, past the system's limit where we may.
    pub(crate) fn set_receive_buffer(&self, bytes: usize) {
        let forced = rustix::net::sockopt::set_socket_recv_buffer_size_force(&self.socket, bytes);
        if forced.is_err() {
            let _ = rustix::net::sockopt::set_socket_recv_buffer_size(&self.socket, bytes);
        }
    }

    pub(crate) fn attach_filter(&self, program: &[socket2::SockFilter]) -> io::Result<()> {
        socket2::SockRef::from(&self.socket.as_fd()).attach_filter(program)
    }

    pub(crate) fn send(&self, bytes: &[u8]) -> io::Result<()> {
        self.socket.send_to(bytes, &SocketAddr::new(0, 0), 0).map(drop)
    }

    /// The next datagram of the kernel; nothing when none is waiting.
    pub(crate) fn receive(&mut self) -> io::Result<Option<&[u8]>> {
        loop {
            match self.socket.recv_from(&mut self.buffer.as_mut_slice(), 0) {
                // Only the kernel has port zero; nobody else is listened to.
                Ok((length, sender)) if sender.port_number() == 0 => {
                    return Ok(Some(&self.buffer[..length.min(DATAGRAM)]));
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsFd for RouteSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for RouteSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
