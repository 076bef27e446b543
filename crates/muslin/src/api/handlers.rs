//! What is answered to each request.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use ipnet::IpNet;
use muslin_bgp_speaker::config::PeerKey;
use muslin_bgp_speaker::net::SpeakerHandle;
use muslin_bgp_speaker::rib::{RouteFilter, Stage};
use muslin_bgp_speaker::{Answer, PeerStatus, Query as Ask};
use muslin_cluster::nearest;
use muslin_node_plan::advertised;
use muslin_pod_network::firewall::{self, ForwardDrop};
use muslin_pod_network::ipam;
use muslin_route_programmer::RouteReport;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{Interfaces, KernelRoutes, PeerRoutes, RouteQuery, Routes, Status};
use crate::daemon::{Daemon, Goal, Plan, Readiness, Role, liveness, wait};

/// An answer, or a status with one sentence.
pub(super) type Answered<T> = Result<Json<T>, Refused>;

/// A status other than 200, and why.
pub(crate) type Refused = (StatusCode, String);

/// Routes in an answer when nobody says how many.
const DEFAULT_LIMIT: usize = 1_000;

/// Longest wait of one request.
const MAX_WAIT: Duration = Duration::from_mins(10);

pub(super) async fn status(State(daemon): State<Arc<Daemon>>) -> Answered<Status> {
    status_of(&daemon).await.map(Json)
}

pub(crate) async fn status_of(daemon: &Daemon) -> Result<Status, Refused> {
    let plan = daemon.plan.borrow().clone();
    let faults = daemon.faults.borrow().clone();
    let peers = peers_of(daemon).await?;
    let collectors = match daemon.speaker.get() {
        Some(speaker) => speaker.collectors().await.map_err(gone)?,
        None => Vec::new(),
    };
    let node = match &daemon.role {
        Role::Node(node) => Some(node),
        Role::Speaker(_) => None,
    };
    let settings = faults.settings;
    let mut faults: Vec<String> = [faults.speaker, faults.pods, faults.cni].into_iter().flatten().collect();
    faults.extend(settings.faults);
    let (mut blocks, mut notes) = (Vec::new(), settings.notes);
    if let (Some(node), Some(Plan::Node(plan))) = (node, plan.as_deref()) {
        notes.extend(plan.notes.iter().map(|note| note.value.clone()));
        notes.extend(forward_drops());
        let own: Vec<IpNet> = plan.address_blocks.iter().map(|block| block.value).collect();
        match ipam::usage(&node.data_dir, &own) {
            Ok(usage) => blocks = usage,
            Err(error) => faults.push(error.to_string()),
        }
    }
    let speaker = plan.as_deref().map(Plan::speaker);
    let originated = speaker.map(|speaker| daemon.drain.applied(speaker).originated).unwrap_or_default();
    Ok(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        node: node.map(|node| node.name.clone()),
        asn: speaker.map(|speaker| speaker.asn.0),
        router_id: speaker.map(|speaker| speaker.router_id),
        uptime_seconds: daemon.started.elapsed().as_secs(),
        readiness: Readiness::of(daemon).await,
        drain: daemon.drain.status(),
        problems: plan.as_deref().map(|plan| plan.problems().to_vec()).unwrap_or_default(),
        faults,
        notes,
        peers,
        collectors,
        awaited: plan.as_deref().map(|plan| plan.discovery().awaited.clone()).unwrap_or_default(),
        originated: originated.len(),
        advertisements: advertised(&originated),
        kernel: (*daemon.programmer.status()).clone(),
        blocks,
    })
}

/// Chains of others that may stop what pods send and get.
fn forward_drops() -> Vec<String> {
    let drops = firewall::forward_drops().unwrap_or_default();
    let note = |drop: ForwardDrop| {
        format!(
            "chain {drop} drops forwarded packets unless a rule of its own accepts them: accept the pods' ranges there; `muslin doctor` says how"
        )
    };
    drops.into_iter().map(note).collect()
}

/// The query of `/v1/ready`.
#[derive(Deserialize)]
pub(super) struct ReadyQuery {
    /// What is waited for; without it the answer comes at once.
    wait: Option<Goal>,
    /// For how long at most: `30s`.
    timeout: Option<String>,
}

/// 200 when the goal (convergence, if none is named) is reached, else 503; both with the same body, so that a
/// probe needs only the code and a person sees what is missing.
pub(super) async fn ready(
    State(daemon): State<Arc<Daemon>>,
    Query(query): Query<ReadyQuery>,
) -> Result<(StatusCode, Json<Readiness>), (StatusCode, String)> {
    let limit = match query.timeout.as_deref() {
        None => MAX_WAIT,
        Some(text) => seconds(text).ok_or_else(|| {
            (StatusCode::BAD_REQUEST, format!("timeout={text}: write seconds, such as 30s"))
        })?,
    };
    let goal = query.wait.unwrap_or(Goal::Converged);
    let readiness = match query.wait {
        Some(goal) => wait(&daemon, goal, limit.min(MAX_WAIT)).await,
        None => Readiness::of(&daemon).await,
    };
    let code = if readiness.reaches(goal) { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok((code, Json(readiness)))
}

/// 200 when every part of the daemon answers, else 503 and which one does not.
pub(super) async fn live(State(daemon): State<Arc<Daemon>>) -> Result<Json<Value>, Refused> {
    match liveness(&daemon).await {
        Ok(()) => Ok(Json(json!({ "live": true }))),
        Err(silent) => Err((StatusCode::SERVICE_UNAVAILABLE, silent)),
    }
}

fn seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.strip_suffix('s').unwrap_or(text).parse().ok()?).ok()
}

pub(super) async fn peers(State(daemon): State<Arc<Daemon>>) -> Answered<Vec<PeerStatus>> {
    peers_of(&daemon).await.map(Json)
}

/// One peer, by its name or address.
pub(super) async fn peer(
    State(daemon): State<Arc<Daemon>>,
    Path(name): Path<String>,
) -> Answered<PeerStatus> {
    peer_of(&daemon, &name).await.map(Json)
}

pub(super) async fn peers_of(daemon: &Daemon) -> Result<Vec<PeerStatus>, Refused> {
    match daemon.speaker.get() {
        Some(speaker) => speaker.peers().await.map_err(gone),
        None => Ok(Vec::new()),
    }
}

pub(super) async fn peer_of(daemon: &Daemon, name: &str) -> Result<PeerStatus, Refused> {
    let peers = peers_of(daemon).await?;
    find_peer(&peers, name).cloned().map_err(|words| (StatusCode::NOT_FOUND, words))
}

/// The peer of that name or address; if there is none, a sentence with the one that was probably meant.
fn find_peer<'a>(peers: &'a [PeerStatus], name: &str) -> Result<&'a PeerStatus, String> {
    let address = name.parse::<IpAddr>().ok();
    let is_meant = |peer: &&PeerStatus| *peer.key.0 == *name || Some(peer.address) == address;
    peers.iter().find(is_meant).ok_or_else(|| {
        let names: Vec<&str> = peers.iter().map(|peer| &*peer.key.0).collect();
        match nearest(name, &names) {
            Some(near) => format!("{name}: there is no such peer; did you mean `{near}`?"),
            None if names.is_empty() => format!("{name}: there is no such peer; there are none at all"),
            None => format!("{name}: there is no such peer; there are: {}", names.join(", ")),
        }
    })
}

pub(super) async fn routes(
    State(daemon): State<Arc<Daemon>>,
    Path(view): Path<String>,
    Query(query): Query<RouteQuery>,
) -> Answered<Routes> {
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    if view == "kernel" {
        let routes = daemon.programmer.routes(None, limit).await.map_err(gone)?;
        let interfaces = interfaces(&daemon, &routes);
        return Ok(Json(Routes::Kernel(KernelRoutes { routes, interfaces })));
    }
    let Some(speaker) = daemon.speaker.get() else { return Ok(Json(Routes::Bgp(Vec::new()))) };
    let stage = if view == "accepted" { Stage::Accepted } else { Stage::Received };
    let filter = RouteFilter { refused: query.rejected, stage, limit, ..RouteFilter::default() };
    let tables = match view.as_str() {
        "best" => vec![table(speaker, None, Ask::LocRib(filter)).await?],
        "received" | "accepted" | "advertised" => {
            let mut tables = Vec::new();
            for peer in chosen_peers(speaker, query.peer.as_deref()).await? {
                let ask = match view.as_str() {
                    "received" | "accepted" => Ask::AdjRibIn { peer: peer.clone(), filter: filter.clone() },
                    _ => Ask::AdjRibOut { peer: peer.clone(), filter: filter.clone() },
                };
                tables.push(table(speaker, Some(peer), ask).await?);
            }
            tables
        }
        _ => {
            return Err((
                StatusCode::NOT_FOUND,
                format!("{view}: views are received, accepted, best, advertised, kernel"),
            ));
        }
    };
    Ok(Json(Routes::Bgp(tables)))
}

async fn table(
    speaker: &SpeakerHandle,
    peer: Option<PeerKey>,
    ask: Ask,
) -> Result<PeerRoutes, (StatusCode, String)> {
    let peer = peer.map(|key| key.0.to_string());
    match speaker.query(ask).await.map_err(gone)? {
        Answer::Routes(page) => Ok(PeerRoutes { peer, more: page.next.is_some(), routes: page.routes }),
        _ => Ok(PeerRoutes { peer, more: false, routes: Vec::new() }),
    }
}

/// The named peer, or all of them.
pub(super) async fn chosen_peers(
    speaker: &SpeakerHandle,
    name: Option<&str>,
) -> Result<Vec<PeerKey>, (StatusCode, String)> {
    let peers = speaker.peers().await.map_err(gone)?;
    let Some(name) = name else { return Ok(peers.into_iter().map(|peer| peer.key).collect()) };
    let found = find_peer(&peers, name);
    let found = found.map_err(|words| (StatusCode::BAD_REQUEST, format!("--peer {words}")))?;
    Ok(vec![found.key.clone()])
}

/// Names of the interfaces of these routes.
pub(super) fn interfaces(daemon: &Daemon, routes: &[RouteReport]) -> Interfaces {
    let view = daemon.programmer.view();
    let indexes = routes.iter().flat_map(|route| &route.next_hops).map(|hop| hop.interface);
    indexes.filter_map(|index| Some((index, view.link(index)?.name.clone()))).collect()
}

pub(super) fn gone(error: impl std::fmt::Display) -> (StatusCode, String) {
    (StatusCode::SERVICE_UNAVAILABLE, error.to_string())
}
