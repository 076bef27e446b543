//! S10, the data path: what a packet pays on its way from a pod to one of another node.

mod load;
mod world;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use self::world::{Way, World};
use crate::report::{Column, Row, Samples, Section, Target};

const COLUMNS: [Column; 4] = [
    Column { name: "round trip", unit: "µs" },
    Column { name: "a packet of a stream", unit: "µs" },
    Column { name: "100 MiB by TCP", unit: "ms" },
    Column { name: "without segmentation offload", unit: "ms" },
];
/// As many segments as the kernel's own limit, and none to be cut later.
const SEGMENTS: [u32; 2] = [65535, 1];

/// How much is measured.
#[derive(Clone, Copy)]
pub(crate) struct Extent {
    pub(crate) runs: usize,
    /// Turns of each way in a repetition.
    pub(crate) slices: usize,
    pub(crate) rounds: usize,
    pub(crate) stream: Duration,
}

pub(crate) fn measure(binaries: &Path, extent: Extent) -> Result<Section> {
    let mut rows = Way::ALL
        .map(|way| Row { name: way.name().to_owned(), values: vec![Samples::default(); COLUMNS.len()] });
    for run in 1..=extent.runs {
        eprintln!("round {run} of {}", extent.runs);
        let worlds = Way::ALL.map(|way| World::new(way, binaries).context(way.name()));
        let worlds = worlds.into_iter().collect::<Result<Vec<_>>>()?;
        let mut slices = Way::ALL.map(|_| vec![Samples::default(); COLUMNS.len()]);
        for slice in 0..extent.slices {
            for turn in 0..worlds.len() {
                // In short turns: what the machine does meanwhile hits all of them.
                let place = (slice + turn) % worlds.len();
                let values = one_slice(&worlds[place], extent).context(Way::ALL[place].name())?;
                for (samples, value) in slices[place].iter_mut().zip(values) {
                    samples.push(value);
                }
            }
        }
        for (row, slices) in rows.iter_mut().zip(slices) {
            for (samples, slices) in row.values.iter_mut().zip(slices) {
                samples.push(slices.median().context("no slice")?);
            }
        }
    }
    let mut section = Section {
        title: "S10: from pod to pod",
        method: format!(
            "Two hosts and a router between them, links of 1,500 octets. Round trip: {} times 64 octets by UDP, both ends on \
             one processor, so that the path counts and not the waking of another one; median. Stream: 64 octets by UDP as \
             fast as they can be sent, the time for each that arrives, the ends on a processor each. TCP with segments cut \
             at the last moment, and with `gso_max_segs 1`, which costs what a device without offloads does. {} turns of \
             each way, one after the other, and their median is a repetition; {} repetitions.",
            extent.rounds, extent.slices, extent.runs
        ),
        columns: COLUMNS.to_vec(),
        rows: rows.into(),
        targets: vec![],
        notes: vec![],
        plot: None,
    };
    section.targets = targets(&section);
    Ok(section)
}

fn targets(section: &Section) -> Vec<Target> {
    let ratio = |statement: &str, column: &Column, to: Way, limit: f64| {
        let (found, _) = section.worst_to_best(Way::Muslin.name(), column.name, |name| name == to.name())?;
        Some(Target { statement: format!("{statement}, at our worst"), found, limit })
    };
    // Times: 0.98 of a speed is its inverse.
    let equal = 1.0 / 0.98;
    let [round_trip, packet, _, single] = &COLUMNS;
    let by_hand = [
        (Way::Static, "static routes"),
        (Way::Masquerade, "static routes and masquerade"),
        (Way::Checked, "static routes, masquerade and check of sources"),
    ];
    let measured = [
        ("round trip that of", round_trip),
        ("packets as many as with", packet),
        ("TCP without offload as with", single),
    ];
    let equals = by_hand.into_iter().flat_map(|(way, what)| {
        measured
            .map(|(measure, column)| ratio(&format!("{measure} {what} by hand (0.98)"), column, way, equal))
    });
    let tunnel = ratio("round trip at most 0.82 of VXLAN's", round_trip, Way::Vxlan, 0.82);
    equals.chain([tunnel]).flatten().collect()
}

/// A number for each column.
fn one_slice(world: &World, extent: Extent) -> Result<[f64; 4]> {
    let ends = world.ends();
    let round_trip = ends.round_trip(extent.rounds)?;
    let packet = ends.packet(extent.stream)?;
    let mut transfers = [0.0; 2];
    for (transfer, segments) in transfers.iter_mut().zip(SEGMENTS) {
        world.set_segments(segments)?;
        *transfer = ends.transfer(extent.stream)?;
    }
    let [offloaded, single] = transfers;
    Ok([round_trip, packet, offloaded, single])
}
