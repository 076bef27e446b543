//! `muslin trace FROM TO`: the real look-up on each hop, and where it breaks.
//!
//! What the kernel decides is asked of the kernel, in the pod's network namespace and on the node. Beyond the node
//! BGP says where the route came from, and echo packets of growing lifetime say who answers; how large a packet comes
//! through is measured, from the pod, with packets that nobody may cut.

mod place;
mod service;
mod walk;

use std::net::IpAddr;
use std::process::ExitCode;

use anyhow::bail;
use muslin_node_plan::Inquired;
use serde::Serialize;

use super::output::{list, print};
use crate::api::Explained;
use crate::cli::{Target, TraceArgs};
use crate::client;

/// A way from end to end.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Trace {
    from: IpAddr,
    to: IpAddr,
    /// In the order of the packet.
    steps: Vec<Step>,
    /// Where it breaks, and why; empty if nothing was found.
    broken: Vec<String>,
}

/// What happens at one place.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Step {
    /// "pod 10.244.1.2", "node n1", "beyond".
    place: String,
    /// What was found there.
    found: Vec<String>,
}

/// Prints the way; fails if it is broken somewhere.
pub(super) async fn run(args: &TraceArgs) -> anyhow::Result<ExitCode> {
    let from = addresses(args, &args.from).await?;
    let service = service::asked(&args.query.socket, &args.to).await;
    let to = match &service {
        Some(service) => service.addresses.clone(),
        None => addresses(args, &args.to).await?,
    };
    let mut pairs = from.iter().flat_map(|from| to.iter().map(move |to| (*from, *to)));
    let Some((from, to)) = pairs.find(|(from, to)| from.is_ipv4() == to.is_ipv4()) else {
        let (a, b) = (list(&from), list(&to));
        bail!("{} ({a}) and {} ({b}) have no address family in common", args.from, args.to)
    };
    let (to, translated) = match service.map(|service| service.behind(to)) {
        None => (to, None),
        Some(Ok((endpoint, step))) => (endpoint, Some(step)),
        Some(Err(broken)) => {
            return report(args, &Trace { from, to, steps: Vec::new(), broken: vec![broken] });
        }
    };
    let prefix = [("prefix", if to.is_ipv4() { format!("{to}/32") } else { format!("{to}/128") })];
    let explained: anyhow::Result<Explained> =
        client::get_with(&args.query.socket, "/v1/explain", &prefix).await;
    let explained = explained.ok();
    let root = args.root.clone();
    // Entering namespaces and waiting for packets is for threads.
    let mut trace =
        tokio::task::spawn_blocking(move || walk::walk(&root, from, to, explained.as_ref())).await??;
    trace.steps.splice(0..0, translated);
    report(args, &trace)
}

fn report(args: &TraceArgs, trace: &Trace) -> anyhow::Result<ExitCode> {
    print(args.query.output, trace, render)?;
    Ok(if trace.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn addresses(args: &TraceArgs, target: &Target) -> anyhow::Result<Vec<IpAddr>> {
    match target {
        Target::Prefix(prefix) if prefix.prefix_len() == prefix.max_prefix_len() => Ok(vec![prefix.addr()]),
        Target::Prefix(prefix) => bail!("{prefix}: a packet goes from one address to another; write one"),
        Target::Name(name) => {
            let found: Inquired = client::get_with(&args.query.socket, "/v1/find", &[("name", name)]).await?;
            if found.addresses.is_empty() {
                bail!("{}: it has no address; {}", found.object, found.remarks.join("; "));
            }
            Ok(found.addresses.into_iter().map(|address| address.address).collect())
        }
    }
}

fn render(trace: &Trace) -> String {
    let mut lines = vec![format!("{} to {}", trace.from, trace.to)];
    for step in &trace.steps {
        lines.push(format!("  {}", step.place));
        lines.extend(step.found.iter().map(|found| format!("    {found}")));
    }
    match &trace.broken[..] {
        [] => lines.push("  nothing is in the way".to_owned()),
        broken => {
            lines.push("  BROKEN".to_owned());
            lines.extend(broken.iter().map(|reason| format!("    {reason}")));
        }
    }
    lines.join("\n")
}
