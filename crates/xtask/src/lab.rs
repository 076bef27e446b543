//! `cargo lab`: the product from this source, and in it `muslin lab`.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::metadata::Metadata;
use crate::shell::{self, cargo};

/// What `muslin lab` is told.
#[derive(clap::Args)]
pub(crate) struct Lab {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

impl Lab {
    /// Builds and becomes it. `cargo run` would not do: it builds the one program, and pods need the plugin too.
    pub(crate) fn run(&self) -> Result<ExitCode> {
        let program = build()?;
        let error = Command::new(&program).arg("lab").args(&self.arguments).exec();
        Err(error).with_context(|| format!("{} could not be started", program.display()))
    }
}

/// Builds the product once, as a release, and says where the binary is.
pub(crate) fn build() -> Result<PathBuf> {
    // Of the whole workspace, as the benchmarks have them: another choice of features would build everything once more.
    let programs = ["--bin", "muslin", "--bin", "muslin-cni"];
    shell::run(cargo(["build", "--release", "--locked", "--workspace"]).args(programs))?;
    Ok(Metadata::read()?.target_directory.join("release/muslin"))
}
