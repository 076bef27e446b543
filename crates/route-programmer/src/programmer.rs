//! The programmer as the rest of the program sees it: a handle to a task.
//!
//! ```text
//!   handle ── commands (bounded, 16) ──▶ ┌──────┐ ── batches ──▶ writer socket ──▶ kernel
//!                                        │ task │ ── dumps ────▶ reader socket ──▶ kernel
//!   kernel ── events ──▶ monitor socket ▶└──────┘
//!                                            │ view, status (watch: the latest counts)
//!                                            ▼ events (broadcast, 256: who is slow misses the oldest)
//! ```
//!
//! A full command channel makes callers wait. Nothing queues behind it: changes are taken into the
//! desired set at once, where a later one for the same prefix takes the place of an earlier one.

mod audit;
mod intake;
mod task;

use std::io;
use std::sync::Arc;

use ipnet::IpNet;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::config::ProgrammerConfig;
use crate::route::{NextHop, RouteChange};
use crate::status::{ProgrammerEvent, RouteReport, Status};
use crate::view::KernelView;
use task::Task;

/// Commands under way.
const COMMANDS: usize = 16;
/// Events that a slow listener may be behind.
const EVENTS: usize = 256;

/// Keeps the kernel's routing table as desired. Clones are the same programmer.
///
/// When the last clone is dropped the task ends and everything stays in the kernel, to be adopted by the
/// next process. [`sweep_all`](Self::sweep_all) removes it.
///
/// # Example
/// ```no_run
/// use muslin_route_programmer::{DesiredRoute, NextHop, Programmer, ProgrammerConfig, RouteChange};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let programmer = Programmer::spawn(ProgrammerConfig::default()).await?;
/// let uplink = programmer.view().link_named("eth0").ok_or("no eth0")?.index;
/// let gateway = NextHop::via([10, 0, 0, 1], uplink);
/// let route = DesiredRoute::over([gateway]);
/// programmer.apply(vec![RouteChange::install("10.244.2.0/24".parse()?, route)]).await?;
/// programmer.mark_synced().await?;
/// assert!(programmer.settled().await?.agreement);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Programmer {
    commands: mpsc::Sender<Command>,
    view: watch::Receiver<Arc<KernelView>>,
    status: watch::Receiver<Arc<Status>>,
    events: broadcast::Sender<ProgrammerEvent>,
}

/// Why a programmer did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A netlink socket could not be had.
    #[error("cannot open a netlink socket: {0}")]
    Socket(#[source] io::Error),
    /// The kernel's state could not be read.
    #[error("cannot read the kernel's routing state: {0}")]
    Read(#[source] io::Error),
}

/// The programmer's task has ended, and with it the runtime that it ran in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the route programmer has stopped")]
pub struct Stopped;

#[derive(Debug)]
enum Command {
    Apply(Vec<RouteChange>),
    MarkSynced,
    SweepAll,
    NextHopLost(NextHop),
    Settle(oneshot::Sender<Arc<Status>>),
    Routes { after: Option<IpNet>, limit: usize, answer: oneshot::Sender<Vec<RouteReport>> },
    Route { prefix: IpNet, answer: oneshot::Sender<Option<RouteReport>> },
}

impl Programmer {
    /// Starts in the network namespace of the calling thread, and reads the kernel's state, with what an
    /// earlier process left in it, before it returns.
    pub async fn spawn(config: ProgrammerConfig) -> Result<Self, StartError> {
        let (command_sender, commands) = mpsc::channel(COMMANDS);
        let (view_sender, view) = watch::channel(Arc::default());
        let (status_sender, status) = watch::channel(Arc::default());
        let (events, _) = broadcast::channel(EVENTS);
        let outputs = task::Outputs { view: view_sender, status: status_sender, events: events.clone() };
        let mut task = Task::open(config, commands, outputs).map_err(StartError::Socket)?;
        task.start().await.map_err(StartError::Read)?;
        tokio::spawn(task.run());
        Ok(Self { commands: command_sender, view, status, events })
    }

    /// Takes changes of what is desired; returns once they are taken, not once they are in the kernel.
    pub async fn apply(&self, changes: Vec<RouteChange>) -> Result<(), Stopped> {
        self.send(Command::Apply(changes)).await
    }

    /// Everything that is desired has been said once (the peers' End-of-RIB came, or was waited for long
    /// enough): routes of an earlier process that nobody asked for go now.
    pub async fn mark_synced(&self) -> Result<(), Stopped> {
        self.send(Command::MarkSynced).await
    }

    /// Removes all of our routes and next-hop objects, as an uninstall does.
    pub async fn sweep_all(&self) -> Result<Arc<Status>, Stopped> {
        self.send(Command::SweepAll).await?;
        self.settled().await
    }

    /// A next hop is gone by other knowledge than the kernel's (its session or BFD): groups that have
    /// another one do without it at once, by one message each. Routes that name it in a later
    /// [`apply`](Self::apply) bring it back.
    pub async fn next_hop_lost(&self, next_hop: NextHop) -> Result<(), Stopped> {
        self.send(Command::NextHopLost(next_hop)).await
    }

    /// Waits until everything that was sent before is in the kernel, refused, or blocked by a clash.
    pub async fn settled(&self) -> Result<Arc<Status>, Stopped> {
        self.ask(Command::Settle).await
    }

    /// Our routes, by prefix: up to `limit` of them behind `after`.
    pub async fn routes(&self, after: Option<IpNet>, limit: usize) -> Result<Vec<RouteReport>, Stopped> {
        self.ask(|answer| Command::Routes { after, limit, answer }).await
    }

    /// Our route for exactly this prefix.
    pub async fn route(&self, prefix: IpNet) -> Result<Option<RouteReport>, Stopped> {
        self.ask(|answer| Command::Route { prefix, answer }).await
    }

    /// The kernel's own state as it is now.
    pub fn view(&self) -> Arc<KernelView> {
        Arc::clone(&self.view.borrow())
    }

    /// The kernel's own state, and word of its changes. Changes that come together are told together.
    pub fn watch_view(&self) -> watch::Receiver<Arc<KernelView>> {
        self.view.clone()
    }

    /// Where things stand.
    pub fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status.borrow())
    }

    /// Where things stand, and word of its changes.
    pub fn watch_status(&self) -> watch::Receiver<Arc<Status>> {
        self.status.clone()
    }

    /// What happens from now on. A listener that is more than 256 events behind misses the oldest.
    pub fn events(&self) -> broadcast::Receiver<ProgrammerEvent> {
        self.events.subscribe()
    }

    async fn send(&self, command: Command) -> Result<(), Stopped> {
        self.commands.send(command).await.map_err(|_| Stopped)
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Stopped> {
        let (sender, answer) = oneshot::channel();
        self.send(command(sender)).await?;
        answer.await.map_err(|_| Stopped)
    }
}
