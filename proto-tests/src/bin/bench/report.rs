//! What was measured, for people and for programs.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::plot::Plot;
use crate::sizing;
use anyhow::{Context, Result};
use serde::{Deserialize, Deserializer, Serialize};

/// The samples beside the page.
const SAMPLES: &str = "benchmarks.json";

/// What stands in this program, or in what it wrote before. The name keeps serde from borrowing it.
type Text = &'static str;

/// Everything that was measured, each subject when it last was.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Report {
    subjects: Vec<Measured>,
}

/// A subject, and where it was measured.
#[derive(Serialize, Deserialize)]
struct Measured {
    subject: String,
    machine: Machine,
    section: Section,
}

/// What can be said of a machine, and of what ran on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    cores: usize,
    kernel: String,
    memory: String,
    /// The commit that was measured, with its date.
    commit: String,
}

/// One subject.
#[derive(Serialize, Deserialize)]
pub(crate) struct Section {
    /// Heading.
    #[serde(deserialize_with = "kept")]
    pub(crate) title: Text,
    /// What is done, and what is waited for.
    pub(crate) method: String,
    /// What is measured.
    pub(crate) columns: Vec<Column>,
    /// Who is measured; ratios are to the first that has a value.
    pub(crate) rows: Vec<Row>,
    /// What we want.
    pub(crate) targets: Vec<Target>,
    /// What else is to be known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) notes: Vec<String>,
    /// What is seen best in a plot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) plot: Option<Plot>,
}

/// A quantity, less of which is better.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Column {
    /// Its name.
    #[serde(deserialize_with = "kept")]
    pub(crate) name: Text,
    /// Its unit.
    #[serde(deserialize_with = "kept")]
    pub(crate) unit: Text,
}

/// A candidate.
#[derive(Serialize, Deserialize)]
pub(crate) struct Row {
    /// Its name.
    pub(crate) name: String,
    /// Its samples by column; empty where it has none.
    pub(crate) values: Vec<Samples>,
}

/// Samples of one quantity.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Samples(Vec<f64>);

/// Something we want to hold.
#[derive(Serialize, Deserialize)]
pub(crate) struct Target {
    /// The statement.
    pub(crate) statement: String,
    /// What was found.
    pub(crate) found: f64,
    /// The most that is wanted.
    pub(crate) limit: f64,
}

/// Texts of the page that was written before, for as long as this program runs, which is once.
fn kept<'de, D: Deserializer<'de>>(deserializer: D) -> Result<&'static str, D::Error> {
    String::deserialize(deserializer).map(|text| &*text.leak())
}

impl Samples {
    /// Adds one, unless it is no number: the candidate has nothing of the kind.
    pub(crate) fn push(&mut self, value: f64) {
        self.0.extend((!value.is_nan()).then_some(value));
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
pub(crate) fn number(value: f64) -> String {
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
        self.samples(row, column)?.median()
    }

    /// The largest of a candidate's quantity.
    pub(crate) fn worst(&self, row: &str, column: &str) -> Option<f64> {
        self.samples(row, column)?.largest()
    }

    fn samples(&self, row: &str, column: &str) -> Option<&Samples> {
        let index = self.columns.iter().position(|known| known.name == column)?;
        self.rows.iter().find(|known| known.name == row)?.values.get(index)
    }

    /// Our worst of a quantity as a share of the best median among the others that count, and who has that: what is
    /// ahead has the worst of at least five repetitions ahead.
    pub(crate) fn worst_to_best(
        &self,
        ours: &str,
        column: &str,
        counts: impl Fn(&str) -> bool,
    ) -> Option<(f64, &str)> {
        let worst = self.worst(ours, column)?;
        let others = self.rows.iter().map(|row| &*row.name).filter(|name| *name != ours && counts(name));
        let medians = others.filter_map(|name| Some((self.median(name, column)?, name)));
        let (best, name) = medians.min_by(|(one, _), (other, _)| one.total_cmp(other))?;
        Some((worst / best, name))
    }

    /// The candidates' medians of one quantity.
    fn medians(&self, column: usize) -> impl Iterator<Item = f64> {
        self.rows.iter().filter_map(move |row| row.values.get(column)?.median())
    }

    /// Whether there is anything to compare in a column.
    fn compares(&self, column: usize) -> bool {
        self.medians(column).count() > 1
    }

    fn markdown(&self, subject: &str, text: &mut String) -> std::fmt::Result {
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
        if self.plot.is_some() {
            writeln!(text, "\n![{}](benchmarks/{subject}.svg)", self.title)?;
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

impl Machine {
    /// This one.
    pub(crate) fn this() -> Result<Self> {
        let read = |path: &str| fs::read_to_string(path).with_context(|| path.to_owned());
        let memory = read("/proc/meminfo")?;
        let memory: u64 = memory.split_whitespace().nth(1).context("/proc/meminfo")?.parse()?;
        let commit = Command::new("git").args(["log", "-1", "--format=%h of %cs"]).output()?;
        Ok(Self {
            cores: std::thread::available_parallelism()?.get(),
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            memory: format!("{} GiB", memory / (1024 * 1024)),
            commit: String::from_utf8_lossy(&commit.stdout).trim().to_owned(),
        })
    }
}

impl Report {
    /// What was written before; nothing if there is none that can be read.
    pub(crate) fn read(folder: &Path) -> Self {
        let text = fs::read(folder.join(SAMPLES)).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Puts a subject in its place among the others, instead of what was there of it. `order` has all subjects.
    pub(crate) fn put(&mut self, subject: &str, machine: Machine, section: Section, order: &[String]) {
        self.subjects.retain(|measured| measured.subject != subject && order.contains(&measured.subject));
        self.subjects.push(Measured { subject: subject.to_owned(), machine, section });
        self.subjects.sort_by_key(|measured| order.iter().position(|known| *known == measured.subject));
    }

    /// The page.
    pub(crate) fn markdown(&self) -> String {
        let mut text = "# Benchmarks\n\nWritten by `cargo xtask bench`, or `cargo xtask bench --only SUBJECT --write` for one of them.\n\
             Median (smallest to largest); ratios are to the first line of a table that has a value. Candidates take \
             turns, each repetition in new network namespaces.\nCompare what stands in one table, not numbers of \
             different machines. The samples are in `benchmarks.json`; what was tried, and what did not help, \
             is in [the notes](benchmarks/notes.md); what clusters need by their size is in [sizing](sizing.md).\n"
            .to_owned();
        let mut last = None;
        for Measured { subject, machine, section } in &self.subjects {
            // Writing to a String cannot fail.
            if last != Some(machine) {
                let Machine { cores, kernel, memory, commit } = machine;
                let _ = writeln!(
                    text,
                    "\nMeasured at {commit} on {cores} cores, {memory} of memory, Linux {kernel}:"
                );
                last = Some(machine);
            }
            let _ = section.markdown(subject, &mut text);
        }
        text
    }

    /// Writes the page and the samples.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("benchmarks.md"), self.markdown())?;
        let plots = folder.join("benchmarks");
        fs::create_dir_all(&plots)?;
        for Measured { subject, section, .. } in &self.subjects {
            if let Some(plot) = &section.plot {
                plot.write(&plots.join(format!("{subject}.svg")))?;
            }
        }
        let sizing = folder.join("sizing.md");
        if let Some(measured) = self.subjects.iter().find(|measured| measured.subject == "sizing")
            && sizing.exists()
        {
            let page = sizing::with_costs(&fs::read_to_string(&sizing)?, &measured.section)?;
            fs::write(&sizing, page)?;
        }
        let json = serde_json::to_string_pretty(self)?;
        Ok(fs::write(folder.join(SAMPLES), json + "\n")?)
    }
}

/// A count as a share of another one.
#[allow(clippy::cast_precision_loss, reason = "counts of what happens are far below 2^52")]
pub(crate) fn share(count: u64, of: u64) -> f64 {
    count as f64 / of as f64
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

    fn section(title: &'static str) -> Section {
        let (method, columns, rows, targets, notes) = (String::new(), vec![], vec![], vec![], vec![]);
        Section { title, method, columns, rows, targets, notes, plot: None }
    }

    #[test]
    fn a_subject_that_is_measured_again_takes_its_old_place() {
        let machine = |commit: &str| Machine {
            cores: 2,
            kernel: "6".to_owned(),
            memory: "1 GiB".to_owned(),
            commit: commit.to_owned(),
        };
        let order = ["a", "b", "c"].map(str::to_owned);
        let folder = tempfile::tempdir().unwrap();
        let mut report = Report::read(folder.path());
        report.put("c", machine("1"), section("C"), &order);
        report.put("a", machine("1"), section("A"), &order);
        report.write(folder.path()).unwrap();
        let mut report = Report::read(folder.path());
        report.put("b", machine("2"), section("B"), &order);
        report.put("a", machine("2"), section("A anew"), &order);
        let text = report.markdown();
        let lines: Vec<&str> =
            text.lines().filter(|line| line.starts_with("## ") || line.starts_with("Measured")).collect();
        let found: Vec<&str> = lines.iter().map(|line| line.split(" on ").next().unwrap()).collect();
        assert_eq!(found, ["Measured at 2", "## A anew", "## B", "Measured at 1", "## C"]);
    }

    #[test]
    fn what_a_candidate_has_nothing_of_is_no_sample() {
        let mut samples = Samples::default();
        samples.push(f64::NAN);
        assert_eq!(samples.median(), None);
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
            plot: None,
        };
        let mut text = String::new();
        section.markdown("t", &mut text).unwrap();
        assert!(text.contains("| us | 1.00 | 0.50 |"), "{text}");
        assert!(
            text.contains("| fast | 0.500 | met |") && text.contains("| faster | 0.500 | missed |"),
            "{text}"
        );
        assert_eq!(section.median("us", "time"), Some(1.0));
        assert_eq!(section.worst_to_best("us", "time", |_| true), Some((0.5, "them")));
        assert_eq!(section.worst_to_best("us", "time", |name| name != "them"), None);
    }
}
