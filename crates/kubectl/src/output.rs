//! Answers for people as tables, for programs as JSON or YAML.

use std::io::{self, Write};

use anyhow::Context;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::cli::Output;

/// Prints `answer` as the format asks; `table` renders it for people.
pub(crate) fn print<T: Serialize>(
    format: Output,
    answer: &T,
    table: impl FnOnce(&T) -> String,
) -> anyhow::Result<()> {
    let text = match format {
        Output::Table => table(answer),
        Output::Json => serde_json::to_string_pretty(answer)?,
        Output::Yaml => serde_saphyr::to_string(answer)?,
    };
    match writeln!(io::stdout().lock(), "{}", text.trim_end()) {
        // A reader that went away (`| head`) is no error.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("standard output"),
    }
}

/// A table without lines, as `kubectl` prints them.
pub(crate) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header);
    for column in table.column_iter_mut() {
        column.set_padding((0, 3));
    }
    for row in rows {
        table.add_row(row.map(|cell| if cell.is_empty() { "-".to_owned() } else { cell }));
    }
    table.force_no_tty();
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// Says on standard error why a command failed, with its causes.
#[expect(clippy::print_stderr, reason = "the last word of a command")]
pub(crate) fn complain(error: &anyhow::Error) {
    eprintln!("kubectl muslin: {error:#}");
}
