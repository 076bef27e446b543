//! What the kernel of a namespace has, cheaply asked while others work.

use std::fs;
use std::iter::Sum;
use std::net::{Ipv4Addr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use muslin_netns::Namespace;

use crate::wait;

/// Beyond this a candidate has failed.
const PATIENCE: Duration = Duration::from_mins(2);

/// The `number`th prefix that a feeder announces; all are /24.
pub fn prefix(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(20, 0, 0, 0)) + (number << 8))
}

/// Waits until all `routes` are in the kernel, and says when that was.
///
/// # Errors
/// How many there are, when they are not all there in time.
pub fn await_all(host: &Namespace, routes: u32) -> Result<Instant> {
    host.run(|| await_state(routes, State::Present))?
}

/// Waits until none is left, and says when that was.
///
/// # Errors
/// How many there are, when some are left for long.
pub fn await_none(host: &Namespace, routes: u32) -> Result<Instant> {
    host.run(|| await_state(routes, State::Absent))?
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Present,
    Absent,
}

/// Looks up a few addresses every millisecond, which costs nothing, and counts all routes only once these are as wanted.
fn await_state(routes: u32, wanted: State) -> Result<Instant> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    let deadline = Instant::now() + PATIENCE;
    let mut probes: Vec<u32> = (0..16).map(|part| part * (routes / 16)).chain([routes - 1]).collect();
    loop {
        // Connecting a datagram socket is a route look-up and no more.
        probes.retain(|number| {
            let reachable = socket.connect((Ipv4Addr::from(u32::from(prefix(*number)) + 1), 9)).is_ok();
            reachable != (wanted == State::Present)
        });
        if probes.is_empty() {
            let found = count()?;
            let done = match wanted {
                State::Present => found >= routes,
                State::Absent => found < 16,
            };
            if done {
                return Ok(Instant::now());
            }
        }
        if Instant::now() > deadline {
            bail!("after {PATIENCE:?} the kernel has {} routes, wanted: {routes} {wanted:?}", count()?);
        }
        thread::park_timeout(Duration::from_millis(if probes.is_empty() { 5 } else { 1 }));
    }
}

/// Routes in the main table of the calling thread's namespace.
fn count() -> Result<u32> {
    let text = fs::read_to_string("/proc/thread-self/net/fib_triestat")?;
    let (_, main) = text.split_once("Main:").with_context(|| text.clone())?;
    let (_, count) = main.split_once("Prefixes:").with_context(|| text.clone())?;
    Ok(count.split_whitespace().next().context("Prefixes")?.parse()?)
}

/// What a process has used.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Processor time in seconds, its threads' and the kernel's for it.
    pub cpu_seconds: f64,
    /// Largest resident memory so far in MiB.
    pub peak_mib: f64,
}

impl Usage {
    /// Of a living process.
    ///
    /// # Errors
    /// When it is gone.
    pub fn of(id: u32) -> Result<Self> {
        /// `sysconf(_SC_CLK_TCK)`, which is 100 on every Linux that matters.
        const TICKS: f64 = 100.0;
        let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
        // The name in parentheses may hold spaces.
        let (_, fields) = stat.rsplit_once(')').context("stat")?;
        let ticks: f64 = fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(str::parse::<f64>)
            .sum::<Result<_, _>>()
            .context("stat")?;
        let status = fs::read_to_string(format!("/proc/{id}/status"))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
        let kib: f64 = peak.split_whitespace().next().context("VmHWM")?.parse()?;
        Ok(Self { cpu_seconds: ticks / TICKS, peak_mib: kib / 1024.0 })
    }
}

impl Sum for Usage {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        let none = Self { cpu_seconds: 0.0, peak_mib: 0.0 };
        parts.fold(none, |sum, part| Self {
            cpu_seconds: sum.cpu_seconds + part.cpu_seconds,
            peak_mib: sum.peak_mib + part.peak_mib,
        })
    }
}

/// Waits until any of these counters of TCP has moved in any of the namespaces.
///
/// # Errors
/// When none does.
pub fn await_counter(hosts: &[&Namespace], names: &[&str]) -> Result<()> {
    wait::until(&format!("one of {names:?}"), || {
        for host in hosts {
            let text = host.run(|| fs::read_to_string("/proc/thread-self/net/netstat"))??;
            if counters(&text).any(|(name, count)| count > 0 && names.contains(&name)) {
                return Ok(Ok(()));
            }
        }
        Ok(Err("none has moved".to_owned()))
    })
}

/// Pairs of lines, the first with names and the second with numbers.
fn counters(netstat: &str) -> impl Iterator<Item = (&str, u64)> {
    let lines: Vec<&str> = netstat.lines().collect();
    let pairs: Vec<(&str, u64)> = lines
        .chunks_exact(2)
        .flat_map(|pair| pair[0].split(' ').zip(pair[1].split(' ')))
        .filter_map(|(name, count)| Some((name, count.parse().ok()?)))
        .collect();
    pairs.into_iter()
}
