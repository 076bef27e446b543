//! S7w, the whole way: a changed file on one node, by way of a route reflector, into the kernels of many others.

mod cluster;
mod watch;

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use self::cluster::{Cluster, Kind, What};
use self::watch::Watch;
use crate::report::{Column, Row, Samples, Section, Target, share};

const COLUMNS: [Column; 8] = [
    Column { name: "median", unit: "ms" },
    Column { name: "99 of 100", unit: "ms" },
    Column { name: "slowest", unit: "ms" },
    Column { name: "processor", unit: "ms a change" },
    Column { name: "context switches", unit: "a change" },
    Column { name: "block: median", unit: "ms" },
    Column { name: "block: 99 of 100", unit: "ms" },
    Column { name: "block: slowest", unit: "ms" },
];
/// Of these, our worst is to be ahead.
const TAILS: [&str; 2] = ["99 of 100", "block: 99 of 100"];
/// So that one change does not run into the next one.
const PAUSE: Duration = Duration::from_millis(30);
/// Beyond this a change is lost.
const PATIENCE: Duration = Duration::from_secs(20);

/// How much is measured.
#[derive(Clone, Copy)]
pub(crate) struct Extent {
    pub(crate) nodes: u32,
    pub(crate) changes: u32,
    pub(crate) runs: usize,
}

pub(crate) fn measure(extent: Extent) -> Result<Section> {
    let Extent { nodes, changes, runs } = extent;
    let mut kinds = [Kind::Muslin, Kind::Bird];
    let mut rows = kinds.map(|_| vec![Samples::default(); COLUMNS.len()]);
    for run in 0..runs {
        for turn in 0..kinds.len() {
            let place = (run + turn) % kinds.len();
            let kind = &mut kinds[place];
            eprintln!("round {} of {runs}: {}", run + 1, kind.name());
            let values = way(*kind, extent).with_context(|| kind.name())?;
            for (samples, value) in rows[place].iter_mut().zip(values) {
                samples.push(value);
            }
        }
    }
    let rows = kinds.iter().zip(rows).map(|(kind, values)| Row { name: kind.name().to_owned(), values });
    let mut section = Section {
        title: "S7w: the whole way of a Service, and of a block",
        method: format!(
            "{nodes} nodes, a route reflector and an origin, each a namespace on one bridge with processes of its own, on \
             the same cores. A file on the origin gets another address of a Service by a rename: until the route is in \
             each of the {nodes} kernels, as each tells by itself. {changes} changes, {runs} repetitions; the times of all \
             nodes and changes together. Processor time and context switches are those of all daemons meanwhile. Then the block of \
             the origin's pods changes as often, which Muslin is told in its Node. Muslin: `muslin agent` on the origin follows the folder by itself. BIRD {}: its \
             static routes are rewritten, and `configure` is said on a control socket that is open already.",
            cluster::bird_version()?
        ),
        columns: COLUMNS.to_vec(),
        rows: rows.collect(),
        targets: vec![],
        notes: vec![],
        plot: None,
    };
    let ours = Kind::Muslin.name();
    let worst = |column: &str| {
        let (statement, found) =
            (format!("{column}: below 50 ms in our worst repetition"), section.worst(ours, column)?);
        Some(Target { statement, found, limit: 50.0 })
    };
    let ahead = |column: &str| {
        let (found, name) = section.worst_to_best(ours, column, |_| true)?;
        let statement = format!("{column}: our worst at most the median of {name}");
        Some(Target { statement, found, limit: 1.0 })
    };
    section.targets = TAILS.into_iter().flat_map(|column| [worst(column), ahead(column)]).flatten().collect();
    Ok(section)
}

/// A number for each column.
fn way(kind: Kind, Extent { nodes, changes, .. }: Extent) -> Result<[f64; COLUMNS.len()]> {
    let mut cluster = Cluster::start(kind, nodes)?;
    let mut watch = Watch::new(cluster.nodes())?;
    for what in What::ALL {
        watch.await_everywhere(cluster.announced(what), Instant::now() + PATIENCE)?;
    }
    let before = cluster.usage()?;
    let service = changed(&mut cluster, &mut watch, What::Service, changes)?;
    let used = cluster.usage()? - before;
    let block = changed(&mut cluster, &mut watch, What::Block, changes)?;
    let processor = used.cpu_seconds * 1000.0 / f64::from(changes);
    let switches = share(used.switches, changes.into());
    let [[median, most, slowest], [of_block, most_of_block, slowest_of_block]] = [service, block];
    Ok([median, most, slowest, processor, switches, of_block, most_of_block, slowest_of_block])
}

/// How long changes take to each of the nodes, in milliseconds: the median, below what 99 of 100 are, and the largest.
fn changed(cluster: &mut Cluster, watch: &mut Watch, what: What, changes: u32) -> Result<[f64; 3]> {
    let mut times = Vec::new();
    for _ in 0..changes {
        std::thread::park_timeout(PAUSE);
        let gone = cluster.announced(what);
        let begun = cluster.change(what)?;
        let arrivals = watch.await_change(cluster.announced(what), gone, begun + PATIENCE)?;
        times.extend(arrivals.into_iter().map(|arrival| (arrival - begun).as_secs_f64() * 1000.0));
    }
    times.sort_by(f64::total_cmp);
    let last = times.len().checked_sub(1).context("no change was seen")?;
    Ok([50, 99, 100].map(|share| times[(times.len() * share / 100).min(last)]))
}
