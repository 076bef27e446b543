//! What is broken on purpose, to see that a verification can fail, and says where.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::engine::Engine;

/// Something that is broken, and what has to be said about it.
pub(super) struct Fault {
    /// For the report.
    pub(super) name: &'static str,
    pub(super) action: Action,
    /// "node subject" of a check that has to fail.
    pub(super) noticed: &'static [(&'static str, &'static str)],
}

/// How something is broken and repaired.
pub(super) enum Action {
    /// Commands in a node.
    Run { node: &'static str, command: &'static str, undo: &'static str },
    /// Words of a file that nodes read, put in the place of others.
    Edit { file: &'static str, words: &'static str, instead: &'static str },
}

impl Action {
    pub(super) fn make(&self, engine: &Engine, scenario: &Path) -> Result<()> {
        match self {
            Self::Run { node, command, .. } => execute(engine, scenario, node, command),
            Self::Edit { file, words, instead } => edit(&scenario.join(file), words, instead),
        }
    }

    pub(super) fn repair(&self, engine: &Engine, scenario: &Path) -> Result<()> {
        match self {
            Self::Run { node, undo, .. } => execute(engine, scenario, node, undo),
            Self::Edit { file, words, instead } => edit(&scenario.join(file), instead, words),
        }
    }
}

fn execute(engine: &Engine, scenario: &Path, node: &str, command: &str) -> Result<()> {
    let lab = scenario.file_name().and_then(|name| name.to_str()).context("a scenario has a name")?;
    let mut docker = engine.command("docker");
    docker.arg("exec").arg(format!("clab-{lab}-{node}")).args(["sh", "-c", command]);
    engine.run(&mut docker).map(drop)
}

fn edit(file: &Path, words: &str, instead: &str) -> Result<()> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    ensure!(text.contains(words), "{} has no {words:?}", file.display());
    fs::write(file, text.replace(words, instead))?;
    Ok(())
}
