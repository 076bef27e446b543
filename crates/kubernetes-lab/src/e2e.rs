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
    /// `passed`, `failed`, `timedout`, `panicked`, …
    pub state: String,
    /// How long it took.
    pub seconds: f64,
    /// What it said when it failed.
    pub failure: String,
}

impl KubernetesLab {
    /// Runs specs of Kubernetes' own suite; how each of those ended that were run, by name.
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
        command
            .envs(self.kubectl().environment())
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
    /// Nothing about what was left out, or left itself out, or is no spec.
    fn result(self) -> Option<SpecResult> {
        let failed = !matches!(&*self.state, "passed" | "skipped" | "pending");
        if matches!(&*self.state, "skipped" | "pending") || self.leaf_node_type != "It" && !failed {
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
