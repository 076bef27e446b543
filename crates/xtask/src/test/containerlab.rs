//! The containerlab tier: the topologies of `containerlab/`, deployed by the real program on a Docker engine of their
//! own, verified with real packets, broken on purpose to see the verification fail, and destroyed.
//!
//! ```text
//! xtask test ── builds what is needed, holds the folder ── xtask containerlab, in namespaces of its own ── dockerd
//! ```
//! The inner one has mount, process and network namespaces of its own: whatever happens in it, the machine's network,
//! `/etc` and processes are as before, and the kernel ends every container with it.

mod engine;
mod fault;
pub(super) mod program;
mod scenario;
pub(crate) mod sweep;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use self::engine::Engine;
use self::scenario::{SCENARIOS, VALIDATED};
use self::sweep::Sweeper;
use super::Tier;
use super::ahead::Ahead;
use crate::metadata::Metadata;
use crate::packages::{self, BIRD, DOCKER, FRR, GOBGP, IPROUTE, JQ, PING, STRACE};
use crate::shell::{self, Count, Enter, cargo};

/// A test of the package with `muslin` and `muslin-cni`: they are built with it.
const PROGRAMS_OF: &str = "netns_topology";

/// What the part inside is told by the part outside.
#[derive(clap::Args)]
pub(crate) struct Inside {
    /// An empty folder for everything that is written.
    #[arg(long)]
    folder: PathBuf,
    /// Folder of the `muslin` and `muslin-cni` programs.
    #[arg(long)]
    programs: PathBuf,
    /// The containerlab program.
    #[arg(long)]
    containerlab: PathBuf,
    /// Control group below which containers are put.
    #[arg(long)]
    cgroup: String,
}

/// Runs every scenario. Each verification, and each fault that has to be noticed, counts as a test.
pub(super) fn run(count: &mut Count, ahead: &mut Ahead) -> Result<()> {
    packages::require(&[DOCKER, STRACE, JQ, IPROUTE, PING, BIRD, FRR, GOBGP])?;
    if !shell::is_root() {
        bail!("a Docker engine needs root: sudo cargo xtask test --tier containerlab");
    }
    ahead.wait(Tier::Containerlab)?;
    let containerlab = program::require()?;
    // The programs as the tests of the other tiers have them: `cargo build` would choose other features, and build all
    // that they depend on once more.
    shell::run(&mut cargo(["test", "--workspace", "--locked", "--no-run", "--test", PROGRAMS_OF]))?;
    let folder = tempfile::Builder::new().prefix("muslin-clab-").tempdir()?;
    let cgroup = format!("muslin-containerlab-{}", std::process::id());
    // Before anything that may be left: it is also there if this process is killed.
    let sweeper = Sweeper::start(folder.path(), &cgroup)?;
    let mut inside = Command::new(std::env::current_exe()?);
    inside.arg("containerlab").arg("--folder").arg(folder.path());
    inside.arg("--programs").arg(Metadata::read()?.target_directory.join("debug"));
    inside.arg("--containerlab").arg(containerlab).arg("--cgroup").arg(&cgroup);
    let result = shell::run_tests(&mut Enter::wrap(&inside)?, count);
    drop(sweeper);
    result
}

impl Inside {
    /// The part that runs in the namespaces; its last line is that of a test harness.
    pub(crate) fn run(&self) -> Result<()> {
        let engine = Engine::start(&self.folder, &self.cgroup, &self.containerlab)?;
        let start = Instant::now();
        let mut images = engine.command(shell::workspace().join("containerlab/images/local.sh"));
        engine::quietly(images.arg(&self.programs))?;
        println!("images made in {:.1} s", start.elapsed().as_secs_f64());
        // Faults are made by editing, and containerlab writes beside the topology.
        let topologies = self.folder.join("topologies");
        copy(&shell::workspace().join("containerlab"), &topologies)?;

        let mut count = Count::default();
        let mut failures = Vec::new();
        for name in VALIDATED.iter().copied().chain(SCENARIOS.iter().map(|scenario| scenario.name)) {
            record(&mut count, &mut failures, name, engine.validate(&topologies.join(name)));
        }
        for scenario in SCENARIOS {
            scenario.run(&engine, &topologies.join(scenario.name), &mut |what, result| {
                record(&mut count, &mut failures, &format!("{} {what}", scenario.name), result);
            });
        }
        drop(engine);
        let verdict = if failures.is_empty() { "ok" } else { "FAILED" };
        println!("test result: {verdict}. {} passed; {} failed;", count.passed, count.failed);
        if !failures.is_empty() {
            bail!("{}", failures.join("; "));
        }
        Ok(())
    }
}

fn record(count: &mut Count, failures: &mut Vec<String>, what: &str, result: Result<String>) {
    match result {
        Ok(said) => {
            count.passed += 1;
            println!("{what}: {said}");
        }
        Err(error) => {
            count.failed += 1;
            eprintln!("FAILED {what}: {error:#}");
            failures.push(what.to_owned());
        }
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
