//! `/v1/drain`: taking a node out of service, and back.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::handlers::Refused;
use super::peer::text_fits;
use crate::daemon::{Daemon, DrainRequest, DrainStatus};

/// Longest wait of one request.
const MAX_WAIT: Duration = Duration::from_mins(1);

/// A drain, and the step that it is at: ask for the next one with `?after=`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DrainAnswer {
    /// Counts changes.
    pub(crate) step: u64,
    /// The drain; none if the node is in service.
    pub(crate) drain: Option<DrainStatus>,
}

/// The query of `/v1/drain`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct After {
    after: Option<u64>,
    timeout_seconds: Option<u64>,
}

/// The state, at once or when the step is another one.
pub(super) async fn state(
    State(daemon): State<Arc<Daemon>>,
    Query(After { after, timeout_seconds }): Query<After>,
) -> Json<DrainAnswer> {
    if let Some(after) = after {
        let wait = timeout_seconds.map_or(MAX_WAIT, Duration::from_secs).min(MAX_WAIT);
        let mut progress = daemon.drain.watch();
        // Whoever waits for nothing is told how it stands.
        let _timed_out =
            tokio::time::timeout(wait, progress.wait_for(|progress| progress.step != after)).await;
    }
    Json(answer(&daemon))
}

pub(super) async fn begin(
    State(daemon): State<Arc<Daemon>>,
    Json(request): Json<DrainRequest>,
) -> Result<Json<DrainAnswer>, Refused> {
    text_fits(&request.text)?;
    daemon.drain.begin(request).map_err(|error| failed(&error))?;
    Ok(Json(answer(&daemon)))
}

pub(super) async fn end(State(daemon): State<Arc<Daemon>>) -> Result<Json<DrainAnswer>, Refused> {
    daemon.drain.end().map_err(|error| failed(&error))?;
    Ok(Json(answer(&daemon)))
}

fn answer(daemon: &Daemon) -> DrainAnswer {
    let progress = daemon.drain.watch();
    let progress = progress.borrow();
    DrainAnswer { step: progress.step, drain: progress.status() }
}

fn failed(error: &anyhow::Error) -> Refused {
    (StatusCode::INTERNAL_SERVER_ERROR, crate::error::sentence(error))
}
