//! Datagrams at a steady pace, each with a number, and back.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Result;
use muslin_kubernetes_lab::pod::Pod;
use muslin_kubernetes_lab::poll::rest;
use muslin_lab::Family;
use muslin_netns::Namespace;
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use rustix::process::setpriority_process;

/// Datagrams a second in each direction.
const RATE: u32 = 1000;
/// As many of them have to be sent, over the whole time: what the network loses while nothing is sent is seen by nobody.
const LEAST: f64 = 900.0;
/// And no longer may the sender be silent at once. A virtual machine that shares its processors stops for a second or so.
const UNSEEN: Duration = Duration::from_secs(3);
/// Few things of a machine come before a thread with this priority, which sends a datagram and sleeps.
const URGENT: i32 = -15;
/// Less than this shows nothing.
const SHORTEST: Duration = Duration::from_secs(1);
/// After the last datagram answers may pause for so long, since the echo is a thread of a busy machine, too.
const LATE: Duration = Duration::from_secs(5);
/// Between two looks at whether there is an end.
const LOOK: Duration = Duration::from_millis(200);
/// Octets that wait for a thread of ours which a busy machine does not run: some thirty seconds of datagrams. What
/// overflowed here would not have been lost by the network.
const BUFFER: usize = 32 << 20;
/// A sender that was not run for longer goes on as if that time had not been, since a burst is another load.
const BURST: u32 = 100;

/// What became of a stream.
pub(super) struct Tally {
    pub(super) sent: u32,
    missing: Vec<u32>,
    took: Duration,
    /// The longest time between two datagrams.
    silent: Duration,
}

impl Tally {
    /// What was lost, or why nobody can tell.
    pub(super) fn complaint(&self) -> Option<String> {
        let Self { sent, missing, took, silent } = self;
        if let [first, .., last] | [first @ last] = &**missing {
            return Some(format!(
                "{} of {sent} lost, within {} ms, the first {} ms after the start",
                missing.len(),
                (last - first) * 1000 / RATE,
                first * 1000 / RATE,
            ));
        }
        let enough = SHORTEST <= *took && LEAST * took.as_secs_f64() <= f64::from(*sent) && *silent <= UNSEEN;
        (!enough).then(|| {
            format!(
                "{sent} sent in {took:.1?}, and none for {silent:.1?}: \
                 this machine is too busy to tell whether something was lost"
            )
        })
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sent, took, silent, .. } = self;
        let rate = f64::from(*sent) / took.as_secs_f64();
        write!(f, "{sent} datagrams, {rate:.0} a second, none for {} ms at most", silent.as_millis())
    }
}

/// Begins to send from `a` to an echo in `b`, which ends with `echoes`.
pub(super) fn start(
    a: &Pod,
    b: &Pod,
    family: Family,
    stop: &Arc<AtomicBool>,
    echoes: &Arc<AtomicBool>,
) -> Result<JoinHandle<io::Result<Tally>>> {
    let to = echo(&b.network, b.addresses.get(family), echoes)?;
    let from = a.addresses.get(family);
    let socket = a.network.run(|| UdpSocket::bind((from, 0)))??;
    set_socket_recv_buffer_size_force(&socket, BUFFER)?;
    socket.connect(to)?;
    let stop = stop.clone();
    Ok(thread::spawn(move || stream(&socket, &stop)))
}

/// Answers every datagram with itself.
fn echo(at: &Namespace, address: IpAddr, end: &Arc<AtomicBool>) -> Result<SocketAddr> {
    let socket = at.run(|| UdpSocket::bind((address, 0)))??;
    set_socket_recv_buffer_size_force(&socket, BUFFER)?;
    socket.set_read_timeout(Some(LOOK))?;
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
    socket.set_read_timeout(Some(LOOK))?;
    let receiver = socket.try_clone()?;
    // Not known before the end: until then silence is no reason to stop listening.
    let all = Arc::new(AtomicU32::new(u32::MAX));
    let received = thread::spawn({
        let all = all.clone();
        move || receive(&receiver, &all)
    });
    // Of this thread alone. Those that receive may be late.
    setpriority_process(None, URGENT)?;
    let start = Instant::now();
    let (mut begun, mut last, mut silent, mut sent) = (start, start, Duration::ZERO, 0_u32);
    while !stop.load(Ordering::Relaxed) {
        let mut due = u32::try_from(begun.elapsed().as_millis()).unwrap_or(u32::MAX) * RATE / 1000;
        if due - sent > BURST {
            begun += Duration::from_millis(u64::from(due - sent - BURST) * 1000 / u64::from(RATE));
            due = sent + BURST;
        }
        while sent < due {
            silent = silent.max(last.elapsed());
            last = Instant::now();
            // A refusal by the own kernel is a datagram lost, too.
            drop(socket.send(&sent.to_be_bytes()));
            sent += 1;
        }
        rest(Duration::from_millis(1));
    }
    let (took, silent) = (start.elapsed(), silent.max(last.elapsed()));
    all.store(sent, Ordering::Relaxed);
    let seen = received.join().map_err(|_| io::Error::other("the receiver panicked"))?;
    Ok(Tally { sent, missing: (0..sent).filter(|number| !seen.contains(number)).collect(), took, silent })
}

/// The numbers that came back, once all have or no more do.
fn receive(socket: &UdpSocket, all: &AtomicU32) -> HashSet<u32> {
    let (mut seen, mut datagram) = (HashSet::new(), [0; 64]);
    let mut heard = Instant::now();
    loop {
        let answer = socket.recv(&mut datagram);
        let all = all.load(Ordering::Relaxed);
        if let Ok(4) = answer {
            let [a, b, c, d, ..] = datagram;
            seen.insert(u32::from_be_bytes([a, b, c, d]));
        }
        if matches!(answer, Ok(4)) || all == u32::MAX {
            heard = Instant::now();
        }
        if usize::try_from(all).is_ok_and(|all| all == seen.len()) || heard.elapsed() > LATE {
            return seen;
        }
    }
}
