//! Asking a running daemon over its Unix socket: HTTP/1.1 and JSON.

use std::io;
use std::path::Path;

use anyhow::{Context, bail};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderValue;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

/// Asks for `path` (with its query) and reads the JSON answer.
pub(crate) async fn get<T: DeserializeOwned>(socket: &Path, path: &str) -> anyhow::Result<T> {
    read(socket, &get_raw(socket, path).await?)
}

/// Asks for `path` and reads the JSON answer, also that of a daemon that says it is not ready (503).
pub(crate) async fn get_either<T: DeserializeOwned>(socket: &Path, path: &str) -> anyhow::Result<T> {
    let (response, _driver) = send(socket, question(path)?).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    if !matches!(status, StatusCode::OK | StatusCode::SERVICE_UNAVAILABLE) {
        refused(socket, path, status, &body)?;
    }
    read(socket, &body)
}

/// Deletes what is at `path` and reads the JSON answer.
pub(crate) async fn delete<T: DeserializeOwned>(socket: &Path, path: &str) -> anyhow::Result<T> {
    read(socket, &answer(socket, path, Request::delete(path).body(Full::default())?).await?)
}

/// Sends `body` to `path`, a command or a question too long for a path, and reads the JSON answer.
pub(crate) async fn post<T: DeserializeOwned>(
    socket: &Path,
    path: &str,
    body: &impl Serialize,
) -> anyhow::Result<T> {
    let request = Request::post(path)
        .header(hyper::header::CONTENT_TYPE, "application/json")
        .body(Full::from(serde_json::to_vec(body)?))?;
    read(socket, &answer(socket, path, request).await?)
}

/// The path of these segments, each escaped as it must be.
pub(crate) fn path(segments: &[&str]) -> String {
    segments.iter().fold(String::new(), |path, segment| path + "/" + &escape(segment))
}

/// A path segment (RFC 3986 §3.3): everything but unreserved characters by its octets.
fn escape(segment: &str) -> String {
    let octet = |octet: u8| match octet {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(octet).to_string(),
        _ => format!("%{octet:02X}"),
    };
    segment.bytes().map(octet).collect()
}

/// `path` with these parameters.
pub(crate) fn with_query(path: &str, query: &impl Serialize) -> anyhow::Result<String> {
    Ok(format!("{path}?{}", serde_urlencoded::to_string(query)?))
}

/// Asks for `path` with these parameters and reads the JSON answer.
pub(crate) async fn get_with<T: DeserializeOwned>(
    socket: &Path,
    path: &str,
    query: &impl Serialize,
) -> anyhow::Result<T> {
    get(socket, &with_query(path, query)?).await
}

/// Asks for a stream of lines and hands over those that arrive together, until the daemon ends it.
pub(crate) async fn follow<T: DeserializeOwned>(
    socket: &Path,
    path: &str,
    mut take: impl FnMut(Vec<T>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let (response, _driver) = send(socket, question(path)?).await?;
    if response.status() != StatusCode::OK {
        let status = response.status();
        return refused(socket, path, status, &response.into_body().collect().await?.to_bytes());
    }
    let mut body = response.into_body();
    let mut unread = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.with_context(|| format!("{}: the daemon is gone", socket.display()))?;
        unread.extend_from_slice(frame.data_ref().map_or(&[][..], |data| &data[..]));
        let Some(end) = unread.iter().rposition(|octet| *octet == b'\n') else { continue };
        let lines = unread.drain(..=end).collect::<Vec<u8>>();
        let lines = lines.split(|octet| *octet == b'\n').filter(|line| !line.is_empty());
        take(lines.map(|line| read(socket, line)).collect::<Result<_, _>>()?)?;
    }
    bail!("{}: the daemon has nothing more to tell", socket.display())
}

fn read<T: DeserializeOwned>(socket: &Path, octets: &[u8]) -> anyhow::Result<T> {
    serde_json::from_slice(octets).with_context(|| {
        format!(
            "{}: the daemon's answer is of another version; use the `muslin` that the daemon runs",
            socket.display()
        )
    })
}

/// Asks for `path` and returns the body of a successful answer.
async fn get_raw(socket: &Path, path: &str) -> anyhow::Result<Bytes> {
    answer(socket, path, question(path)?).await
}

fn question(path: &str) -> anyhow::Result<Request<Full<Bytes>>> {
    Ok(Request::get(path).body(Full::default())?)
}

/// Sends a request and returns the body of a successful answer.
async fn answer(socket: &Path, path: &str, request: Request<Full<Bytes>>) -> anyhow::Result<Bytes> {
    let (response, _driver) = send(socket, request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    if status != StatusCode::OK {
        refused(socket, path, status, &body)?;
    }
    Ok(body)
}

/// Why there is no answer.
fn refused(socket: &Path, path: &str, status: StatusCode, body: &[u8]) -> anyhow::Result<()> {
    match status {
        StatusCode::NOT_FOUND if body.is_empty() => {
            bail!("{}: the daemon does not know {path}; it is of another version", socket.display())
        }
        _ => bail!("{}", String::from_utf8_lossy(body).trim_end()),
    }
}

/// Sends a request; the connection lives as long as its driver.
async fn send(
    socket: &Path,
    mut request: Request<Full<Bytes>>,
) -> anyhow::Result<(Response<Incoming>, AbortOnDrop)> {
    let stream = UnixStream::connect(socket).await.map_err(|error| no_daemon(socket, error))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = AbortOnDrop(tokio::spawn(connection));
    request.headers_mut().insert(hyper::header::HOST, HeaderValue::from_static("muslin"));
    let response =
        sender.send_request(request).await.with_context(|| format!("{}: no answer", socket.display()))?;
    Ok((response, driver))
}

/// The task that moves a connection's octets; it ends with whoever reads them.
struct AbortOnDrop(JoinHandle<hyper::Result<()>>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Why nobody answers, and what helps.
fn no_daemon(socket: &Path, error: io::Error) -> anyhow::Error {
    let words = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "the socket is for the daemon's user alone; run this as that user (`sudo muslin …`), or in the daemon's container (`kubectl exec`)"
        }
        io::ErrorKind::ConnectionRefused => {
            "no daemon answers here, only its socket was left; start `muslin agent` or `muslin speaker` again, or see its log for why it ended"
        }
        _ => {
            "no daemon answers here; is `muslin agent` or `muslin speaker` running, and is --socket its socket?"
        }
    };
    let words = format!("{}: {words}", socket.display());
    anyhow::Error::from(error).context(words)
}
