//! Asking a running daemon over its Unix socket: HTTP/1.1 and JSON.

use std::path::Path;

use anyhow::{Context, bail};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

/// Asks for `path` (with its query) and reads the JSON answer.
pub(crate) async fn get<T: DeserializeOwned>(socket: &Path, path: &str) -> anyhow::Result<T> {
    let body = get_raw(socket, path).await?;
    serde_json::from_slice(&body).with_context(|| {
        format!(
            "{}: the daemon's answer is of another version; use the `muslin` that the daemon runs",
            socket.display()
        )
    })
}

/// Asks for `path` with these parameters and reads the JSON answer.
pub(crate) async fn get_with<T: DeserializeOwned>(
    socket: &Path,
    path: &str,
    query: &impl Serialize,
) -> anyhow::Result<T> {
    let query = serde_urlencoded::to_string(query)?;
    get(socket, &format!("{path}?{query}")).await
}

/// Asks for `path` and returns the body of a successful answer.
async fn get_raw(socket: &Path, path: &str) -> anyhow::Result<Bytes> {
    let stream = UnixStream::connect(socket).await.with_context(|| no_daemon(socket))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let request = Request::get(path).header(hyper::header::HOST, "muslin").body(Empty::<Bytes>::new())?;
    let response =
        sender.send_request(request).await.with_context(|| format!("{}: no answer", socket.display()))?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    driver.abort();
    match status {
        StatusCode::OK => Ok(body),
        StatusCode::NOT_FOUND if body.is_empty() => {
            bail!("{}: the daemon does not know {path}; it is of another version", socket.display())
        }
        _ => bail!("{}", String::from_utf8_lossy(&body).trim_end()),
    }
}

fn no_daemon(socket: &Path) -> String {
    format!(
        "{}: no daemon answers here; is `muslin agent` or `muslin speaker` running, and is --socket its socket (and yours to open)?",
        socket.display()
    )
}
