//! `muslin policy test`: what guard and policies make of a route that need not exist.

use std::process::ExitCode;

use muslin_bgp_speaker::probe::{Probe, ProbeDirection, ProbeStep, probe};

use super::complain;
use super::output::print;
use super::plan::planned;
use crate::cli::{Direction, PolicyCommand, PolicyTestArgs};
use crate::client;

/// The route is refused somewhere.
const REFUSED: u8 = 1;
/// It could not be tried.
const TROUBLE: u8 = 2;

pub(super) async fn run(command: &PolicyCommand) -> ExitCode {
    let PolicyCommand::Test(args) = command;
    match steps(args).await.and_then(|steps| {
        print(args.query.output, &steps, |steps| render(steps))?;
        Ok(steps.iter().all(|step| step.accepted))
    }) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(REFUSED),
        Err(error) => {
            complain(&error);
            ExitCode::from(TROUBLE)
        }
    }
}

async fn steps(args: &PolicyTestArgs) -> anyhow::Result<Vec<ProbeStep>> {
    let question = Probe {
        prefix: args.prefix,
        from: args.from.clone(),
        to: args.peer.clone(),
        direction: args.direction.map(|direction| match direction {
            Direction::Import => ProbeDirection::Import,
            Direction::Export => ProbeDirection::Export,
        }),
        next_hop: args.next_hop,
        as_path: args.as_path.0.clone(),
        communities: args.community.clone(),
        med: args.med,
        local_pref: args.local_pref,
    };
    match &args.state {
        Some(folder) => {
            let config = planned(folder, args.node.as_deref()).await?.speaker();
            Ok(probe(&config, &question)?)
        }
        None => client::post(&args.query.socket, "/v1/policy/test", &question).await,
    }
}

fn render(steps: &[ProbeStep]) -> String {
    if steps.is_empty() {
        return "there is no peer that it could go to".to_owned();
    }
    steps.iter().map(step).collect::<Vec<_>>().join("\n\n")
}

fn step(step: &ProbeStep) -> String {
    let (way, verdict) = match step.direction {
        ProbeDirection::Import => ("from", if step.accepted { "accepted" } else { "refused" }),
        ProbeDirection::Export => ("to", if step.accepted { "sent" } else { "not sent" }),
    };
    let mut lines = vec![format!("{way} {}: {verdict}", step.peer), format!("  by {}", step.decided_by)];
    lines.extend(step.rules.iter().map(|rule| format!("  rule {rule}")));
    lines.extend(step.changes.iter().map(|change| format!("  {change}")));
    lines.join("\n")
}
