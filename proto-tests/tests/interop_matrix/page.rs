//! `docs/interop.md`, made from the record and nothing else.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::features::FEATURES;
use crate::record::{Record, Verdict};

const HEAD: &str = "# Interoperability\n\n\
    Made by `cargo xtask test --tier interop`, which runs every cell: our `muslin speaker` with a daemon of others, in \
    namespaces of their own, without retries. A cell that comes out otherwise fails the run. Two versions of most daemons: the \
    base release's package, and the newest that the distribution has.\n\n\
    ✓ works · – the daemon does not have it, by its own words in the footnote · ∅ not possible on the machine that ran it\n\n";

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/interop.md")
}

pub(crate) fn write(record: &Record) -> Result<()> {
    fs::write(path(), render(record)?).context("docs/interop.md")
}

pub(crate) fn compare(record: &Record) -> Result<()> {
    let found = fs::read_to_string(path()).context("docs/interop.md")?;
    ensure!(
        found == render(record)?,
        "docs/interop.md does not say what docs/interop.json does: run this test with UPDATE=1"
    );
    Ok(())
}

fn render(record: &Record) -> Result<String> {
    let mut page = HEAD.to_owned();
    let mut notes: Vec<&str> = Vec::new();
    page.push_str("| |");
    for column in &record.columns {
        write!(page, " {} {} |", column.name, column.version)?;
    }
    page.push_str("\n|---|");
    page.push_str(&":-:|".repeat(record.columns.len()));
    page.push('\n');
    for feature in FEATURES {
        write!(page, "| {} |", feature.text)?;
        for column in &record.columns {
            let (mark, note) = match record.get(feature.id, &column.id) {
                Some(Verdict::Works { note }) => ("✓", note.as_deref()),
                Some(Verdict::Refused { evidence }) => ("–", Some(&**evidence)),
                Some(Verdict::Skipped { reason }) => ("∅", Some(&**reason)),
                None => ("?", None),
            };
            write!(page, " {mark}")?;
            if let Some(note) = note {
                let number = notes.iter().position(|known| *known == note).unwrap_or_else(|| {
                    notes.push(note);
                    notes.len() - 1
                });
                write!(page, "[^{}]", number + 1)?;
            }
            page.push_str(" |");
        }
        page.push('\n');
    }
    page.push_str("\nWhat a row means:\n\n");
    for feature in FEATURES {
        writeln!(page, "- **{}**: {}", feature.text, feature.meaning)?;
    }
    page.push('\n');
    for (index, note) in notes.iter().enumerate() {
        writeln!(page, "[^{}]: {note}", index + 1)?;
    }
    Ok(page)
}
