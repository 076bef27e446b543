//! `cargo xtask bench`: builds what is measured and hands over to the program that measures.

mod paths;

use std::path::PathBuf;

use anyhow::{Result, ensure};

use crate::image;
use crate::metadata::Metadata;
use crate::packages::{self, BIRD, CNI_PLUGINS, ETCD, FRR, GOBGP, IPROUTE, NFTABLES, OPENBGPD};
use crate::shell::{self, cargo, command, workspace};

/// What `cargo xtask bench` may be told.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// One repetition of small problems, five minutes at most; nothing is written.
    #[arg(long)]
    quick: bool,
    /// Measure only `lab`, `cni` (S9), `routes` (S5), `sizes`, of the speaker `s1`, `s2`, `s3`, `s3b`, `s3c`,
    /// `establish`, `s4`, `s4m`, `s4s`, `s6`, `s7`, or with four sizes `s1g` to `s4g`, a reflector and an agent by their cluster's size
    /// with `sizing`, or of the whole `s7w`, `s8`, `scale` or `s10`; may be given several times. Nothing is written without
    /// `--write`.
    #[arg(long)]
    only: Vec<String>,
    /// Only the hot paths without sockets, in nanoseconds a prefix or route, beside their instructions. Nothing is written.
    #[arg(long, conflicts_with_all = ["quick", "only", "size", "runs", "table", "write", "with"])]
    paths: bool,
    /// Prefixes or clients, instead of those of the scenario (S1 to S7).
    #[arg(long)]
    size: Option<u32>,
    /// Repetitions, instead of the usual ones (S1 to S7).
    #[arg(long)]
    runs: Option<u32>,
    /// A decompressed MRT dump for S1, in place of a table that looks like the Internet's. Nothing is written.
    #[arg(long)]
    table: Option<PathBuf>,
    /// Write what was measured into the page though it is not all of it.
    #[arg(long)]
    write: bool,
    /// Only this contender, e.g. `muslin` or `bird3`; may be given several times (S1 to S7). Nothing is written.
    #[arg(long)]
    with: Vec<String>,
}

/// Measures everything and writes `docs/benchmarks.md` and `docs/benchmarks.json`, unless only a part is asked for.
pub(crate) fn run(options: &Options) -> Result<()> {
    if options.paths {
        return paths::run();
    }
    packages::require(&[BIRD, CNI_PLUGINS, ETCD, FRR, GOBGP, IPROUTE, NFTABLES, OPENBGPD])?;
    // All in one go and of the whole workspace: one set of features, so that nothing is built twice.
    let programs = [
        "--bin",
        "muslin",
        "--bin",
        "muslin-cni",
        "--bin",
        "bench",
        "--bin",
        "relay",
        "--example",
        "program_routes",
    ];
    shell::run(cargo(["build", "--release", "--locked", "--workspace"]).args(programs))?;
    let binaries = Metadata::read()?.target_directory.join("release");
    let mut bench = command(binaries.join("bench"));
    bench.env("MUSLIN_BIN", binaries.join("muslin")).arg("--binaries").arg(&binaries);
    bench.args(options.only.iter().flat_map(|subject| ["--only", subject]));
    let everybody_is_idle = options.only.is_empty() || options.only.iter().any(|subject| subject == "s6");
    if everybody_is_idle && options.with.is_empty() && !options.quick {
        // What users run is built otherwise than what is measured, and smaller: S6 has both.
        bench.env("MUSLIN_IMAGE_PROGRAM", image::program_given_away()?);
    }
    if shell::is_root() {
        bench.env("MUSLIN_LATER_DAEMONS", packages::later::require(&packages::later::SPEAKERS)?);
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
    if let Some(table) = &options.table {
        bench.arg("--table").arg(table);
    }
    if options.quick {
        bench.arg("--quick");
    }
    // What is written is always of the whole problem, and with everybody.
    let usual =
        options.with.is_empty() && options.size.is_none() && options.table.is_none() && !options.quick;
    ensure!(usual || !options.write, "only the usual problems are written, with everybody in them");
    if usual && (options.only.is_empty() || options.write) {
        bench.arg("--write").arg(workspace().join("docs"));
    }
    shell::run(&mut bench)
}
