//! S1: one feeder sends a table like the Internet's, one sink gets it; then the feeder dies.

use std::fs;
use std::time::Instant;

use anyhow::{Context, Result};
use muslin_proto_tests::load::{Expected, Feed, Peer, Place, Prefixes, Sink, best_of, internet, replay};

use super::Extent;
use super::contender::external;
use super::rig::{Rig, Turn, seconds};
use super::rounds::Wanted;
use crate::report::{Column, Section, share};

pub(super) const COLUMNS: [Column; 5] = [
    Column { name: "time", unit: "s" },
    Column { name: "processor", unit: "s" },
    Column { name: "withdrawal", unit: "s" },
    Column { name: "peak memory", unit: "MiB" },
    Column { name: "UPDATEs out", unit: "of those in" },
];

const WANTED: [Wanted; 5] = [
    Wanted::of_best("time", 0.5),
    Wanted::of_best("processor", 0.6),
    Wanted::of_best("withdrawal", 0.5),
    Wanted::of_best("peak memory", 0.8),
    Wanted::at_most("UPDATEs out", 1.05),
];

pub(super) fn measure(extent: &Extent) -> Result<Section> {
    let rounds = extent.rounds(5)?;
    let Peer { address, asn, .. } = peer(0);
    let (prefixes, feed) = if let Some(file) = &extent.table {
        replay(&fs::read(file)?, asn, address.into()).with_context(|| file.display().to_string())?
    } else {
        let prefixes = Prefixes::internet(extent.size(1_000_000, 100_000));
        let feed = internet(&prefixes, asn, address.into(), Place::Alone);
        (prefixes, feed)
    };
    let method = format!(
        "One feeder sends {} IPv4 prefixes in {} UPDATEs, one sink gets them: from the first octet until the sink \
         has the right path of every prefix. Then the feeder's connection closes, until the sink has none. {} \
         repetitions. {}.",
        prefixes.count(),
        feed.updates,
        rounds.runs,
        rounds.settings()
    );
    Ok(rounds.measure("S1: a full table", method, &COLUMNS, &WANTED, |turn| run(turn, &prefixes, &feed)))
}

/// The feeder, and the sink.
fn peer(number: u32) -> Peer {
    Peer { address: external(number), asn: 65001 + number, hold_time: 90 }
}

/// One repetition at a size.
pub(super) fn at(turn: Turn<'_>, count: u32) -> Result<Vec<f64>> {
    let prefixes = Prefixes::internet(count);
    let feed = internet(&prefixes, peer(0).asn, peer(0).address.into(), Place::Alone);
    run(turn, &prefixes, &feed)
}

fn run(turn: Turn<'_>, prefixes: &Prefixes, feed: &Feed) -> Result<Vec<f64>> {
    let rig = Rig::new(turn, &[peer(0), peer(1)])?;
    let count = prefixes.count();
    rig.load(|swarm| {
        let feeder = swarm.connect(peer(0), None)?;
        let sink = swarm.connect(peer(1), Some(Sink::new(turn.contender.external(), prefixes.clone())))?;
        swarm.establish(rig.deadline(Instant::now()))?;
        rig.await_quiet(swarm)?;
        let before = rig.usage()?;
        swarm.want(sink, Expected { marks: best_of(&[feed]), own: 0..0 })?;
        let begun = Instant::now();
        swarm.send(feeder, feed.octets.clone())?;
        let learned = swarm.await_right(rig.deadline(begun))?;
        let after = rig.usage()?;
        let updates = swarm.sink(sink)?.counts.updates;
        swarm.want(sink, Expected::nothing(count))?;
        let died = Instant::now();
        swarm.kill(feeder);
        let withdrawn = swarm.await_right(rig.deadline(died))?;
        let peak = rig.usage()?.peak_mib;
        Ok(vec![
            seconds(begun, learned),
            after.cpu_seconds - before.cpu_seconds,
            seconds(died, withdrawn),
            peak,
            share(updates, feed.updates),
        ])
    })
}
