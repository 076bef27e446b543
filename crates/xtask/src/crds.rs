//! Writes the definitions of Muslin's resources from the types that read them.

use anyhow::ensure;
use std::process::Command;

/// Options of `cargo xtask crds`.
#[derive(clap::Args)]
pub(crate) struct Options {}

/// The test that compares the files with the types writes them when it is asked to: there is one generator.
pub(crate) fn run(_: &Options) -> anyhow::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let test =
        ["test", "--quiet", "-p", "muslin-cluster", "--lib", "the_files_in_deploy_are_made_from_these_types"];
    let status = Command::new(cargo).args(test).env("UPDATE", "1").status()?;
    ensure!(status.success(), "the definitions could not be written");
    println!("deploy/crds holds the definitions");
    Ok(())
}
