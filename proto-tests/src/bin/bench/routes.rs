//! Routes into the kernel: the kernel's own floor, our programmer, and whole speakers that learn them from a peer.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};
use muslin_netns::Namespace;
use muslin_proto_tests::daemon::{Process, ask, write_configuration};
use muslin_proto_tests::feeder::{self, ADDRESS, ASN, CANDIDATE, CANDIDATE_ASN};
use muslin_proto_tests::kernel::{self, Usage};
use muslin_proto_tests::wire;
use serde_json::Value;

use crate::report::{Column, Row, Samples, Section, Target};

const FLOOR: &str = "raw netlink: 256 a batch, next-hop objects";
const PROGRAMMER: &str = "Muslin's route programmer";
const SPEAKER: &str = "`muslin speaker`";
const BIRD: &str = "BIRD";

const COLUMNS: [Column; 5] = [
    Column { name: "install", unit: "s" },
    Column { name: "remove", unit: "s" },
    Column { name: "adopt after a restart", unit: "s" },
    Column { name: "processor", unit: "s" },
    Column { name: "peak memory", unit: "MiB" },
];

/// A daemon that learns from the feeder.
#[derive(Clone, Copy)]
enum Daemon {
    Muslin,
    Bird,
}

pub(crate) fn measure(binaries: &Path, routes: u32, runs: usize) -> Result<Section> {
    let table = feeder::encode(routes);
    let [mut floor, mut programmer, mut muslin, mut bird]: [Vec<Samples>; 4] =
        std::array::from_fn(|_| vec![Samples::default(); COLUMNS.len()]);
    for run in 1..=runs {
        eprintln!("run {run} of {runs}");
        let library = ask(
            Command::new(binaries.join("examples/program_routes")).args([routes.to_string(), "1".into()])
        )?;
        let library: Value = serde_json::from_str(&library).context("program_routes")?;
        let seconds = |name: &str| library[name].as_f64().with_context(|| format!("{name} in {library}"));
        floor[0].push(seconds("floorAddSeconds")?);
        programmer[0].push(seconds("addSeconds")?);
        programmer[1].push(seconds("deleteSeconds")?);
        programmer[2].push(seconds("adoptSeconds")?);
        learn(Daemon::Bird, &table, routes, &mut bird).context("BIRD")?;
        learn(Daemon::Muslin, &table, routes, &mut muslin).context("Muslin")?;
    }
    let row = |name: &str, values| Row { name: name.to_owned(), values };
    let mut section = Section {
        title: "Routes into the kernel",
        method: format!(
            "{routes} IPv4 routes of 24 bits over 16 next hops, {runs} repetitions. The floor is encoded beforehand and \
             knows nothing; the programmer is handed the same routes through its API; the speakers learn them from a \
             peer: the time runs from the first octet sent until the kernel has the last route, and for the removal from \
             the loss of the peer until none is left."
        ),
        columns: COLUMNS.to_vec(),
        rows: vec![row(FLOOR, floor), row(PROGRAMMER, programmer), row(SPEAKER, muslin), row(BIRD, bird)],
        targets: vec![],
        notes: vec![],
    };
    let install = |name: &str| section.median(name, "install").with_context(|| name.to_owned());
    let (floor, ours, speaker, bird) =
        (install(FLOOR)?, install(PROGRAMMER)?, install(SPEAKER)?, install(BIRD)?);
    let target = |statement: &str, found, limit| Target { statement: statement.to_owned(), found, limit };
    section.targets = vec![
        target("`muslin speaker` faster than BIRD (ratio below 1)", speaker / bird, 1.0),
        target("the programmer within 1.7 of the floor", ours / floor, 1.7),
        target("`muslin speaker` within 1.7 of the floor", speaker / floor, 1.7),
    ];
    Ok(section)
}

/// Has a daemon learn the table, and lose it again.
fn learn(daemon: Daemon, table: &[u8], routes: u32, samples: &mut [Samples]) -> Result<()> {
    let (host, testers) = feeder::hosts()?;
    let process = match daemon {
        Daemon::Muslin => feeder::start_muslin(&host)?,
        Daemon::Bird => start_bird(&host)?,
    };
    let mut peer = feeder::await_session(&testers, &process)?;
    // A speaker that has just started waits for its peers before it believes that it knows all routes.
    peer.send(&wire::update(&[], &[], &[]))?;
    if let Daemon::Muslin = daemon {
        feeder::await_convergence(&process)?;
    }
    let before = Usage::of(process.id())?;
    let begun = Instant::now();
    let installed = std::thread::scope(|scope| {
        // It blocks when the candidate is slow.
        let sending = scope.spawn(|| peer.send(table));
        let installed = kernel::await_all(&host, routes);
        sending.join().map_err(|_| anyhow::anyhow!("the feeder panicked"))??;
        installed.with_context(|| process.log().unwrap_or_default())
    })?;
    samples[0].push((installed - begun).as_secs_f64());
    let after = Usage::of(process.id())?;
    samples[3].push(after.cpu_seconds - before.cpu_seconds);
    samples[4].push(after.peak_mib);
    let lost = Instant::now();
    drop(peer);
    samples[1].push((kernel::await_none(&host, routes)? - lost).as_secs_f64());
    Ok(())
}

fn start_bird(host: &Namespace) -> Result<Process> {
    let folder = Process::folder()?;
    let text = format!(
        "log stderr all;\nrouter id {CANDIDATE};\nprotocol device {{}}\n\
         protocol direct {{ ipv4; }}\n\
         protocol kernel {{ ipv4 {{ import none; export where source = RTS_BGP; }}; scan time 600; }}\n\
         protocol bgp feeder {{ local {CANDIDATE} as {CANDIDATE_ASN}; neighbor {ADDRESS} as {ASN}; passive; \
         ipv4 {{ import all; export none; }}; }}\n"
    );
    write_configuration(&folder.path().join("bird.conf"), &text)?;
    let mut command = Command::new("/usr/sbin/bird");
    command.args(["-f", "-c", "bird.conf", "-s", "control"]);
    Process::start(host, folder, &mut command)
}
