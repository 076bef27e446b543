//! How soon a thousand sessions are up, of which nobody says anything.

use std::time::Instant;

use anyhow::Result;
use muslin_proto_tests::load::Peer;

use super::Extent;
use super::contender::internal;
use super::rig::{ASN, Rig, Turn, seconds};
use super::rounds::Wanted;
use crate::report::{Column, Section};

const COLUMNS: [Column; 3] = [
    Column { name: "time", unit: "s" },
    Column { name: "processor", unit: "s" },
    Column { name: "peak memory", unit: "MiB" },
];

const WANTED: [Wanted; 1] = [Wanted::of_best("time", 1.0)];

pub(super) fn measure(extent: &Extent) -> Result<Section> {
    let sessions = extent.size(1000, 200);
    let rounds = extent.rounds(5)?;
    let method = format!(
        "{sessions} nodes connect to a route reflector that listens, 64 at a time: from the first connection until all \
         sessions are established. A connection that is refused is tried again 20 ms later. {} repetitions. {}.",
        rounds.runs,
        rounds.settings()
    );
    Ok(rounds.measure("Establishing sessions", method, &COLUMNS, &WANTED, |turn| run(turn, sessions)))
}

fn run(turn: Turn<'_>, sessions: u32) -> Result<Vec<f64>> {
    let peers: Vec<Peer> =
        (0..sessions).map(|number| Peer { address: internal(number), asn: ASN, hold_time: 90 }).collect();
    let rig = Rig::new(turn, &peers)?;
    rig.load(|swarm| {
        let before = rig.usage()?;
        let dialed = Instant::now();
        for peer in &peers {
            swarm.connect(*peer, None)?;
        }
        let established = swarm.establish(rig.deadline(dialed))?;
        // Whoever has more to do for them does it now; a session that does not last is an error.
        rig.await_quiet(swarm)?;
        let after = rig.usage()?;
        Ok(vec![seconds(dialed, established), after.cpu_seconds - before.cpu_seconds, after.peak_mib])
    })
}
