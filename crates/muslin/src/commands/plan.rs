//! `muslin plan`: what a node would do with a folder of manifests. Reads the kernel, changes nothing.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use comfy_table::Cell;
use ipnet::IpNet;
use muslin_bgp_speaker::config::SpeakerConfig;
use muslin_cluster::{Effect, Problem, load_folder};
use muslin_node_plan::{Caused, KernelFacts, NodePlan, PlanView, SpeakerPlan, plan, speaker_plan};
use muslin_route_programmer::{Programmer, ProgrammerConfig};
use muslin_router_discovery::Found;

use super::output::{list, print, table};
use crate::cli::PlanArgs;
use crate::kernel::facts;

/// Prints the plan, or what it would change; fails when a part of the manifests is refused.
pub(crate) async fn run(args: &PlanArgs) -> anyhow::Result<ExitCode> {
    if let Some(old) = &args.diff {
        return Ok(super::diff::run(args, old).await);
    }
    let view = match planned(&args.state, args.node.as_deref()).await? {
        Planned::Speaker(plan) => PlanView::from(&*plan),
        Planned::Node(plan, Place::Here) => PlanView::from(&*plan),
        Planned::Node(plan, Place::Elsewhere) => {
            let mut view = PlanView::from(&*plan);
            let unseen = "this machine is not the node: what follows from its links, such as a mesh, is not in \
                          the plan";
            view.notes.push(Caused::new(unseen.to_owned(), format!("Node {} .status.addresses", plan.node)));
            view
        }
    };
    print(args.query.output, &view, render)?;
    let well = view.problems.iter().all(|problem| problem.effect == Effect::Advice);
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The plan of either role.
pub(super) enum Planned {
    Node(Box<NodePlan>, Place),
    Speaker(Box<SpeakerPlan>),
}

/// Whether this machine is the node: another node's links cannot be seen from here, and its plan is then that of
/// the manifests alone.
pub(super) enum Place {
    Here,
    Elsewhere,
}

impl Planned {
    pub(super) fn speaker(self) -> SpeakerConfig {
        match self {
            Self::Node(plan, _) => plan.speaker,
            Self::Speaker(plan) => plan.speaker,
        }
    }

    pub(super) fn problems(&self) -> &[Problem] {
        match self {
            Self::Node(plan, _) => &plan.problems,
            Self::Speaker(plan) => &plan.problems,
        }
    }
}

/// The plan of a folder of manifests.
pub(super) async fn planned(folder: &Path, node: Option<&str>) -> anyhow::Result<Planned> {
    let state = load_folder(folder).with_context(|| folder.display().to_string())?;
    let here = facts_here().await;
    let Some(name) = node else { return Ok(Planned::Speaker(Box::new(speaker_plan(&state, &here)))) };
    let Some(node) = state.nodes.get(name) else {
        let known = list(state.nodes.keys());
        anyhow::bail!("--node {name}: {} has no such Node; it has {known}", folder.display());
    };
    let own =
        node.internal_ips().iter().any(|ip| here.addresses.iter().any(|local| local.address == ip.value));
    let (facts, place) = if own { (here, Place::Here) } else { (KernelFacts::default(), Place::Elsewhere) };
    Ok(Planned::Node(Box::new(plan(&state, &facts, name)), place))
}

/// What this machine's kernel says; reading it needs no privilege.
async fn facts_here() -> KernelFacts {
    match Programmer::spawn(ProgrammerConfig::default()).await {
        Ok(programmer) => facts(&programmer.view(), &Found::default()),
        Err(_) => KernelFacts::default(),
    }
}

fn render(plan: &PlanView) -> String {
    let who =
        plan.node.as_ref().map_or_else(|| "stand-alone speaker".to_owned(), |node| format!("node {node}"));
    let cluster = plan.cluster_id.map(|cluster| format!(", cluster {cluster}")).unwrap_or_default();
    let mut parts = vec![format!("{who}: AS {}, router id {}{cluster}", plan.asn, plan.router_id)];
    let mut section = |title: &str, text: String| {
        if !text.is_empty() {
            parts.push(format!("{title}\n{text}"));
        }
    };
    section("PROBLEMS", plan.problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    section("PEERS", peers(plan));
    section("NOT FOUND YET", plan.awaited.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    section("ANNOUNCED", announced(plan));
    section("NOT ANNOUNCED", withheld(plan));
    section("POLICIES", policies(plan));
    section("NEVER LEARNED", guard(plan));
    section("PODS", pods(plan));
    section("NOTES", plan.notes.iter().map(|note| note.value.clone()).collect::<Vec<_>>().join("\n"));
    parts.join("\n\n")
}

fn peers(plan: &PlanView) -> String {
    if plan.peers.is_empty() {
        return "none".to_owned();
    }
    let rows = plan.peers.iter().map(|peer| {
        [
            Cell::new(&peer.name),
            Cell::new(&peer.address),
            Cell::new(&peer.asn),
            Cell::new(list(&peer.families)),
            Cell::new(list(&peer.options)),
            Cell::new(&peer.cause),
        ]
    });
    table(["NAME", "ADDRESS", "AS", "FAMILIES", "OPTIONS", "CAUSE"], rows)
}

fn announced(plan: &PlanView) -> String {
    if plan.originated.is_empty() {
        return "nothing".to_owned();
    }
    let rows = plan.originated.iter().map(|route| {
        [
            Cell::new(route.prefix),
            Cell::new(route.source),
            Cell::new(list(&route.attributes)),
            Cell::new(&route.cause),
        ]
    });
    table(["PREFIX", "SOURCE", "ATTRIBUTES", "CAUSE"], rows)
}

fn withheld(plan: &PlanView) -> String {
    if plan.withheld.is_empty() {
        return String::new();
    }
    let rows = plan
        .withheld
        .iter()
        .map(|route| [Cell::new(route.prefix), Cell::new(&route.reason), Cell::new(&route.cause)]);
    table(["PREFIX", "REASON", "CAUSE"], rows)
}

fn policies(plan: &PlanView) -> String {
    let rows = plan.policies.iter().flat_map(|policy| {
        let rules = policy
            .rules
            .iter()
            .map(|rule| [Cell::new(&policy.name), Cell::new(&rule.value), Cell::new(&rule.cause)]);
        let rest =
            [Cell::new(&policy.name), Cell::new(format!("{} all else", policy.otherwise)), Cell::new("-")];
        rules.chain([rest])
    });
    if plan.policies.is_empty() { String::new() } else { table(["POLICY", "RULE", "CAUSE"], rows) }
}

fn guard(plan: &PlanView) -> String {
    let guard = &plan.guard;
    let ranges = |what: &'static str, ranges: &[Caused<IpNet>]| {
        let row = |range: &Caused<IpNet>| [Cell::new(what), Cell::new(range.value), Cell::new(&range.cause)];
        ranges.iter().map(row).collect::<Vec<_>>()
    };
    let mut rows = match guard.only.as_deref() {
        None => Vec::new(),
        Some([]) => {
            let nothing = "the blocks of other nodes";
            vec![[Cell::new("only"), Cell::new(nothing), Cell::new("no import.cidrs")]]
        }
        Some(only) => ranges("only within", only),
    };
    rows.extend(ranges("never over", &guard.never_over));
    rows.extend(ranges("never within", &guard.never_within));
    rows.extend(ranges("never within, Services", &guard.services));
    rows.extend(
        guard.from_owner_only.iter().map(|block| {
            [Cell::new("only from its owner"), Cell::new(&block.value), Cell::new(&block.cause)]
        }),
    );
    if rows.is_empty() { String::new() } else { table(["RULE", "RANGE", "CAUSE"], rows) }
}

fn pods(plan: &PlanView) -> String {
    let mut lines = Vec::new();
    if !plan.address_blocks.is_empty() {
        lines.push(format!("addresses from {}", list(plan.address_blocks.iter().map(|block| block.value))));
    }
    if let Some(firewall) = &plan.firewall {
        if !firewall.masquerade.pod_ranges.is_empty() {
            lines.push(format!(
                "masquerade from {} to all but {}",
                list(&firewall.masquerade.pod_ranges),
                list(&firewall.masquerade.never)
            ));
        }
        if !firewall.service_ranges_to_drop.is_empty() {
            let ranges = list(&firewall.service_ranges_to_drop);
            lines.push(format!("untranslated packets dropped to {ranges}"));
        }
    }
    lines.join("\n")
}
