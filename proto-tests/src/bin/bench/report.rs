//! What was measured, for people and for programs.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use muslin_proto_tests::daemons::Kind;
use serde::Serialize;

/// Everything that was measured in one run.
#[derive(Serialize)]
pub(crate) struct Report {
    command: String,
    machine: Machine,
    sections: Vec<Section>,
}

#[derive(Serialize)]
struct Machine {
    cores: usize,
    kernel: String,
    memory: String,
    bird: String,
}

/// One subject.
#[derive(Serialize)]
pub(crate) struct Section {
    /// Heading.
    pub(crate) title: &'static str,
    /// What is done, and what is waited for.
    pub(crate) method: String,
    /// What is measured.
    pub(crate) columns: Vec<Column>,
    /// Who is measured; ratios are to the first that has a value.
    pub(crate) rows: Vec<Row>,
    /// What we want.
    pub(crate) targets: Vec<Target>,
    /// What else is to be known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) notes: Vec<String>,
}

/// A quantity, less of which is better.
#[derive(Clone, Copy, Serialize)]
pub(crate) struct Column {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its unit.
    pub(crate) unit: &'static str,
}

/// A candidate.
#[derive(Serialize)]
pub(crate) struct Row {
    /// Its name.
    pub(crate) name: String,
    /// Its samples by column; empty where it has none.
    pub(crate) values: Vec<Samples>,
}

/// Samples of one quantity.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Samples(Vec<f64>);

/// Something we want to hold.
#[derive(Serialize)]
pub(crate) struct Target {
    /// The statement.
    pub(crate) statement: String,
    /// What was found.
    pub(crate) found: f64,
    /// The most that is wanted.
    pub(crate) limit: f64,
}

impl Samples {
    /// Adds one.
    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// The one in the middle; `None` without any.
    pub(crate) fn median(&self) -> Option<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied()
    }

    /// The largest; `None` without any.
    pub(crate) fn largest(&self) -> Option<f64> {
        self.0.iter().copied().max_by(f64::total_cmp)
    }

    /// `1.23 (1.20 to 1.40)`.
    fn text(&self) -> Option<String> {
        let median = self.median()?;
        let (low, high) =
            self.0.iter().fold((median, median), |(low, high), value| (low.min(*value), high.max(*value)));
        Some(if self.0.len() == 1 {
            number(median)
        } else {
            format!("{} ({} to {})", number(median), number(low), number(high))
        })
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

/// Three significant digits, as far as they are behind the point.
fn number(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}

impl Target {
    fn verdict(&self) -> &'static str {
        if self.found <= self.limit { "met" } else { "missed" }
    }
}

impl Section {
    /// The median of a candidate's quantity.
    pub(crate) fn median(&self, row: &str, column: &str) -> Option<f64> {
        let index = self.columns.iter().position(|known| known.name == column)?;
        self.rows.iter().find(|known| known.name == row)?.values.get(index)?.median()
    }

    /// The candidates' medians of one quantity.
    fn medians(&self, column: usize) -> impl Iterator<Item = f64> {
        self.rows.iter().filter_map(move |row| row.values.get(column)?.median())
    }

    /// Whether there is anything to compare in a column.
    fn compares(&self, column: usize) -> bool {
        self.medians(column).count() > 1
    }

    fn markdown(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "\n## {}\n\n{}\n", self.title, self.method)?;
        write!(text, "| |")?;
        let mut rule = "|---|".to_owned();
        for (index, Column { name, unit }) in self.columns.iter().enumerate() {
            write!(text, " {name}, {unit} |")?;
            rule.push_str("--:|");
            if self.compares(index) {
                write!(text, " ratio |")?;
                rule.push_str("--:|");
            }
        }
        writeln!(text, "\n{rule}")?;
        for row in &self.rows {
            write!(text, "| {} |", row.name)?;
            for (index, samples) in row.values.iter().enumerate() {
                write!(text, " {} |", samples.text().unwrap_or_default())?;
                if self.compares(index) {
                    let ratio = samples.median().zip(self.medians(index).next());
                    let ratio = ratio.map(|(median, first)| format!("{:.2}", median / first));
                    write!(text, " {} |", ratio.unwrap_or_default())?;
                }
            }
            writeln!(text)?;
        }
        for note in &self.notes {
            writeln!(text, "\n{note}")?;
        }
        if !self.targets.is_empty() {
            writeln!(text, "\n| target | found | |\n|---|--:|---|")?;
        }
        for target in &self.targets {
            writeln!(text, "| {} | {} | {} |", target.statement, number(target.found), target.verdict())?;
        }
        Ok(())
    }
}

impl Report {
    /// Puts the sections together with what can be said of this machine.
    pub(crate) fn new(quick: bool, sections: Vec<Section>) -> Result<Self> {
        let read = |path: &str| fs::read_to_string(path).with_context(|| path.to_owned());
        let memory = read("/proc/meminfo")?;
        let memory: u64 = memory.split_whitespace().nth(1).context("/proc/meminfo")?.parse()?;
        let machine = Machine {
            cores: std::thread::available_parallelism()?.get(),
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            memory: format!("{} GiB", memory / (1024 * 1024)),
            bird: Kind::Bird.installed().version()?,
        };
        let command = if quick { "cargo xtask bench --quick" } else { "cargo xtask bench" };
        Ok(Self { command: command.to_owned(), machine, sections })
    }

    /// The page.
    pub(crate) fn markdown(&self) -> String {
        let Machine { cores, kernel, memory, bird } = &self.machine;
        let mut text = format!(
            "# Benchmarks\n\nWritten by `{}` on {cores} cores, {memory} of memory, Linux {kernel}, with BIRD {bird} and \
             Debian's containernetworking-plugins.\nMedian (smallest to largest); ratios are to the first line of a \
             table. Candidates take turns, each repetition in new network namespaces.\nCompare what stands in one \
             table, not numbers of different machines. The samples are in `benchmarks.json`.\n",
            self.command
        );
        for section in &self.sections {
            // Writing to a String cannot fail.
            let _ = section.markdown(&mut text);
        }
        text
    }

    /// Writes the page and the samples.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("benchmarks.md"), self.markdown())?;
        let json = serde_json::to_string_pretty(self)?;
        Ok(fs::write(folder.join("benchmarks.json"), json + "\n")?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_sample_counts() {
        let samples: Samples = [3.0, 1.0, 2.0].into_iter().collect();
        assert_eq!(samples.median(), Some(2.0));
        assert_eq!(samples.text().as_deref(), Some("2.00 (1.00 to 3.00)"));
        assert_eq!(Samples::default().median(), None);
    }

    #[test]
    fn a_table_shows_ratios_to_the_first_candidate_and_whether_targets_are_met() {
        let row = |name: &str, value: f64| Row {
            name: name.to_owned(),
            values: vec![[value].into_iter().collect()],
        };
        let section = Section {
            title: "T",
            method: "M".to_owned(),
            columns: vec![Column { name: "time", unit: "s" }],
            rows: vec![row("them", 2.0), row("us", 1.0)],
            targets: vec![
                Target { statement: "fast".to_owned(), found: 0.5, limit: 0.5 },
                Target { statement: "faster".to_owned(), found: 0.5, limit: 0.4 },
            ],
            notes: vec![],
        };
        let mut text = String::new();
        section.markdown(&mut text).unwrap();
        assert!(text.contains("| us | 1.00 | 0.50 |"), "{text}");
        assert!(
            text.contains("| fast | 0.500 | met |") && text.contains("| faster | 0.500 | missed |"),
            "{text}"
        );
        assert_eq!(section.median("us", "time"), Some(1.0));
    }
}
