//! The task: all three sockets and the core, owned by one.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use super::Command;
use crate::config::ProgrammerConfig;
use crate::dump::{End, Reader};
use crate::mirror::{Mirror, Presence};
use crate::monitor;
use crate::path::Family;
use crate::reconcile::{Change, Operation, Reconciler};
use crate::socket::RouteSocket;
use crate::status::{ProgrammerEvent, Status};
use crate::view::KernelView;
use crate::wire::constants::{
    NLM_F_REPLACE, RTM_DELADDR, RTM_DELLINK, RTM_DELNEIGH, RTM_DELNEXTHOP, RTM_DELROUTE, RTM_NEWADDR,
    RTM_NEWLINK, RTM_NEWNEIGH, RTM_NEWNEXTHOP, RTM_NEWROUTE,
};
use crate::wire::link::{parse_address, parse_link, parse_router};
use crate::wire::message::{Message, messages};
use crate::wire::nexthop::NextHopMessage;
use crate::wire::request::Dump;
use crate::wire::route::{Owner, RouteMessage};
use crate::writer::{BATCH, Writer};

/// Commands taken in before the next batch, so that changes that come together are seen together.
const COMMANDS_AT_ONCE: usize = 16;
/// Event datagrams taken in before the next batch.
const EVENTS_AT_ONCE: usize = 8192;
/// Full reads that the kernel interrupts are begun again this often, then left for later.
const READS: usize = 4;
/// Rest between full reads, in durations of the last one, so that they never take more than a fifth of
/// the time however often something asks for one.
const REST: u32 = 4;
/// Rest after a read or a write that failed.
const REST_AFTER_FAILURE: Duration = Duration::from_millis(100);
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
    reconciler: Reconciler,
    mirror: Mirror,
    writer: Writer,
    reader: Reader,
    monitor: AsyncFd<RouteSocket>,
    commands: mpsc::Receiver<Command>,
    outputs: Outputs,
    settling: Vec<oneshot::Sender<Arc<Status>>>,
    batch: Vec<Operation>,
    batches: u32,
    /// No full read, and after a failure no write, before this time.
    rest_until: Instant,
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
            commands,
            outputs,
            settling: Vec::new(),
            batch: Vec::with_capacity(BATCH),
            batches: 0,
            rest_until: now,
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
                    Ok(()) => begun.elapsed() * REST,
                    Err(error) => {
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

    /// Takes in the kernel's events that wait; false when some are left.
    fn take_events(&mut self) -> bool {
        for _ in 0..EVENTS_AT_ONCE {
            match self.monitor.get_mut().receive() {
                Ok(Some(datagram)) => {
                    for message in messages(datagram) {
                        take_event(&mut self.reconciler, &mut self.mirror, self.writer.port(), &message);
                    }
                }
                Ok(None) => return true,
                Err(error) if error.raw_os_error() == Some(Errno::NOBUFS.raw_os_error()) => {
                    self.reconciler.handle_overrun();
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot receive the kernel's events");
                    return true;
                }
            }
        }
        false
    }

    /// Has the kernel do what can be done now; false when there is nothing.
    fn write_batch(&mut self) -> bool {
        self.batch.clear();
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
            }
        }
        self.writer.set_resilience(self.reconciler.resilience());
        true
    }

    /// Reads everything: the view and our own routes and next-hop objects.
    async fn resync(&mut self) -> io::Result<()> {
        for attempt in 1..=READS {
            if self.read_all().await? == End::Complete {
                return Ok(());
            }
            tracing::debug!(attempt, "the kernel's state changed while it was read");
        }
        self.reconciler.handle_interrupted();
        Ok(())
    }

    async fn read_all(&mut self) -> io::Result<End> {
        let mut mirror = self.mirror.fresh();
        let mut interrupted = false;
        let mut note = |end: End| {
            interrupted |= end == End::Interrupted;
            end != End::Unsupported
        };
        let links = self.reader.dump(Dump::Links, |message| {
            if let Some(link) = parse_link(message.body) {
                mirror.link(&link, Presence::Here);
            }
        });
        note(links.await?);
        let addresses = self.reader.dump(Dump::Addresses, |message| {
            if let Some(address) = parse_address(message.body) {
                mirror.address(address, Presence::Here);
            }
        });
        note(addresses.await?);
        let neighbours = self.reader.dump(Dump::Neighbours, |message| {
            if let Some(router) = parse_router(message.body) {
                mirror.router(router, Presence::Here);
            }
        });
        note(neighbours.await?);
        let mut objects = Vec::new();
        let next_hops =
            self.reader.dump(Dump::NextHops, |message| objects.extend(NextHopMessage::parse(message.body)));
        let supported = note(next_hops.await?);

        let mut resync = self.reconciler.begin_resync(supported.then_some(&objects));
        for family in [Family::V4, Family::V6] {
            let routes = self.reader.dump(Dump::Routes(family), |message| {
                if let Some(route) = RouteMessage::parse(message.body) {
                    mirror.route(&route, Change::Added);
                    self.reconciler.resync_route(&mut resync, &route);
                }
            });
            note(routes.await?);
        }
        self.reconciler.end_resync(resync);
        self.mirror.replace(mirror.into_view());
        Ok(if interrupted { End::Interrupted } else { End::Complete })
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

fn take_event(reconciler: &mut Reconciler, mirror: &mut Mirror, writer: u32, message: &Message<'_>) {
    // Our own echoes, where the kernel could not be told to leave them out.
    if message.port == writer {
        return;
    }
    let presence = match message.kind {
        RTM_DELLINK | RTM_DELADDR | RTM_DELNEIGH => Presence::Gone,
        _ => Presence::Here,
    };
    match message.kind {
        RTM_NEWLINK | RTM_DELLINK => {
            if let Some(link) = parse_link(message.body)
                && mirror.link(&link, presence)
            {
                reconciler.handle_interface(link.index);
            }
        }
        RTM_NEWADDR | RTM_DELADDR => {
            if let Some(address) = parse_address(message.body)
                && mirror.address(address, presence)
            {
                reconciler.handle_interface(address.interface);
            }
        }
        RTM_NEWNEIGH | RTM_DELNEIGH => {
            if let Some(router) = parse_router(message.body) {
                mirror.router(router, presence);
            }
        }
        RTM_NEWROUTE | RTM_DELROUTE => {
            if let Some(route) = RouteMessage::parse(message.body) {
                let change = match message.kind {
                    RTM_DELROUTE => Change::Deleted,
                    _ if message.flags & NLM_F_REPLACE != 0 => Change::Replaced,
                    _ => Change::Added,
                };
                mirror.route(&route, change);
                reconciler.handle_route(&route, change);
            }
        }
        RTM_NEWNEXTHOP | RTM_DELNEXTHOP => {
            if let Some(object) = NextHopMessage::parse(message.body) {
                let change = if message.kind == RTM_DELNEXTHOP { Change::Deleted } else { Change::Added };
                reconciler.handle_next_hop(&object, change);
            }
        }
        _ => {}
    }
}
