//! What Cargo knows about the workspace and its dependencies.

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::shell;

/// The part of `cargo metadata` that we use.
#[derive(Deserialize)]
pub(crate) struct Metadata {
    /// Every package of the resolved graph.
    pub(crate) packages: Vec<Package>,
    /// Ids of our own packages.
    pub(crate) workspace_members: Vec<String>,
    /// Where Cargo builds.
    pub(crate) target_directory: std::path::PathBuf,
}

/// A package.
#[derive(Deserialize)]
pub(crate) struct Package {
    /// Unique id.
    pub(crate) id: String,
    /// Name in its manifest.
    pub(crate) name: String,
    /// Version in its manifest.
    pub(crate) version: String,
    /// SPDX expression.
    pub(crate) license: Option<String>,
    /// Direct dependencies as declared.
    pub(crate) dependencies: Vec<Dependency>,
    /// What Cargo builds of it.
    pub(crate) targets: Vec<Target>,
}

/// A declared dependency.
#[derive(Deserialize)]
pub(crate) struct Dependency {
    /// Package name.
    pub(crate) name: String,
    /// `None`, or `dev` or `build`.
    pub(crate) kind: Option<String>,
    /// Folder, if it is one of ours.
    pub(crate) path: Option<String>,
}

/// A library, binary, test or example.
#[derive(Deserialize)]
pub(crate) struct Target {
    /// Its name.
    pub(crate) name: String,
    /// `lib`, `bin`, `test`, …
    pub(crate) kind: Vec<String>,
}

impl Metadata {
    /// Asks Cargo.
    pub(crate) fn read() -> Result<Self> {
        let json = shell::read(&mut shell::cargo(["metadata", "--format-version=1", "--locked"]))?;
        serde_json::from_str(&json).context("cargo metadata")
    }

    /// Our own packages.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.workspace_members.contains(&package.id))
    }

    /// Everybody else's packages.
    pub(crate) fn foreign(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| !self.workspace_members.contains(&package.id))
    }
}

impl Package {
    /// Names of its integration tests.
    pub(crate) fn integration_tests(&self) -> impl Iterator<Item = &str> {
        self.targets.iter().filter(|t| t.kind.iter().any(|kind| kind == "test")).map(|t| t.name.as_str())
    }
}
