//! Listening sockets: one per address and VRF, with the keys of everyone who may come to it.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::incoming::Incoming;
use crate::config::Secret;
use crate::speaker::ListenPlan;

/// Connections that the kernel keeps for us: a whole fabric may come at once after a restart.
const BACKLOG: i32 = 4096;

/// Pause before an address is tried again, or after the system ran out of descriptors.
const PAUSE: Duration = Duration::from_millis(500);

const LARGEST_TTL: u32 = 255;

/// The listening sockets in force.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    plan: ListenPlan,
    open: Vec<Open>,
    /// Places whose failure was told.
    told: HashSet<Place>,
    /// Peers whose TCP-AO key the kernel does not take: nobody comes in from there without it.
    unsigned: HashSet<IpNet>,
}

/// An address, and the VRF or interface that is listened on, if not all.
type Place = (SocketAddr, Option<Arc<str>>);

#[derive(Debug)]
struct Open {
    place: Place,
    listener: Arc<TcpListener>,
    task: AbortHandle,
}

/// An address that could not be listened on, told once; [`Listeners::open_missing`] tries it again.
pub(super) struct Refused {
    pub(super) address: SocketAddr,
    pub(super) error: std::io::Error,
}

impl Listeners {
    /// Brings the sockets in line with the plan; sockets that stay are not touched but for their keys.
    pub(super) fn apply(&mut self, plan: ListenPlan, incoming: &mpsc::Sender<Incoming>) -> Vec<Refused> {
        let places = places(&plan);
        // A TCP-AO key is taken back with its socket, and sockets that share a port say so from the beginning.
        let stay = plan.ao_keys == self.plan.ao_keys && sharing(&plan) == sharing(&self.plan);
        self.open.retain(|open| {
            let wanted = stay && places.contains(&open.place);
            if !wanted {
                open.task.abort();
            }
            wanted
        });
        for open in &self.open {
            if plan.min_ttl != self.plan.min_ttl {
                set_min_ttl(&open.listener, open.place.0, plan.min_ttl);
            }
            // A key that changes is replaced in its place: there is no moment without one.
            let gone = |from: &IpNet| !plan.keys.iter().any(|(kept, _)| kept == from);
            for (from, _) in self.plan.keys.iter().filter(|(from, _)| gone(from)) {
                set_key(&open.listener, open.place.0, *from, None);
            }
            for (from, key) in removed(&plan.keys, &self.plan.keys) {
                set_key(&open.listener, open.place.0, *from, Some(key));
            }
        }
        self.unsigned.retain(|from| plan.ao_keys.iter().any(|(kept, _)| kept == from));
        self.plan = plan;
        self.open_missing(incoming)
    }

    /// Opens what is wanted and not open; what cannot be opened is returned and tried again after a pause.
    pub(super) fn open_missing(&mut self, incoming: &mpsc::Sender<Incoming>) -> Vec<Refused> {
        let (mut refused, mut missing) = (Vec::new(), false);
        for place in places(&self.plan) {
            let (address, device) = place.clone();
            if self.open.iter().any(|open| open.place == place) {
                continue;
            }
            match listen(address, device.as_deref(), sharing(&self.plan)) {
                Ok(listener) => {
                    let listener = Arc::new(listener);
                    set_min_ttl(&listener, address, self.plan.min_ttl);
                    for (from, key) in &self.plan.keys {
                        set_key(&listener, address, *from, Some(key));
                    }
                    self.set_ao_keys(&listener, address);
                    let task = accept_all(listener.clone(), device, incoming.clone());
                    let task = tokio::spawn(task).abort_handle();
                    self.told.remove(&place);
                    self.open.push(Open { place, listener, task });
                }
                Err(error) => {
                    missing = true;
                    if self.told.insert(place) {
                        refused.push(Refused { address, error });
                    }
                }
            }
        }
        if missing {
            let incoming = incoming.clone();
            tokio::spawn(async move {
                tokio::time::sleep(PAUSE).await;
                // Without a driver nobody wants to listen.
                let _gone = incoming.send(Incoming::RetryListen).await;
            });
        }
        refused
    }

    /// Whether connections from there would have to be signed and cannot be.
    pub(super) fn cannot_sign(&self, remote: IpAddr) -> bool {
        let remote = remote.to_canonical();
        self.unsigned.iter().any(|from| from.contains(&remote))
    }

    fn set_ao_keys(&mut self, listener: &TcpListener, address: SocketAddr) {
        for (from, key) in &self.plan.ao_keys {
            if address.is_ipv4() != from.addr().is_ipv4() {
                continue;
            }
            match super::socket::set_ao(listener, *from, key) {
                Ok(()) => {
                    self.unsigned.remove(from);
                }
                Err(error) if self.unsigned.insert(*from) => {
                    tracing::warn!(%address, %from, %error, "cannot set a TCP-AO key: these peers are kept out");
                }
                Err(_) => {}
            }
        }
    }
}

/// Every address on all interfaces, and on each VRF or interface by itself.
fn places(plan: &ListenPlan) -> Vec<Place> {
    let devices = || std::iter::once(None).chain(plan.devices.iter().cloned().map(Some));
    plan.addresses.iter().flat_map(|address| devices().map(|device| (*address, device))).collect()
}

/// Entries of `before` that `after` does not have.
fn removed<'a>(
    before: &'a [(IpNet, Secret)],
    after: &'a [(IpNet, Secret)],
) -> impl Iterator<Item = &'a (IpNet, Secret)> {
    before.iter().filter(move |entry| !after.contains(entry))
}

/// Whether one address has a listener for all interfaces and further ones for some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sharing {
    Alone,
    Shared,
}

fn sharing(plan: &ListenPlan) -> Sharing {
    if plan.devices.is_empty() { Sharing::Alone } else { Sharing::Shared }
}

fn listen(address: SocketAddr, device: Option<&str>, sharing: Sharing) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if sharing == Sharing::Shared {
        // The kernel gives a connection to the listener that is bound to its interface, if there is one.
        socket.set_reuse_port(true)?;
    }
    // What the listener answers by itself must reach peers that drop small TTLs (RFC 5082 §3); an accepted
    // connection gets its own.
    if address.is_ipv6() {
        // Each family has an address of its own in the plan.
        socket.set_only_v6(true)?;
        socket.set_unicast_hops_v6(LARGEST_TTL)?;
    } else {
        socket.set_ttl_v4(LARGEST_TTL)?;
    }
    socket.bind_device(device.map(str::as_bytes))?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn set_min_ttl(listener: &TcpListener, address: SocketAddr, min_ttl: Option<u8>) {
    if let Err(error) = muslin_sockopt::set_minimum_ttl(listener, min_ttl.unwrap_or(0)) {
        tracing::warn!(%address, %error, "cannot set the least TTL of a listener");
    }
}

fn set_key(listener: &TcpListener, address: SocketAddr, from: IpNet, key: Option<&Secret>) {
    if address.is_ipv4() != from.addr().is_ipv4() {
        return;
    }
    if let Err(error) = super::socket::set_md5(listener, from, key) {
        // Removing a key that a vanished peer had may find nothing; a key that cannot be set keeps that
        // peer out, and its status tells of the silence.
        tracing::warn!(%address, %from, %error, "cannot change a TCP-MD5 key");
    }
}

async fn accept_all(listener: Arc<TcpListener>, device: Option<Arc<str>>, incoming: mpsc::Sender<Incoming>) {
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => {
                let accepted = Incoming::Accepted { stream, remote, device: device.clone() };
                if incoming.send(accepted).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                // Out of descriptors, or a connection that was reset before we took it.
                tracing::debug!(%error, "cannot accept a connection");
                tokio::time::sleep(PAUSE / 10).await;
            }
        }
    }
}
