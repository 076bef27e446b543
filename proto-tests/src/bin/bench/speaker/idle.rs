//! S6: sessions that have nothing to say but KEEPALIVEs.

use std::time::{Duration, Instant};

use anyhow::Result;
use muslin_proto_tests::load::Peer;

use super::Extent;
use super::contender::internal;
use super::rig::{ASN, Rig, Turn};
use super::rounds::Wanted;
use crate::report::{Column, Section};

const COLUMNS: [Column; 2] =
    [Column { name: "processor", unit: "% of a core" }, Column { name: "resident memory", unit: "MiB" }];

const WANTED: [Wanted; 3] = [
    Wanted::of_best("processor", 0.8),
    Wanted::of_floor("processor", 1.3),
    Wanted::of_best("resident memory", 1.0),
];

pub(super) fn measure(extent: &Extent) -> Result<Section> {
    let sessions = extent.size(1000, 200);
    let settling = Duration::from_secs(if extent.quick { 1 } else { 3 });
    let window = Duration::from_secs(if extent.quick { 2 } else { 20 });
    let rounds = extent.rounds(5)?.with_image();
    let method = format!(
        "{sessions} established sessions without routes, hold time 9 s and a KEEPALIVE every 3 s both ways, watched for \
         {} s. {} repetitions. {}.",
        window.as_secs(),
        rounds.runs,
        rounds.settings()
    );
    Ok(rounds.measure("S6: idle sessions", method, &COLUMNS, &WANTED, |turn| {
        run(turn, sessions, [settling, window])
    }))
}

fn run(turn: Turn<'_>, sessions: u32, [settling, window]: [Duration; 2]) -> Result<Vec<f64>> {
    let peers: Vec<Peer> =
        (0..sessions).map(|number| Peer { address: internal(number), asn: ASN, hold_time: 9 }).collect();
    let rig = Rig::new(turn, &peers)?;
    rig.load(|swarm| {
        for peer in &peers {
            swarm.connect(*peer, None)?;
        }
        swarm.establish(rig.deadline(Instant::now()))?;
        // The bustle of the beginning is not meant.
        swarm.work_until(Instant::now() + settling)?;
        let before = rig.usage()?;
        swarm.work_until(Instant::now() + window)?;
        let after = rig.usage()?;
        let share = (after.cpu_seconds - before.cpu_seconds) / window.as_secs_f64();
        Ok(vec![share * 100.0, after.peak_mib])
    })
}
