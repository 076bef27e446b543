//! S4: routes of a table go and come again at a given pace; one receiver may be stalled.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use muslin_proto_tests::load::{
    Expected, Mark, Peer, Prefixes, SessionId, Sink, Swarm, announcement, path_mark, withdrawal,
};

use super::Extent;
use super::contender::external;
use super::rig::{MB, Rig, Turn, seconds};
use super::rounds::{Rounds, Wanted};
use crate::report::{Column, Section};

/// Prefixes that go and come together, in a millisecond or a part of it.
const BLOCK: u32 = 100;
/// Receivers count from here.
const FEEDER_ASN: u32 = 65001;

/// A pace.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    title: &'static str,
    /// Prefixes that go and come again in a second.
    cycles: u32,
    lasts: Duration,
    receivers: u32,
    /// In seconds, of all who read.
    hold_time: u16,
}

/// S4.
pub(super) const USUAL: Pace = Pace {
    title: "S4: churn",
    cycles: 100_000,
    lasts: Duration::from_secs(10),
    receivers: 1,
    hold_time: SHORT,
};

/// S4m.
pub(super) const FAST: Pace = Pace {
    title: "S4m: fast churn",
    cycles: 1_000_000,
    lasts: Duration::from_secs(2),
    receivers: 1,
    hold_time: LONG,
};

/// S4s.
pub(super) const STALLED: Pace =
    Pace { title: "S4s: churn beside a stalled receiver", receivers: 100, ..USUAL };

/// The path that everything has before the churn.
const FIRST: usize = 2;
/// KEEPALIVEs are due every second, several while the churn lasts.
const SHORT: u16 = 3;
/// None is due. Of who does not read always: it is not measured who gives up on that one first (RFC 9687).
const LONG: u16 = 90;
/// What a receiver may take after the last change, and have kept up.
const BEHIND: Duration = Duration::from_millis(100);

pub(super) const COLUMNS: [Column; 6] = [
    Column { name: "time", unit: "s" },
    Column { name: "processor", unit: "s" },
    Column { name: "stalled receiver", unit: "s" },
    Column { name: "longest silence", unit: "s" },
    Column { name: "memory growth", unit: "MiB" },
    Column { name: "peak memory", unit: "MiB" },
];

impl Pace {
    fn is_stalled(&self, receiver: u32) -> bool {
        self.receivers > 1 && receiver == 1
    }

    /// The feeder, and the receivers.
    fn peers(&self) -> Vec<Peer> {
        let hold_time = |number| if self.is_stalled(number) { LONG } else { self.hold_time };
        let peer = |number| Peer {
            address: external(number),
            asn: FEEDER_ASN + number,
            hold_time: hold_time(number),
        };
        (0..=self.receivers).map(peer).collect()
    }

    fn method(&self, count: u32, rounds: &Rounds) -> String {
        let stalled =
            if self.is_stalled(1) { ", the first of which reads nothing all the while" } else { "" };
        let silence = if self.hold_time == SHORT {
            "The hold time is 3 s, and a session ends that is silent for longer; `longest silence` is that of the speaker \
             towards the feeder, which is told nothing but KEEPALIVEs, one a second. "
        } else {
            ""
        };
        let (cycles, receivers, lasts) = (self.cycles, self.receivers, self.lasts.as_secs());
        format!(
            "A table of {count} prefixes, of which {cycles} a second are withdrawn and at once announced again by another \
             path, for {lasts} s; {receivers} receivers{stalled}: from the first octet until all others have the right path \
             of every prefix, which is {lasts} s at best. Then, how long the stalled one takes once it reads again. \
             {silence}Memory growth is that of the largest resident set since the table was learned. {} repetitions. {}.",
            rounds.runs,
            rounds.settings()
        )
    }
}

pub(super) fn measure(extent: &Extent, pace: Pace) -> Result<Section> {
    let count = extent.size(100_000, 10_000).next_multiple_of(BLOCK);
    let mut rounds = extent.rounds(5)?;
    if pace.receivers > 1 {
        // It would keep everything for the one that is stalled.
        rounds = rounds.without_floor();
    }
    let lasts = if extent.quick { Duration::from_secs(1) } else { pace.lasts };
    let pace = Pace { lasts, ..pace };
    let mut wanted = vec![
        Wanted::of_best("processor", 0.7),
        Wanted::at_most("time", (lasts + BEHIND).as_secs_f64()),
        Wanted::at_most("memory growth", 20.0 * MB),
    ];
    if pace.hold_time == SHORT {
        wanted.push(Wanted::at_most("longest silence", f64::from(SHORT) / 2.0));
    }
    let method = pace.method(count, &rounds);
    Ok(rounds.measure(pace.title, method, &COLUMNS, &wanted, |turn| run(turn, count, pace)))
}

/// The two paths that a block goes between, and the one that it has at first: who has slept through the churn has nothing
/// that is right at its end.
fn path(side: usize) -> [u32; 3] {
    [FEEDER_ASN, 64_600, 64_700 + side as u32]
}

/// One repetition of two seconds at a pace.
pub(super) fn at(turn: Turn<'_>, cycles: u32) -> Result<Vec<f64>> {
    run(turn, 100_000, Pace { cycles, ..FAST })
}

fn run(turn: Turn<'_>, count: u32, pace: Pace) -> Result<Vec<f64>> {
    let peers = pace.peers();
    let prefixes = Prefixes::internet(count);
    let range = |block: u32| block * BLOCK..(block + 1) * BLOCK;
    let sides = [0, 1, FIRST].map(|side| -> Vec<Arc<[u8]>> {
        let announce = |block| announcement(&prefixes, range(block), &path(side), peers[0].address.into());
        (0..count / BLOCK)
            .map(|block| [withdrawal(&prefixes, range(block)), announce(block)].concat().into())
            .collect()
    });
    let blocks = sides[FIRST].len();
    let rig = Rig::new(turn, &peers)?;
    rig.load(|swarm| {
        let feeder = swarm.connect(peers[0], None)?;
        let sink = || Some(Sink::new(turn.contender.external(), prefixes.clone()));
        let sinks: Vec<_> =
            peers[1..].iter().map(|peer| swarm.connect(*peer, sink())).collect::<Result<_>>()?;
        swarm.establish(rig.deadline(Instant::now()))?;
        expect(swarm, &sinks, &vec![FIRST; blocks])?;
        for block in &sides[FIRST] {
            swarm.send(feeder, block.clone())?;
        }
        swarm.await_right(rig.deadline(Instant::now()))?;
        rig.await_quiet(swarm)?;
        let stalled = sinks.first().copied().filter(|_| pace.is_stalled(1));
        if let Some(stalled) = stalled {
            swarm.set_reading(stalled, false)?;
        }
        let before = rig.usage()?;
        swarm.listen_anew(feeder);
        let begun = Instant::now();
        let mut side = vec![FIRST; blocks];
        let total = u64::from(pace.cycles / BLOCK) * pace.lasts.as_secs();
        let mut sent = 0;
        while sent < total {
            let due = begun.elapsed().as_micros() as u64 * u64::from(pace.cycles / BLOCK) / 1_000_000;
            while sent < due.min(total) {
                let block = (sent % blocks as u64) as usize;
                side[block] = usize::from(side[block] == 0);
                swarm.send(feeder, sides[side[block]][block].clone())?;
                sent += 1;
            }
            swarm.turn(Duration::from_millis(1))?;
        }
        expect(swarm, &sinks, &side)?;
        let right = swarm.await_right(rig.deadline(begun))?;
        let after = rig.usage()?;
        let silence = if pace.hold_time == SHORT { swarm.silence(feeder).as_secs_f64() } else { f64::NAN };
        let mut caught_up = f64::NAN;
        if let Some(stalled) = stalled {
            let reads = Instant::now();
            swarm.set_reading(stalled, true)?;
            caught_up = seconds(reads, swarm.await_right(rig.deadline(reads))?);
        }
        let peak = rig.usage()?.peak_mib;
        Ok(vec![
            seconds(begun, right),
            after.cpu_seconds - before.cpu_seconds,
            caught_up,
            silence,
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
        swarm.want(*sink, Expected { marks: marks.clone(), own: 0..0 })?;
    }
    Ok(())
}
