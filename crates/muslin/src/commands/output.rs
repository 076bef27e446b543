//! Answers for people as tables, for programs as JSON.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use anyhow::Context;
use comfy_table::{Cell, Color, ContentArrangement, Table, presets};
use muslin_bgp_speaker::rib::RouteView;
use muslin_route_programmer::{NextHop, RouteState};
use serde::Serialize;

use crate::api::Interfaces;
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
        Output::Yaml => yaml(answer)?,
    };
    write_line(text.trim_end())
}

/// As YAML, with the names that JSON has.
pub(super) fn yaml<T: Serialize>(answer: &T) -> anyhow::Result<String> {
    // By way of JSON: what serializes in a way of its own for people is the same in both.
    Ok(serde_saphyr::to_string(&serde_json::to_value(answer)?)?)
}

/// Writes to standard output; a reader that went away (`| head`) is not an error.
pub(crate) fn write_line(text: &str) -> anyhow::Result<()> {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("standard output"),
    }
}

/// A table without lines, as `kubectl` prints them. On a terminal long cells are broken, so that it fits.
pub(crate) fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [Cell; N]>) -> String {
    table_within(None, header, rows)
}

/// The same within so many columns; without, those of the terminal, or as many as it takes where there is none.
fn table_within<const N: usize>(
    width: Option<u16>,
    header: [&str; N],
    rows: impl IntoIterator<Item = [Cell; N]>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    if let Some(width) = width {
        table.set_width(width);
    }
    table.set_header(header);
    for column in table.column_iter_mut() {
        column.set_padding((0, 3));
    }
    for row in rows {
        table.add_row(row);
    }
    if !io::stdout().is_terminal() {
        table.force_no_tty();
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// A cell that is good (green) or not (red), where colour is shown.
pub(crate) fn verdict(text: impl ToString, good: bool) -> Cell {
    Cell::new(text).fg(if good { Color::Green } else { Color::Red })
}

/// An age as people read it: `7s`, `3m20s`, `5h12m`, `9d4h`.
pub(crate) fn age(age: Duration) -> String {
    let seconds = age.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{minutes}m{}s", seconds % 60),
        3_600..86_400 => format!("{hours}h{}m", minutes % 60),
        _ => format!("{days}d{}h", hours % 24),
    }
}

/// Next hops of a kernel route as `ip route` has them.
pub(crate) fn next_hops(hops: &[NextHop], interfaces: &Interfaces) -> String {
    if hops.is_empty() {
        return "blackhole".to_owned();
    }
    list(hops.iter().map(|hop| {
        let interface = interfaces.get(&hop.interface).cloned().unwrap_or_else(|| hop.interface.to_string());
        match hop.gateway {
            Some(gateway) => format!("via {gateway} dev {interface}"),
            None => format!("dev {interface}"),
        }
    }))
}

/// Where a route of BGP stands, in a word; two for one that is kept from a session that was lost.
pub(crate) fn standing(route: &RouteView) -> String {
    let state = format!("{:?}", route.state).to_lowercase();
    if route.stale { state + ", stale" } else { state }
}

/// Where a route of ours stands in the kernel, in words.
pub(crate) fn route_state(state: &RouteState) -> String {
    match state {
        RouteState::Installed => "installed".to_owned(),
        RouteState::Pending => "on its way".to_owned(),
        RouteState::Blocked(clash) => format!(
            "not installed: a route of another program (protocol {}, metric {}) is in its place; remove that one",
            clash.protocol, clash.metric
        ),
        RouteState::Refused(refusal) => format!("refused by the kernel: {refusal}"),
        RouteState::Unclaimed => {
            "left by an earlier run, and swept once all peers have told their routes".to_owned()
        }
    }
}

/// A list in one cell; a dash when it is empty.
pub(crate) fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let text = items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ");
    if text.is_empty() { "-".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_two_units_at_most() {
        let texts = [7, 200, 18_720, 792_000].map(|seconds| age(Duration::from_secs(seconds)));
        assert_eq!(texts, ["7s", "3m20s", "5h12m", "9d4h"]);
    }

    #[test]
    fn a_table_fits_the_terminal_and_is_as_wide_as_it_likes_elsewhere() {
        let rows = || {
            [[Cell::new("10.244.1.0/24"), Cell::new("a reason that is long enough to be broken ".repeat(4))]]
        };
        let narrow = table_within(Some(60), ["PREFIX", "WHY"], rows());
        assert!(
            narrow.lines().count() > 2 && narrow.lines().all(|line| line.chars().count() <= 60),
            "{narrow}"
        );
        assert_eq!(table_within(None, ["PREFIX", "WHY"], rows()).lines().count(), 2);
    }

    #[test]
    fn yaml_has_the_names_and_values_of_json() {
        let answer = serde_json::json!({"peer": "tor", "routes": [{"prefix": "10.0.0.0/8", "age": 7, "reason": null}]});
        let text = yaml(&answer).unwrap();
        assert_eq!(serde_saphyr::from_str::<serde_json::Value>(&text).unwrap(), answer, "{text}");
    }

    #[test]
    fn an_empty_list_is_a_dash() {
        assert_eq!(list(Vec::<u8>::new()), "-");
        assert_eq!(list([1, 2]), "1, 2");
    }
}
