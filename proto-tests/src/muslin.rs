//! Our own binary, as any user runs it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::daemon::ask;

/// Where the binary under test is: `MUSLIN_BIN`, which `cargo xtask test` sets, or the newest build beside this test.
///
/// # Errors
/// When there is none.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("MUSLIN_BIN") {
        return Ok(path.into());
    }
    let test = std::env::current_exe()?;
    let profile = test.ancestors().nth(2).context("the folder of the build")?;
    let path = profile.join("muslin");
    ensure!(path.exists(), "there is no {}: run `cargo xtask test --tier interop`", path.display());
    Ok(path)
}

/// `muslin speaker` on a folder of manifests.
///
/// # Errors
/// When there is no binary.
pub fn speaker(state: &Path, run: &Path) -> Result<Command> {
    let mut command = Command::new(binary()?);
    command.arg("speaker").arg("--state").arg(state).arg("--run-dir").arg(run);
    Ok(command)
}

/// What `muslin routes received` prints for the speaker with this run folder.
///
/// # Errors
/// When it does not answer.
pub fn routes(run: impl AsRef<Path>) -> Result<String> {
    let socket = run.as_ref().join("muslin.sock");
    ask(Command::new(binary()?).args(["routes", "received", "--socket"]).arg(socket))
}
