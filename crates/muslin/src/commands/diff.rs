//! `muslin plan --diff`: what peers would gain and lose, before anything is done.

use std::process::ExitCode;

use anyhow::{Context, bail};
use muslin_bgp_speaker::foresight::{Forecast, Judged, PeerForecast, Retold, SessionForecast, Told, foresee};
use muslin_cluster::Effect;

use super::complain;
use super::output::{list, print};
use super::plan::planned;
use crate::cli::{Against, PlanArgs};
use crate::client;

/// Differences were found, as `diff` has it.
const DIFFERENT: u8 = 1;
/// They could not be looked for.
const TROUBLE: u8 = 2;

/// Prints the differences between what is (a folder, or the running daemon) and what would be.
pub(super) async fn run(args: &PlanArgs, old: &Against) -> ExitCode {
    match forecast(args, old).await.and_then(|forecast| {
        print(args.query.output, &forecast, render)?;
        Ok(forecast.is_empty())
    }) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(DIFFERENT),
        Err(error) => {
            complain(&error);
            ExitCode::from(TROUBLE)
        }
    }
}

async fn forecast(args: &PlanArgs, old: &Against) -> anyhow::Result<Forecast> {
    let wanted = planned(&args.state, args.node.as_deref()).await?;
    let mut refused = wanted.problems().iter().filter(|problem| problem.effect != Effect::Advice);
    if let Some(first) = refused.next() {
        // What is compared would not be what was meant.
        let more = refused.count();
        let more = if more == 0 { String::new() } else { format!(" (and {more} more)") };
        bail!("{}: {first}{more}", args.state.display());
    }
    let wanted = wanted.speaker();
    match old {
        Against::Folder(old) => {
            let in_force = planned(old, args.node.as_deref()).await.context("--diff")?.speaker();
            Ok(foresee(&in_force, &wanted))
        }
        Against::Daemon => client::post(&args.query.socket, "/v1/foresee", &wanted).await,
    }
}

fn render(forecast: &Forecast) -> String {
    if forecast.is_empty() {
        return "nothing changes for any peer".to_owned();
    }
    forecast.peers.iter().map(peer).collect::<Vec<_>>().join("\n\n")
}

/// The peer's name, then a line a route: `+` gained, `-` lost, `~` told otherwise.
fn peer(peer: &PeerForecast) -> String {
    let session = match peer.session {
        SessionForecast::Kept => "",
        SessionForecast::Added => " (new session)",
        SessionForecast::Removed => " (session removed)",
        SessionForecast::Reset => " (session reset)",
    };
    let mut lines = vec![format!("{}{session}", peer.peer)];
    lines.extend(peer.gains.iter().map(|route| told("+", route)));
    lines.extend(peer.loses.iter().map(|route| told("-", route)));
    lines.extend(peer.changes.iter().map(retold));
    lines.extend(peer.accepts.iter().map(|route| judged("would be accepted", route)));
    lines.extend(peer.refuses.iter().map(|route| judged("would be refused", route)));
    if peer.unlisted > 0 {
        lines.push(format!("  … and {} more routes", peer.unlisted));
    }
    lines.join("\n")
}

fn told(sign: &str, Told { prefix, attributes, cause }: &Told) -> String {
    let attributes = if attributes.is_empty() { String::new() } else { format!("  {}", list(attributes)) };
    format!("  {sign} {prefix}{attributes}  [{cause}]")
}

fn retold(Retold { prefix, before, after, cause }: &Retold) -> String {
    format!("  ~ {prefix}  {} → {}  [{cause}]", list(before), list(after))
}

fn judged(what: &str, Judged { prefix, cause }: &Judged) -> String {
    format!("  received {prefix} {what}  [{cause}]")
}
