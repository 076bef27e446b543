//! The lab tier: the main job, in each shape, as root and as anybody.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::metadata::Metadata;
use crate::packages::{self, BIRD, FRR};
use crate::shell::{self, Count, cargo};

/// Builds the product once, as `cargo lab` does, and says where the binary is.
pub(super) fn build(metadata: &Metadata) -> Result<PathBuf> {
    shell::run(&mut cargo(["build", "--release", "--locked", "--package", "muslin"]))?;
    Ok(metadata.target_directory.join("release/muslin"))
}

/// Runs every shape of the lab.
pub(super) fn run(_count: &mut Count) -> Result<()> {
    packages::require(&[BIRD, FRR])?;
    bail!("not there yet")
}
