//! `cargo xtask lint`: everything that is checked without running the product.

mod graph;
mod licences;
mod sources;

use anyhow::{Result, bail};

use crate::image;
use crate::manifests;
use crate::metadata::Metadata;
use crate::shell::{self, cargo};

/// What `cargo xtask lint` may be told.
#[derive(clap::Args, Default)]
pub(crate) struct Options {
    /// Reformat the sources and redraw the crate graph instead of complaining.
    #[arg(long)]
    fix: bool,
}

/// Runs every check; all complaints of the quick ones are shown together before the slow ones start.
pub(crate) fn run(options: &Options) -> Result<()> {
    let metadata = Metadata::read()?;
    if options.fix {
        shell::run(&mut cargo(["fmt", "--all"]))?;
        graph::redraw(&metadata)?;
    }
    let mut complaints = sources::check()?;
    complaints.extend(graph::check(&metadata)?);
    complaints.extend(licences::check(&metadata)?);
    complaints.extend(manifests::check()?);
    for complaint in &complaints {
        eprintln!("lint: {complaint}");
    }
    if !complaints.is_empty() {
        bail!("{} complaints", complaints.len());
    }
    shell::run(&mut cargo(["fmt", "--all", "--check"]))?;
    shell::run(&mut cargo(["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))?;
    image::check_arm64()?;
    let mut doc = cargo(["doc", "--workspace", "--no-deps", "--locked"]);
    shell::run(doc.env("RUSTDOCFLAGS", "-D warnings"))
}
