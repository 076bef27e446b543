//! Instructions of hot paths, counted by callgrind and held to budgets: a change that makes one slower fails a test
//! without anything being timed.
//!
//! A test program runs itself under valgrind. One test of it does the work, in functions that are not inlined; another
//! one counts what they took:
//! ```no_run
//! use muslin_counts::Paths;
//!
//! #[inline(never)]
//! fn encode() {}
//!
//! # #[cfg(any())]
//! #[test]
//! fn work() {
//!     encode();
//! }
//!
//! // The development profile counts other things: checks, and calls that a release has none of.
//! # #[cfg(any())]
//! #[cfg(not(debug_assertions))]
//! #[test]
//! fn work_takes_no_more_instructions_than_its_budgets() {
//! # }
//! # fn check() {
//!     let paths = Paths { module: module_path!(), test: "work", functions: &["encode"], items: 1000 };
//!     paths.check(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/counts.json"));
//! }
//! ```
//! `cargo xtask test --tier counts` runs all such tests, built as the image is but for symbols; with
//! `MUSLIN_WRITE_BUDGETS=1` it writes the budgets anew, after a change that is meant. Tables are hashed with seeds of
//! their own in each run, which moves the counts by far less than [`TOLERANCE`].
//!
//! `cargo xtask bench --paths` has the same tests tell how long their paths take, by [`timed`] and [`tell_times`].
#![allow(
    clippy::expect_used,
    clippy::cast_precision_loss,
    reason = "for tests alone, where a failure is to be seen at once"
)]

mod times;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

pub use times::{tell_times, timed};

/// How much more than its budget a path may take. One that takes this much less is told to have its budget lowered,
/// and fails nothing.
pub const TOLERANCE: f64 = 0.03;

/// What is counted.
#[derive(Clone, Copy, Debug)]
pub struct Paths {
    /// Where the functions are: `module_path!()`.
    pub module: &'static str,
    /// The test beside them that calls them.
    pub test: &'static str,
    /// Their names. No two of them call each other.
    pub functions: &'static [&'static str],
    /// How many items they work on; instructions are counted for each.
    pub items: u32,
}

impl Paths {
    /// Counts, and compares with the budgets of a file: instructions an item by function.
    ///
    /// # Panics
    /// If a function takes more than its budget, or cannot be counted.
    pub fn check(&self, budgets: impl AsRef<Path>) {
        let found = self.count();
        if std::env::var_os("MUSLIN_WRITE_BUDGETS").is_some() {
            let text = serde_json::to_string_pretty(&found).expect("numbers by name") + "\n";
            fs::write(&budgets, text).expect("the budgets can be written");
        }
        let text = fs::read_to_string(budgets).expect("the budgets can be read");
        let budgets: BTreeMap<&str, u64> = serde_json::from_str(&text).expect("numbers by name");
        let mut report = String::new();
        let mut slower = 0;
        for (function, found) in found {
            let ratio = found as f64 / budgets[function] as f64;
            let verdict = if ratio > 1.0 + TOLERANCE {
                slower += 1;
                "slower than its budget"
            } else if ratio < 1.0 - TOLERANCE {
                "faster: lower the budget"
            } else {
                "within its budget"
            };
            let _ = writeln!(
                report,
                "{function}: {found} instructions an item, {ratio:.3} of its budget: {verdict}"
            );
        }
        // Not through the harness, which keeps the words of a test that passes to itself.
        io::stderr().write_all(format!("\n{report}").as_bytes()).expect("somebody reads");
        assert_eq!(slower, 0, "\n{report}");
    }

    fn count(&self) -> BTreeMap<&'static str, u64> {
        let folder = tempfile::tempdir().expect("a folder of its own");
        let profile = folder.path().join("profile");
        // The harness leaves the crate out.
        let test = format!("{}::{}", self.module, self.test);
        let (_crate, test) = test.split_once("::").expect("a path");
        let mut command = Command::new("valgrind");
        command
            .args(["--tool=callgrind", "--compress-strings=no", "--compress-pos=no"])
            .arg(format!("--callgrind-out-file={}", profile.display()))
            .arg(std::env::current_exe().expect("this program"))
            .args(["--exact", test, "--test-threads=1"])
            // The same copying loops on every processor.
            .env("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-AVX2,-AVX512F,-AVX512VL,-ERMS,-FSRM")
            .stdin(Stdio::null());
        let output = command.output().expect("valgrind counts: apt-get install valgrind");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = fs::read_to_string(profile).expect("callgrind has written");
        let each = |function| self.inclusive(&text, function) / u64::from(self.items);
        self.functions.iter().map(|function| (*function, each(function))).collect()
    }

    /// Instructions of all calls of a function, with everything that it calls.
    fn inclusive(&self, profile: &str, function: &str) -> u64 {
        let called = format!("cfn={}::{function}", self.module);
        let mut lines = profile.lines();
        let mut sum = 0;
        while let Some(line) = lines.next() {
            if line == called {
                // `calls=` and a line with the position and the cost.
                let cost = lines.by_ref().nth(1).and_then(|line| line.split(' ').next_back());
                sum += cost.and_then(|cost| cost.parse::<u64>().ok()).unwrap_or_default();
            }
        }
        assert!(sum > 0, "callgrind does not know {called}");
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_a_function_are_added_with_what_they_call() {
        let profile = "fn=m::work\n1 5\ncfn=m::encode\ncalls=1 7\n9 400\ncfn=m::decode\ncalls=1 8\n9 50\ncfn=m::encode\ncalls=2 7\n10 600\n";
        let paths = Paths { module: "m", test: "work", functions: &["encode"], items: 10 };
        assert_eq!(paths.inclusive(profile, "encode"), 1000);
        assert_eq!(paths.inclusive(profile, "decode"), 50);
    }
}
