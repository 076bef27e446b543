//! `muslin drain` and `muslin undrain`: a node leaves, or comes back.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::bail;
use muslin_cluster::kubernetes::DRAIN_TAINT;
use muslin_node_plan::DrainPhase;
use serde::Serialize;

use super::output::print;
use crate::api::{DrainAnswer, DrainCause, DrainRequest, DrainStatus};
use crate::cli::{DrainArgs, UndrainArgs};
use crate::client;

/// Longest wait of one request; then it is asked again.
const PATIENCE: Duration = Duration::from_secs(20);

/// Begins a drain and follows it to its end: success is a drained node.
pub(crate) async fn drain(args: &DrainArgs) -> anyhow::Result<ExitCode> {
    let socket = &args.query.socket;
    let request = DrainRequest { wait_seconds: args.wait.as_secs(), text: args.text.as_str().into() };
    let mut answer: DrainAnswer = client::post(socket, "/v1/drain", &request).await?;
    let deadline = args.timeout.map(|timeout| Instant::now() + timeout);
    let mut shown = Shown::default();
    loop {
        let Some(status) = answer.drain else { bail!("the drain was taken back meanwhile") };
        shown.show(&status)?;
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let over = left.is_some_and(|left| left.is_zero());
        if status.phase == DrainPhase::Drained || args.no_follow || over {
            shown.end()?;
            print(args.query.output, &status, |status| conclusion(status, over))?;
            return Ok(if over && status.phase != DrainPhase::Drained {
                ExitCode::FAILURE
            } else {
                ExitCode::SUCCESS
            });
        }
        answer = next(socket, answer.step, left.map_or(PATIENCE, |left| left.min(PATIENCE))).await?;
    }
}

/// Takes a drain back.
pub(crate) async fn undrain(args: &UndrainArgs) -> anyhow::Result<ExitCode> {
    let answer: DrainAnswer = client::delete(&args.query.socket, "/v1/drain").await?;
    print(args.query.output, &answer, |answer| match &answer.drain {
        None => "everything is announced as before".to_owned(),
        Some(status) => format!("the drain goes on: {}", way_back(status.cause)),
    })?;
    Ok(if answer.drain.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// How a drain of this cause is taken back.
pub(super) fn way_back(cause: DrainCause) -> String {
    match cause {
        DrainCause::Command => "`muslin undrain` takes it back".to_owned(),
        DrainCause::Taint => {
            format!(
                "the Node has the taint {DRAIN_TAINT}, and `kubectl taint node NAME {DRAIN_TAINT}-` takes it back"
            )
        }
        DrainCause::Shutdown => "the machine goes down, as the Node object says".to_owned(),
    }
}

/// What is asked for: the state after this step, when it comes.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct After {
    after: u64,
    timeout_seconds: u64,
}

async fn next(socket: &Path, after: u64, timeout: Duration) -> anyhow::Result<DrainAnswer> {
    let query = After { after, timeout_seconds: timeout.as_secs().max(1) };
    client::get_with(socket, "/v1/drain", &query).await
}

/// Progress for people on standard error: a line for each phase, on a terminal also how many pods are left.
#[derive(Default)]
struct Shown {
    phase: Option<DrainPhase>,
    pods: Option<usize>,
}

impl Shown {
    fn show(&mut self, status: &DrainStatus) -> io::Result<()> {
        let (terminal, mut to) = (io::stderr().is_terminal(), io::stderr().lock());
        let new_phase = self.phase.replace(status.phase) != Some(status.phase);
        let new_pods = self.pods.replace(status.pods) != Some(status.pods);
        match (new_phase, new_pods && terminal) {
            (true, _) => {
                let end = if terminal && status.phase == DrainPhase::ServicesWithdrawn { "" } else { "\n" };
                write!(to, "\r{}{end}", words(status))?;
            }
            (false, true) => write!(to, "\r\x1b[K{}", words(status))?,
            (false, false) => return Ok(()),
        }
        to.flush()
    }

    /// Leaves the line that is rewritten.
    fn end(&self) -> io::Result<()> {
        match self.phase {
            Some(DrainPhase::ServicesWithdrawn) if io::stderr().is_terminal() => {
                writeln!(io::stderr().lock())
            }
            _ => Ok(()),
        }
    }
}

pub(super) fn words(status: &DrainStatus) -> String {
    match status.phase {
        DrainPhase::ShuttingDown => format!(
            "every route is announced as a last resort (graceful shutdown); peers have {} s to move",
            status.request.wait_seconds
        ),
        DrainPhase::ServicesWithdrawn => {
            format!("Service routes are withdrawn; waiting for {} to leave", pods(status.pods))
        }
        DrainPhase::Drained => "nothing is announced any more".to_owned(),
    }
}

fn conclusion(status: &DrainStatus, over: bool) -> String {
    match status.phase {
        DrainPhase::Drained => format!(
            "drained: stopping the daemon now ends its sessions with Cease and the text \"{}\"",
            status.request.text
        ),
        DrainPhase::ShuttingDown | DrainPhase::ServicesWithdrawn if over => {
            format!("not drained in time: {} left; the drain goes on", pods(status.pods))
        }
        DrainPhase::ShuttingDown | DrainPhase::ServicesWithdrawn => {
            "the drain goes on; follow it with `muslin status`, take it back with `muslin undrain`".to_owned()
        }
    }
}

fn pods(count: usize) -> String {
    match count {
        0 => "no pod".to_owned(),
        1 => "1 pod".to_owned(),
        count => format!("{count} pods"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_says_what_comes_next() {
        let request = DrainRequest { wait_seconds: 30, text: "new disks".into() };
        let status = |phase, pods| DrainStatus {
            phase,
            phase_seconds: 0,
            cause: DrainCause::Command,
            request: request.clone(),
            pods,
        };
        assert!(words(&status(DrainPhase::ShuttingDown, 0)).contains("30 s"));
        assert!(words(&status(DrainPhase::ServicesWithdrawn, 1)).ends_with("1 pod to leave"));
        assert!(conclusion(&status(DrainPhase::Drained, 0), false).contains("\"new disks\""));
        assert!(conclusion(&status(DrainPhase::ServicesWithdrawn, 2), true).contains("2 pods left"));
    }
}
