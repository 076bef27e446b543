//! `muslin doctor`: what on this node is in the way, with the evidence and what helps.
//!
//! Facts are gathered first (`gather`), then judged by pure functions (`checks`). It changes nothing, needs no
//! running agent, and says what only root could have looked at.

mod checks;
mod facts;
mod gather;

use std::path::Path;
use std::process::ExitCode;

pub(super) use self::checks::Report;
use self::checks::{Finding, Severity};
use super::output::{list, print};
use crate::cli::{DoctorArgs, ExamineArgs};

/// The port that peers connect to.
const BGP_PORT: u16 = 179;

/// Prints what was found; fails if something has to be done.
pub(super) async fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let report = report(&args.examine, &args.query.socket).await;
    print(args.query.output, &report, render)?;
    Ok(if report.is_bad() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Looks at the node, and asks the daemon at `socket` if there is one.
pub(super) async fn report(args: &ExamineArgs, socket: &Path) -> Report {
    checks::examine(&gather::gather(args, socket).await)
}

fn render(report: &Report) -> String {
    let mut parts: Vec<String> = report.findings.iter().map(finding).collect();
    parts.push(format!("{} checks found nothing: {}", report.passed.len(), list(&report.passed)));
    parts.join("\n\n")
}

fn finding(finding: &Finding) -> String {
    let severity = match finding.severity {
        Severity::Error => "ERROR",
        Severity::Warning => "WARNING",
        Severity::Note => "note",
        Severity::Unknown => "not seen",
    };
    let fix = finding.fix.as_ref().map(|fix| format!("\n  fix    {fix}")).unwrap_or_default();
    format!("{severity}: {} [{}]\n  found  {}{fix}", finding.what, finding.check, finding.evidence)
}
