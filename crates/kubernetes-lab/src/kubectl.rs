//! The cluster's API by way of `kubectl`: the very program that people use.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use muslin_lab::LabError;
use muslin_netns::Namespace;

/// `kubectl` as an administrator, from a place where the API can be reached.
#[derive(Clone, Debug)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    namespace: Namespace,
}

impl Kubectl {
    pub(crate) fn new(program: PathBuf, kubeconfig: PathBuf, namespace: Namespace) -> Self {
        Self { program, kubeconfig, namespace }
    }

    /// The file that makes its reader an administrator.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// What has whoever knows Kubernetes' libraries find the API and keep what it notes of it with the lab: its own user
    /// is left with nothing, and with nothing of the lab before, whose API had the same address.
    pub(crate) fn environment(&self) -> [(&'static str, PathBuf); 2] {
        [
            ("KUBECONFIG", self.kubeconfig.clone()),
            ("KUBECACHEDIR", self.kubeconfig.with_file_name("kubectl-cache")),
        ]
    }

    /// What it prints.
    ///
    /// # Errors
    /// [`LabError::Process`] with its words if it fails.
    pub fn run(&self, arguments: &[&str]) -> Result<String, LabError> {
        finish(arguments, &self.output(arguments, None)?)
    }

    /// Applies manifests, as the server's side of `apply`.
    ///
    /// # Errors
    /// [`LabError::Process`] with the API server's words if it refuses.
    pub fn apply(&self, manifests: &str) -> Result<String, LabError> {
        let arguments = ["apply", "--server-side", "--force-conflicts", "--filename", "-"];
        finish(&arguments, &self.output(&arguments, Some(manifests))?)
    }

    /// The answer as JSON, of a command that is asked for it by `--output json`.
    ///
    /// # Errors
    /// As [`run`](Self::run), and if it is none.
    pub fn json(&self, arguments: &[&str]) -> Result<serde_json::Value, LabError> {
        let text = self.run(&[arguments, &["--output", "json"]].concat())?;
        serde_json::from_str(&text)
            .map_err(|error| failed(arguments, &format!("printed no JSON: {error}"), text))
    }

    /// How it ends and what it prints, whatever that is.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn output(&self, arguments: &[&str], input: Option<&str>) -> Result<Output, LabError> {
        let mut command = Command::new(&self.program);
        command.envs(self.environment()).args(arguments);
        command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.namespace.spawn(&mut command)?;
        let failed = LabError::file(&self.program);
        if let (Some(mut pipe), Some(text)) = (child.stdin.take(), input) {
            // It may end before it has read everything; why, it says itself.
            drop(pipe.write_all(text.as_bytes()));
        }
        child.wait_with_output().map_err(failed)
    }
}

fn finish(arguments: &[&str], output: &Output) -> Result<String, LabError> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(failed(arguments, &format!("failed ({})", output.status), log))
}

fn failed(arguments: &[&str], problem: &str, log: String) -> LabError {
    LabError::Process {
        process: format!("kubectl {}", arguments.join(" ")),
        problem: problem.to_owned(),
        log,
    }
}
