//! The lab: how soon a cluster that starts from nothing forwards packets, what an agent costs, and how soon a whole
//! Kubernetes is up.

use std::io::{BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use muslin_kubernetes_lab::{KUBERNETES, Programs};
use muslin_proto_tests::daemon::ask;
use serde::Deserialize;
use serde_json::Value;

use crate::report::{Column, Row, Samples, Section, Target};

const COLUMNS: [Column; 4] = [
    Column { name: "convergence", unit: "s" },
    Column { name: "resident memory of an agent", unit: "MiB" },
    Column { name: "up", unit: "s" },
    Column { name: "gone again", unit: "s" },
];

/// How often each is measured.
#[derive(Clone, Copy)]
pub(crate) struct Extent {
    pub(crate) runs: usize,
    /// With Kubernetes.
    pub(crate) clusters: usize,
}

pub(crate) fn measure(binaries: &Path, extent: Extent) -> Result<Section> {
    let Extent { runs, clusters } = extent;
    let (mut convergence, mut memory, mut waited_for) =
        (Samples::default(), Samples::default(), String::new());
    for _ in 0..runs {
        let report = ask(Command::new(binaries.join("muslin")).args(["lab", "--output", "json"]))?;
        let report: Value = serde_json::from_str(&report).context("muslin lab")?;
        convergence.push(report["convergence"]["seconds"].as_f64().context("convergence")?);
        report["convergence"]["waitedFor"].as_str().unwrap_or_default().clone_into(&mut waited_for);
        let nodes = report["nodes"].as_array().context("nodes")?.iter();
        let bytes = nodes.filter_map(|node| node["agentResidentBytes"].as_f64()).fold(0.0, f64::max);
        memory.push(bytes / (1024.0 * 1024.0));
    }
    let found = |samples: &Samples| samples.median().context("no run");
    let mut targets = vec![
        Target { statement: "convergence below 2 s".to_owned(), found: found(&convergence)?, limit: 2.0 },
        Target { statement: "an agent below 15 MiB".to_owned(), found: found(&memory)?, limit: 15.0 },
    ];
    let none = Samples::default;
    let mut rows =
        vec![Row { name: "`muslin lab`".to_owned(), values: vec![convergence, memory, none(), none()] }];
    let mut method = format!(
        "`muslin lab` with three nodes, two pods each, {runs} repetitions: from the start of the agents to \
         {waited_for}. Memory is the largest agent's resident set after all proofs."
    );
    if let Some(reason) = lacks().filter(|_| clusters > 0) {
        eprintln!("SKIPPED: muslin lab --kubernetes: {reason}");
    } else if clusters > 0 {
        let [mut up, mut gone] = [none(), none()];
        for _ in 0..clusters {
            let cluster = cluster(binaries)?;
            up.push(cluster[0]);
            gone.push(cluster[1]);
        }
        let statement = "Kubernetes up below 60 s, at worst".to_owned();
        targets.push(Target { statement, found: up.largest().context("no run")?, limit: 60.0 });
        rows.push(Row {
            name: "`muslin lab --kubernetes`".to_owned(),
            values: vec![none(), none(), up, gone],
        });
        method.push_str(&format!(
            " With Kubernetes {KUBERNETES}, whose programs are there, and three nodes, {clusters} repetitions: from the \
             start of the command until it says that the cluster is up, which is when all nodes are ready and its DNS is \
             available; and from then until it has removed everything."
        ));
    }
    Ok(Section {
        title: "The lab",
        method,
        columns: COLUMNS.to_vec(),
        rows,
        targets,
        notes: vec![],
        plot: None,
    })
}

/// Why a cluster cannot be started here, if so.
fn lacks() -> Option<String> {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    // An ordinary user is root in a namespace where one number is mapped.
    if map.split_whitespace().nth(2) == Some("1") {
        return Some("kubelets need root".to_owned());
    }
    Programs::built().err().map(|error| error.to_string())
}

/// Of what a cluster says when it is up.
#[derive(Deserialize)]
struct Report {
    holds: bool,
}

/// Seconds until a cluster is up, and until it is gone again.
fn cluster(binaries: &Path) -> Result<[f64; 2]> {
    let mut lab = Command::new(binaries.join("muslin"));
    lab.args(["lab", "--kubernetes", "--output", "json"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let begun = Instant::now();
    let mut lab = lab.spawn().context("muslin lab")?;
    let mut said = BufReader::new(lab.stdout.take().context("its output")?);
    // The report ends there; the output does only with the process.
    let report = serde_json::Deserializer::from_reader(&mut said).into_iter::<Report>().next();
    let up = begun.elapsed().as_secs_f64();
    said.read_to_end(&mut Vec::new())?;
    let status = lab.wait()?;
    let is_up = matches!(report, Some(Ok(Report { holds: true })));
    ensure!(is_up && status.success(), "muslin lab --kubernetes: {status}, and it did not say that it is up");
    Ok([up, begun.elapsed().as_secs_f64() - up])
}
