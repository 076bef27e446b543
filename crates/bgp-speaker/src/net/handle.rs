//! The far end of a running speaker.

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::{Notify, broadcast, mpsc, oneshot, watch};

use super::bmp::CollectorStatus;
use super::driver::Driver;
use super::latency::{FibCause, Latencies};
use super::recorder::{RecordConfig, Recorder, wall};
use crate::config::{ConfigError, SpeakerConfig};
use crate::record::Recorded;
use crate::rib::{FibChange, NextHopResolver};
use crate::session::Stop;
use crate::speaker::{Answer, Command, PeerStatus, Query, Speaker, SpeakerEvent, SpeakerStatus, Start};

/// Requests that may wait for the speaker.
const REQUESTS: usize = 16;

/// Events that a slow subscriber may be behind.
const EVENTS: usize = 1024;

/// Why a speaker was not started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The configuration cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The record cannot be written.
    #[error("cannot record to {}: {error}; give a folder that can be written to", folder.display())]
    Record {
        /// The folder.
        folder: std::path::PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The system gave no thread or no event queue.
    #[error("cannot start the speaker's thread: {0}")]
    System(#[from] std::io::Error),
}

/// The speaker was shut down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the speaker is shut down")]
pub struct SpeakerGone;

/// How a speaker ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// It comes back: connections close without a Cease, so that peers with graceful restart keep our
    /// routes (RFC 4724 §4.1).
    Restart,
    /// It does not: Cease/3 to every peer.
    Deconfigure,
    /// An operator takes it down: Cease/2 with this text (RFC 9003).
    Administrative(Arc<str>),
}

impl From<Shutdown> for Stop {
    fn from(shutdown: Shutdown) -> Self {
        match shutdown {
            Shutdown::Restart => Self::Restart,
            Shutdown::Deconfigure => Self::Removed,
            Shutdown::Administrative(text) => Self::Shutdown(text),
        }
    }
}

/// What is to be found out of a speaker.
type Look = dyn FnOnce(&Speaker, Instant) + Send;

/// What is asked of the driver.
pub(super) enum Request {
    /// With the time of the event that it follows from.
    Configure(Box<SpeakerConfig>, Instant, oneshot::Sender<Result<(), ConfigError>>),
    Command(Command),
    Look(Box<Look>),
    Collectors(oneshot::Sender<Vec<CollectorStatus>>),
    Shutdown(Shutdown),
}

/// What the kernel's routes should become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FibUpdate {
    /// These destinations changed; the newest state of each.
    Changes(Vec<FibChange>),
    /// Once: every change so far has been told, and every peer that can be waited for has sent its routes.
    /// Routes of a previous run that were not named may go.
    Synced,
}

/// The route programmer's end: at most one batch waits here, everything else waits in the RIB and coalesces.
#[derive(Debug)]
pub struct FibStream(pub(super) mpsc::Receiver<(FibUpdate, FibCause)>);

impl FibStream {
    /// The next batch; `None` when the speaker has ended.
    pub async fn next(&mut self) -> Option<FibUpdate> {
        self.next_with_cause().await.map(|(update, _)| update)
    }

    /// The next batch and what it follows from; `None` when the speaker has ended.
    pub async fn next_with_cause(&mut self) -> Option<(FibUpdate, FibCause)> {
        self.0.recv().await
    }
}

/// A running speaker. Dropping the last handle ends it as [`Shutdown::Restart`] does.
#[derive(Clone, Debug)]
pub struct SpeakerHandle {
    requests: mpsc::Sender<Request>,
    next_hops: Arc<Notify>,
    events: broadcast::WeakSender<SpeakerEvent>,
    fib: Arc<Mutex<Option<FibStream>>>,
    revision: watch::Receiver<u64>,
    latencies: Arc<Latencies>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

/// Starts a speaker on a thread of its own, in the network namespace of the calling thread.
pub fn spawn(
    config: SpeakerConfig,
    resolver: Box<dyn NextHopResolver + Send>,
) -> Result<SpeakerHandle, SpawnError> {
    spawn_started(config, resolver, Start::Fresh)
}

/// Like [`spawn`], when an earlier speaker may have preceded it.
pub fn spawn_started(
    config: SpeakerConfig,
    resolver: Box<dyn NextHopResolver + Send>,
    start: Start,
) -> Result<SpeakerHandle, SpawnError> {
    let speaker = Recorded::off(Instant::now(), config, resolver, start)?;
    spawn_driver(speaker, None)
}

/// Like [`spawn_started`], with everything that goes into the speaker written to files.
pub fn spawn_recorded(
    config: SpeakerConfig,
    resolver: Box<dyn NextHopResolver + Send>,
    start: Start,
    record: RecordConfig,
) -> Result<SpeakerHandle, SpawnError> {
    let folder = record.folder.clone();
    let recorder = Recorder::open(record).map_err(|error| SpawnError::Record { folder, error })?;
    let speaker = Recorded::on(Instant::now(), wall(), config, resolver, start)?;
    spawn_driver(speaker, Some(recorder))
}

fn spawn_driver(speaker: Recorded, recorder: Option<Recorder>) -> Result<SpeakerHandle, SpawnError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let (requests, incoming_requests) = mpsc::channel(REQUESTS);
    let (events, _) = broadcast::channel(EVENTS);
    let (fib_sender, fib) = mpsc::channel(1);
    let next_hops = Arc::new(Notify::new());
    let weak_events = events.downgrade();
    let own_requests = requests.downgrade();
    let driver = Driver::new(
        speaker,
        recorder,
        own_requests,
        incoming_requests,
        next_hops.clone(),
        events,
        fib_sender,
    );
    let (revision, latencies) = (driver.revision(), driver.latencies());
    let thread = std::thread::Builder::new().name("bgp-speaker".into()).spawn(move || {
        runtime.block_on(driver.run());
    })?;
    Ok(SpeakerHandle {
        requests,
        next_hops,
        events: weak_events,
        fib: Arc::new(Mutex::new(Some(FibStream(fib)))),
        revision,
        latencies,
        thread: Arc::new(Mutex::new(Some(thread))),
    })
}

impl SpeakerHandle {
    /// Makes `config` the configuration in force, by its difference to the one before.
    ///
    /// # Errors
    /// [`ConfigureError::Refused`] when it cannot be: the one in force stays.
    pub async fn configure(&self, config: SpeakerConfig) -> Result<(), ConfigureError> {
        self.configure_after(Instant::now(), config).await
    }

    /// The same for an event of that time: how long peers wait for word of it is measured from there.
    ///
    /// # Errors
    /// As above.
    pub async fn configure_after(&self, event: Instant, config: SpeakerConfig) -> Result<(), ConfigureError> {
        let (answer, result) = oneshot::channel();
        self.request(Request::Configure(Box::new(config), event, answer)).await?;
        Ok(result.await.map_err(|_| SpeakerGone)??)
    }

    /// How long things take.
    pub fn latencies(&self) -> &Latencies {
        &self.latencies
    }

    /// Tells that the resolver's answers may have changed. Costs nothing; calls coalesce.
    pub fn next_hops_changed(&self) {
        self.next_hops.notify_one();
    }

    /// The changes of the kernel's routes; there is one reader, the first who asks.
    pub fn fib(&self) -> Option<FibStream> {
        lock(&self.fib).take()
    }

    /// What happens from now on.
    pub fn events(&self) -> Result<broadcast::Receiver<SpeakerEvent>, SpeakerGone> {
        Ok(self.events.upgrade().ok_or(SpeakerGone)?.subscribe())
    }

    /// Changes whenever there may be something new to see: an event, or a route of a table that is
    /// [watched](Speaker::watch).
    pub fn revision(&self) -> watch::Receiver<u64> {
        self.revision.clone()
    }

    /// Asks for something of an operator's.
    pub async fn command(&self, command: Command) -> Result<(), SpeakerGone> {
        self.request(Request::Command(command)).await
    }

    /// Looks at the speaker between two of its steps. The speaker waits meanwhile: take a page, not a table.
    ///
    /// ```no_run
    /// # async fn show(speaker: muslin_bgp_speaker::net::SpeakerHandle) -> Result<(), Box<dyn std::error::Error>> {
    /// let routes = speaker.look(|speaker, _now| speaker.summary().paths).await?;
    /// # Ok(()) }
    /// ```
    pub async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Speaker, Instant) -> T + Send + 'static,
    ) -> Result<T, SpeakerGone> {
        let (answer, result) = oneshot::channel();
        let look = Box::new(move |speaker: &Speaker, now| {
            // Whoever asked may have gone away.
            let _unheard = answer.send(look(speaker, now));
        });
        self.request(Request::Look(look)).await?;
        result.await.map_err(|_| SpeakerGone)
    }

    /// Looks into the RIBs.
    pub async fn query(&self, query: Query) -> Result<Answer, SpeakerGone> {
        self.look(move |speaker, _now| speaker.query(&query)).await
    }

    /// The speaker as a whole.
    pub async fn status(&self) -> Result<SpeakerStatus, SpeakerGone> {
        self.look(Speaker::status).await
    }

    /// Every peer, by name.
    pub async fn peers(&self) -> Result<Vec<PeerStatus>, SpeakerGone> {
        self.look(Speaker::peers).await
    }

    /// The BMP collectors.
    pub async fn collectors(&self) -> Result<Vec<CollectorStatus>, SpeakerGone> {
        let (answer, result) = oneshot::channel();
        self.request(Request::Collectors(answer)).await?;
        result.await.map_err(|_| SpeakerGone)
    }

    /// Ends the speaker; returns when its last words have left or could not.
    pub async fn shutdown(&self, how: Shutdown) {
        // A speaker that is gone already is shut down.
        let _gone = self.request(Request::Shutdown(how)).await;
        self.requests.closed().await;
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread {
            // It ends right after it closed the channel; a panic in it was reported there.
            let _panicked = thread.join();
        }
    }

    async fn request(&self, request: Request) -> Result<(), SpeakerGone> {
        self.requests.send(request).await.map_err(|_| SpeakerGone)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Why a configuration is not in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigureError {
    /// It cannot be.
    #[error(transparent)]
    Refused(#[from] ConfigError),
    /// Nobody is there to take it.
    #[error(transparent)]
    Gone(#[from] SpeakerGone),
}
