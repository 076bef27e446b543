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

const FLOOR: &str = "raw netlink: 256 a batch, next-hop objects";
const INLINE: &str = "raw netlink: 256 a batch, gateways in the routes";
const SCATTERED: &str = "raw netlink: 256 a batch, next-hop objects, scattered order";
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
    let names = [FLOOR, INLINE, SCATTERED, PROGRAMMER].into_iter().chain(learners.iter().map(Learner::name));
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
             have one again; and the first one's, until none is left. Processor time is that of the installation. {}.",
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
    let ratio = |statement: &str, column: &str, of: &str, to: &str, limit: f64| {
        let found = section.median(of, column)? / section.median(to, column)?;
        Some(Target { statement: statement.to_owned(), found, limit })
    };
    let wanted = [
        ratio("`muslin speaker` installs within 0.55 of BIRD 3's time", "install", SPEAKER, "BIRD 3", 0.55),
        ratio("and changes to two next hops within 0.55", "half to two next hops", SPEAKER, "BIRD 3", 0.55),
        ratio("and removes as fast as BIRD 2", "remove", SPEAKER, "BIRD 2", 1.0),
        ratio("with less processor time than BIRD 2", "processor", SPEAKER, "BIRD 2", 1.0),
        ratio("the programmer within 1.2 of the floor", "install", PROGRAMMER, FLOOR, 1.2),
        ratio("`muslin speaker` within 1.2 of the floor", "install", SPEAKER, FLOOR, 1.2),
    ];
    wanted.into_iter().flatten().collect()
}

/// The floors and the programmer, which know no peers.
fn libraries_alone(binaries: &Path, routes: u32, rows: &mut [Row]) -> Result<()> {
    let told =
        ask(Command::new(binaries.join("examples/program_routes")).args([routes.to_string(), "1".into()]))?;
    let told: Value = serde_json::from_str(&told).context("program_routes")?;
    for (row, column, name) in [
        (0, 0, "floorAddSeconds"),
        (0, 3, "floorDeleteSeconds"),
        (1, 0, "inlineFloorAddSeconds"),
        (1, 3, "inlineFloorDeleteSeconds"),
        (2, 0, "scatteredFloorAddSeconds"),
        (2, 3, "scatteredFloorDeleteSeconds"),
        (3, 0, "addSeconds"),
        (3, 3, "deleteSeconds"),
        (3, 4, "adoptSeconds"),
    ] {
        rows[row].values[column].push(told[name].as_f64().with_context(|| format!("{name} in {told}"))?);
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
    let asked = Instant::now();
    let doubled =
        while_sending(&mut second, &tables.second, || kernel::await_hops(host, routes, feeder::paths_of))?;
    let peak = running.usage()?.peak_mib;
    let lost_second = Instant::now();
    drop(second);
    let single = kernel::await_hops(host, routes, |_| 1)?;
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
