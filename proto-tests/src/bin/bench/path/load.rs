//! The load: one thread at each end, pinned, and plain sockets.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use muslin_netns::Namespace;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

const PORT: u16 = 7008;
/// Of a packet, without its headers.
const SIZE: usize = 64;
/// A packet that takes longer is lost.
const PATIENCE: Duration = Duration::from_secs(2);
/// As large as what the usual tools write at once.
const CHUNK: usize = 128 << 10;

/// The two ends.
#[derive(Clone, Copy)]
pub(super) struct Ends<'a> {
    pub(super) client: &'a Namespace,
    pub(super) server: &'a Namespace,
    pub(super) address: IpAddr,
}

/// Which of the processors that we may use an end is on.
#[derive(Clone, Copy)]
enum Place {
    First,
    /// Another one, where there is one.
    Second,
}

impl Place {
    fn pin(self) -> Result<()> {
        let allowed = sched_getaffinity(None)?;
        let mut usable = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu));
        let first = usable.next().context("no processor")?;
        let mut set = CpuSet::new();
        set.set(match self {
            Self::First => first,
            Self::Second => usable.next().unwrap_or(first),
        });
        Ok(sched_setaffinity(None, &set)?)
    }
}

impl Ends<'_> {
    /// Median round trip of a small packet, in microseconds. Both ends are on one processor, so that the path is
    /// measured and not how fast the other one wakes up.
    pub(super) fn round_trip(&self, rounds: usize) -> Result<f64> {
        self.with_server(
            Place::First,
            |socket, stop| {
                let mut packet = [0; SIZE];
                while !stop.load(Ordering::Relaxed) {
                    if let Ok((length, from)) = socket.recv_from(&mut packet) {
                        // What cannot be sent is lost, and the client says so.
                        let _ = socket.send_to(&packet[..length], from);
                    }
                }
                0
            },
            |socket, _| {
                let mut packet = [0; SIZE];
                let mut times = Vec::with_capacity(rounds);
                // The first ones still look for neighbours and fill caches.
                for round in 0..rounds + 50 {
                    let begun = Instant::now();
                    socket.send(&packet)?;
                    socket.recv(&mut packet).context("a packet was lost")?;
                    if round >= 50 {
                        times.push(begun.elapsed());
                    }
                }
                times.sort_unstable();
                Ok(times[times.len() / 2].as_secs_f64() * 1e6)
            },
        )
        .map(|(time, _)| time)
    }

    /// Microseconds that a packet of a stream takes, as many as arrive, with the ends on a processor each.
    pub(super) fn packet(&self, lasts: Duration) -> Result<f64> {
        let (seconds, arrived) = self.with_server(
            Place::Second,
            |socket, stop| {
                let (mut packet, mut count) = ([0; SIZE], 0);
                // What waits when the sender ends has arrived as well.
                loop {
                    match socket.recv(&mut packet) {
                        Ok(_) => count += 1,
                        Err(_) if stop.load(Ordering::Relaxed) => return count,
                        Err(_) => {}
                    }
                }
            },
            |socket, _| {
                let begun = Instant::now();
                while begun.elapsed() < lasts {
                    // The clock is asked seldom. A full queue is the receiver's loss, not an error.
                    for _ in 0..64 {
                        let _ = socket.send(&[0; SIZE]);
                    }
                }
                Ok(begun.elapsed().as_secs_f64())
            },
        )?;
        ensure!(arrived > 0, "no packet arrived");
        Ok(seconds * 1e6 / f64::from(arrived))
    }

    /// Runs a server of datagrams beside a client; the client's answer, and the server's.
    fn with_server<T: Send>(
        &self,
        place: Place,
        serve: impl FnOnce(&UdpSocket, &AtomicBool) -> u32 + Send,
        ask: impl FnOnce(&UdpSocket, &AtomicBool) -> Result<T> + Send,
    ) -> Result<(T, u32)> {
        let address = SocketAddr::new(self.address, PORT);
        let server = self.server.run(|| UdpSocket::bind(address))?.context("the server's socket")?;
        server.set_read_timeout(Some(Duration::from_millis(20)))?;
        let client = self.client.run(|| UdpSocket::bind("0.0.0.0:0"))?.context("the client's socket")?;
        client.connect(address)?;
        client.set_read_timeout(Some(PATIENCE))?;
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let serving = scope.spawn(|| place.pin().map(|()| serve(&server, &stop)));
            let asking = scope.spawn(|| Place::First.pin().and_then(|()| ask(&client, &stop)));
            let answer = asking.join().map_err(|_| anyhow!("the client panicked"));
            stop.store(true, Ordering::Relaxed);
            let served = serving.join().map_err(|_| anyhow!("the server panicked"))??;
            Ok((answer??, served))
        })
    }

    /// Milliseconds that a hundred mebibytes take by TCP, the ends on a processor each.
    pub(super) fn transfer(&self, lasts: Duration) -> Result<f64> {
        let address = SocketAddr::new(self.address, PORT);
        let listener = self.server.run(|| TcpListener::bind(address))?.context("the listener")?;
        let (seconds, kibibytes) = thread::scope(|scope| {
            let receiving = scope.spawn(|| -> Result<u32> {
                Place::Second.pin()?;
                let (mut stream, _) = listener.accept()?;
                let (mut buffer, mut kibibytes, mut octets) = (vec![0; CHUNK], 0, 0);
                loop {
                    match stream.read(&mut buffer)? {
                        0 => return Ok(kibibytes),
                        length => octets += length,
                    }
                    kibibytes += (octets >> 10) as u32;
                    octets &= (1 << 10) - 1;
                }
            });
            let sending = scope.spawn(|| -> Result<f64> {
                Place::First.pin()?;
                let mut stream =
                    self.client.run(|| TcpStream::connect_timeout(&address, PATIENCE))?.context("connect")?;
                let chunk = vec![0; CHUNK];
                let begun = Instant::now();
                while begun.elapsed() < lasts {
                    stream.write_all(&chunk)?;
                }
                drop(stream);
                Ok(begun.elapsed().as_secs_f64())
            });
            let sent = sending.join().map_err(|_| anyhow!("the sender panicked"))?;
            if sent.is_err() {
                // Nobody else will connect, and the receiver waits for somebody.
                let _ = self.server.run(|| TcpStream::connect(address));
            }
            let received = receiving.join().map_err(|_| anyhow!("the receiver panicked"))?;
            Ok::<_, anyhow::Error>((sent?, received?))
        })?;
        ensure!(kibibytes > 0, "nothing arrived");
        Ok(seconds * 1000.0 * 102_400.0 / f64::from(kibibytes))
    }
}
