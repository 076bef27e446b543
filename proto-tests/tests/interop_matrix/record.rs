//! What came out, as `docs/interop.json` keeps it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use muslin_proto_tests::daemons::{Candidate, Kind};
use muslin_proto_tests::release::Release;
use serde::{Deserialize, Serialize};

use crate::features::Feature;

/// What a cell says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Verdict {
    /// It works together, perhaps with a word on how that was seen.
    Works {
        /// What people should know of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    /// The daemon does not have it and says so.
    Refused {
        /// Its own words, or what its OPEN lacks.
        evidence: String,
    },
    /// This machine cannot show it.
    Skipped {
        /// What is missing.
        reason: String,
    },
}

impl Verdict {
    /// It works, and nothing more needs to be said.
    pub(crate) const WORKS: Self = Self::Works { note: None };

    /// It works, and people should know something about it.
    pub(crate) fn works_but(note: &str) -> Self {
        Self::Works { note: Some(note.to_owned()) }
    }

    fn in_short(&self) -> &'static str {
        match self {
            Self::Works { .. } => "works",
            Self::Refused { .. } => "is refused",
            Self::Skipped { .. } => "is skipped",
        }
    }
}

/// A daemon of a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Column {
    /// Key of its cells.
    pub(crate) id: String,
    /// Its name as its authors write it.
    pub(crate) name: String,
    /// Its version.
    pub(crate) version: String,
}

/// All cells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The daemons.
    pub(crate) columns: Vec<Column>,
    /// By feature, then by column.
    pub(crate) cells: BTreeMap<String, BTreeMap<String, Verdict>>,
}

/// Key of a candidate's cells.
pub(crate) fn column(candidate: &Candidate) -> String {
    let name =
        if candidate.kind == Kind::Bird3 { "bird3".to_owned() } else { candidate.kind.name().to_lowercase() };
    match candidate.release {
        Release::Installed => name,
        Release::Later(_) => format!("{name}-later"),
    }
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/interop.json")
}

impl Record {
    /// Without a cell.
    pub(crate) fn of(candidates: &[Candidate]) -> Result<Self> {
        let column = |candidate: &Candidate| {
            let (id, name) = (column(candidate), candidate.kind.name().to_owned());
            Ok(Column { id, name, version: candidate.version()? })
        };
        Ok(Self { columns: candidates.iter().map(column).collect::<Result<_>>()?, cells: BTreeMap::new() })
    }

    /// As it was written last; empty if it never was.
    pub(crate) fn read() -> Result<Self> {
        match fs::read_to_string(path()) {
            Ok(text) => serde_json::from_str(&text).context("docs/interop.json"),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).context("docs/interop.json"),
        }
    }

    pub(crate) fn write(&self) -> Result<()> {
        fs::write(path(), serde_json::to_string_pretty(self)? + "\n").context("docs/interop.json")
    }

    pub(crate) fn set(&mut self, feature: &str, column: &str, verdict: Verdict) {
        self.cells.entry(feature.to_owned()).or_default().insert(column.to_owned(), verdict);
    }

    pub(crate) fn get(&self, feature: &str, column: &str) -> Option<&Verdict> {
        self.cells.get(feature)?.get(column)
    }

    fn version(&self, column: &str) -> Option<&str> {
        self.columns.iter().find(|one| one.id == column).map(|one| &*one.version)
    }

    /// Whether a cell of this run says what the recorded one does. A later suite moves on: another version has to do
    /// the same, but may say it in other words.
    pub(crate) fn agree(&self, recorded: &Self, feature: &str, column: &str) -> Result<(), String> {
        let (found, before) = (self.get(feature, column), recorded.get(feature, column));
        let same_version = self.version(column) == recorded.version(column);
        let in_short = |verdict: Option<&Verdict>| verdict.map_or("is not there", Verdict::in_short);
        if if same_version { found == before } else { in_short(found) == in_short(before) } {
            return Ok(());
        }
        Err(format!(
            "docs/interop.json says that it {}: {before:?}\nthis run that it {}: {found:?}\n\
             If that is right, run it with UPDATE=1.",
            in_short(before),
            in_short(found)
        ))
    }

    /// This record with what a run found, which may be a part of it.
    pub(crate) fn updated(&self, found: &Self) -> Self {
        let mut updated = Self { columns: found.columns.clone(), cells: self.cells.clone() };
        for (feature, columns) in &found.cells {
            for (column, verdict) in columns {
                updated.set(feature, column, verdict.clone());
            }
        }
        updated.cells.retain(|feature, _| crate::FEATURES.iter().any(|known| known.id == feature));
        updated
    }

    /// Whether it has cells of exactly these features.
    pub(crate) fn is_of(&self, features: &[Feature]) -> bool {
        self.cells.len() == features.len()
            && features.iter().all(|feature| self.cells.contains_key(feature.id))
    }

    /// What this machine could not show, once per feature.
    pub(crate) fn skipped(&self) -> impl Iterator<Item = (&str, &str)> {
        self.cells.iter().filter_map(|(feature, columns)| {
            columns.values().find_map(|verdict| match verdict {
                Verdict::Skipped { reason } => Some((&**feature, &**reason)),
                Verdict::Works { .. } | Verdict::Refused { .. } => None,
            })
        })
    }
}
