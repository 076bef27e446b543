//! Where a contender is measured: a namespace of its own, and the load in another one beside it.

use std::fs;
use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use muslin_netns::{Namespace, connect};
use muslin_proto_tests::daemon::Process;
use muslin_proto_tests::kernel::Usage;
use muslin_proto_tests::load::{Peer, Swarm};

use super::contender::{Contender, external};

/// The speaker's AS.
pub(crate) const ASN: u32 = 65000;
/// The speaker's address.
pub(crate) const SPEAKER: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 1);
/// The other end of its link, where nodes are behind.
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 2);

/// A million octets in MiB.
pub(crate) const MB: f64 = 1_000_000.0 / (1024.0 * 1024.0);
/// A contender's turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn<'a> {
    pub(crate) contender: &'a Contender,
    /// Beyond this it has failed.
    pub(crate) patience: Duration,
}

/// A contender that is ready for its load.
pub(crate) struct Rig {
    process: Process,
    patience: Duration,
    load: Namespace,
    _host: Namespace,
}

impl Rig {
    /// Starts a contender with these peers, and waits until it listens and has nothing to do.
    pub(crate) fn new(turn: Turn<'_>, peers: &[Peer]) -> Result<Self> {
        let (host, load) = (Namespace::new("contender")?, Namespace::new("load")?);
        connect(&host, "eth0", &load, "eth0")?;
        host.add_address("eth0", format!("{SPEAKER}/24").parse()?)?;
        load.add_address("eth0", format!("{GATEWAY}/24").parse()?)?;
        let beside = peers.iter().filter(|peer| peer.asn != ASN && peer.address != external(0));
        for peer in beside {
            load.add_address("eth0", format!("{}/24", peer.address).parse()?)?;
        }
        // On a loopback every address of the subnet is our own.
        load.add_address("lo", "10.1.0.0/16".parse()?)?;
        host.add_route("10.0.0.0/8".parse()?, GATEWAY.into())?;
        let process = turn.contender.start(&host, peers)?;
        let mut rig = Self { process, patience: turn.patience, load, _host: host.clone() };
        rig.await_listener(&host).with_context(|| rig.process.log().unwrap_or_default())?;
        rig.await_quiet_while(|pause| {
            thread::park_timeout(pause);
            Ok(())
        })?;
        Ok(rig)
    }

    /// Runs what makes the load, beside the contender.
    pub(crate) fn load<T: Send>(&self, work: impl FnOnce(&mut Swarm) -> Result<T> + Send) -> Result<T> {
        let worked = self.load.run(|| work(&mut Swarm::new(SPEAKER)?))?;
        worked.with_context(|| {
            let log = self.process.log().unwrap_or_default();
            log.get(log.len().saturating_sub(500)..).unwrap_or_default().to_owned()
        })
    }

    /// When it has failed that has not done by then what began at a moment.
    pub(crate) fn deadline(&self, begun: Instant) -> Instant {
        begun + self.patience
    }

    /// What the contender has used so far.
    pub(crate) fn usage(&self) -> Result<Usage> {
        self.process.ids()?.into_iter().map(Usage::of).sum()
    }

    fn await_listener(&mut self, host: &Namespace) -> Result<()> {
        let deadline = self.deadline(Instant::now());
        loop {
            self.process.check()?;
            if host.run(is_listening)?? {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "it does not listen");
            thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Waits until the contender uses no processor to speak of, while the sessions are kept up.
    pub(crate) fn await_quiet(&self, swarm: &mut Swarm) -> Result<()> {
        self.await_quiet_while(|pause| swarm.work_until(Instant::now() + pause))
    }

    fn await_quiet_while(&self, mut pass: impl FnMut(Duration) -> Result<()>) -> Result<()> {
        let deadline = self.deadline(Instant::now());
        let mut before = f64::MIN;
        loop {
            let now = self.usage()?.cpu_seconds;
            if now - before < 0.015 {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "it does not come to rest");
            before = now;
            pass(Duration::from_millis(300))?;
        }
    }
}

/// Whether somebody listens on BGP's port in this namespace: asked of the kernel, so that nobody is disturbed.
fn is_listening() -> Result<bool> {
    for table in ["tcp", "tcp6"] {
        let text = fs::read_to_string(format!("/proc/thread-self/net/{table}"))?;
        let listens = |line: &str| {
            let mut words = line.split_whitespace().skip(1);
            let (local, state) = (words.next().unwrap_or_default(), words.nth(1).unwrap_or_default());
            local.ends_with(":00B3") && state == "0A"
        };
        if text.lines().any(listens) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Seconds between two moments.
pub(crate) fn seconds(from: Instant, to: Instant) -> f64 {
    (to - from).as_secs_f64()
}
