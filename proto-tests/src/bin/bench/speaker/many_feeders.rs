//! S2: ten feeders send the same prefixes with different paths, ten sinks get the best; then a feeder dies.

use std::time::Instant;

use anyhow::Result;
use muslin_proto_tests::load::{Expected, Feed, Peer, Place, Prefixes, Sink, best_of, internet};

use super::Extent;
use super::contender::{Contender, external};
use super::rig::{Rig, Turn, seconds};
use super::rounds::Wanted;
use crate::report::{Column, Section, share};

/// Feeders, and as many sinks.
const PEERS: u32 = 10;

pub(super) const COLUMNS: [Column; 5] = [
    Column { name: "time", unit: "s" },
    Column { name: "processor", unit: "s" },
    Column { name: "loss of a feeder", unit: "s" },
    Column { name: "peak memory", unit: "MiB" },
    Column { name: "prefixes out", unit: "of the fewest" },
];

const WANTED: [Wanted; 5] = [
    Wanted::of_best("time", 0.35),
    Wanted::of_best("processor", 0.35),
    Wanted::of_best("loss of a feeder", 0.5),
    Wanted::of_best("peak memory", 0.8),
    Wanted::at_most("prefixes out", 1.3),
];

pub(super) fn measure(extent: &Extent) -> Result<Section> {
    let count = extent.size(200_000, 20_000);
    let rounds = extent.rounds(5)?;
    let prefixes = Prefixes::internet(count);
    let feeds = feeds(&prefixes);
    let method = format!(
        "{PEERS} feeders send the same {count} IPv4 prefixes at the same time, each with paths of its own of which exactly \
         one is the shortest; {PEERS} sinks get the best: from the first octet until every sink has the right path of \
         every prefix. Then a feeder's connection closes, until every sink has the best of the others. {} repetitions. {}.",
        rounds.runs,
        rounds.settings()
    );
    Ok(rounds.measure("S2: many feeders", method, &COLUMNS, &WANTED, |turn| run(turn, &prefixes, &feeds)))
}

fn feeds(prefixes: &Prefixes) -> Vec<Feed> {
    let feed = |number| {
        let Peer { address, asn, .. } = peer(number);
        internet(prefixes, asn, address.into(), Place::Among(number))
    };
    (0..PEERS).map(feed).collect()
}

/// One repetition at a size.
pub(super) fn at(turn: Turn<'_>, count: u32) -> Result<Vec<f64>> {
    let prefixes = Prefixes::internet(count);
    run(turn, &prefixes, &feeds(&prefixes))
}

fn peer(number: u32) -> Peer {
    Peer { address: external(number), asn: 65001 + number, hold_time: 90 }
}

fn run(turn: Turn<'_>, prefixes: &Prefixes, feeds: &[Feed]) -> Result<Vec<f64>> {
    let peers: Vec<Peer> = (0..2 * PEERS).map(peer).collect();
    let (feeding, receiving) = peers.split_at(feeds.len());
    let rig = Rig::new(turn, &peers)?;
    let is_floor = matches!(turn.contender, Contender::Floor);
    // The floor does not choose: it reads all and copies what the first sends.
    let references: Vec<&Feed> = feeds.iter().take(if is_floor { 1 } else { feeds.len() }).collect();
    rig.load(|swarm| {
        let feeders: Vec<_> = feeding.iter().map(|peer| swarm.connect(*peer, None)).collect::<Result<_>>()?;
        let sink = || Some(Sink::new(turn.contender.external(), prefixes.clone()));
        let sinks: Vec<_> =
            receiving.iter().map(|peer| swarm.connect(*peer, sink())).collect::<Result<_>>()?;
        swarm.establish(rig.deadline(Instant::now()))?;
        rig.await_quiet(swarm)?;
        let marks = best_of(&references);
        for sink in &sinks {
            swarm.want(*sink, Expected { marks: marks.clone(), own: 0..0 })?;
        }
        let before = rig.usage()?;
        let begun = Instant::now();
        for (feeder, feed) in feeders.iter().zip(feeds) {
            swarm.send(*feeder, feed.octets.clone())?;
        }
        let learned = swarm.await_right(rig.deadline(begun))?;
        let after = rig.usage()?;
        let mut announced = 0;
        for sink in &sinks {
            announced += swarm.sink(*sink)?.counts.announced;
        }
        let mut loss = f64::NAN;
        if !is_floor {
            let marks = best_of(&references[1..]);
            for sink in &sinks {
                swarm.want(*sink, Expected { marks: marks.clone(), own: 0..0 })?;
            }
            let died = Instant::now();
            swarm.kill(feeders[0]);
            loss = seconds(died, swarm.await_right(rig.deadline(died))?);
        }
        let fewest = u64::from(prefixes.count()) * u64::from(PEERS);
        Ok(vec![
            seconds(begun, learned),
            after.cpu_seconds - before.cpu_seconds,
            loss,
            rig.usage()?.peak_mib,
            share(announced, fewest),
        ])
    })
}
