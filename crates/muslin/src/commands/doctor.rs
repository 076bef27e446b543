//! `muslin doctor`: what on this node is in the way, with the evidence and what helps.
//!
//! Facts are gathered first (`gather`), then judged by pure functions (`checks`). It changes nothing, needs no
//! running agent, and says what only root could have looked at.

mod checks;
mod facts;
mod gather;

use std::process::ExitCode;

use self::checks::{Finding, Report, Severity};
use super::output::{list, print};
use crate::cli::DoctorArgs;

/// The port that peers connect to.
const BGP_PORT: u16 = 179;

/// Prints what was found; fails if something has to be done.
pub(super) async fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let report = checks::examine(&gather::gather(args).await);
    print(args.query.output, &report, render)?;
    Ok(if report.is_bad() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
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
