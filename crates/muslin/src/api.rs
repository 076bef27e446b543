//! The local API: JSON over HTTP on a Unix socket, for the operator's commands and for probes.
//!
//! Paths begin with a version; a client of another version gets an error that says so. Nothing but a drain and
//! what is done to a peer changes anything. The socket belongs to the daemon's user alone.

mod answer;
mod drain;
mod explain;
mod foresee;
mod handlers;
mod log;
mod metrics;
mod peer;
mod router;
mod watch;

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use tokio::net::UnixListener;

pub(crate) use self::answer::{Explained, Interfaces, KernelRoutes, PeerRoutes, RouteQuery, Routes, Status};
pub(crate) use self::drain::DrainAnswer;
pub(crate) use self::handlers::status_of;
pub(crate) use self::metrics::serve_metrics;
pub(crate) use self::peer::{PeerAction, PeerRequest};
pub(crate) use self::watch::RouteLine;
use crate::daemon::Daemon;
pub(crate) use crate::daemon::{DrainCause, DrainRequest, DrainStatus};

/// Name of the socket in the run folder.
pub(crate) const SOCKET: &str = "muslin.sock";

/// Longest body of a request, in octets: a whole configuration.
const LARGEST_QUESTION: usize = 64 << 20;

/// The open socket.
#[derive(Debug)]
pub(crate) struct Server {
    listener: UnixListener,
    file: SocketFile,
}

/// The socket's file; it goes when the daemon does.
#[derive(Debug)]
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // One that is gone already is as good.
        let _gone = fs::remove_file(&self.0);
    }
}

/// Opens the socket in `run_dir`. One that a dead daemon left is replaced; a living daemon's is not.
pub(crate) fn listen(run_dir: &Path) -> anyhow::Result<Server> {
    fs::create_dir_all(run_dir)?;
    let path = run_dir.join(SOCKET);
    if std::os::unix::net::UnixStream::connect(&path).is_ok() {
        anyhow::bail!(
            "{}: another daemon answers there; give this one a --run-dir of its own",
            path.display()
        );
    }
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let listener = UnixListener::bind(&path).with_context(|| path.display().to_string())?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    Ok(Server { listener, file: SocketFile(path) })
}

impl Server {
    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.file.0
    }

    /// Answers until the daemon ends.
    pub(crate) async fn run(self, daemon: Arc<Daemon>) -> anyhow::Result<()> {
        let router = Router::new()
            .route("/v1/status", get(handlers::status))
            .route("/v1/ready", get(handlers::ready))
            .route("/v1/live", get(handlers::live))
            .route("/v1/peers", get(handlers::peers))
            .route("/v1/peers/{peer}", get(handlers::peer).post(peer::act))
            .route("/v1/routes/{view}", get(handlers::routes))
            .route("/v1/explain", get(explain::explain))
            .route("/v1/find", get(explain::find))
            .route("/v1/plan", get(explain::plan))
            .route("/v1/drain", get(drain::state).post(drain::begin).delete(drain::end))
            .route("/v1/foresee", post(foresee::foresee))
            .route("/v1/policy/test", post(foresee::policy_test))
            .route("/v1/router-check", get(router::check))
            .route("/v1/log", get(log::state).post(log::change))
            .route("/metrics", get(metrics::metrics))
            .route("/v1/watch/status", get(watch::status))
            .route("/v1/watch/peers", get(watch::peers))
            .route("/v1/watch/peers/{peer}", get(watch::peer))
            .route("/v1/watch/routes/{view}", get(watch::routes))
            .layer(DefaultBodyLimit::max(LARGEST_QUESTION))
            .with_state(daemon);
        Ok(axum::serve(self.listener, router).await?)
    }
}
