//! What goes into a speaker and what comes out of it.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use ipnet::IpNet;

use super::{Command, Speaker, SpeakerEvent};
use crate::config::{PeerKey, Secret, TcpAo};
use crate::rib::PeerIndex;
use crate::session::{ConnId, Message, Origin};

/// Something that happened outside.
#[derive(Debug)]
pub enum Input {
    /// A connection is open: accepted, or the answer to [`Output::Connect`].
    ConnectionOpened {
        /// Its name: [`ConnId::accepted`], or that of the [`Output::Connect`].
        conn: ConnId,
        /// The peer's end.
        remote: SocketAddr,
        /// Our end.
        local: SocketAddr,
    },
    /// The attempt of [`Output::Connect`] failed.
    ConnectFailed {
        /// Its name.
        conn: ConnId,
        /// What the system said.
        error: ErrorKind,
    },
    /// Octets came, in order. A chunk is one slice of work: 64 KiB at most.
    Received {
        /// On which connection.
        conn: ConnId,
        /// The octets.
        octets: BytesMut,
    },
    /// Octets came and wait to be handed in: the peer is not silent, we are slow.
    Waiting {
        /// On which connection.
        conn: ConnId,
    },
    /// Nothing waits to be handed in. Octets may be handed in later than they came, and the hold timer gains nothing by
    /// it.
    Silent {
        /// On which connection.
        conn: ConnId,
        /// Since the last octets came.
        time: Duration,
    },
    /// Octets of [`Output::Send`] have left; there is room for more.
    Written {
        /// On which connection.
        conn: ConnId,
        /// How many, since the last report.
        octets: usize,
    },
    /// The connection ended by itself; after [`Output::Close`] nothing is reported.
    Closed {
        /// Which.
        conn: ConnId,
        /// What the system said; `None` when the peer closed in order.
        error: Option<ErrorKind>,
    },
    /// The resolver's answers may have changed.
    NextHopsChanged,
    /// An operator wants something.
    Command(Command),
}

/// Something to be done outside, in this order.
#[derive(Debug)]
pub enum Output {
    /// Listen exactly so, from now on. Connections that are open stay.
    Listen(ListenPlan),
    /// Open a connection and report it, or its failure, by this name.
    Connect {
        /// Name of the connection.
        conn: ConnId,
        /// For logs.
        peer: PeerKey,
        /// Where to.
        remote: SocketAddr,
        /// How.
        options: SocketOptions,
    },
    /// Set the options of an open connection.
    Tune {
        /// Which.
        conn: ConnId,
        /// What.
        options: SocketOptions,
    },
    /// Write this after everything before it; report [`Input::Written`].
    Send {
        /// Where.
        conn: ConnId,
        /// What; many connections may share it.
        octets: Bytes,
    },
    /// Write what was sent before, then close; or give up the attempt to connect.
    Close {
        /// Which.
        conn: ConnId,
    },
    /// Something happened that people or programs may want to know.
    Event(SpeakerEvent),
}

/// Where to listen, and with which keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListenPlan {
    /// Addresses, all of them.
    pub addresses: Vec<SocketAddr>,
    /// VRFs and interfaces, each with listeners of its own on all addresses.
    pub devices: Vec<Arc<str>>,
    /// TCP-AO keys by the addresses of those who must use them.
    pub ao_keys: Vec<(IpNet, TcpAo)>,
    /// TCP-MD5 keys by the addresses of those who must use them.
    pub keys: Vec<(IpNet, Secret)>,
    /// Least TTL that anybody may come with (RFC 5082); `None` when some peers may be further away.
    pub min_ttl: Option<u8>,
}

/// Options of one connection's socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SocketOptions {
    /// The address that we connect from; `None` leaves it to the kernel.
    pub local_address: Option<IpAddr>,
    /// The interface that the connection is bound to; a link-local peer needs one.
    pub interface: Option<Arc<str>>,
    /// TTL or hop limit that we send with.
    pub ttl: u8,
    /// Least TTL that is accepted (RFC 5082); `None` accepts any.
    pub min_ttl: Option<u8>,
    /// How long sent octets may stay without an acknowledgement.
    pub user_timeout: Duration,
    /// TCP-MD5 key.
    pub password: Option<Secret>,
    /// TCP-AO key.
    pub tcp_ao: Option<TcpAo>,
}

impl Speaker {
    /// Takes in what happened.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        match input {
            Input::ConnectionOpened { conn, remote, local } => {
                self.connection_opened(now, conn, remote, local);
            }
            Input::ConnectFailed { conn, error } => self.connect_failed(now, conn, error),
            Input::Received { conn, octets } => self.take_in(now, conn, octets),
            Input::Waiting { conn } => {
                if let Some((_, peer)) = self.peer_of(conn) {
                    peer.session.octets_wait(now, conn);
                }
            }
            Input::Silent { conn, time } => {
                if let Some((index, peer)) = self.peer_of(conn) {
                    peer.session.silent(now, conn, time);
                    self.settle(now, index);
                }
            }
            Input::Written { conn, octets } => self.written(now, conn, octets),
            Input::Closed { conn, error } => self.connection_closed(now, conn, error),
            Input::NextHopsChanged => self.next_hops_changed(now),
            Input::Command(command) => self.command(now, command),
        }
    }

    /// Whether a connection from there would be looked at. Others are closed without a word and without
    /// an allocation, so that strangers cost nothing.
    pub fn admits(&self, remote: SocketAddr) -> bool {
        !self.stopping
            && (self.peers.find_by_address(remote, self.rib.resolver()).is_some()
                || self.peers.range_with_room(remote.ip()).is_some())
    }

    /// Whether a connection from there may have come through the listener of this VRF or interface, `None` for
    /// those of all.
    pub fn admits_through(&self, remote: SocketAddr, device: Option<&str>) -> bool {
        let known = self.peers.find_by_address(remote, self.rib.resolver());
        let known = known.and_then(|index| self.peers.get(index));
        let wanted = match known {
            Some(peer) => peer.config.device.as_deref(),
            None => self.peers.range_with_room(remote.ip()).and_then(|range| range.session.device.as_deref()),
        };
        wanted.is_none() || wanted == device
    }

    fn connection_opened(&mut self, now: Instant, conn: ConnId, remote: SocketAddr, local: SocketAddr) {
        let index = match conn.origin() {
            Origin::Dialed => self.peers.index_of_connection(conn),
            Origin::Accepted => self.accepting_peer(now, remote),
        };
        let Some((index, peer)) = index.and_then(|index| Some((index, self.peers.get_mut(index)?))) else {
            // A stranger, or an attempt that was given up meanwhile.
            self.outputs.push_back(Output::Close { conn });
            return;
        };
        match conn.origin() {
            Origin::Dialed => peer.dialing = None,
            Origin::Accepted => {
                let options = peer.socket_options();
                self.outputs.push_back(Output::Tune { conn, options });
            }
        }
        peer.session.connected(now, conn, local, remote);
        self.peers.attach(conn, index);
        self.settle(now, index);
    }

    /// The peer that an accepted connection belongs to, made on the spot within a range.
    fn accepting_peer(&mut self, now: Instant, remote: SocketAddr) -> Option<PeerIndex> {
        if self.stopping {
            return None;
        }
        let known = self.peers.find_by_address(remote, self.rib.resolver());
        known.or_else(|| self.add_range_peer(now, remote))
    }

    fn connect_failed(&mut self, now: Instant, conn: ConnId, error: ErrorKind) {
        if let Some((index, peer)) = self.peer_of(conn)
            && peer.dialing == Some(conn)
        {
            peer.dialing = None;
            peer.session.connect_failed(now, error);
            self.peers.detach(conn);
            self.settle(now, index);
        }
    }

    fn connection_closed(&mut self, now: Instant, conn: ConnId, error: Option<ErrorKind>) {
        if let Some((index, peer)) = self.peer_of(conn) {
            peer.session.closed(now, conn, error);
            self.peers.detach(conn);
            self.settle(now, index);
        }
    }

    fn take_in(&mut self, now: Instant, conn: ConnId, octets: BytesMut) {
        let Some((index, peer)) = self.peer_of(conn) else { return };
        peer.octets_received += octets.len() as u64;
        peer.session.received(conn, octets);
        while let Some(message) =
            self.peers.get_mut(index).and_then(|peer| peer.session.next_message(now, conn))
        {
            // The KEEPALIVE that establishes a session and the first UPDATE may share a chunk: the RIB must
            // know of the peer before its routes.
            self.drain_session(now, index);
            match message {
                Message::Update(body) => self.update(now, index, conn, &body),
                Message::Refresh(refresh) => self.refresh(index, refresh),
            }
        }
        self.settle(now, index);
    }
}
