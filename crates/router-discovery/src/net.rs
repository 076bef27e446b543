//! Machines over raw ICMPv6 sockets, under tokio.
//!
//! ```text
//!   follow() ──watch──▶ manager ──watch──▶ task per interface ⇄ raw ICMPv6 socket
//!                                              │ send_modify
//!   watch() ◀──────────────── watch ───────────┘
//! ```
//!
//! Everything travels in `watch` channels, of which only the latest value counts: nobody waits for anybody.

mod socket;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{debug, info, warn};

use self::socket::RouterSocket;
use crate::link::{Input, Link, Output};
use crate::wire::HardwareAddress;

/// Pause before a socket that failed is opened again.
const PAUSE: Duration = Duration::from_secs(5);

/// An interface on which a router is looked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interface {
    /// Name.
    pub name: Arc<str>,
    /// The kernel's index.
    pub index: u32,
    /// Its Ethernet address.
    pub hardware: Option<HardwareAddress>,
    /// Whether it can send: it has carrier and a link-local address that is no longer tentative.
    pub ready: bool,
}

/// What was found so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The router at the other end, by interface.
    pub neighbours: BTreeMap<Arc<str>, Ipv6Addr>,
    /// Why nobody can be found on an interface, with the remedy.
    pub faults: BTreeMap<Arc<str>, String>,
}

/// Router discovery on a changing set of interfaces, until it is dropped.
#[derive(Debug)]
pub struct Discovery {
    wanted: watch::Sender<BTreeSet<Interface>>,
    found: watch::Receiver<Found>,
}

impl Discovery {
    /// Starts without interfaces; within a tokio runtime. Sockets are opened in the network namespace of the
    /// runtime's threads.
    pub fn spawn() -> Self {
        let (wanted, interfaces) = watch::channel(BTreeSet::new());
        let (publish, found) = watch::channel(Found::default());
        tokio::spawn(manage(interfaces, publish));
        Self { wanted, found }
    }

    /// From now on these interfaces; what is known of those that stay is kept.
    pub fn follow(&self, interfaces: BTreeSet<Interface>) {
        self.wanted.send_if_modified(|wanted| {
            let differs = *wanted != interfaces;
            *wanted = interfaces;
            differs
        });
    }

    /// What was found, now and whenever it changes.
    pub fn watch(&self) -> watch::Receiver<Found> {
        self.found.clone()
    }
}

/// Tasks by name and index of their interfaces, each with what it is told.
type Running = BTreeMap<(Arc<str>, u32), (watch::Sender<Interface>, JoinHandle<()>)>;

/// Starts and ends the tasks of interfaces. They end with their channel.
async fn manage(mut wanted: watch::Receiver<BTreeSet<Interface>>, publish: watch::Sender<Found>) {
    let mut running = Running::new();
    loop {
        let interfaces = wanted.borrow_and_update().clone();
        let key = |interface: &Interface| (interface.name.clone(), interface.index);
        let keys: BTreeSet<_> = interfaces.iter().map(key).collect();
        let (kept, ended): (Running, Running) = running.into_iter().partition(|(key, _)| keys.contains(key));
        running = kept;
        for ((name, _), (sender, task)) in ended {
            drop(sender);
            // It has nothing to do but to return; afterwards it says nothing more.
            let _ended = task.await;
            publish.send_if_modified(|found| {
                let neighbour = found.neighbours.remove(&name).is_some();
                found.faults.remove(&name).is_some() || neighbour
            });
        }
        for interface in interfaces {
            if let Some((sender, _)) = running.get(&key(&interface)) {
                sender.send_if_modified(|known| {
                    let differs = *known != interface;
                    *known = interface;
                    differs
                });
            } else {
                let place = key(&interface);
                let (sender, receiver) = watch::channel(interface);
                let task = tokio::spawn(Task::new(receiver, publish.clone()).run());
                running.insert(place, (sender, task));
            }
        }
        if wanted.changed().await.is_err() {
            return;
        }
    }
}

/// One interface.
struct Task {
    interface: watch::Receiver<Interface>,
    publish: watch::Sender<Found>,
    link: Link,
}

/// Why the socket is not used any more.
enum End {
    /// Nobody wants the interface.
    Unwanted,
    Failed(io::Error),
}

impl Task {
    fn new(interface: watch::Receiver<Interface>, publish: watch::Sender<Found>) -> Self {
        let (hardware, index) = {
            let interface = interface.borrow();
            (interface.hardware, interface.index)
        };
        Self { interface, publish, link: Link::new(hardware, seed(hardware, index)) }
    }

    async fn run(mut self) {
        loop {
            let error = match self.serve().await {
                End::Unwanted => return,
                End::Failed(error) => error,
            };
            let name = self.interface.borrow().name.clone();
            let fault = sentence(&name, &error);
            debug!("{fault}");
            self.publish.send_if_modified(|found| {
                found.faults.insert(name.clone(), fault.clone()).as_ref() != Some(&fault) && {
                    warn!("{fault}");
                    true
                }
            });
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                changed = self.interface.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Runs the machine over a socket until one of them ends.
    async fn serve(&mut self) -> End {
        let Interface { name, index, .. } = self.interface.borrow().clone();
        let socket = match RouterSocket::open(&name, index) {
            Ok(socket) => socket,
            Err(error) => return End::Failed(error),
        };
        self.publish.send_if_modified(|found| found.faults.remove(&name).is_some());
        let mut buffer = [0; socket::LONGEST];
        loop {
            let Interface { hardware, ready, .. } = self.interface.borrow_and_update().clone();
            self.link.set_hardware(Instant::now(), hardware);
            self.link.handle_input(Instant::now(), if ready { Input::Up } else { Input::Down });
            if let Err(error) = self.perform(&socket, &name) {
                self.link.handle_input(Instant::now(), Input::Down);
                return End::Failed(error);
            }
            let timeout = self.link.poll_timeout();
            tokio::select! {
                received = socket.receive(&mut buffer) => match received {
                    Ok(Some(received)) => {
                        if let Err(refused) = self.link.try_input(Instant::now(), Input::Received(received)) {
                            debug!(interface = &*name, source = %received.source, %refused, "not believed");
                        }
                    }
                    Ok(None) => {}
                    Err(error) => return End::Failed(error),
                },
                () = sleep_until(timeout) => self.link.handle_timeout(Instant::now()),
                changed = self.interface.changed() => if changed.is_err() { return End::Unwanted },
            }
        }
    }

    fn perform(&mut self, socket: &RouterSocket, name: &Arc<str>) -> io::Result<()> {
        while let Some(output) = self.link.poll_output() {
            match output {
                Output::Send { to, message } => socket.send(to, &message)?,
                Output::NeighbourChanged => {
                    let neighbour = self.link.neighbour();
                    if let Some(address) = neighbour {
                        info!(interface = &**name, %address, "found a router");
                    } else {
                        info!(interface = &**name, "the router has been silent for long");
                    }
                    self.publish.send_if_modified(|found| {
                        let before = match neighbour {
                            Some(address) => found.neighbours.insert(name.clone(), address),
                            None => found.neighbours.remove(name),
                        };
                        before != neighbour
                    });
                }
            }
        }
        Ok(())
    }
}

/// What went wrong, and what to do about it.
fn sentence(name: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => format!(
            "router advertisements on {name} need CAP_NET_RAW: run as root, or give the container NET_RAW"
        ),
        _ => format!("router advertisements on {name}: {error}"),
    }
}

/// Interfaces of one machine, and machines with interfaces of one number, advertise at different times.
fn seed(hardware: Option<HardwareAddress>, index: u32) -> u64 {
    hardware.unwrap_or_default().iter().fold(u64::from(index), |seed, octet| seed << 8 | u64::from(*octet))
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
