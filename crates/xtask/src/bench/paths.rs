//! The hot paths without sockets by the clock: what `cargo xtask test --tier counts` holds to budgets of instructions.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, bail};

use crate::shell::{cargo, workspace};

/// Runs of each test; the first one warms the machine.
const RUNS: usize = 9;

/// A test that works on hot paths, and the budgets of their instructions.
struct Work {
    name: &'static str,
    target: &'static [&'static str],
    test: &'static str,
    budgets: &'static str,
}

const WORKS: [Work; 3] = [
    Work {
        name: "speaker",
        target: &["--package", "muslin-bgp-speaker", "--test", "counts_hot_paths"],
        test: "hot_paths",
        budgets: "crates/bgp-speaker/tests/counts_hot_paths.json",
    },
    Work {
        name: "whole speaker",
        target: &["--package", "muslin-bgp-speaker", "--test", "counts_whole_speaker"],
        test: "whole_speaker",
        budgets: "crates/bgp-speaker/tests/counts_whole_speaker.json",
    },
    Work {
        name: "route programmer",
        target: &["--package", "muslin-route-programmer", "--lib"],
        test: "reconcile::tests::counts::ways_of_routes",
        budgets: "crates/route-programmer/src/reconcile/tests/counts.json",
    },
];

/// Prints a table of all of them.
pub(super) fn run() -> Result<()> {
    println!("| path | ns an item | instructions |\n|---|--:|--:|");
    for work in WORKS {
        let mut times: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for _ in 0..RUNS {
            for (path, time) in work.times()? {
                times.entry(path).or_default().push(time);
            }
        }
        let budgets = fs::read_to_string(workspace().join(work.budgets)).context(work.budgets)?;
        let budgets: BTreeMap<String, u64> = serde_json::from_str(&budgets).context(work.budgets)?;
        for (path, mut times) in times {
            times.sort_unstable();
            let (least, median, most) = (times[0], times[times.len() / 2], times[times.len() - 1]);
            let budget = budgets.get(&path).map(u64::to_string).unwrap_or_default();
            println!("| {}: {path} | {median} ({least} to {most}) | {budget} |", work.name);
        }
    }
    Ok(())
}

impl Work {
    /// Nanoseconds an item by path, of one run.
    fn times(&self) -> Result<Vec<(String, u64)>> {
        let mut command = cargo(["test", "--locked", "--quiet", "--profile", "profiling"]);
        command.args(self.target).args(["--", "--exact", self.test, "--nocapture"]);
        let output = command.env("MUSLIN_TIMES", "1").output().context("cargo")?;
        if !output.status.success() {
            bail!("{} failed: {}", self.test, String::from_utf8_lossy(&output.stderr));
        }
        let said = String::from_utf8_lossy(&output.stdout);
        let times: Vec<_> = said.lines().filter_map(time).collect();
        if times.is_empty() {
            bail!("{} told no times: {said}", self.test);
        }
        Ok(times)
    }
}

/// `time PATH NANOSECONDS`, perhaps behind words of the harness.
fn time(line: &str) -> Option<(String, u64)> {
    let (_, told) = line.split_once("time ")?;
    let (path, nanoseconds) = told.rsplit_once(' ')?;
    Some((path.to_owned(), nanoseconds.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_behind_words_of_the_harness() {
        assert_eq!(time("test hot_paths ... time learn 512"), Some(("learn".to_owned(), 512)));
        assert_eq!(time("test result: ok. 1 passed; finished in no time at all"), None);
    }
}
