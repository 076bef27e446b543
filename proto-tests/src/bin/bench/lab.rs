//! The lab: how soon a cluster that starts from nothing forwards packets, and what an agent costs.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use muslin_proto_tests::daemon::ask;
use serde_json::Value;

use crate::report::{Column, Row, Samples, Section, Target};

pub(crate) fn measure(binaries: &Path, runs: usize) -> Result<Section> {
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
    let targets = vec![
        Target { statement: "convergence below 2 s".to_owned(), found: found(&convergence)?, limit: 2.0 },
        Target { statement: "an agent below 15 MiB".to_owned(), found: found(&memory)?, limit: 15.0 },
    ];
    Ok(Section {
        title: "The lab",
        method: format!(
            "`muslin lab` with three nodes, two pods each, {runs} repetitions: from the start of the agents to \
             {waited_for}. Memory is the largest agent's resident set after all proofs."
        ),
        columns: vec![
            Column { name: "convergence", unit: "s" },
            Column { name: "resident memory of an agent", unit: "MiB" },
        ],
        rows: vec![Row { name: "`muslin lab`".to_owned(), values: vec![convergence, memory] }],
        targets,
        notes: vec![],
        plot: None,
    })
}
