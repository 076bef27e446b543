//! S5, routes into the kernel: the kernel's own floor, our programmer, and whole speakers that learn them from peers.

mod learner;

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};
use muslin_netns::Namespace;
use muslin_proto_tests::daemon::ask;
use muslin_proto_tests::kernel;
use muslin_proto_tests::tester::Tester;
use muslin_proto_tests::{feeder, wire};
use serde_json::Value;

use self::learner::{Learner, Running};
use crate::report::{Column, Row, Samples, Section, Target};

/// The one that counts: in ascending order, the kernel halves the nodes of its table over and over.
const FLOOR: &str = "raw netlink: 256 a batch, next-hop objects, scattered order";
/// What whoever notices others' changes has to pay: the kernel tells of every route.
const WATCHED: &str = "the same, beside a socket that is told of routes and drops it";
const ASCENDING: &str = "raw netlink: 256 a batch, next-hop objects, ascending order";
const GATEWAYS: &str = "raw netlink: 256 a batch, gateways in the routes, ascending order";
const PROGRAMMER: &str = "Muslin's route programmer";
const SPEAKER: &str = "`muslin speaker`";

const COLUMNS: [Column; 7] = [
    Column { name: "install", unit: "s" },
    Column { name: "half to two next hops", unit: "s" },
    Column { name: "back to one", unit: "s" },
    Column { name: "remove", unit: "s" },
    Column { name: "adopt after a restart", unit: "s" },
    Column { name: "processor", unit: "s" },
    Column { name: "peak memory", unit: "MiB" },
];

/// What the feeders send.
struct Tables {
    routes: u32,
    first: Vec<u8>,
    second: Vec<u8>,
}

pub(crate) fn measure(binaries: &Path, routes: u32, runs: usize) -> Result<Section> {
    let tables = Tables { routes, first: feeder::encode(routes), second: feeder::encode_half(routes) };
    let learners = Learner::all();
    let names = [FLOOR, WATCHED, ASCENDING, GATEWAYS, PROGRAMMER]
        .into_iter()
        .chain(learners.iter().map(Learner::name));
    let mut rows: Vec<Row> = names
        .map(|name| Row { name: name.to_owned(), values: vec![Samples::default(); COLUMNS.len()] })
        .collect();
    let libraries = rows.len() - learners.len();
    let mut notes: Vec<Option<String>> = vec![None; learners.len()];
    for run in 0..runs {
        eprintln!("run {} of {runs}", run + 1);
        libraries_alone(binaries, routes, &mut rows)?;
        for turn in 0..learners.len() {
            let place = (run + turn) % learners.len();
            if notes[place].is_some() {
                continue;
            }
            let learner = &learners[place];
            eprintln!("{}", learner.name());
            if let Err(error) = learn(learner, &tables, &mut rows[libraries + place].values) {
                eprintln!("{}: {error:#}", learner.name());
                notes[place] = Some(format!("{} failed: {}", learner.name(), error.root_cause()));
            }
        }
    }
    let settings: Vec<String> = learners.iter().filter_map(Learner::settings).collect();
    let mut section = Section {
        title: "S5: routes into the kernel",
        method: format!(
            "{routes} IPv4 routes of 24 bits over 16 next hops, {runs} repetitions. The floors are encoded beforehand and \
             know nothing; the programmer is handed the same routes through its API; the speakers learn them from a \
             peer: from the first octet sent until the kernel has the last route. Then another peer announces half of \
             them over 16 other next hops, until the kernel has exactly those with two; its connection closes, until all \
             have one again; and the first one's, until none is left. A few hundred routes from all over the table are \
             asked of the kernel one after the other, one question a millisecond while one is wrong; when all are right, \
             the clock stops and the gateways of all routes are compared. The floors and the programmer are given the \
             same changes. Processor time is that of the installation. {}.",
            settings.join("; ")
        ),
        columns: COLUMNS.to_vec(),
        rows,
        targets: vec![],
        notes: notes.into_iter().flatten().collect(),
        plot: None,
    };
    section.targets = targets(&section);
    Ok(section)
}

fn targets(section: &Section) -> Vec<Target> {
    let is_rival = |name: &str| ![FLOOR, WATCHED, ASCENDING, GATEWAYS, PROGRAMMER].contains(&name);
    let to_best = |column: &str, limit: f64| {
        let (found, best) = section.worst_to_best(SPEAKER, column, is_rival)?;
        let statement = format!("{SPEAKER}, {column}: worst at most {limit:.2} of {best}'s median");
        Some(Target { statement, found, limit })
    };
    let to_floor = |ours: &str, column: &str, limit: f64| {
        let (found, _) = section.worst_to_best(ours, column, |name| name == FLOOR)?;
        let statement =
            format!("{ours}, {column}: worst at most {limit:.2} of the floor's median, scattered order");
        Some(Target { statement, found, limit })
    };
    let [install, double, _, remove, _, processor, _] = COLUMNS.map(|column| column.name);
    let wanted = [
        to_best(install, 0.55),
        to_best(double, 0.55),
        to_best(remove, 1.0),
        to_best(processor, 1.0),
        to_floor(PROGRAMMER, install, 1.2),
        to_floor(PROGRAMMER, double, 1.2),
        to_floor(SPEAKER, install, 1.2),
        to_floor(SPEAKER, double, 1.2),
    ];
    wanted.into_iter().flatten().collect()
}

/// The floors and the programmer, which know no peers.
fn libraries_alone(binaries: &Path, routes: u32, rows: &mut [Row]) -> Result<()> {
    let told =
        ask(Command::new(binaries.join("examples/program_routes")).args([routes.to_string(), "1".into()]))?;
    let told: Value = serde_json::from_str(&told).context("program_routes")?;
    for (name, row) in ["scattered", "watched", "ascending", "gateways", "programmer"].into_iter().zip(rows) {
        let columns = ["add", "double", "single", "delete", "adopt"];
        // Floors adopt nothing.
        let columns = columns.iter().filter(|column| **column != "adopt" || row.name == PROGRAMMER);
        for (column, samples) in columns.zip(&mut row.values) {
            samples.push(told[name][column].as_f64().with_context(|| format!("{column} in {told}"))?);
        }
    }
    Ok(())
}

/// Has a speaker learn the table, hear of more ways for half of it, and lose both again.
fn learn(learner: &Learner, tables: &Tables, samples: &mut [Samples]) -> Result<()> {
    let (host, testers) = feeder::hosts()?;
    let running = learner.start(&host)?;
    let told = exchange(learner, &running, (&host, &testers), tables);
    let values = told.with_context(|| running.speaker.log().unwrap_or_default())?;
    for (column, value) in values {
        samples[column].push(value);
    }
    Ok(())
}

fn exchange(
    learner: &Learner,
    running: &Running,
    (host, testers): (&Namespace, &Namespace),
    tables: &Tables,
) -> Result<Vec<(usize, f64)>> {
    let routes = tables.routes;
    let mut first = feeder::await_session(testers, &running.speaker)?;
    let mut second = feeder::establish_second(testers)?;
    // A speaker that has just started waits for its peers before it believes that it knows all routes.
    first.send(&wire::update(&[], &[], &[]))?;
    second.send(&wire::update(&[], &[], &[]))?;
    if let Learner::Muslin = learner {
        feeder::await_convergence(&running.speaker)?;
    }
    let before = running.usage()?;
    let begun = Instant::now();
    let installed = while_sending(&mut first, &tables.first, || kernel::await_all(host, routes))?;
    let after = running.usage()?;
    // So many are there; that they are the right ones has no part in the time.
    kernel::await_gateways(host, routes, feeder::gateways_of_first)?;
    let asked = Instant::now();
    let doubled = while_sending(&mut second, &tables.second, || {
        kernel::await_gateways(host, routes, feeder::gateways_of_both)
    })?;
    let peak = running.usage()?.peak_mib;
    let lost_second = Instant::now();
    drop(second);
    let single = kernel::await_gateways(host, routes, feeder::gateways_of_first)?;
    let lost = Instant::now();
    drop(first);
    let removed = kernel::await_none(host, routes)?;
    Ok(vec![
        (0, (installed - begun).as_secs_f64()),
        (1, (doubled - asked).as_secs_f64()),
        (2, (single - lost_second).as_secs_f64()),
        (3, (removed - lost).as_secs_f64()),
        (5, after.cpu_seconds - before.cpu_seconds),
        (6, peak),
    ])
}

/// Sending blocks when the speaker is slow.
fn while_sending(
    peer: &mut Tester,
    table: &[u8],
    await_it: impl FnOnce() -> Result<Instant>,
) -> Result<Instant> {
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| peer.send(table));
        let seen = await_it();
        sending.join().map_err(|_| anyhow::anyhow!("the feeder panicked"))??;
        seen
    })
}
