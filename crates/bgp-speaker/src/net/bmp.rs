//! Connections to BMP collectors: one task each, which pulls from the speaker what its connection has room for.
//!
//! A collector that is away is tried again; one that reads too slowly is dropped and told everything anew.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::handle::Request;
use super::recorder::wall;
use crate::bmp::{Exporter, Progress};
use crate::config::BmpCollector;
use crate::rib::Lagged;

/// Octets that are made at a time.
const ROOM: usize = 64 * 1024;

/// How long an attempt to connect may take.
const CONNECT: Duration = Duration::from_secs(10);

/// A collector that takes nothing for so long is dropped.
const STALLED: Duration = Duration::from_mins(1);

/// Pauses between attempts: the first, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];

/// How long the last words may take.
const LINGER: Duration = Duration::from_secs(1);

/// How long to wait for more of what just began to change.
const SETTLE: Duration = Duration::from_millis(20);

/// A collector as people see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CollectorStatus {
    /// Where it listens.
    pub address: std::net::SocketAddr,
    /// The object and field that asked for it.
    pub cause: String,
    /// How it stands.
    pub state: CollectorState,
    /// Connections so far, each with a dump of its own.
    pub connections: u64,
    /// Octets that it took.
    pub octets: u64,
    /// Why the last connection or attempt ended, and what can be done about it.
    pub last_error: Option<String>,
}

/// How a collector stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CollectorState {
    /// It is not connected, and tried again.
    Connecting,
    /// It is told the table.
    Dumping,
    /// It knows everything, and is told what changes.
    Live,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("cannot connect: {0}; check that the collector runs and that its address and port are right")]
    Connect(io::Error),
    #[error("no answer within {} s; check that the collector is reachable", CONNECT.as_secs())]
    NoAnswer,
    #[error("the connection broke: {0}; look into the collector's log")]
    Broke(io::Error),
    #[error("the collector closed the connection; look into its log")]
    Closed,
    #[error("the collector took nothing for {} s; look at its load", STALLED.as_secs())]
    Stalled,
    #[error(transparent)]
    Lagged(#[from] Lagged),
    /// The speaker is gone, or the collector no longer configured.
    #[error("ended by us")]
    Meant,
}

/// A running exporter. Dropping it ends the connection with a Termination message.
#[derive(Debug)]
pub(super) struct Collector {
    pub(super) config: BmpCollector,
    status: Arc<Mutex<CollectorStatus>>,
    _stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Collector {
    pub(super) fn start(
        config: BmpCollector,
        speaker: mpsc::WeakSender<Request>,
        revision: watch::Receiver<u64>,
    ) -> Self {
        let status = CollectorStatus {
            address: config.address,
            cause: config.cause.to_string(),
            state: CollectorState::Connecting,
            connections: 0,
            octets: 0,
            last_error: None,
        };
        let status = Arc::new(Mutex::new(status));
        let (stop, stopped) = oneshot::channel();
        let link = Link { config: config.clone(), status: status.clone(), speaker, revision };
        let task = tokio::spawn(link.run(stopped));
        Self { config, status, _stop: stop, task }
    }

    /// Ends it; the task says the last words.
    pub(super) fn stop(self) -> JoinHandle<()> {
        self.task
    }

    pub(super) fn status(&self) -> CollectorStatus {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

struct Link {
    config: BmpCollector,
    status: Arc<Mutex<CollectorStatus>>,
    speaker: mpsc::WeakSender<Request>,
    revision: watch::Receiver<u64>,
}

impl Link {
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        let [mut pause, longest] = PAUSES;
        loop {
            let connected = self.status().connections;
            let ended = self.once(&mut stopped).await;
            if matches!(ended, Ended::Meant) {
                return;
            }
            let connected = self.note_end(&ended) > connected;
            pause = if connected { PAUSES[0] } else { (pause * 2).min(longest) };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = &mut stopped => return,
            }
        }
    }

    /// Tells people, once, why a connection or attempt ended; returns how many connections there were.
    fn note_end(&self, ended: &Ended) -> u64 {
        let text = ended.to_string();
        let mut status = self.status();
        if status.last_error.as_ref() != Some(&text) {
            tracing::warn!(collector = %self.config.address, "BMP: {text}");
        }
        status.state = CollectorState::Connecting;
        status.last_error = Some(text);
        status.connections
    }

    /// One connection, from its beginning to its end.
    async fn once(&mut self, stopped: &mut oneshot::Receiver<()>) -> Ended {
        let attempt = tokio::time::timeout(CONNECT, TcpStream::connect(self.config.address));
        let mut stream = tokio::select! {
            result = attempt => match result {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => return Ended::Connect(error),
                Err(_) => return Ended::NoAnswer,
            },
            _ = &mut *stopped => return Ended::Meant,
        };
        tracing::info!(collector = %self.config.address, "BMP: connected");
        {
            let mut status = self.status();
            status.connections += 1;
            status.state = CollectorState::Dumping;
        }
        tokio::select! {
            ended = self.export(&mut stream) => ended,
            _ = &mut *stopped => {
                let mut last = BytesMut::new();
                Exporter::terminate(&mut last);
                // It may not read any more.
                let _said = tokio::time::timeout(LINGER, stream.write_all(&last)).await;
                Ended::Meant
            }
        }
    }

    async fn export(&mut self, stream: &mut TcpStream) -> Ended {
        let mut exporter = Exporter::new(self.config.clone());
        loop {
            // Seen before the look: what changes after it wakes us.
            self.revision.mark_unchanged();
            let (pulled, octets) = match self.pull(&mut exporter).await {
                Ok(pulled) => pulled,
                Err(ended) => return ended,
            };
            if let Err(ended) = self.write(stream, octets).await {
                return ended;
            }
            if pulled == Progress::More {
                continue;
            }
            self.status().state = CollectorState::Live;
            let due = exporter.poll_timeout();
            let tick = async {
                match due {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = self.revision.changed() => {
                    if changed.is_err() {
                        return Ended::Meant;
                    }
                    tokio::time::sleep(SETTLE).await;
                }
                () = tick => {}
                ended = said_something(stream) => return ended,
            }
        }
    }

    /// Lets the exporter look at the speaker between two of its steps.
    async fn pull(&self, exporter: &mut Exporter) -> Result<(Progress, BytesMut), Ended> {
        let mut looking = std::mem::replace(exporter, Exporter::new(self.config.clone()));
        let (answer, result) = oneshot::channel();
        let look = Box::new(move |speaker: &crate::Speaker, now: Instant| {
            let mut out = BytesMut::new();
            let pulled = looking.pull(speaker, now, wall(), ROOM, &mut out);
            // The connection may have ended meanwhile.
            let _unheard = answer.send((looking, pulled, out));
        });
        let speaker = self.speaker.upgrade().ok_or(Ended::Meant)?;
        speaker.send(Request::Look(look)).await.map_err(|_| Ended::Meant)?;
        drop(speaker);
        let (looked, pulled, out) = result.await.map_err(|_| Ended::Meant)?;
        *exporter = looked;
        Ok((pulled?, out))
    }

    async fn write(&self, stream: &mut TcpStream, mut octets: BytesMut) -> Result<(), Ended> {
        while octets.has_remaining() {
            let written = tokio::time::timeout(STALLED, stream.write_buf(&mut octets)).await;
            let written = written.map_err(|_| Ended::Stalled)?.map_err(Ended::Broke)?;
            self.status().octets += written as u64;
        }
        Ok(())
    }

    fn status(&self) -> std::sync::MutexGuard<'_, CollectorStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Collectors say nothing (RFC 7854 §3.2): whatever comes is dropped, and the end of it is the connection's.
async fn said_something(stream: &TcpStream) -> Ended {
    let mut scratch = [0; 512];
    loop {
        if let Err(error) = stream.readable().await {
            return Ended::Broke(error);
        }
        match stream.try_read(&mut scratch) {
            Ok(0) => return Ended::Closed,
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Ended::Broke(error),
            Ok(_) | Err(_) => {}
        }
    }
}
