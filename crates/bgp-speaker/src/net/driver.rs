//! The loop that feeds the speaker and does what it asks for.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore, broadcast, mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

use super::bmp::{Collector, CollectorStatus};
use super::connection::{LINGERERS, Line, pump};
use super::connections::{Connection, Connections};
use super::dial::dial;
use super::handle::{FibUpdate, Request};
use super::incoming::Incoming;
use super::latency::{FibCause, Latencies, Ways};
use super::listener::{Listeners, Refused};
use super::log::log;
use super::nap::Heard;
use super::recorder::Recorder;
use super::socket;
use crate::record::Recorded;
use crate::session::ConnId;
use crate::speaker::{Input, Output, SpeakerEvent};

/// Chunks that wait for the speaker, of all connections together.
const INCOMING: usize = 64;

/// How long inputs are taken in one after the other before routes leave again. What comes together is elected,
/// encoded and sent together; when nothing more is there, nothing is waited for.
const GATHER: Duration = Duration::from_millis(2);

/// The same while inputs come faster than they are taken in: of ten paths to a prefix that ten peers send, nine need
/// not be told. It grows no faster than the flood lasts.
const GATHER_IN_A_FLOOD: Duration = Duration::from_millis(32);

/// Changes of one batch for the kernel, which gets one after each of these times at least.
const FIB_BATCH: usize = 4096;

/// Whether the driver goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Continue,
    Stop,
}

/// A speaker with its sockets.
pub(super) struct Driver {
    speaker: Recorded,
    recorder: Option<Recorder>,
    collectors: Vec<Collector>,
    own_requests: mpsc::WeakSender<Request>,
    requests: mpsc::Receiver<Request>,
    next_hops: Arc<Notify>,
    events: broadcast::Sender<SpeakerEvent>,
    fib: mpsc::Sender<(FibUpdate, FibCause)>,
    revision: watch::Sender<u64>,
    incoming: mpsc::Receiver<Incoming>,
    report: mpsc::Sender<Incoming>,
    connections: Connections,
    dials: HashMap<ConnId, AbortHandle, RandomState>,
    pumps: JoinSet<()>,
    lingerers: Arc<Semaphore>,
    listeners: Listeners,
    accepted: u64,
    sync: SyncMark,
    ways: Ways,
    /// How long inputs are taken in at present.
    gather: Duration,
}

/// Whether the route programmer was told that the first picture is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SyncMark {
    Pending,
    Told,
}

impl Driver {
    pub(super) fn new(
        speaker: Recorded,
        recorder: Option<Recorder>,
        own_requests: mpsc::WeakSender<Request>,
        requests: mpsc::Receiver<Request>,
        next_hops: Arc<Notify>,
        events: broadcast::Sender<SpeakerEvent>,
        fib: mpsc::Sender<(FibUpdate, FibCause)>,
    ) -> Self {
        let (report, incoming) = mpsc::channel(INCOMING);
        Self {
            speaker,
            recorder,
            collectors: Vec::new(),
            own_requests,
            requests,
            next_hops,
            events,
            fib,
            revision: watch::Sender::new(0),
            incoming,
            report,
            connections: Connections::default(),
            dials: HashMap::default(),
            pumps: JoinSet::new(),
            lingerers: Arc::new(Semaphore::new(LINGERERS)),
            listeners: Listeners::default(),
            accepted: 0,
            sync: SyncMark::Pending,
            ways: Ways::default(),
            gather: GATHER,
        }
    }

    /// Changes whenever there may be something new to see.
    pub(super) fn revision(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    /// How long things take.
    pub(super) fn latencies(&self) -> Arc<Latencies> {
        self.ways.latencies.clone()
    }

    /// Runs until the handle is dropped or asks for the end.
    pub(super) async fn run(mut self) {
        self.connect_collectors();
        while self.turn().await == Flow::Continue {}
        self.record(Recorder::flush);
        let ending: Vec<_> = self.collectors.drain(..).map(Collector::stop).collect();
        for task in ending {
            // It says its last words in a bounded time.
            let _said = task.await;
        }
        // Last words leave before the handle learns of the end.
        while self.pumps.join_next().await.is_some() {}
    }

    /// One round: wait for something, feed it to the speaker, do what it asks for.
    async fn turn(&mut self) -> Flow {
        let advanced = self.speaker.advance(Instant::now());
        let more = self.perform() || advanced;
        self.feed_fib();
        if !more && !self.speaker.rests() {
            self.ways.all_sent();
            if !self.fib_waits() {
                self.ways.all_in_kernel();
            }
        }
        let timeout = self.speaker.poll_timeout();
        let flow = tokio::select! {
            biased;
            () = std::future::ready(()), if timeout.is_some_and(|at| at <= Instant::now()) => {
                self.fire_timers().await;
                Flow::Continue
            }
            request = self.requests.recv() => match request {
                Some(request) => self.handle_request(request),
                None => self.handle_request(Request::Shutdown(super::Shutdown::Restart)),
            },
            Some(incoming) = self.incoming.recv() => {
                let alone = self.incoming.is_empty() && !incoming.fills_a_chunk();
                self.take_in(incoming);
                if alone {
                    self.gather = GATHER;
                } else {
                    self.take_in_more().await;
                }
                Flow::Continue
            }
            () = self.next_hops.notified() => {
                self.speaker.handle_input(Instant::now(), Input::NextHopsChanged);
                Flow::Continue
            }
            () = tokio::task::yield_now(), if more => Flow::Continue,
            () = sleep_until(timeout) => Flow::Continue,
            // The programmer took its batch: the next one can be made.
            () = room(&self.fib), if self.fib_waits() => Flow::Continue,
        };
        self.perform();
        self.record(|recorder, speaker| recorder.write(Instant::now(), speaker));
        let revision = self.speaker.revision();
        self.revision.send_if_modified(|told| std::mem::replace(told, revision) != revision);
        if self.connections.take_pumping() {
            // They write now: an input that is always ready must not keep a KEEPALIVE from leaving.
            tokio::task::yield_now().await;
        }
        flow
    }

    /// Fires timers. A hold timer does not expire over what has arrived and waits for us: after a stall of
    /// ours the peers' KEEPALIVEs are in the sockets, under load they are in the queue.
    async fn fire_timers(&mut self) {
        tokio::task::yield_now().await;
        let now = Instant::now();
        let due: Vec<ConnId> = self.speaker.due(now).collect();
        for &conn in &due {
            let Some(connection) = self.connections.get(conn) else { continue };
            // A send hold timer does not expire over what has left without a report.
            let written = connection.line.take_written();
            match connection.hear() {
                Heard::Octets(octets) => self.take_in(Incoming::Received { conn, octets }),
                Heard::Waiting => self.speaker.handle_input(now, Input::Waiting { conn }),
                Heard::Silence(time) => self.speaker.handle_input(now, Input::Silent { conn, time }),
                Heard::News => {}
            }
            if written > 0 {
                self.speaker.handle_input(now, Input::Written { conn, octets: written });
            }
        }
        self.speaker.handle_timeout(now);
        for conn in due {
            if self.speaker.is_between_messages(conn)
                && let Some(connection) = self.connections.get_mut(conn)
            {
                connection.nap();
            }
        }
    }

    /// Takes in what else has come, for a bounded time: an UPDATE of each of a thousand peers is not worth a
    /// segment of its own to each of the others.
    async fn take_in_more(&mut self) {
        let end = Instant::now() + self.gather;
        let mut waited = false;
        while Instant::now() < end {
            match self.incoming.try_recv() {
                Ok(incoming) => {
                    self.take_in(incoming);
                    waited = false;
                }
                // Those who read and had no room go on now.
                Err(_) if !waited => {
                    tokio::task::yield_now().await;
                    waited = true;
                }
                Err(_) => {
                    self.gather = GATHER;
                    return;
                }
            }
        }
        self.gather = (self.gather * 2).min(GATHER_IN_A_FLOOD);
    }

    fn take_in(&mut self, incoming: Incoming) {
        let now = Instant::now();
        match incoming {
            Incoming::Accepted { stream, remote, device } => {
                self.accept(now, stream, remote, device.as_deref());
            }
            Incoming::Dialed { conn, stream } => {
                // An attempt that was given up meanwhile is dropped here.
                if self.dials.remove(&conn).is_some() {
                    self.open(now, conn, stream);
                }
            }
            Incoming::DialFailed { conn, error } => {
                if self.dials.remove(&conn).is_some() {
                    self.speaker.handle_input(now, Input::ConnectFailed { conn, error });
                }
            }
            Incoming::Received { conn, octets } => {
                if let Some(connection) = self.connections.get(conn) {
                    connection.line.took_in(octets.len());
                }
                self.ways.received(now);
                self.speaker.handle_input(now, Input::Received { conn, octets });
                if let Some(connection) = self.connections.get_mut(conn).filter(|connection| connection.naps)
                    && !self.speaker.is_between_messages(conn)
                {
                    connection.rouse();
                }
            }
            Incoming::Written { conn, octets } => {
                self.speaker.handle_input(now, Input::Written { conn, octets });
            }
            Incoming::Closed { conn, error } => {
                if self.connections.close(conn) {
                    self.speaker.handle_input(now, Input::Closed { conn, error });
                }
            }
            Incoming::RetryListen => {
                let refused = self.listeners.open_missing(&self.report);
                self.tell_refused(refused);
            }
        }
    }

    fn accept(&mut self, now: Instant, stream: TcpStream, remote: SocketAddr, device: Option<&str>) {
        if self.listeners.cannot_sign(remote.ip()) || !self.speaker.admits_through(remote, device) {
            tracing::debug!(%remote, device, "refused a connection that came another way than its peer must");
            return;
        }
        if !self.speaker.admits(remote) {
            tracing::debug!(%remote, "refused a connection from an address that is no peer's");
            return;
        }
        self.accepted += 1;
        self.open(now, ConnId::accepted(self.accepted), stream);
    }

    fn open(&mut self, now: Instant, conn: ConnId, stream: TcpStream) {
        let ends = stream.set_nodelay(true).and_then(|()| Ok((stream.peer_addr()?, stream.local_addr()?)));
        let (remote, local) = match ends {
            Ok(ends) => ends,
            Err(error) => {
                // The peer is gone already.
                self.speaker.handle_input(now, Input::ConnectFailed { conn, error: error.kind() });
                return;
            }
        };
        let (line, stream) = (Arc::new(Line::default()), Arc::new(stream));
        let pump = pump(stream.clone(), conn, line.clone(), self.report.clone(), self.lingerers.clone());
        self.pumps.spawn(pump);
        self.connections.insert(conn, Connection { line, stream, remote, naps: false });
        self.speaker.handle_input(now, Input::ConnectionOpened { conn, remote, local });
    }

    /// Does everything that the speaker asks for. Returns whether octets have left that it waited for.
    fn perform(&mut self) -> bool {
        while let Some(output) = self.speaker.poll_output() {
            match output {
                Output::Send { conn, octets } => {
                    self.ways.sent(&octets);
                    self.connections.push(conn, octets);
                }
                Output::Close { conn } => {
                    if let Some(attempt) = self.dials.remove(&conn) {
                        attempt.abort();
                    }
                    self.connections.close(conn);
                }
                Output::Connect { conn, peer, remote, options } => {
                    tracing::debug!(%peer, %remote, "connecting");
                    let report = self.report.clone();
                    let task = tokio::spawn(async move {
                        let result = match dial(remote, &options).await {
                            Ok(stream) => Incoming::Dialed { conn, stream },
                            Err(error) => Incoming::DialFailed { conn, error: error.kind() },
                        };
                        // Without a driver nobody needs the connection.
                        let _gone = report.send(result).await;
                    });
                    self.dials.insert(conn, task.abort_handle());
                }
                Output::Tune { conn, options } => {
                    if let Some(Connection { stream, remote, .. }) = self.connections.get(conn)
                        && let Err(error) = socket::tune(&**stream, remote.ip(), &options)
                    {
                        tracing::warn!(%remote, %error, "cannot set the options of a connection");
                    }
                }
                Output::Listen(plan) => {
                    let refused = self.listeners.apply(plan, &self.report);
                    self.tell_refused(refused);
                }
                Output::Event(event) => {
                    if matches!(
                        event,
                        SpeakerEvent::SessionDown { .. } | SpeakerEvent::RetentionExpired { .. }
                    ) {
                        self.ways.lost(Instant::now());
                    }
                    self.tell(event);
                }
            }
        }
        while self.pumps.try_join_next().is_some() {}
        let (now, mut has_left) = (Instant::now(), false);
        let speaker = &mut self.speaker;
        self.connections.write(|conn, octets| {
            speaker.handle_input(now, Input::Written { conn, octets });
            has_left = true;
        });
        has_left
    }

    fn tell(&self, event: SpeakerEvent) {
        log(&event);
        // Nobody has to listen.
        let _subscribers = self.events.send(event);
    }

    fn tell_refused(&self, refused: Vec<Refused>) {
        for Refused { address, error } in refused {
            self.tell(SpeakerEvent::ListenFailed { address, error: error.to_string() });
        }
    }

    fn handle_request(&mut self, request: Request) -> Flow {
        let now = Instant::now();
        match request {
            Request::Configure(config, event, answer) => {
                self.ways.configured(event);
                let result = self.speaker.configure(now, *config);
                // When the answer is there, sockets have their new keys as well.
                self.perform();
                self.connect_collectors();
                // Whoever asked may have gone away.
                let _unheard = answer.send(result);
            }
            Request::Command(command) => self.speaker.handle_input(now, Input::Command(command)),
            Request::Look(look) => look(&self.speaker, now),
            Request::Collectors(answer) => {
                // Whoever asked may have gone away.
                let _unheard = answer.send(self.collector_status());
            }
            Request::Shutdown(how) => {
                self.speaker.stop(now, &how.into());
                return Flow::Stop;
            }
        }
        Flow::Continue
    }

    /// Makes the collectors those of the configuration in force.
    fn connect_collectors(&mut self) {
        let wanted = self.speaker.config().bmp.clone();
        // Whoever is dropped says so to its collector.
        self.collectors.retain(|collector| wanted.contains(&collector.config));
        for config in wanted {
            if !self.collectors.iter().any(|collector| collector.config == config) {
                let revision = self.revision.subscribe();
                self.collectors.push(Collector::start(config, self.own_requests.clone(), revision));
            }
        }
    }

    fn collector_status(&self) -> Vec<CollectorStatus> {
        self.collectors.iter().map(Collector::status).collect()
    }

    /// Writes a record, if there is one; a disk that is full ends it, not the speaker.
    fn record(&mut self, write: impl FnOnce(&mut Recorder, &mut Recorded) -> std::io::Result<()>) {
        if let Some(recorder) = &mut self.recorder
            && let Err(error) = write(recorder, &mut self.speaker)
        {
            tracing::error!(%error, "the record cannot be written; it ends here");
            self.recorder = None;
            self.speaker.end_record();
        }
    }

    /// Whether there is something for the programmer. Room is not asked for here: it may have taken the last batch
    /// since it was sent, and then there is nothing else that would wake us.
    fn fib_waits(&self) -> bool {
        !self.fib.is_closed() && (self.speaker.has_fib_changes() || self.sync_is_due())
    }

    fn sync_is_due(&self) -> bool {
        self.sync == SyncMark::Pending && self.speaker.is_synced()
    }

    /// Gives the programmer a batch if it took the last one; what does not fit stays in the RIB.
    fn feed_fib(&mut self) {
        let Ok(permit) = self.fib.try_reserve() else { return };
        let mut changes = Vec::new();
        self.speaker.fib_changes(FIB_BATCH, &mut changes);
        if !changes.is_empty() {
            permit.send((FibUpdate::Changes(changes), self.ways.fib_cause()));
        } else if self.sync == SyncMark::Pending && self.speaker.is_synced() {
            self.sync = SyncMark::Told;
            permit.send((FibUpdate::Synced, FibCause::default()));
        }
    }
}

/// Waits until the route programmer has taken its batch.
async fn room(fib: &mpsc::Sender<(FibUpdate, FibCause)>) {
    if fib.reserve().await.is_err() {
        // Nobody programs routes: never again.
        std::future::pending::<()>().await;
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
