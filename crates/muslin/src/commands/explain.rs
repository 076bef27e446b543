//! `muslin explain PREFIX`: from the object that caused it to the kernel, or why it is missing.

use std::process::ExitCode;

use muslin_bgp_speaker::rib::{Explanation, RouteView};
use muslin_route_programmer::RouteState;

use super::output::{next_hops, print};
use crate::api::Explained;
use crate::cli::ExplainArgs;
use crate::client;

/// Prints the chain; fails when nothing is known of the prefix.
pub(crate) async fn run(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let query = [("prefix", args.prefix.to_string())];
    let explained: Explained = client::get_with(&args.query.socket, "/v1/explain", &query).await?;
    print(args.query.output, &explained, render)?;
    let known = explained.speaker.is_some() || !explained.plan.is_empty();
    Ok(if known { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn render(explained: &Explained) -> String {
    let mut lines = vec![match &explained.speaker {
        Some(known) if known.prefix != explained.asked => {
            format!("{} (longest prefix that covers {})", known.prefix, explained.asked)
        }
        _ => explained.asked.to_string(),
    }];
    let mut section = |title: &str, items: Vec<String>| {
        lines.push(format!("  {title}"));
        lines.extend(items.into_iter().map(|item| format!("    {item}")));
    };
    if explained.plan.is_empty() {
        section("plan", vec!["this node does not originate it".to_owned()]);
    } else {
        section("plan", explained.plan.clone());
    }
    match &explained.speaker {
        None => section("paths", vec!["no peer sent it, and nothing that covers it".to_owned()]),
        Some(known) => {
            section("paths", paths(known));
            section("announced", exports(known));
        }
    }
    section("kernel", kernel(explained));
    lines.join("\n")
}

fn paths(known: &Explanation) -> Vec<String> {
    let one = |route: &RouteView, cause: &str| {
        let from =
            route.peer.as_ref().map_or_else(|| "originated here".to_owned(), |peer| format!("from {peer}"));
        let next_hop = route.next_hop.map(|hop| format!(" via {hop}")).unwrap_or_default();
        let path =
            if route.as_path.is_empty() { String::new() } else { format!(", AS path {}", route.as_path) };
        let why = route.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let state = format!("{:?}", route.state).to_lowercase();
        format!("{state}: {from}{next_hop}{path}{why} [{cause}]")
    };
    known.paths.iter().map(|path| one(&path.route, &path.cause)).collect()
}

fn exports(known: &Explanation) -> Vec<String> {
    if known.exports.is_empty() {
        return vec!["to nobody: no peer is established".to_owned()];
    }
    let told = known.exports.iter().map(|export| match &export.sent {
        Some(route) => {
            let next_hop = route.next_hop.map(|hop| format!(" with next hop {hop}")).unwrap_or_default();
            format!("to {}{next_hop} [{}]", export.peer, export.cause)
        }
        None => format!("not to {}: {}", export.peer, export.cause),
    });
    told.collect()
}

fn kernel(explained: &Explained) -> Vec<String> {
    let Some(report) = &explained.kernel else {
        return vec!["nothing is wanted in the kernel for it".to_owned()];
    };
    let way = next_hops(&report.next_hops, &explained.interfaces);
    let state = match &report.state {
        RouteState::Installed => "installed".to_owned(),
        other => format!("{other:?}"),
    };
    vec![format!("{way}, metric {}: {state}", report.metric)]
}
