//! S7w, the whole way: a changed file on one node, by way of a route reflector, into the kernels of many others.

mod cluster;
mod watch;

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use self::cluster::{Cluster, Kind};
use self::watch::Watch;
use crate::report::{Column, Row, Samples, Section, Target, share};

const COLUMNS: [Column; 5] = [
    Column { name: "median", unit: "ms" },
    Column { name: "99 of 100", unit: "ms" },
    Column { name: "slowest", unit: "ms" },
    Column { name: "processor", unit: "ms a change" },
    Column { name: "context switches", unit: "a change" },
];
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
        title: "S7w: the whole way of a Service",
        method: format!(
            "{nodes} nodes, a route reflector and an origin, each a namespace on one bridge with processes of its own, on \
             the same cores. A file on the origin gets another address of a Service by a rename: until the route is in \
             each of the {nodes} kernels, as each tells by itself. {changes} changes, {runs} repetitions; the times of all \
             nodes and changes together. Processor time and context switches are those of all daemons. Muslin: `muslin agent` on the origin follows the folder by itself. BIRD {}: its \
             static routes are rewritten, and `configure` is said on a control socket that is open already.",
            cluster::bird_version()?
        ),
        columns: COLUMNS.to_vec(),
        rows: rows.collect(),
        targets: vec![],
        notes: vec![],
        plot: None,
    };
    let (ours, bird) = (&section.rows[0].values[1], &section.rows[1].values[1]);
    let worst = ours.largest().context("no run")?;
    let target = |statement: &str, found, limit| Target { statement: statement.to_owned(), found, limit };
    section.targets = vec![
        target("99 of 100 below 50 ms in our worst repetition", worst, 50.0),
        target("99 of 100: our worst at most BIRD's median", worst / bird.median().context("no run")?, 1.0),
    ];
    Ok(section)
}

/// A number for each column.
fn way(kind: Kind, Extent { nodes, changes, .. }: Extent) -> Result<[f64; COLUMNS.len()]> {
    let mut cluster = Cluster::start(kind, nodes)?;
    let mut watch = Watch::new(cluster.nodes())?;
    let first = cluster.announced();
    watch.await_everywhere(first, Instant::now() + PATIENCE)?;
    let mut times = Vec::new();
    let before = cluster.usage()?;
    for _ in 0..changes {
        std::thread::park_timeout(PAUSE);
        let gone = cluster.announced();
        let begun = cluster.change()?;
        let arrivals = watch.await_change(cluster.announced(), gone, begun + PATIENCE)?;
        times.extend(arrivals.into_iter().map(|arrival| (arrival - begun).as_secs_f64() * 1000.0));
    }
    let used = cluster.usage()? - before;
    let [median, most, slowest] = spread(times).context("no change was seen")?;
    Ok([
        median,
        most,
        slowest,
        used.cpu_seconds * 1000.0 / f64::from(changes),
        share(used.switches, changes.into()),
    ])
}

/// The median, the one below which 99 of 100 are, and the largest.
fn spread(mut times: Vec<f64>) -> Option<[f64; 3]> {
    times.sort_by(f64::total_cmp);
    let last = times.len().checked_sub(1)?;
    Some([50, 99, 100].map(|share| times[(times.len() * share / 100).min(last)]))
}
