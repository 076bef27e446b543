//! Kubernetes' own end-to-end tests, run by their own program on a lab.

use std::fs;
use std::process::{Command, Stdio};

use muslin_lab::LabError;
use serde::Deserialize;

use crate::KubernetesLab;

/// Specs that run at once: they spend most of their time waiting.
const PROCESSES: &str = "6";

/// Which specs of Kubernetes' are to be run.
#[derive(Clone, Copy, Debug)]
pub struct Specs<'a> {
    /// Regular expressions (RE2), one of which a spec's full name has to match.
    pub focus: &'a [String],
    /// Regular expressions of those that are left out all the same.
    pub skip: &'a [String],
}

/// How a spec ended.
#[derive(Clone, Debug, PartialEq)]
pub struct SpecResult {
    /// Its full name.
    pub name: String,
    /// `passed`, `failed`, `timedout`, `panicked`, … or [`SKIPPED`](Self::SKIPPED)
    pub state: String,
    /// How long it took.
    pub seconds: f64,
    /// What it said when it failed, or why it left itself out.
    pub failure: String,
}

impl SpecResult {
    /// The state of a spec that was begun and found this cluster not to be what it is for.
    pub const SKIPPED: &str = "skipped";

    /// Whether it showed what it is there to show.
    pub fn passed(&self) -> bool {
        self.state == "passed"
    }

    /// Whether it left itself out.
    pub fn skipped(&self) -> bool {
        self.state == Self::SKIPPED
    }
}

impl KubernetesLab {
    /// Runs specs of Kubernetes' own suite; how each of those ended that were begun, by name.
    ///
    /// The programs are built when they are not there yet: two minutes on two cores behind the others.
    ///
    /// # Errors
    /// If the programs cannot be built or started, or leave no report. Specs that fail are results.
    pub fn run_specs(&self, specs: Specs<'_>) -> Result<Vec<SpecResult>, LabError> {
        let [ginkgo, suite] = self.basis.programs.end_to_end(self.progress)?;
        let folder = self.folder.path().join("e2e");
        fs::create_dir_all(&folder).map_err(LabError::file(&folder))?;
        let report = folder.join("report.json");
        drop(fs::remove_file(&report));
        let mut command = Command::new(ginkgo);
        command.args(["--no-color", "--timeout=2h", "--json-report=report.json"]);
        command.arg(format!("--procs={PROCESSES}")).arg("--output-dir").arg(&folder);
        command.args(specs.focus.iter().map(|focus| format!("--focus={focus}")));
        command.args(specs.skip.iter().map(|skip| format!("--skip={skip}")));
        command.arg(suite).arg("--").args(["--provider=skeleton", "--disable-log-dump"]);
        command.arg(format!("--num-nodes={}", self.nodes().len()));
        command.arg(format!("--kubeconfig={}", self.kubectl().kubeconfig().display()));
        command.arg(format!("--kubectl-path={}", self.basis.programs.get("kubectl").display()));
        // Its words go to a file: the report has what matters.
        let log = folder.join("e2e.log");
        let file = fs::File::create(&log).map_err(LabError::file(&log))?;
        let errors = file.try_clone().map_err(LabError::file(&log))?;
        // Some specs leave files where temporary ones go.
        command
            .envs(self.kubectl().environment())
            .env("TMPDIR", &folder)
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors);
        let mut child = self.control_plane.namespace.spawn(&mut command)?;
        let status = child.wait().map_err(LabError::file("ginkgo"))?;
        let Ok(text) = fs::read(&report) else {
            let words = fs::read_to_string(&log).unwrap_or_default();
            let lines: Vec<&str> = words.lines().collect();
            return Err(LabError::Process {
                process: "ginkgo".to_owned(),
                problem: format!("ended ({status}) without a report"),
                log: lines[lines.len().saturating_sub(20)..].join("\n"),
            });
        };
        let suites: Vec<Suite> =
            serde_json::from_slice(&text).map_err(|error| LabError::file(&report)(error.into()))?;
        let reports = suites.into_iter().flat_map(|suite| suite.spec_reports);
        let mut results: Vec<SpecResult> = reports.filter_map(Report::result).collect();
        results.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(results)
    }
}

/// Ginkgo's report, as far as it is read.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Suite {
    spec_reports: Vec<Report>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Report {
    /// The suite's own preparations have no texts.
    container_hierarchy_texts: Option<Vec<String>>,
    leaf_node_type: String,
    leaf_node_text: String,
    state: String,
    run_time: u64,
    failure: Option<Failure>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Failure {
    message: Option<String>,
}

impl Report {
    /// Nothing about what was not asked for, or is no spec.
    fn result(self) -> Option<SpecResult> {
        let skipped = matches!(&*self.state, SpecResult::SKIPPED | "pending");
        let failed = !skipped && self.state != "passed";
        // Who leaves itself out says why; who was left out says nothing.
        let left_out = skipped && self.failure.is_none();
        if left_out || self.leaf_node_type != "It" && !failed {
            return None;
        }
        let mut words = self.container_hierarchy_texts.unwrap_or_default();
        words.push(if self.leaf_node_text.is_empty() { self.leaf_node_type } else { self.leaf_node_text });
        let nanoseconds = std::time::Duration::from_nanos(self.run_time);
        Some(SpecResult {
            name: words.join(" "),
            state: self.state,
            seconds: nanoseconds.as_secs_f64(),
            failure: self.failure.and_then(|failure| failure.message).unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    /// As Ginkgo writes it; `more` begins with a comma.
    fn result(kind: &str, state: &str, more: &str) -> Option<SpecResult> {
        let text = format!(
            "{{\"ContainerHierarchyTexts\": [\"[sig-network] DNS\"], \"LeafNodeType\": \"{kind}\",
            \"LeafNodeText\": \"should work\", \"State\": \"{state}\", \"RunTime\": 1500000000{more}}}"
        );
        serde_json::from_str::<Report>(&text).unwrap().result()
    }

    #[test]
    fn a_spec_that_leaves_itself_out_is_told_from_one_that_was_not_asked_for() {
        assert_eq!(result("It", "skipped", ""), None);
        assert_eq!(result("It", "pending", ""), None);
        let skipped = result("It", "skipped", ", \"Failure\": {\"Message\": \"needs a cloud\"}").unwrap();
        assert!(skipped.skipped() && !skipped.passed());
        assert_eq!((&*skipped.name, &*skipped.failure), ("[sig-network] DNS should work", "needs a cloud"));
    }

    #[test]
    fn what_is_no_spec_counts_when_it_fails() {
        assert_eq!(result("SynchronizedBeforeSuite", "passed", ""), None);
        let failed =
            result("SynchronizedBeforeSuite", "failed", ", \"Failure\": {\"Message\": \"no nodes\"}");
        assert!(failed.is_some_and(|failed| !failed.passed() && !failed.skipped()));
        assert!(result("It", "passed", "").unwrap().passed());
    }
}
