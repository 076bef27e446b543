//! Questions about what would be. They are sent as bodies, and change nothing.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use muslin_bgp_speaker::config::SpeakerConfig;
use muslin_bgp_speaker::foresight::Forecast;
use muslin_bgp_speaker::probe::{Probe, ProbeStep, probe};

use super::handlers::{Answered, gone};
use crate::daemon::Daemon;

const NO_PLAN: &str = "there is no plan yet: the cluster state lacks this node";

/// What a configuration would change.
pub(super) async fn foresee(
    State(daemon): State<Arc<Daemon>>,
    Json(wanted): Json<SpeakerConfig>,
) -> Answered<Forecast> {
    let Some(speaker) = daemon.speaker.get() else { return Err(no_plan()) };
    speaker.look(move |speaker, _now| speaker.foresee(&wanted)).await.map(Json).map_err(gone)
}

/// What guard and policies in force make of a route.
pub(super) async fn policy_test(
    State(daemon): State<Arc<Daemon>>,
    Json(question): Json<Probe>,
) -> Answered<Vec<ProbeStep>> {
    let Some(plan) = daemon.plan.borrow().clone() else { return Err(no_plan()) };
    let steps = probe(plan.speaker(), &question);
    steps.map(Json).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))
}

fn no_plan() -> (StatusCode, String) {
    (StatusCode::SERVICE_UNAVAILABLE, NO_PLAN.to_owned())
}
