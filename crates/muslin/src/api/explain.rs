//! `/v1/explain`, `/v1/find`, `/v1/plan`: why something is here or not.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use ipnet::IpNet;
use muslin_bgp_speaker::rib::{Explanation, RouteState};
use muslin_bgp_speaker::{Answer, PeerStatus, Query as Ask};
use muslin_node_plan::{Inquired, PlanView};
use muslin_route_programmer::{ForeignRoute, KernelView};
use serde::Deserialize;
use serde_json::Value;

use super::answer::Explained;
use super::handlers::{Answered, gone, interfaces, peers_of};
use crate::daemon::{Daemon, Learned, Plan, Role};

/// The query of `/v1/explain`.
#[derive(Deserialize)]
pub(super) struct ExplainQuery {
    prefix: IpNet,
}

/// The query of `/v1/find`.
#[derive(Deserialize)]
pub(super) struct FindQuery {
    name: String,
}

/// A Service or pod by its name.
pub(super) async fn find(
    State(daemon): State<Arc<Daemon>>,
    Query(query): Query<FindQuery>,
) -> Answered<Inquired> {
    let state = daemon.state.borrow().clone();
    muslin_node_plan::find(&state, &query.name).map(Json).map_err(|words| (StatusCode::NOT_FOUND, words))
}

/// The plan in force, without secrets.
pub(super) async fn plan(State(daemon): State<Arc<Daemon>>) -> Answered<Value> {
    let plan = daemon.plan.borrow().clone();
    let view = match plan.as_deref() {
        None => return Ok(Json(Value::Null)),
        Some(Plan::Node(plan)) => PlanView::from(&**plan),
        Some(Plan::Speaker(plan)) => PlanView::from(&**plan),
    };
    serde_json::to_value(view).map(Json).map_err(gone)
}

pub(super) async fn explain(
    State(daemon): State<Arc<Daemon>>,
    Query(query): Query<ExplainQuery>,
) -> Answered<Explained> {
    let speaker = match daemon.speaker.get() {
        Some(speaker) => match speaker.query(Ask::Explain(query.prefix)).await.map_err(gone)? {
            Answer::Explanation(explanation) => explanation,
            _ => None,
        },
        None => None,
    };
    let prefix = speaker.as_ref().map_or(query.prefix, |known| known.prefix);
    let plan = daemon.plan.borrow().clone();
    let kernel = daemon.programmer.route(prefix).await.map_err(gone)?;
    let view = daemon.programmer.view();
    let mut explained = Explained {
        asked: query.prefix,
        plan: plan.as_deref().map(|plan| in_plan(plan, query.prefix, prefix)).unwrap_or_default(),
        speaker,
        interfaces: interfaces(&daemon, kernel.as_slice()),
        kernel,
        objects: muslin_node_plan::objects_at(&daemon.state.borrow(), query.prefix),
        foreign: view.foreign_routes_for(prefix).iter().map(|route| foreign(route, &view)).collect(),
        missing: Vec::new(),
    };
    let installs = !matches!(daemon.role, Role::Speaker(Learned::PassedOn));
    explained.missing = missing(&explained, plan.is_some(), installs, &peers_of(&daemon).await?);
    Ok(Json(explained))
}

/// What the plan says of a prefix, and of the one that covers it.
fn in_plan(plan: &Plan, asked: IpNet, covering: IpNet) -> Vec<String> {
    let is_meant = |prefix: IpNet| prefix == asked || prefix == covering;
    let originated = plan.speaker().originated.iter().filter(|route| is_meant(route.prefix));
    let originated = originated.map(|route| format!("originated because of {}", route.cause));
    let withheld = match plan {
        Plan::Node(plan) => plan.withheld.as_slice(),
        Plan::Speaker(_) => &[],
    };
    let withheld = withheld.iter().filter(|route| is_meant(route.prefix));
    let withheld = withheld
        .map(|route| format!("not originated, although {} asks for it: {}", route.cause, route.reason));
    originated.chain(withheld).collect()
}

fn foreign(route: &ForeignRoute, view: &KernelView) -> String {
    let hops = route.hops.iter().map(|hop| {
        let link =
            view.link(hop.interface).map_or_else(|| hop.interface.to_string(), |link| link.name.clone());
        match hop.gateway {
            Some(gateway) => format!("via {gateway} dev {link}"),
            None => format!("dev {link}"),
        }
    });
    let way = hops.collect::<Vec<_>>().join(", ");
    let way = if way.is_empty() { format!("{:?}", route.kind).to_lowercase() } else { way };
    format!("{way}, metric {}, protocol {}", route.metric, route.protocol)
}

/// Where the chain from the object to the kernel and to peers is broken, each with the reason and what helps.
fn missing(explained: &Explained, planned: bool, installs: bool, peers: &[PeerStatus]) -> Vec<String> {
    let mut missing = Vec::new();
    if !planned {
        missing.push("there is no plan: the cluster's state lacks this node, see `muslin status`".to_owned());
    }
    let covered = |known: &Explanation| known.prefix.contains(&explained.asked);
    let known = explained.speaker.as_ref().filter(|known| covered(known));
    let is_default = known.is_some_and(|known| known.prefix.prefix_len() == 0);
    let down: Vec<&PeerStatus> = peers.iter().filter(|peer| !peer.established && !peer.shut_down).collect();
    if explained.plan.is_empty() && (known.is_none() || is_default) {
        missing.extend(explained.objects.iter().filter(|object| object.starts_with("Service ")).map(|object| {
            format!(
                "not announced: no RouteAdvertisement selects {object}, and no range of BGPConfiguration has the address; add one of them"
            )
        }));
    }
    match known {
        Some(known) => missing.extend(unusable(known)),
        None if explained.plan.is_empty() => {
            missing.push(match peers {
                [] => "not learned: there is no peer".to_owned(),
                _ if down.is_empty() => {
                    "not learned: every session is up, and no peer sent it; ask where it should come from (`muslin explain` there)".to_owned()
                }
                _ => {
                    let names = down.iter().map(|peer| format!("{} is {}", peer.key, peer.state));
                    let names = names.collect::<Vec<_>>().join(", ");
                    format!("not learned: no established peer sent it, and {names} (see `muslin peers`)")
                }
            });
        }
        None => {}
    }
    let learned_best = known
        .and_then(|known| known.paths.iter().find(|path| path.route.state == RouteState::Best))
        .is_some_and(|best| best.route.peer.is_some());
    if learned_best && explained.kernel.is_none() {
        missing.push(if installs {
            "not in the kernel: the route has not been handed over yet; look again, and at `muslin status` if it stays".to_owned()
        } else {
            "not in the kernel: this speaker passes routes on and installs none (--no-install)".to_owned()
        });
    }
    if !explained.plan.is_empty() || known.is_some() {
        missing.extend(down.iter().map(|peer| {
            format!(
                "not announced to {}: its session is {} (see `muslin peers {}`)",
                peer.key, peer.state, peer.key
            )
        }));
    }
    missing
}

/// Why no path can be used.
fn unusable(known: &Explanation) -> Vec<String> {
    let usable =
        |state: RouteState| matches!(state, RouteState::Best | RouteState::Multipath | RouteState::Usable);
    if known.paths.iter().any(|path| usable(path.route.state)) {
        return Vec::new();
    }
    let of = |path: &muslin_bgp_speaker::rib::PathExplanation| {
        let from = path.route.peer.as_deref().unwrap_or("this node");
        match path.route.state {
            RouteState::Refused => {
                let why = path.route.reason.as_deref().unwrap_or("refused");
                format!(
                    "not used: the path of {from} is refused by {} ({why}); `muslin policy test {} --from {from}` shows which rule decides",
                    path.cause, known.prefix
                )
            }
            RouteState::Unreachable => {
                let hop = path.route.next_hop.map_or_else(|| "none".to_owned(), |hop| hop.to_string());
                let why = path.route.reason.as_deref().unwrap_or("the next hop is unreachable");
                format!(
                    "not used: {why} ({hop}, from {from}); routes of ours do not count: give the kernel another one to it, or have the peer set next-hop-self"
                )
            }
            state => format!("not used: the path of {from} is {state:?}"),
        }
    };
    known.paths.iter().map(of).collect()
}

#[cfg(test)]
mod tests;
