//! What the kernel of a namespace has, cheaply asked while others work.

use std::fs;
use std::iter::Sum;
use std::net::{Ipv4Addr, UdpSocket};
use std::ops::Sub;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use muslin_netns::Namespace;

use crate::netlink::Routes;
use crate::wait;

/// Beyond this a candidate has failed.
const PATIENCE: Duration = Duration::from_mins(2);
/// Routes that are looked at one after the other, before all are listed.
const PROBES: u32 = 256;

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

/// Waits until there are so many routes at least, whatever they are.
///
/// # Errors
/// How many there are, when they do not come.
pub fn await_many(host: &Namespace, routes: u32) -> Result<()> {
    wait::until(&format!("{routes} routes"), || {
        let found = host.run(count)??;
        Ok(if found >= routes { Ok(()) } else { Err(format!("{found} routes")) })
    })
}

/// Waits until none is left, and says when that was.
///
/// # Errors
/// How many there are, when some are left for long.
pub fn await_none(host: &Namespace, routes: u32) -> Result<Instant> {
    host.run(|| await_state(routes, State::Absent))?
}

/// Waits until every one of the `routes` leads over exactly the gateways that `wanted` says of its number, in ascending
/// order, and says when that was.
///
/// # Errors
/// Which one leads over others, when some do for long.
pub fn await_gateways(host: &Namespace, routes: u32, wanted: fn(u32) -> Vec<Ipv4Addr>) -> Result<Instant> {
    host.run(|| {
        let mut kernel = Routes::open()?;
        let deadline = Instant::now() + PATIENCE;
        let spread = (0..PROBES).map(|part| part * (routes / PROBES));
        let mut probes: Vec<u32> = spread.chain([routes - 1]).collect();
        loop {
            // What is right stays so, and one that is wrong is enough to wait for: whoever writes the routes should not
            // have to share the kernel with many questions.
            while let Some(number) = probes.last() {
                if !leads_over(kernel.gateways_to(prefix(*number))?, &wanted(*number)) {
                    break;
                }
                probes.pop();
            }
            if probes.is_empty() {
                let seen = Instant::now();
                probes = differing(&mut kernel, routes, wanted)?;
                if probes.is_empty() {
                    return Ok(seen);
                }
            }
            if Instant::now() > deadline {
                let wrong = prefix(probes[0]);
                bail!("after {PATIENCE:?} {wrong} and others have not the gateways wanted");
            }
            thread::park_timeout(Duration::from_millis(1));
        }
    })?
}

fn leads_over(mut gateways: Vec<Ipv4Addr>, wanted: &[Ipv4Addr]) -> bool {
    gateways.sort_unstable();
    gateways == wanted
}

/// Some of the routes that lead over other gateways than those wanted, from all over the table.
fn differing(kernel: &mut Routes, routes: u32, wanted: fn(u32) -> Vec<Ipv4Addr>) -> Result<Vec<u32>> {
    let mut is_right = vec![false; routes as usize];
    kernel.list(|route| {
        let number = u32::from(route.prefix).wrapping_sub(u32::from(prefix(0))) >> 8;
        if let (24, Some(is_right)) = (route.length, is_right.get_mut(number as usize)) {
            *is_right = leads_over(route.gateways, &wanted(number));
        }
    })?;
    let numbered = (0..routes).zip(is_right);
    let wrong: Vec<u32> = numbered.filter(|(_, is_right)| !is_right).map(|(number, _)| number).collect();
    let step = wrong.len() / PROBES as usize + 1;
    Ok(wrong.into_iter().step_by(step).collect())
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
    /// Processor time in seconds of the threads that live, and the kernel's for them.
    pub cpu_seconds: f64,
    /// Largest resident memory so far in MiB.
    pub peak_mib: f64,
    /// How often these threads gave a processor away, or were made to.
    pub switches: u64,
}

impl Usage {
    /// Of a living process.
    ///
    /// # Errors
    /// When it is gone.
    pub fn of(id: u32) -> Result<Self> {
        let (mut nanoseconds, mut switches) = (0, 0);
        for thread in fs::read_dir(format!("/proc/{id}/task"))? {
            let folder = thread?.path();
            let text = fs::read_to_string(folder.join("schedstat"))?;
            nanoseconds += text.split_whitespace().next().context("schedstat")?.parse::<u64>()?;
            let status = fs::read_to_string(folder.join("status"))?;
            for name in ["voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"] {
                switches += field(&status, name)?.parse::<u64>()?;
            }
        }
        Ok(Self {
            cpu_seconds: Duration::from_nanos(nanoseconds).as_secs_f64(),
            peak_mib: status_mib(id, "VmHWM:")?,
            switches,
        })
    }
}

/// Resident memory of a living process in MiB.
///
/// # Errors
/// When it is gone.
pub fn resident_mib(id: u32) -> Result<f64> {
    status_mib(id, "VmRSS:")
}

fn status_mib(id: u32, name: &'static str) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let kib: f64 = field(&status, name)?.parse()?;
    Ok(kib / 1024.0)
}

/// What stands in `/proc/PID/status` behind a name and its colon.
fn field<'a>(status: &'a str, name: &'static str) -> Result<&'a str> {
    let value = status.lines().find_map(|line| line.strip_prefix(name)).context(name)?;
    value.split_whitespace().next().context(name)
}

/// What was used since.
impl Sub for Usage {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            cpu_seconds: self.cpu_seconds - before.cpu_seconds,
            peak_mib: self.peak_mib - before.peak_mib,
            switches: self.switches.saturating_sub(before.switches),
        }
    }
}

impl Sum for Usage {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        let none = Self { cpu_seconds: 0.0, peak_mib: 0.0, switches: 0 };
        parts.fold(none, |sum, part| Self {
            cpu_seconds: sum.cpu_seconds + part.cpu_seconds,
            peak_mib: sum.peak_mib + part.peak_mib,
            switches: sum.switches + part.switches,
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
