//! A scripted BGP peer over a raw socket: it sends what a test tells it and remembers what it was sent.

mod view;

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use ipnet::IpNet;
use muslin_netns::Namespace;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use view::Tables;
pub use view::{Attributes, Route};

use crate::wire::{self, NOTIFICATION, OPEN, Open, UPDATE};

/// How long the speaker may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A received message without its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its type.
    pub kind: u8,
    /// Its body.
    pub body: Vec<u8>,
}

/// One connection of the scripted peer.
#[derive(Debug)]
pub struct Tester {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// A message that was looked at and is still to be received.
    peeked: Option<Message>,
    /// What the speaker has announced to us and not withdrawn.
    tables: Tables,
    /// Width of AS numbers in AS_PATH, in octets.
    as_width: usize,
}

impl Tester {
    /// Connects from an address of one host to the BGP port of another.
    ///
    /// # Errors
    /// When it is refused.
    pub fn connect(from: &Namespace, source: Ipv4Addr, to: Ipv4Addr) -> Result<Self> {
        Self::connect_with(from, source, to, |_| Ok(()))
    }

    /// The same with further options of the socket.
    ///
    /// # Errors
    /// When the speaker refuses it, or the socket its options.
    pub fn connect_with(
        from: &Namespace,
        source: Ipv4Addr,
        to: Ipv4Addr,
        prepare: impl FnOnce(&Socket) -> std::io::Result<()> + Send,
    ) -> Result<Self> {
        let stream = from.run(|| -> std::io::Result<TcpStream> {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
            socket.set_reuse_address(true)?;
            prepare(&socket)?;
            socket.bind(&SocketAddr::from((source, 0)).into())?;
            socket.connect_timeout(&SocketAddr::from((to, 179)).into(), PATIENCE)?;
            Ok(socket.into())
        })??;
        Self::new(stream)
    }

    /// Takes over a connection.
    ///
    /// # Errors
    /// When the socket refuses its options.
    pub fn new(stream: TcpStream) -> Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::new(), peeked: None, tables: Tables::default(), as_width: 4 })
    }

    /// Speaks two-octet AS numbers from now on.
    pub fn use_two_octet_as_numbers(&mut self) {
        self.as_width = 2;
    }

    /// Reads IPv4 prefixes with path identifiers from now on (RFC 7911).
    pub fn use_path_ids(&mut self) {
        self.tables.ids = true;
    }

    /// Sends octets as they are.
    ///
    /// # Errors
    /// When the connection is closed.
    pub fn send(&mut self, octets: &[u8]) -> Result<()> {
        self.stream.write_all(octets).context("sending")
    }

    /// The connection once more, to be written to from another thread.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub fn stream(&self) -> Result<TcpStream> {
        Ok(self.stream.try_clone()?)
    }

    /// Sends octets; a connection that is closed meanwhile is no error.
    pub fn send_if_open(&mut self, octets: &[u8]) {
        let _ = self.stream.write_all(octets);
    }

    /// Closes the connection by a TCP RST, as a peer that crashed.
    ///
    /// # Errors
    /// When the socket refuses its options.
    pub fn abort(self) -> Result<()> {
        Ok(SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))?)
    }

    /// Exchanges OPEN and KEEPALIVE.
    ///
    /// # Errors
    /// When the speaker does anything else.
    pub fn establish(&mut self, open: &Open) -> Result<Message> {
        self.send(&open.message())?;
        let theirs = self.expect(OPEN)?;
        self.expect(wire::KEEPALIVE)?;
        self.send(&wire::keepalive())?;
        Ok(theirs)
    }

    /// The next message.
    ///
    /// # Errors
    /// When none comes in time, the connection ends, or what comes is no BGP message.
    pub fn receive(&mut self) -> Result<Message> {
        self.receive_within(PATIENCE)
    }

    /// The next message, for which time is limited.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub fn receive_within(&mut self, patience: Duration) -> Result<Message> {
        if let Some(message) = self.peeked.take() {
            return Ok(message);
        }
        let deadline = Instant::now() + patience;
        loop {
            if let Some(message) = self.buffered()? {
                if message.kind == UPDATE {
                    self.tables
                        .apply(&message.body, self.as_width)
                        .with_context(|| format!("UPDATE {:02x?}", message.body))?;
                }
                return Ok(message);
            }
            ensure!(self.read(deadline)? != 0, "the speaker closed the connection without a word");
        }
    }

    /// Reads once; zero is the end of the stream.
    fn read(&mut self, deadline: Instant) -> Result<usize> {
        let left = deadline.saturating_duration_since(Instant::now());
        ensure!(!left.is_zero(), "nothing came in time");
        self.stream.set_read_timeout(Some(left))?;
        let mut chunk = [0; 16384];
        match self.stream.read(&mut chunk) {
            Ok(length) => {
                self.buffer.extend(&chunk[..length]);
                Ok(length)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                bail!("nothing came in time")
            }
            // A read with a time limit is not begun again after a signal.
            Err(error) if error.kind() == ErrorKind::Interrupted => self.read(deadline),
            // What the speaker sent before it closed on unread input of ours was delivered; then comes the reset.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(0),
            Err(error) => Err(error).context("receiving"),
        }
    }

    fn buffered(&mut self) -> Result<Option<Message>> {
        let Some((head, _)) = self.buffer.split_at_checked(19) else { return Ok(None) };
        ensure!(head[..16] == [0xff; 16], "the speaker sent a wrong marker: {head:02x?}");
        let length = usize::from(u16::from_be_bytes([head[16], head[17]]));
        let kind = head[18];
        ensure!((19..=4096).contains(&length), "the speaker sent a message of length {length}");
        if self.buffer.len() < length {
            return Ok(None);
        }
        let body = self.buffer[19..length].to_vec();
        self.buffer.drain(..length);
        Ok(Some(Message { kind, body }))
    }

    /// Looks at the next message, which is still the next one to be received.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub fn peek(&mut self) -> Result<&Message> {
        let message = self.receive()?;
        Ok(self.peeked.insert(message))
    }

    /// Receives until a message of this type has come.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub fn await_kind(&mut self, kind: u8) -> Result<Message> {
        loop {
            let message = self.receive()?;
            if message.kind == kind {
                return Ok(message);
            }
        }
    }

    /// The next message, which has to be of this type.
    ///
    /// # Errors
    /// When it is of another.
    pub fn expect(&mut self, kind: u8) -> Result<Message> {
        let message = self.receive()?;
        ensure!(message.kind == kind, "type {kind} expected, found {message:02x?}");
        Ok(message)
    }

    /// Expects a NOTIFICATION, other messages before it notwithstanding, and then the end of the connection.
    /// `data` is compared if given.
    ///
    /// # Errors
    /// When it is another one, or none.
    pub fn expect_notification(&mut self, code: u8, subcode: u8, data: Option<&[u8]>) -> Result<()> {
        self.expect_notification_within(PATIENCE, code, subcode, data)
    }

    /// The same with a limit of time.
    ///
    /// # Errors
    /// When it is another one, or none.
    pub fn expect_notification_within(
        &mut self,
        patience: Duration,
        code: u8,
        subcode: u8,
        data: Option<&[u8]>,
    ) -> Result<()> {
        let deadline = Instant::now() + patience;
        let wanted = format!("NOTIFICATION {code}/{subcode}");
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let message = self.receive_within(left).with_context(|| format!("{wanted} expected"))?;
            if message.kind != NOTIFICATION {
                continue;
            }
            let [found_code, found_subcode, found_data @ ..] = &*message.body else {
                bail!("{wanted} expected, found a short one: {message:02x?}")
            };
            ensure!(
                (*found_code, *found_subcode) == (code, subcode),
                "{wanted} expected, found {found_code}/{found_subcode} {found_data:02x?}"
            );
            if let Some(data) = data {
                ensure!(
                    found_data == data,
                    "{wanted} with data {data:02x?} expected, found {found_data:02x?}"
                );
            }
            return self.expect_end();
        }
    }

    /// Expects the end of the connection and nothing before it but what was on the way.
    ///
    /// # Errors
    /// When the connection stays open.
    pub fn expect_end(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.read(deadline).context("the end of the connection expected")? != 0 {}
        Ok(())
    }

    /// What the speaker has announced to us.
    pub fn table(&self) -> &BTreeMap<IpNet, Route> {
        &self.tables.routes
    }

    /// The paths of a prefix that the speaker has announced to us, by identifier.
    pub fn paths(&self, prefix: &str) -> BTreeMap<u32, Route> {
        let Ok(prefix) = prefix.parse::<IpNet>() else { return BTreeMap::new() };
        let paths = self.tables.paths.range((prefix, 0)..=(prefix, u32::MAX));
        paths.map(|((_, id), route)| (*id, route.clone())).collect()
    }

    /// Reads until the paths of a prefix are as wanted, and returns them.
    ///
    /// # Errors
    /// The paths as they are when they do not become so in time, or when the session ends.
    pub fn await_paths(
        &mut self,
        prefix: &str,
        wanted: impl Fn(&BTreeMap<u32, Route>) -> bool,
    ) -> Result<BTreeMap<u32, Route>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let paths = self.paths(prefix);
            if wanted(&paths) {
                return Ok(paths);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let message =
                self.receive_within(left).with_context(|| format!("{prefix}: waited with {paths:#?}"))?;
            ensure!(message.kind != NOTIFICATION, "{prefix}: the session ended: {message:02x?}");
        }
    }

    /// Reads until the table is as wanted.
    ///
    /// # Errors
    /// The table as it is when it does not become so in time, or when the session ends.
    pub fn await_table(
        &mut self,
        what: &str,
        wanted: impl Fn(&BTreeMap<IpNet, Route>) -> bool,
    ) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !wanted(&self.tables.routes) {
            let left = deadline.saturating_duration_since(Instant::now());
            let message = self
                .receive_within(left)
                .with_context(|| format!("{what}: waited with {:?}", self.tables.routes))?;
            ensure!(message.kind != NOTIFICATION, "{what}: the session ended: {message:02x?}");
        }
        Ok(())
    }

    /// Reads until a prefix is announced, and returns its route.
    ///
    /// # Errors
    /// As [`await_table`](Self::await_table).
    pub fn await_route(&mut self, prefix: &str) -> Result<Route> {
        let prefix: IpNet = prefix.parse()?;
        self.await_table(&format!("{prefix} announced"), |table| table.contains_key(&prefix))?;
        self.tables.routes.get(&prefix).cloned().context("just seen")
    }

    /// Reads until a prefix is not announced.
    ///
    /// # Errors
    /// As [`await_table`](Self::await_table).
    pub fn await_withdrawal(&mut self, prefix: &str) -> Result<()> {
        let prefix: IpNet = prefix.parse()?;
        self.await_table(&format!("{prefix} withdrawn"), |table| !table.contains_key(&prefix))
    }

    /// Whether a prefix is announced to us as far as was read.
    pub fn has(&self, prefix: &str) -> bool {
        prefix.parse().is_ok_and(|prefix: IpNet| self.tables.routes.contains_key(&prefix))
    }
}
