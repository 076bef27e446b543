//! S7: one prefix of a table changes; how long until the sink has it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use muslin_proto_tests::load::{Expected, Mark, Peer, Prefixes, Sink, announcement, path_mark};

use super::Extent;
use super::contender::external;
use super::rig::{Rig, Turn, seconds};
use super::rounds::Wanted;
use crate::report::{Column, Section, share};

const COLUMNS: [Column; 4] = [
    Column { name: "median", unit: "ms" },
    Column { name: "99 of 100", unit: "ms" },
    Column { name: "processor", unit: "µs a change" },
    Column { name: "context switches", unit: "a change" },
];

const WANTED: [Wanted; 2] = [Wanted::of_best("median", 0.75), Wanted::of_best("99 of 100", 1.0)];

pub(super) fn measure(extent: &Extent) -> Result<Section> {
    let count = extent.size(100_000, 10_000);
    let changes = if extent.quick { 50 } else { 300 };
    let rounds = extent.rounds(5)?;
    let method = format!(
        "A table of {count} prefixes has been learned and passed on. {changes} times, 3 ms apart, one of them changes its \
         path: from the write of the UPDATE until the sink has read the new one. The load does not sleep meanwhile, since \
         the waking of its own would be a good part of the time: it keeps one processor busy, and leaves the others to \
         whoever is measured. Processor time and context switches of all threads are those from the first change to the last. \
         {} repetitions. {}.",
        rounds.runs,
        rounds.settings()
    );
    Ok(rounds.measure("S7: one change", method, &COLUMNS, &WANTED, |turn| run(turn, count, changes)))
}

fn peer(number: u32) -> Peer {
    Peer { address: external(number), asn: 65001 + number, hold_time: 90 }
}

fn run(turn: Turn<'_>, count: u32, changes: u32) -> Result<Vec<f64>> {
    let prefixes = Prefixes::internet(count);
    let path = |change: u32| [peer(0).asn, 64_600 + change % 2];
    let announce = |numbers, change| -> Arc<[u8]> {
        announcement(&prefixes, numbers, &path(change), peer(0).address.into()).into()
    };
    let rig = Rig::new(turn, &[peer(0), peer(1)])?;
    rig.load(|swarm| {
        let feeder = swarm.connect(peer(0), None)?;
        let sink = swarm.connect(peer(1), Some(Sink::new(turn.contender.external(), prefixes.clone())))?;
        swarm.establish(rig.deadline(Instant::now()))?;
        let mut marks: Vec<Mark> = vec![path_mark(&path(0)); count as usize];
        swarm.want(sink, Expected { marks: marks.clone().into(), own: 0..0 })?;
        swarm.send(feeder, announce(0..count, 0))?;
        swarm.await_right(rig.deadline(Instant::now()))?;
        rig.await_quiet(swarm)?;
        let mut taken = Vec::new();
        let before = rig.usage()?;
        for change in 1..=changes {
            let pause = Instant::now() + Duration::from_millis(3);
            while Instant::now() < pause {
                swarm.turn(Duration::from_millis(1))?;
            }
            let octets = announce(count / 2..count / 2 + 1, change);
            marks[count as usize / 2] = path_mark(&path(change));
            swarm.want(sink, Expected { marks: marks.clone().into(), own: 0..0 })?;
            let begun = Instant::now();
            swarm.send(feeder, octets)?;
            taken.push(seconds(begun, swarm.await_right_awake(rig.deadline(begun))?) * 1000.0);
        }
        let used = rig.usage()? - before;
        taken.sort_unstable_by(f64::total_cmp);
        Ok(vec![
            taken[taken.len() / 2],
            taken[taken.len() * 99 / 100],
            used.cpu_seconds * 1_000_000.0 / f64::from(changes),
            share(used.switches, changes.into()),
        ])
    })
}
