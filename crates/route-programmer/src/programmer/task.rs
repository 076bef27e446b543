//! The task: all three sockets and the core, owned by one.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use super::Command;
use super::audit::Auditing;
use crate::config::ProgrammerConfig;
use crate::dump::Reader;
use crate::mirror::Mirror;
use crate::monitor;
use crate::reconcile::{Operation, Reconciler};
use crate::socket::RouteSocket;
use crate::status::{ProgrammerEvent, Status};
use crate::view::KernelView;
use crate::wire::route::Owner;
use crate::writer::{BATCH, Writer};

/// Commands taken in before the next batch, so that changes that come together are seen together.
const COMMANDS_AT_ONCE: usize = 16;
/// Rest between full reads, in durations of the last one, so that they never take more than a fifth of
/// the time however often something asks for one.
const REST: u32 = 4;
/// Rest after a read or a write that failed.
const REST_AFTER_FAILURE: Duration = Duration::from_millis(100);
/// Batches between two stretches of an audit while there is much to do.
const BATCHES_PER_STRETCH: u32 = 16;
/// Batches between two publications of the status while there is much to do.
const BATCHES_PER_STATUS: u32 = 64;

/// What the task tells the outside.
#[derive(Debug)]
pub(super) struct Outputs {
    pub(super) view: watch::Sender<Arc<KernelView>>,
    pub(super) status: watch::Sender<Arc<Status>>,
    pub(super) events: broadcast::Sender<ProgrammerEvent>,
}

#[derive(Debug)]
pub(super) struct Task {
    pub(super) reconciler: Reconciler,
    pub(super) mirror: Mirror,
    pub(super) writer: Writer,
    pub(super) reader: Reader,
    pub(super) monitor: AsyncFd<RouteSocket>,
    /// The audit under way.
    pub(super) auditing: Option<Auditing>,
    commands: mpsc::Receiver<Command>,
    outputs: Outputs,
    settling: Vec<oneshot::Sender<Arc<Status>>>,
    batch: Vec<Operation>,
    batches: u32,
    /// No full read before this time.
    rest_until: Instant,
    /// A batch or a full read failed: nothing is written until a full read has told how things are.
    unsure: bool,
}

impl Task {
    pub(super) fn open(
        config: ProgrammerConfig,
        commands: mpsc::Receiver<Command>,
        outputs: Outputs,
    ) -> io::Result<Self> {
        let owner = Owner { protocol: config.protocol, table: config.table };
        let writer = Writer::open(owner, config.resilience)?;
        let monitor = monitor::open(writer.port(), config.event_buffer)?;
        #[expect(
            deprecated,
            reason = "its replacement is unsafe for types that lend out another's descriptor; \
            a `RouteSocket` owns its own as long as it lives"
        )]
        let monitor = AsyncFd::with_interest(monitor, Interest::READABLE)?;
        let now = Instant::now();
        Ok(Self {
            mirror: Mirror::new(config.protocol),
            reconciler: Reconciler::new(config, now),
            monitor,
            writer,
            reader: Reader::open()?,
            auditing: None,
            commands,
            outputs,
            settling: Vec::new(),
            batch: Vec::with_capacity(BATCH),
            batches: 0,
            rest_until: now,
            unsure: false,
        })
    }

    /// The first full read.
    pub(super) async fn start(&mut self) -> io::Result<()> {
        self.resync().await?;
        self.publish_view();
        self.publish_status();
        Ok(())
    }

    pub(super) async fn run(mut self) {
        loop {
            // Commands first: an answer to one then takes account of every event before it.
            if self.take_commands().is_err() {
                return;
            }
            let mut drained = self.take_events();
            self.reconciler.handle_timeout(Instant::now());
            // Lost events are reported once until all that are left have been read, so read those first.
            if drained && self.reconciler.wants_resync() && self.rest_until <= Instant::now() {
                let begun = Instant::now();
                let rest = match self.resync().await {
                    Ok(()) => {
                        self.unsure = false;
                        begun.elapsed() * REST
                    }
                    Err(error) => {
                        self.unsure = true;
                        tracing::warn!(%error, "cannot read the kernel's routing state; it is tried again");
                        REST_AFTER_FAILURE
                    }
                };
                self.rest_until = Instant::now() + rest;
                // What happened during the read comes before what is concluded from it.
                drained = self.take_events();
            }
            self.publish_view();
            if self.write_batch() {
                self.batches = self.batches.wrapping_add(1);
                if self.batches.is_multiple_of(BATCHES_PER_STATUS) {
                    self.publish_status();
                }
                if self.batches.is_multiple_of(BATCHES_PER_STRETCH) {
                    self.audit().await;
                }
                tokio::task::yield_now().await;
                continue;
            }
            if !drained {
                continue;
            }
            self.publish_status();
            if !self.reconciler.wants_resync() {
                self.answer_settling();
            }
            if self.audit().await {
                tokio::task::yield_now().await;
                continue;
            }
            if self.wait().await.is_err() {
                return;
            }
        }
    }

    /// Waits for something to do; an error when nobody holds a handle any more.
    async fn wait(&mut self) -> Result<(), ()> {
        let mut deadline = self.reconciler.poll_timeout();
        if self.reconciler.wants_resync() {
            deadline = deadline.min(self.rest_until);
        }
        tokio::select! {
            command = self.commands.recv() => self.take_command(command.ok_or(())?),
            // Taken back before everything is read, so that what comes meanwhile wakes us again.
            ready = self.monitor.readable() => match ready {
                Ok(mut ready) => ready.clear_ready(),
                Err(error) => tracing::warn!(%error, "cannot wait for the kernel's events"),
            },
            () = tokio::time::sleep_until(deadline.into()) => {}
        }
        Ok(())
    }

    fn take_commands(&mut self) -> Result<(), ()> {
        for _ in 0..COMMANDS_AT_ONCE {
            match self.commands.try_recv() {
                Ok(command) => self.take_command(command),
                Err(mpsc::error::TryRecvError::Empty) => return Ok(()),
                Err(mpsc::error::TryRecvError::Disconnected) => return Err(()),
            }
        }
        Ok(())
    }

    fn take_command(&mut self, command: Command) {
        match command {
            Command::Apply(changes) => changes.iter().for_each(|change| self.reconciler.apply(change)),
            Command::MarkSynced => self.reconciler.mark_synced(),
            Command::SweepAll => self.reconciler.sweep_all(),
            Command::NextHopLost(next_hop) => self.reconciler.next_hop_lost(&next_hop),
            Command::Settle(answer) => self.settling.push(answer),
            // Who asked and did not wait for the answer does not need it.
            Command::Routes { after, limit, answer } => {
                let _ = answer.send(self.reconciler.routes(after, limit));
            }
            Command::Route { prefix, answer } => {
                let _ = answer.send(self.reconciler.route(prefix));
            }
        }
    }

    /// Has the kernel do what can be done now; false when there is nothing.
    fn write_batch(&mut self) -> bool {
        self.batch.clear();
        if self.unsure {
            return false;
        }
        self.reconciler.next_batch(BATCH, &mut self.batch);
        if self.batch.is_empty() {
            return false;
        }
        match self.writer.execute(&self.batch) {
            Ok(outcomes) => {
                for (operation, outcome) in self.batch.iter().zip(outcomes) {
                    self.reconciler.handle_outcome(operation, outcome);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot write routes; the kernel's state is read again");
                self.reconciler.handle_batch_lost(&self.batch);
                self.rest_until = Instant::now() + REST_AFTER_FAILURE;
                self.unsure = true;
            }
        }
        self.writer.set_resilience(self.reconciler.resilience());
        true
    }

    fn publish_view(&mut self) {
        if let Some(view) = self.mirror.take_changed() {
            self.outputs.view.send_replace(Arc::new(view));
        }
    }

    fn publish_status(&mut self) {
        let status = self.reconciler.status();
        self.outputs.status.send_if_modified(|published| {
            let modified = **published != status;
            if modified {
                *published = Arc::new(status);
            }
            modified
        });
        while let Some(event) = self.reconciler.poll_event() {
            log(&event);
            // Nobody listens, perhaps.
            let _ = self.outputs.events.send(event);
        }
    }

    fn answer_settling(&mut self) {
        for answer in self.settling.drain(..) {
            let _ = answer.send(Arc::clone(&self.outputs.status.borrow()));
        }
    }
}

/// Refusals are many when a peer announces nonsense, and are in the status.
fn log(event: &ProgrammerEvent) {
    match event {
        ProgrammerEvent::Clash(clash) => {
            tracing::warn!(prefix = %clash.prefix, protocol = clash.protocol, metric = clash.metric,
                effect = ?clash.effect, "another program has a route for a prefix of ours");
        }
        ProgrammerEvent::Disturbed(routes) => {
            tracing::warn!(routes, "routes of ours were deleted by someone else; they are put back");
        }
        ProgrammerEvent::Refused(subject, refusal) => {
            tracing::debug!(?subject, %refusal, "the kernel refused a route or next hop");
        }
        ProgrammerEvent::Overrun => tracing::warn!("kernel events were lost; everything is read again"),
        ProgrammerEvent::Resynced { drifted: 0 } => {}
        ProgrammerEvent::Resynced { drifted } => {
            tracing::info!(drifted, "a full read found routes of ours different; they are put right");
        }
        ProgrammerEvent::Swept(routes) => tracing::info!(routes, "leftovers of an earlier process removed"),
    }
}
