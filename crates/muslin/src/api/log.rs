//! `/v1/log`: what is logged, and a change of it.

use axum::Json;
use axum::http::StatusCode;

use super::handlers::{Answered, Refused};
use crate::logging::{self, LogRequest, LogState};

pub(super) async fn state() -> Answered<LogState> {
    logging::state().map(Json).map_err(|error| failed(&error))
}

pub(super) async fn change(Json(request): Json<LogRequest>) -> Answered<LogState> {
    logging::change(&request).map(Json).map_err(|error| failed(&error))
}

fn failed(error: &anyhow::Error) -> Refused {
    (StatusCode::BAD_REQUEST, crate::error::sentence(error))
}
