//! `muslin explain PREFIX|SERVICE|POD`: from the object that caused it to the kernel, or why it is missing.

use std::process::ExitCode;
use std::time::Duration;

use muslin_bgp_speaker::rib::{Explanation, RouteView};
use muslin_node_plan::Inquired;
use serde::Serialize;

use super::output::{age, next_hops, print, route_state, standing};
use crate::api::Explained;
use crate::cli::{ExplainArgs, Target};
use crate::client;

/// An object and the routes to its addresses.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ExplainedObject {
    /// What was asked for.
    #[serde(flatten)]
    object: Inquired,
    /// Of each of its addresses, in their order.
    routes: Vec<Explained>,
}

/// Prints the chain; fails when nothing is known.
pub(crate) async fn run(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let socket = &args.query.socket;
    let explain = async |prefix: String| -> anyhow::Result<Explained> {
        client::get_with(socket, "/v1/explain", &[("prefix", prefix)]).await
    };
    let known = match &args.target {
        Target::Prefix(prefix) => {
            let explained = explain(prefix.to_string()).await?;
            print(args.query.output, &explained, render)?;
            is_known(&explained)
        }
        Target::Name(name) => {
            let object: Inquired = client::get_with(socket, "/v1/find", &[("name", name)]).await?;
            let mut routes = Vec::new();
            for address in &object.addresses {
                routes.push(explain(address.address.to_string() + host_length(address.address)).await?);
            }
            let whole = ExplainedObject { object, routes };
            print(args.query.output, &whole, render_object)?;
            whole.routes.iter().any(is_known)
        }
    };
    Ok(if known { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn host_length(address: std::net::IpAddr) -> &'static str {
    if address.is_ipv4() { "/32" } else { "/128" }
}

fn is_known(explained: &Explained) -> bool {
    explained.speaker.is_some() || !explained.plan.is_empty()
}

fn render_object(whole: &ExplainedObject) -> String {
    let mut parts = vec![format!("{}: {}", whole.object.object, whole.object.remarks.join("; "))];
    for (address, route) in whole.object.addresses.iter().zip(&whole.routes) {
        parts.push(format!("{} {}", address.field, render(route)));
    }
    parts.join("\n\n")
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
    if !explained.objects.is_empty() {
        section("objects", explained.objects.clone());
    }
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
    if !explained.missing.is_empty() {
        section("missing", explained.missing.clone());
    }
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
        let kept = if route.stale { ", kept from a session that was lost" } else { "" };
        let (state, since) = (standing(route), age(Duration::from_secs(route.age.into())));
        format!("{state}: {from}{next_hop}{path}{why}, for {since}{kept} [{cause}]")
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
    let ours = match &explained.kernel {
        None => "nothing is wanted in the kernel for it".to_owned(),
        Some(report) => {
            let way = next_hops(&report.next_hops, &explained.interfaces);
            format!("{way}, metric {}: {}", report.metric, route_state(&report.state))
        }
    };
    let others = explained.foreign.iter().map(|route| format!("another program's: {route}"));
    [ours].into_iter().chain(others).collect()
}
