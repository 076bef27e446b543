//! Packets that are counted, while something happens to the speakers that chose their way.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use muslin_netns::Namespace;

const PORT: u16 = 7007;
/// Five hundred packets a second: a hole of a few milliseconds is seen.
const PAUSE: Duration = Duration::from_millis(2);
/// A restart may be over in milliseconds: the packets go on until they can be called traffic.
const FEWEST: u32 = 100;
/// How long an echo may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(2);

/// What was sent and what did not come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Packets sent.
    pub sent: u32,
    /// Packets without an echo.
    pub lost: u32,
}

/// Packets under way from one host to an address of another, each of which is echoed.
#[derive(Debug)]
pub struct Traffic {
    address: IpAddr,
    stop: Arc<AtomicBool>,
    count: Receiver<Count>,
}

impl Traffic {
    /// Starts to send. The address has to be one of `to`.
    ///
    /// # Errors
    /// When there is no socket to be had for it.
    pub fn start(from: &Namespace, to: &Namespace, address: IpAddr) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let echo = to.run(|| UdpSocket::bind(SocketAddr::new(address, PORT)))?.context("echo")?;
        echo.set_read_timeout(Some(PATIENCE))?;
        let ended = stop.clone();
        to.run_detached(move || reflect(&echo, &ended))?;
        let any: IpAddr = if address.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
        let socket = from.run(|| UdpSocket::bind(SocketAddr::new(any, 0)))?.context("sender")?;
        socket.set_read_timeout(Some(PAUSE))?;
        let (done, count) = sync_channel(1);
        let ended = stop.clone();
        from.run_detached(move || {
            // The receiver is gone only when nobody wants to know.
            let _ = done.send(send(&socket, SocketAddr::new(address, PORT), &ended));
        })?;
        Ok(Self { address, stop, count })
    }

    /// Where the packets go.
    pub fn to(&self) -> IpAddr {
        self.address
    }

    /// Stops, and says what became of the packets.
    ///
    /// # Errors
    /// When its thread is gone.
    pub fn finish(self) -> Result<Count> {
        self.stop.store(true, Ordering::Relaxed);
        self.count.recv().context("the sender has died")
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn reflect(socket: &UdpSocket, stop: &AtomicBool) {
    let mut packet = [0; 16];
    loop {
        match socket.recv_from(&mut packet) {
            // An echo that cannot be sent is a lost packet.
            Ok((length, from)) => drop(socket.send_to(&packet[..length], from)),
            Err(_) if stop.load(Ordering::Relaxed) => return,
            Err(_) => {}
        }
    }
}

fn send(socket: &UdpSocket, to: SocketAddr, stop: &AtomicBool) -> Count {
    let mut packet = [0; 16];
    // Counting begins with the first echo: before it neighbours are still looked for, and the way back may be missing.
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let _ = socket.send_to(&[0; 4], to);
        if socket.recv(&mut packet).is_ok() {
            break;
        }
    }
    let (mut sent, mut echoed) = (0_u32, 0_u32);
    while !stop.load(Ordering::Relaxed) || sent < FEWEST {
        let next = Instant::now() + PAUSE;
        // Without a route it cannot even be sent, and is lost.
        let _ = socket.send_to(&sent.to_be_bytes(), to);
        sent += 1;
        while Instant::now() < next {
            echoed += u32::from(socket.recv(&mut packet).is_ok());
        }
    }
    let deadline = Instant::now() + PATIENCE;
    while echoed < sent && Instant::now() < deadline {
        echoed += u32::from(socket.recv(&mut packet).is_ok());
    }
    Count { sent, lost: sent.saturating_sub(echoed) }
}
