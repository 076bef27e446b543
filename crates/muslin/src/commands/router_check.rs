//! `muslin router-check`: what the routers beside this node do otherwise than they should, and what to do about it.

use std::process::ExitCode;

use comfy_table::Cell;

use super::complain;
use super::output::{print, table, verdict};
use crate::api::RouteQuery;
use crate::cli::RouterCheckArgs;
use crate::client;
use crate::router_check::{Finding, Severity};

/// There is a problem.
const PROBLEM: u8 = 1;
/// Nothing could be found out.
const TROUBLE: u8 = 2;

pub(super) async fn run(args: &RouterCheckArgs) -> ExitCode {
    match check(args).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(PROBLEM),
        Err(error) => {
            complain(&error);
            ExitCode::from(TROUBLE)
        }
    }
}

async fn check(args: &RouterCheckArgs) -> anyhow::Result<bool> {
    let query = RouteQuery { peer: args.peer.clone(), ..RouteQuery::default() };
    let found: Vec<Finding> = client::get_with(&args.query.socket, "/v1/router-check", &query).await?;
    print(args.query.output, &found, |found| render(found))?;
    Ok(found.iter().all(|finding| finding.severity != Severity::Problem))
}

fn render(found: &[Finding]) -> String {
    if found.is_empty() {
        return "the routers do what they should".to_owned();
    }
    let rows = found.iter().map(|finding| {
        [
            Cell::new(&finding.peer),
            verdict(finding.severity, finding.severity != Severity::Problem),
            Cell::new(&finding.found),
            Cell::new(&finding.remedy),
        ]
    });
    table(["PEER", "SEVERITY", "FINDING", "REMEDY"], rows)
}
