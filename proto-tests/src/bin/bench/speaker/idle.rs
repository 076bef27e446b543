//! S6: sessions that have nothing to say but KEEPALIVEs.

use std::time::{Duration, Instant};

use anyhow::Result;
use muslin_proto_tests::load::Peer;

use super::Extent;
use super::contender::{Contender, internal};
use super::rig::{ASN, PATIENCE, Rig};
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
    let window = Duration::from_secs(if extent.quick { 5 } else { 20 });
    let rounds = extent.rounds(5)?;
    let method = format!(
        "{sessions} established sessions without routes, hold time 9 s and a KEEPALIVE every 3 s both ways, watched for \
         {} s. {} repetitions. {}.",
        window.as_secs(),
        rounds.runs,
        rounds.settings()
    );
    Ok(rounds.measure("S6: idle sessions", method, &COLUMNS, &WANTED, |contender| {
        run(contender, sessions, window)
    }))
}

fn run(contender: &Contender, sessions: u32, window: Duration) -> Result<Vec<f64>> {
    let peers: Vec<Peer> =
        (0..sessions).map(|number| Peer { address: internal(number), asn: ASN, hold_time: 9 }).collect();
    let rig = Rig::new(contender, &peers)?;
    rig.load(|swarm| {
        for peer in &peers {
            swarm.connect(*peer, None)?;
        }
        swarm.establish(Instant::now() + PATIENCE)?;
        // The bustle of the beginning is not meant.
        swarm.work_until(Instant::now() + Duration::from_secs(3))?;
        let before = rig.usage()?;
        swarm.work_until(Instant::now() + window)?;
        let after = rig.usage()?;
        let share = (after.cpu_seconds - before.cpu_seconds) / window.as_secs_f64();
        Ok(vec![share * 100.0, after.peak_mib])
    })
}
