//! Our own binary, as any user runs it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use muslin_netns::Namespace;
use serde_json::Value;

use crate::daemon::{Process, ask};

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
    Ok(speaker_by(&binary()?, state, run))
}

/// As [`speaker`], with this binary.
pub fn speaker_by(binary: &Path, state: &Path, run: &Path) -> Command {
    let mut command = Command::new(binary);
    command.arg("speaker").arg("--state").arg(state).arg("--run-dir").arg(run);
    command
}

/// A running `muslin speaker` with these manifests, whose socket is there.
///
/// # Errors
/// When it does not start; with its log.
pub fn start_speaker(host: &Namespace, manifests: &str) -> Result<Process> {
    let folder = Process::folder()?;
    let state = folder.path().join("state");
    fs::create_dir(&state)?;
    fs::write(state.join("all.yaml"), manifests)?;
    let mut command = speaker(&state, folder.path())?;
    let mut process = Process::start(host, folder, &mut command)?;
    process.await_file("muslin.sock")?;
    Ok(process)
}

/// Gives a speaker that [`start_speaker`] started other manifests.
///
/// # Errors
/// When they cannot be written.
pub fn reconfigure(speaker: &Process, manifests: &str) -> Result<()> {
    // Not to be seen half-written.
    let new = speaker.path(".all.new");
    fs::write(&new, manifests)?;
    Ok(fs::rename(new, speaker.path("state").join("all.yaml"))?)
}

/// What a command of ours says in JSON of the speaker with this process; `muslin peers` fails where a peer is not well
/// and says it all the same.
///
/// # Errors
/// When nothing is said that can be read.
pub fn ask_json(speaker: &Process, words: &[&str]) -> Result<Value> {
    let mut command = Command::new(binary()?);
    command.args(words).args(["--output", "json", "--socket"]).arg(speaker.path("muslin.sock"));
    let output = command.stdin(Stdio::null()).output()?;
    serde_json::from_slice(&output.stdout).with_context(|| {
        let said = [output.stdout, output.stderr].concat();
        format!("{words:?}: {}", String::from_utf8_lossy(&said))
    })
}

/// What `muslin routes received` prints for the speaker with this run folder.
///
/// # Errors
/// When it does not answer.
pub fn routes(run: impl AsRef<Path>) -> Result<String> {
    let socket = run.as_ref().join("muslin.sock");
    ask(Command::new(binary()?).args(["routes", "received", "--socket"]).arg(socket))
}

/// What a command prints that asks the speaker with this run folder.
///
/// # Errors
/// When it fails, with what it said.
pub fn command(run: impl AsRef<Path>, args: &[&str]) -> Result<String> {
    let socket = run.as_ref().join("muslin.sock");
    ask(Command::new(binary()?).args(args).arg("--socket").arg(socket))
}
