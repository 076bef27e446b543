//! containerlab itself, built once from the Go module proxy and kept by version.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::shell;

/// The version that the topologies are tested with.
const VERSION: &str = "v0.79.0";
const MODULE: &str = "github.com/srl-labs/containerlab";
/// The Go that this version asks for.
const GO: &str = "1.26.0";

/// The program, built if it is not there yet.
pub(in crate::test) fn require() -> Result<PathBuf> {
    let folder = cache()?.join("muslin/containerlab").join(VERSION);
    let program = folder.join("containerlab");
    if program.exists() {
        return Ok(program);
    }
    let go =
        go().context("containerlab is built with Go, which is not there: install it from https://go.dev/dl")?;
    let start = Instant::now();
    println!("building containerlab {VERSION}, once, into {}", folder.display());
    fs::create_dir_all(&folder)?;
    // A module of its own that has containerlab as a tool: `go install` asks the proxy for what it may not answer.
    let module = tempfile::Builder::new().prefix("muslin-containerlab-").tempdir()?;
    fs::write(module.path().join("go.mod"), format!("module build\n\ngo {GO}\n"))?;
    let unfinished = folder.join("containerlab.unfinished");
    let mut get = shell::command(&go);
    get.args(["get", "-tool", &format!("{MODULE}@{VERSION}")]).current_dir(module.path());
    shell::run(&mut get)?;
    let mut build = shell::command(&go);
    build.args(["build", "-trimpath", "-o"]).arg(&unfinished).arg(MODULE);
    shell::run(build.env("CGO_ENABLED", "0").current_dir(module.path()))?;
    fs::rename(&unfinished, &program)?;
    println!("built in {:.1} s", start.elapsed().as_secs_f64());
    Ok(program)
}

fn cache() -> Result<PathBuf> {
    let named = std::env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    let cache = named.or_else(home).context("neither XDG_CACHE_HOME nor HOME is set")?;
    ensure!(cache.is_absolute(), "XDG_CACHE_HOME has to be an absolute path, found {}", cache.display());
    Ok(cache)
}

fn go() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/local/go/bin")]);
    folders.map(|folder| folder.join("go")).find(|program| program.is_file())
}
