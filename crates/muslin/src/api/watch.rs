//! Answers that go on: a line of JSON for the state now, then one whenever it changes.
//!
//! The reader pulls. A line is made when there is room for it, of what is then the newest state, so a slow
//! reader gets fewer lines and costs no memory. The next line comes when something happened; ages and counters,
//! of which nobody tells, are refreshed every [`REFRESH`].

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::stream;
use muslin_bgp_speaker::config::PeerKey;
use muslin_bgp_speaker::net::SpeakerHandle;
use muslin_bgp_speaker::rib::{RouteFilter, Stage};
use muslin_bgp_speaker::{Query as Ask, TableEvent, TableWatch};
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, SemaphorePermit, watch};

use super::answer::RouteQuery;
use super::handlers::{Refused, chosen_peers, peer_of, peers_of, status_of};
use crate::daemon::Daemon;

/// How often ages and counters are told anew.
const REFRESH: Duration = Duration::from_secs(2);

/// What happens within this time of an event is told together with it.
const SETTLE: Duration = Duration::from_millis(50);

/// Most readers at a time.
const READERS: usize = 32;

/// Most events of one table in one chunk.
const EVENTS: usize = 256;

static PLACES: Semaphore = Semaphore::const_new(READERS);

/// A line of `/v1/watch/routes/{view}`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RouteLine {
    /// The peer; none for the Loc-RIB.
    pub(crate) peer: Option<String>,
    /// What is told.
    #[serde(flatten)]
    pub(crate) event: TableEvent,
}

pub(super) async fn status(State(daemon): State<Arc<Daemon>>) -> Result<Response, Refused> {
    snapshots(daemon, Subject::Status)
}

pub(super) async fn peers(State(daemon): State<Arc<Daemon>>) -> Result<Response, Refused> {
    snapshots(daemon, Subject::Peers)
}

/// One peer; the stream ends when there is no such peer any more.
pub(super) async fn peer(
    State(daemon): State<Arc<Daemon>>,
    Path(name): Path<String>,
) -> Result<Response, Refused> {
    // A name that is wrong is answered as such.
    let key = peer_of(&daemon, &name).await?.key;
    snapshots(daemon, Subject::Peer(key))
}

pub(super) async fn routes(
    State(daemon): State<Arc<Daemon>>,
    Path(view): Path<String>,
    Query(query): Query<RouteQuery>,
) -> Result<Response, Refused> {
    let view = match view.as_str() {
        "best" => View::Best,
        "received" => View::Received(Stage::Received),
        "accepted" => View::Received(Stage::Accepted),
        "advertised" => View::Advertised,
        _ => {
            let words = format!("{view}: views to watch are received, accepted, best, advertised");
            return Err((StatusCode::NOT_FOUND, words));
        }
    };
    let Some(speaker) = daemon.speaker.get().cloned() else {
        return Err((StatusCode::SERVICE_UNAVAILABLE, "there is no speaker yet".to_owned()));
    };
    if query.peer.is_some() {
        chosen_peers(&speaker, query.peer.as_deref()).await?;
    }
    let revision = speaker.revision();
    let tables = Tables { speaker, revision, view, query, open: BTreeMap::new(), _place: place()? };
    let stream = stream::unfold(tables, |mut tables| async move {
        let chunk = tables.next().await?;
        Some((Ok::<_, Infallible>(chunk), tables))
    });
    Ok(lines(Body::from_stream(stream)))
}

/// A place among the readers.
fn place() -> Result<SemaphorePermit<'static>, Refused> {
    PLACES.try_acquire().map_err(|_| {
        (StatusCode::SERVICE_UNAVAILABLE, format!("{READERS} readers are watching already; end one of them"))
    })
}

fn lines(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}

fn line(value: &impl Serialize) -> Option<Vec<u8>> {
    let mut line = serde_json::to_vec(value).ok()?;
    line.push(b'\n');
    Some(line)
}

/// Whose whole state is told.
enum Subject {
    Status,
    Peers,
    Peer(PeerKey),
}

/// A stream of whole states.
struct Snapshots {
    daemon: Arc<Daemon>,
    subject: Subject,
    /// Whether the first one was told.
    begun: bool,
    plan: watch::Receiver<Option<Arc<crate::daemon::Plan>>>,
    revision: Option<watch::Receiver<u64>>,
    _place: SemaphorePermit<'static>,
}

fn snapshots(daemon: Arc<Daemon>, subject: Subject) -> Result<Response, Refused> {
    let plan = daemon.plan.subscribe();
    let state = Snapshots { daemon, subject, begun: false, plan, revision: None, _place: place()? };
    let stream = stream::unfold(state, |mut state| async move {
        let chunk = state.next().await?;
        Some((Ok::<_, Infallible>(chunk), state))
    });
    Ok(lines(Body::from_stream(stream)))
}

impl Snapshots {
    async fn next(&mut self) -> Option<Bytes> {
        if std::mem::replace(&mut self.begun, true) {
            self.wake().await;
        }
        let line = match &self.subject {
            Subject::Status => line(&status_of(&self.daemon).await.ok()?),
            Subject::Peers => line(&peers_of(&self.daemon).await.ok()?),
            Subject::Peer(key) => line(&peer_of(&self.daemon, &key.0).await.ok()?),
        };
        line.map(Bytes::from)
    }

    async fn wake(&mut self) {
        if self.revision.is_none() {
            self.revision = self.daemon.speaker.get().map(SpeakerHandle::revision);
        }
        let revision = &mut self.revision;
        let spoken = async {
            let ended = match revision {
                Some(revision) => revision.changed().await.is_err(),
                None => true,
            };
            if ended {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = spoken => {}
            // The daemon ends with its plan; then the connection does.
            _ = self.plan.changed() => {}
            () = tokio::time::sleep(REFRESH) => return,
        }
        tokio::time::sleep(SETTLE).await;
    }
}

/// Which table.
#[derive(Clone, Copy)]
enum View {
    Best,
    Received(Stage),
    Advertised,
}

/// Tables that are followed: one a peer, or one for all peers.
struct Tables {
    speaker: SpeakerHandle,
    revision: watch::Receiver<u64>,
    view: View,
    query: RouteQuery,
    /// By peer; the key is none for the Loc-RIB.
    open: BTreeMap<Option<PeerKey>, TableWatch>,
    _place: SemaphorePermit<'static>,
}

impl Tables {
    /// The next events, when there are any; `None` when the speaker has ended.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            // Seen before the look: what changes after it wakes us.
            self.revision.mark_unchanged();
            self.open_new().await?;
            let mut chunk = Vec::new();
            for (peer, watch) in &mut self.open {
                let mut looking = watch.clone();
                let (looking, events) = self
                    .speaker
                    .look(move |speaker, _now| {
                        let events = speaker.watch(&mut looking, EVENTS);
                        (looking, events)
                    })
                    .await
                    .ok()?;
                *watch = looking;
                let peer = peer.as_ref().map(|peer| peer.0.to_string());
                for event in events {
                    chunk.extend(line(&RouteLine { peer: peer.clone(), event })?);
                }
            }
            if !chunk.is_empty() {
                return Some(chunk.into());
            }
            self.revision.changed().await.ok()?;
            tokio::time::sleep(SETTLE).await;
        }
    }

    /// Opens the tables of peers that have come.
    async fn open_new(&mut self) -> Option<()> {
        let filter = RouteFilter { refused: self.query.rejected, ..RouteFilter::default() };
        if let View::Best = self.view {
            self.open.entry(None).or_insert_with(|| TableWatch::new(Ask::LocRib(filter)));
            return Some(());
        }
        // One that was asked for by name may come back.
        let Ok(peers) = chosen_peers(&self.speaker, self.query.peer.as_deref()).await else {
            return Some(());
        };
        self.open.retain(|peer, _| peer.as_ref().is_some_and(|peer| peers.contains(peer)));
        for peer in peers {
            let filter = filter.clone();
            let ask = match self.view {
                View::Received(stage) => {
                    Ask::AdjRibIn { peer: peer.clone(), filter: RouteFilter { stage, ..filter } }
                }
                View::Best | View::Advertised => Ask::AdjRibOut { peer: peer.clone(), filter },
            };
            self.open.entry(Some(peer)).or_insert_with(|| TableWatch::new(ask));
        }
        Some(())
    }
}
