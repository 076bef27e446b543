//! A steady stream of datagrams between two pods and back, each of them counted.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use muslin_kubernetes_lab::pod::Pod;
use muslin_kubernetes_lab::poll::rest;
use muslin_netns::Namespace;
use rustix::net::sockopt::set_socket_recv_buffer_size_force;

use crate::cluster::FAMILIES;

/// Datagrams a second in each direction and family.
const RATE: u32 = 1000;
/// After the last datagram an answer may take so long.
const LATE: Duration = Duration::from_secs(1);
/// Octets that wait for a thread of ours which a busy machine does not run: some thirty seconds of datagrams. What
/// overflowed here would not have been lost by the network.
const BUFFER: usize = 32 << 20;
/// A sender that was not run for longer goes on as if that time had not been, since a burst is another load.
const BURST: u32 = 50;

/// Streams in both families between two pods, until they are stopped.
pub(crate) struct Traffic {
    stop: Arc<AtomicBool>,
    streams: Vec<(String, JoinHandle<io::Result<Tally>>)>,
    echoes: Arc<AtomicBool>,
}

struct Tally {
    sent: u32,
    missing: Vec<u32>,
}

impl Traffic {
    /// Begins to send from `a` to an echo in `b`: every datagram goes both ways.
    pub(crate) fn start(a: &Pod, b: &Pod) -> Result<Self> {
        let (stop, echoes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let mut streams = Vec::new();
        for family in FAMILIES {
            let to = echo(&b.network, b.addresses.get(family), &echoes)?;
            let from = a.addresses.get(family);
            let socket = a.network.run(|| UdpSocket::bind((from, 0)))??;
            set_socket_recv_buffer_size_force(&socket, BUFFER)?;
            socket.connect(to)?;
            let stop = stop.clone();
            let stream = thread::spawn(move || stream(&socket, &stop));
            streams.push((format!("{} to {} by {}", a.name, b.name, family.name()), stream));
        }
        Ok(Self { stop, streams, echoes })
    }

    /// Stops and counts; an error names every stream that lost something.
    pub(crate) fn finish(self) -> Result<u32> {
        self.stop.store(true, Ordering::Relaxed);
        let (mut sent, mut lost) = (0, Vec::new());
        for (name, stream) in self.streams {
            let Ok(tally) = stream.join() else { bail!("the stream {name} panicked") };
            let tally = tally.with_context(|| name.clone())?;
            ensure!(tally.sent > RATE, "{name}: only {} were sent", tally.sent);
            sent += tally.sent;
            if let [first, .., last] | [first @ last] = &*tally.missing {
                let milliseconds = (last - first) * 1000 / RATE;
                lost.push(format!(
                    "{name}: {} of {} lost, within {milliseconds} ms, the first {} ms after the start",
                    tally.missing.len(),
                    tally.sent,
                    first * 1000 / RATE,
                ));
            }
        }
        self.echoes.store(true, Ordering::Relaxed);
        if lost.is_empty() { Ok(sent) } else { bail!(lost.join("; ")) }
    }
}

/// Answers every datagram with itself.
fn echo(at: &Namespace, address: IpAddr, end: &Arc<AtomicBool>) -> Result<SocketAddr> {
    let socket = at.run(|| UdpSocket::bind((address, 0)))??;
    set_socket_recv_buffer_size_force(&socket, BUFFER)?;
    socket.set_read_timeout(Some(Duration::from_millis(200)))?;
    let to = socket.local_addr()?;
    let end = end.clone();
    thread::spawn(move || {
        let mut datagram = [0; 64];
        while !end.load(Ordering::Relaxed) {
            if let Ok((length, from)) = socket.recv_from(&mut datagram) {
                drop(socket.send_to(&datagram[..length], from));
            }
        }
    });
    Ok(to)
}

fn stream(socket: &UdpSocket, stop: &AtomicBool) -> io::Result<Tally> {
    socket.set_read_timeout(Some(LATE))?;
    let receiver = socket.try_clone()?;
    let received = thread::spawn(move || {
        let (mut seen, mut datagram) = (HashSet::new(), [0; 64]);
        // The last one is told by silence.
        let mut heard = Instant::now();
        while heard.elapsed() < 2 * LATE {
            if let Ok(4) = receiver.recv(&mut datagram) {
                heard = Instant::now();
                let [a, b, c, d, ..] = datagram;
                seen.insert(u32::from_be_bytes([a, b, c, d]));
            }
        }
        seen
    });
    let (mut begun, mut sent) = (Instant::now(), 0_u32);
    while !stop.load(Ordering::Relaxed) {
        let mut due = u32::try_from(begun.elapsed().as_millis()).unwrap_or(u32::MAX) * RATE / 1000;
        if due - sent > BURST {
            begun += Duration::from_millis(u64::from(due - sent - BURST) * 1000 / u64::from(RATE));
            due = sent + BURST;
        }
        while sent < due {
            // A refusal by the own kernel is a datagram lost, too.
            drop(socket.send(&sent.to_be_bytes()));
            sent += 1;
        }
        rest(Duration::from_millis(1));
    }
    let seen = received.join().map_err(|_| io::Error::other("the receiver panicked"))?;
    Ok(Tally { sent, missing: (0..sent).filter(|number| !seen.contains(number)).collect() })
}
