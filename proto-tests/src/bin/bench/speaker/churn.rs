//! S4: routes of a table go and come again at a given pace; one receiver may be stalled.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use muslin_proto_tests::load::{
    Expected, Mark, Peer, Prefixes, SessionId, Sink, Swarm, announcement, path_mark, withdrawal,
};

use super::Extent;
use super::contender::{Contender, external};
use super::rig::{PATIENCE, Rig, seconds};
use super::rounds::Wanted;
use crate::report::{Column, Section};

/// Prefixes that go and come together, in a millisecond or a part of it.
const BLOCK: u32 = 100;

/// A pace.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) title: &'static str,
    /// Prefixes that go and come again in a second.
    pub(super) cycles: u32,
    pub(super) lasts: Duration,
    pub(super) receivers: u32,
}

pub(super) const COLUMNS: [Column; 5] = [
    Column { name: "time", unit: "s" },
    Column { name: "processor", unit: "s" },
    Column { name: "stalled receiver", unit: "s" },
    Column { name: "memory growth", unit: "MiB" },
    Column { name: "peak memory", unit: "MiB" },
];

const WANTED: [Wanted; 1] = [Wanted { column: "processor", share: 0.7, rival: None }];

pub(super) fn measure(extent: &Extent, pace: Pace) -> Result<Section> {
    let count = extent.size(100_000, 10_000).next_multiple_of(BLOCK);
    let mut rounds = extent.rounds(5)?;
    if pace.receivers > 1 {
        // It would keep everything for the one that is stalled.
        rounds = rounds.without_floor();
    }
    let lasts = if extent.quick { Duration::from_secs(1) } else { pace.lasts };
    let stalled = if pace.receivers > 1 { ", the first of which reads nothing all the while" } else { "" };
    let method = format!(
        "A table of {count} prefixes, of which {} a second are withdrawn and at once announced again by another path, for \
         {} s; {} receivers{stalled}: from the first octet until all others have the right path of every prefix, which is \
         {} s at best. Then, how long the stalled one takes once it reads again. Memory growth is that of the largest \
         resident set since the table was learned. {} repetitions. {}.",
        pace.cycles,
        lasts.as_secs(),
        pace.receivers,
        lasts.as_secs(),
        rounds.runs,
        rounds.settings()
    );
    let pace = Pace { lasts, ..pace };
    Ok(rounds.measure(pace.title, method, &COLUMNS, &WANTED, |contender| run(contender, count, pace)))
}

/// The feeder, and the receivers.
fn peer(number: u32) -> Peer {
    Peer { address: external(number), asn: 65001 + number, hold_time: 90 }
}

/// The two paths that a block goes between.
fn path(side: usize) -> [u32; 3] {
    [peer(0).asn, 64_600, 64_700 + side as u32]
}

/// One repetition of two seconds at a pace.
pub(super) fn at(contender: &Contender, cycles: u32) -> Result<Vec<f64>> {
    run(contender, 100_000, Pace { title: "", cycles, lasts: Duration::from_secs(2), receivers: 1 })
}

fn run(contender: &Contender, count: u32, pace: Pace) -> Result<Vec<f64>> {
    let peers: Vec<Peer> = (0..=pace.receivers).map(peer).collect();
    let prefixes = Prefixes::internet(count);
    let range = |block: u32| block * BLOCK..(block + 1) * BLOCK;
    let sides = [0, 1].map(|side| -> Vec<Arc<[u8]>> {
        let announce = |block| announcement(&prefixes, range(block), &path(side), peers[0].address.into());
        (0..count / BLOCK)
            .map(|block| [withdrawal(&prefixes, range(block)), announce(block)].concat().into())
            .collect()
    });
    let rig = Rig::new(contender, &peers)?;
    rig.load(|swarm| {
        let feeder = swarm.connect(peers[0], None)?;
        let sink = || Some(Sink::new(contender.external(), prefixes.clone()));
        let sinks: Vec<_> =
            peers[1..].iter().map(|peer| swarm.connect(*peer, sink())).collect::<Result<_>>()?;
        swarm.establish(Instant::now() + PATIENCE)?;
        expect(swarm, &sinks, &vec![0; sides[0].len()])?;
        for block in &sides[0] {
            swarm.send(feeder, block.clone())?;
        }
        swarm.await_right(Instant::now() + PATIENCE)?;
        rig.await_quiet()?;
        let stalled = sinks.first().copied().filter(|_| sinks.len() > 1);
        if let Some(stalled) = stalled {
            swarm.set_reading(stalled, false)?;
        }
        let before = rig.usage()?;
        let begun = Instant::now();
        let mut side = vec![0; sides[0].len()];
        let total = u64::from(pace.cycles / BLOCK) * pace.lasts.as_secs();
        let mut sent = 0;
        while sent < total {
            let due = begun.elapsed().as_micros() as u64 * u64::from(pace.cycles / BLOCK) / 1_000_000;
            while sent < due.min(total) {
                let block = (sent % sides[0].len() as u64) as usize;
                side[block] = 1 - side[block];
                swarm.send(feeder, sides[side[block]][block].clone())?;
                sent += 1;
            }
            swarm.turn(Duration::from_millis(1))?;
        }
        expect(swarm, &sinks, &side)?;
        let right = swarm.await_right(begun + PATIENCE)?;
        let after = rig.usage()?;
        let mut caught_up = f64::NAN;
        if let Some(stalled) = stalled {
            let reads = Instant::now();
            swarm.set_reading(stalled, true)?;
            caught_up = seconds(reads, swarm.await_right(reads + PATIENCE)?);
        }
        let peak = rig.usage()?.peak_mib;
        Ok(vec![
            seconds(begun, right),
            after.cpu_seconds - before.cpu_seconds,
            caught_up,
            peak - before.peak_mib,
            peak,
        ])
    })
}

/// Every block by the path that it has now.
fn expect(swarm: &mut Swarm, sinks: &[SessionId], side: &[usize]) -> Result<()> {
    let marks: Arc<[Mark]> =
        side.iter().flat_map(|side| std::iter::repeat_n(path_mark(&path(*side)), BLOCK as usize)).collect();
    for sink in sinks {
        swarm.sink(*sink)?.expect(Expected { marks: marks.clone(), own: 0..0 });
    }
    Ok(())
}
