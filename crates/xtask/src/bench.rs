//! `cargo xtask bench`: builds what is measured and hands over to the program that measures.

use anyhow::Result;

use crate::metadata::Metadata;
use crate::packages::{self, BIRD, CNI_PLUGINS, FRR, GOBGP, OPENBGPD};
use crate::shell::{self, cargo, command, workspace};

/// What `cargo xtask bench` may be told.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Few repetitions of small problems; nothing is written.
    #[arg(long)]
    quick: bool,
    /// Measure only `lab`, `cni`, `routes`, `sizes`, or of the speaker `s1`, `s2`, `s3`, `s3b`, `s3c`, `s4`, `s4m`, `s4s`,
    /// `s6` or `s7`; may be given several times. Nothing is written.
    #[arg(long)]
    only: Vec<String>,
    /// Prefixes or clients, instead of those of the scenario (S1 to S7).
    #[arg(long)]
    size: Option<u32>,
    /// Repetitions, instead of the usual ones (S1 to S7).
    #[arg(long)]
    runs: Option<u32>,
    /// Only this contender, e.g. `muslin` or `bird3`; may be given several times (S1 to S7). Nothing is written.
    #[arg(long)]
    with: Vec<String>,
}

/// Measures everything and writes `docs/benchmarks.md` and `docs/benchmarks.json`, unless only a part is asked for.
pub(crate) fn run(options: &Options) -> Result<()> {
    packages::require(&[BIRD, CNI_PLUGINS, FRR, GOBGP, OPENBGPD])?;
    let release = |what: &[&str]| shell::run(cargo(["build", "--release", "--locked"]).args(what));
    release(&["--package", "muslin"])?;
    release(&["--package", "muslin-route-programmer", "--example", "program_routes"])?;
    release(&["--package", "muslin-proto-tests", "--bin", "bench"])?;
    let binaries = Metadata::read()?.target_directory.join("release");
    let mut bench = command(binaries.join("bench"));
    bench.env("MUSLIN_BIN", binaries.join("muslin")).arg("--binaries").arg(&binaries);
    bench.args(options.only.iter().flat_map(|subject| ["--only", subject]));
    if shell::is_root() {
        bench.env("MUSLIN_LATER_DAEMONS", packages::later::require()?);
    } else {
        println!(
            "not root: others are measured as installed, and those that change to users of their own not at all"
        );
    }
    bench.args(options.with.iter().flat_map(|name| ["--with", name]));
    for (option, number) in [("--size", options.size), ("--runs", options.runs)] {
        if let Some(number) = number {
            bench.arg(option).arg(number.to_string());
        }
    }
    if options.quick {
        bench.arg("--quick");
    }
    let whole = options.only.is_empty() && options.with.is_empty() && options.size.is_none();
    if whole && !options.quick {
        bench.arg("--write").arg(workspace().join("docs"));
    }
    shell::run(&mut bench)
}
