//! `cargo xtask bench`: builds what is measured and hands over to the program that measures.

use anyhow::Result;

use crate::metadata::Metadata;
use crate::packages::{self, BIRD, CNI_PLUGINS, GOBGP};
use crate::shell::{self, cargo, command, workspace};

/// What `cargo xtask bench` may be told.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Few repetitions of small problems; nothing is written.
    #[arg(long)]
    quick: bool,
    /// Measure only `lab`, `cni`, `routes` or `sizes`; may be given several times. Nothing is written.
    #[arg(long)]
    only: Vec<String>,
}

/// Measures everything and writes `docs/benchmarks.md` and `docs/benchmarks.json`, unless only a part is asked for.
pub(crate) fn run(options: &Options) -> Result<()> {
    packages::require(&[BIRD, CNI_PLUGINS, GOBGP])?;
    let release = |what: &[&str]| shell::run(cargo(["build", "--release", "--locked"]).args(what));
    release(&["--package", "muslin"])?;
    release(&["--package", "muslin-route-programmer", "--example", "program_routes"])?;
    release(&["--package", "muslin-proto-tests", "--bin", "bench"])?;
    let binaries = Metadata::read()?.target_directory.join("release");
    let mut bench = command(binaries.join("bench"));
    bench.env("MUSLIN_BIN", binaries.join("muslin")).arg("--binaries").arg(&binaries);
    bench.args(options.only.iter().flat_map(|subject| ["--only", subject]));
    if options.quick {
        bench.arg("--quick");
    }
    if !options.quick && options.only.is_empty() {
        bench.arg("--write").arg(workspace().join("docs"));
    }
    shell::run(&mut bench)
}
