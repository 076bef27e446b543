//! The answering side: whoever asks is told the source address that was seen.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;

use super::{Host, PORT};
use crate::LabError;
use crate::addresses::Family;

/// Answers on both families for a set of hosts, until stopped or dropped.
pub struct Responders {
    tasks: JoinSet<()>,
}

impl Responders {
    /// Listens on every host; the tasks run on the current runtime.
    ///
    /// # Errors
    /// [`LabError::Probe`] if the port is taken.
    pub fn start(hosts: &[Host]) -> Result<Self, LabError> {
        let mut tasks = JoinSet::new();
        for host in hosts {
            for family in Family::BOTH {
                let address = SocketAddr::new(host.addresses.get(family), PORT);
                // Sockets stay in the namespace in which they were made; who drives them does not matter.
                let (listener, socket) =
                    host.namespace.run(|| bind(address))?.map_err(LabError::probe(&host.name))?;
                let failed = LabError::probe(&host.name);
                tasks.spawn(answer_tcp(tokio::net::TcpListener::from_std(listener).map_err(&failed)?));
                tasks.spawn(answer_udp(tokio::net::UdpSocket::from_std(socket).map_err(&failed)?));
            }
        }
        Ok(Self { tasks })
    }

    /// Returns when the sockets are closed and their port is free again; dropping does not wait for that.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

fn bind(address: SocketAddr) -> io::Result<(TcpListener, UdpSocket)> {
    let (listener, socket) = (TcpListener::bind(address)?, UdpSocket::bind(address)?);
    listener.set_nonblocking(true)?;
    socket.set_nonblocking(true)?;
    Ok((listener, socket))
}

async fn answer_tcp(listener: tokio::net::TcpListener) {
    loop {
        // Errors are those of a connection that died before it was accepted.
        if let Ok((mut stream, peer)) = listener.accept().await {
            // Sixty bytes fit any send buffer, so nobody can make this wait.
            drop(stream.write_all(peer.ip().to_string().as_bytes()).await);
        }
    }
}

async fn answer_udp(socket: tokio::net::UdpSocket) {
    let mut buffer = [0; 64];
    loop {
        // Errors are ICMP messages about earlier answers.
        if let Ok((length, peer)) = socket.recv_from(&mut buffer).await
            && length >= 2
        {
            let mut answer = buffer[..2].to_vec();
            answer.extend_from_slice(peer.ip().to_string().as_bytes());
            drop(socket.send_to(&answer, peer).await);
        }
    }
}
