//! `/metrics`: for Prometheus, on the socket and, where an address is given for it, over TCP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tracing::{info, warn};

use super::handlers::Refused;
use crate::daemon::Daemon;
use crate::metrics::{CONTENT_TYPE, render};

/// Pause between two attempts to get the port.
const RETRY: Duration = Duration::from_secs(5);

pub(super) async fn metrics(State(daemon): State<Arc<Daemon>>) -> Result<impl IntoResponse, Refused> {
    let text = render(&daemon).await.map_err(|words| (StatusCode::SERVICE_UNAVAILABLE, words))?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text))
}

/// Answers metrics at this address, and nothing else, until the daemon ends. A port that is taken is waited for: the
/// node's routes matter more.
pub(crate) async fn serve_metrics(address: Option<SocketAddr>, daemon: Arc<Daemon>) -> anyhow::Result<()> {
    let Some(address) = address else { return std::future::pending().await };
    let mut told = false;
    let listener = loop {
        match TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(error) if !told => {
                warn!(%address, %error, "metrics cannot be answered here; it is tried again");
                told = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(RETRY).await;
    };
    info!(%address, "metrics are answered");
    let router = Router::new().route("/metrics", get(metrics)).with_state(daemon);
    Ok(axum::serve(listener, router).await?)
}
