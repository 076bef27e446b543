//! `/v1/router-check`: what the routers beside this node do otherwise than they should.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use ipnet::IpNet;
use muslin_bgp_speaker::config::{PeerKey, SessionConfig, SpeakerConfig};
use muslin_bgp_speaker::net::SpeakerHandle;
use muslin_bgp_speaker::rib::{RouteFilter, RouteState, RouteView};
use muslin_bgp_speaker::{Answer, PeerStatus, Query as Ask};

use super::answer::RouteQuery;
use super::handlers::{Answered, Refused, chosen_peers, gone, peers_of};
use crate::daemon::Daemon;
use crate::router_check::{Finding, Severity, Subject, findings};

/// Most routes of a router that are looked at; a node has no use for more.
const MOST_ROUTES: usize = 20_000;

pub(super) async fn check(
    State(daemon): State<Arc<Daemon>>,
    Query(query): Query<RouteQuery>,
) -> Answered<Vec<Finding>> {
    let (Some(plan), Some(speaker)) = (daemon.plan.borrow().clone(), daemon.speaker.get()) else {
        let words = "there is no plan yet: the cluster state lacks this node";
        return Err((StatusCode::SERVICE_UNAVAILABLE, words.to_owned()));
    };
    let config = plan.speaker();
    let chosen = chosen_peers(speaker, query.peer.as_deref()).await?;
    let mut routers = peers_of(&daemon).await?;
    routers.retain(|peer| chosen.contains(&peer.key));
    if query.peer.is_none() {
        // Nodes of the mesh are no routers.
        routers.retain(|peer| peer.cause.starts_with("BGPPeer "));
    }
    let mut tables = Vec::new();
    let mut known = BTreeSet::new();
    for peer in peers_of(&daemon).await? {
        let routes = received(speaker, peer.key.clone()).await?;
        known.extend(
            routes.iter().filter(|route| route.state != RouteState::Refused).map(|route| route.prefix),
        );
        tables.push((peer.key, routes));
    }
    let originated: Vec<IpNet> = config.originated.iter().map(|route| route.prefix).collect();
    let mut found = Vec::new();
    for status in &routers {
        let received =
            tables.iter().find(|(key, _)| *key == status.key).map_or(&[][..], |(_, routes)| routes);
        let wanted = wanted(config, status);
        let guard = &config.guard;
        found.extend(findings(&Subject {
            status,
            wanted,
            guard,
            received,
            known: &known,
            originated: &originated,
        }));
    }
    if query.peer.is_none() {
        found.extend(plan.discovery().awaited.iter().map(|awaited| Finding {
            peer: awaited.name.to_string(),
            severity: Severity::Problem,
            name: "not-found".to_owned(),
            found: awaited.reason.clone(),
            remedy: awaited.remedy.clone(),
        }));
    }
    Ok(Json(found))
}

async fn received(speaker: &SpeakerHandle, peer: PeerKey) -> Result<Vec<RouteView>, Refused> {
    let filter = RouteFilter { limit: MOST_ROUTES, ..RouteFilter::default() };
    match speaker.query(Ask::AdjRibIn { peer, filter }).await.map_err(gone)? {
        Answer::Routes(page) => Ok(page.routes),
        Answer::Explanation(_) | Answer::NoSuchPeer(_) => Ok(Vec::new()),
    }
}

/// What was configured for the peer, or for its range.
fn wanted<'a>(config: &'a SpeakerConfig, status: &PeerStatus) -> Option<&'a SessionConfig> {
    let peer = config.peers.iter().find(|peer| peer.key == status.key).map(|peer| &*peer.session);
    let range = || config.listen_ranges.iter().find(|range| Some(&range.key) == status.range.as_ref());
    peer.or_else(|| range().map(|range| &range.session))
}
