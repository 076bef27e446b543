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
    pub(super) what_is_left: WhatIsLeft,
}

/// What still has to work while something is broken.
#[derive(Clone, Copy)]
pub(super) enum WhatIsLeft {
    /// No promise is made.
    Nothing,
    /// Everything that `verify.sh degraded` expects.
    Degraded,
}

/// How something is broken.
pub(super) enum Action {
    /// Words of a file that nodes read, put in the place of others. It can be repaired.
    Edit { file: &'static str, words: &'static str, instead: &'static str },
    /// A command in a node.
    Run { node: &'static str, command: &'static str },
    /// A node is switched off.
    Stop { node: &'static str },
}

impl Action {
    pub(super) fn make(&self, engine: &Engine, scenario: &Path) -> Result<()> {
        match self {
            Self::Edit { file, words, instead } => edit(&scenario.join(file), words, instead),
            Self::Run { node, command } => {
                let command: Vec<&str> = command.split_whitespace().collect();
                docker(engine, &["exec", &container(scenario, node)?], &command)
            }
            Self::Stop { node } => docker(engine, &["kill", &container(scenario, node)?], &[]),
        }
    }

    /// Repairs what can be repaired, and says whether it was.
    pub(super) fn repair(&self, scenario: &Path) -> Result<bool> {
        match self {
            Self::Edit { file, words, instead } => edit(&scenario.join(file), instead, words).map(|()| true),
            Self::Run { .. } | Self::Stop { .. } => Ok(false),
        }
    }
}

fn container(scenario: &Path, node: &str) -> Result<String> {
    let lab = scenario.file_name().and_then(|name| name.to_str()).context("a scenario has a name")?;
    Ok(format!("clab-{lab}-{node}"))
}

fn docker(engine: &Engine, words: &[&str], command: &[&str]) -> Result<()> {
    engine.run(engine.command("docker").args(words).args(command)).map(drop)
}

fn edit(file: &Path, words: &str, instead: &str) -> Result<()> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    ensure!(text.contains(words), "{} has no {words:?}", file.display());
    fs::write(file, text.replace(words, instead))?;
    Ok(())
}
