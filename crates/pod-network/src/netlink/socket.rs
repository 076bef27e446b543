//! One blocking netlink socket: a batch out, its answers in.

use std::io;
use std::time::Instant;

use netlink_sys::Socket as RawSocket;
use rustix::net::sockopt::{self, Timeout};

use super::message::{Batch, Message, attributes, find};

/// Enough for whatever the kernel puts into one datagram (it dumps in pages of at most 32 KiB).
const RECEIVE: usize = 64 * 1024;
/// A dump that changed under the reader is read again, this often.
const DUMP_ATTEMPTS: usize = 8;
/// The kernel's explanation inside an acknowledgement (`NLMSGERR_ATTR_MSG`).
const EXPLANATION: u16 = 1;

/// Why a conversation with the kernel failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NetlinkError {
    #[error("netlink socket: {0}")]
    Socket(#[from] io::Error),
    #[error("the kernel refused to {purpose}: {source}{}", explanation.as_ref().map(|text| format!(" ({text})")).unwrap_or_default())]
    Refused { purpose: String, source: io::Error, explanation: Option<String> },
    #[error("the kernel's tables changed {DUMP_ATTEMPTS} times while they were read")]
    Restless,
}

impl NetlinkError {
    /// The kernel's error number, if it was the kernel that refused.
    pub(crate) fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { source, .. } => source.raw_os_error(),
            Self::Socket(_) | Self::Restless => None,
        }
    }
}

/// A netlink socket in the network namespace of the thread that opened it.
pub(crate) struct Socket {
    raw: RawSocket,
    buffer: Vec<u8>,
}

impl Socket {
    pub(crate) fn route() -> Result<Self, NetlinkError> {
        Self::open(libc::NETLINK_ROUTE)
    }

    pub(crate) fn netfilter() -> Result<Self, NetlinkError> {
        Self::open(libc::NETLINK_NETFILTER)
    }

    fn open(protocol: libc::c_int) -> Result<Self, NetlinkError> {
        let raw = RawSocket::new(protocol as isize)?;
        // Explanations in words, and errors that do not repeat the request.
        raw.set_ext_ack(true)?;
        raw.set_cap_ack(true)?;
        // Lets the kernel leave out what a dump does not ask for; one too old for it (before 4.20) sends it all.
        let _ = raw.set_netlink_get_strict_chk(true);
        Ok(Self { raw, buffer: Vec::with_capacity(RECEIVE) })
    }

    /// A socket that is only for [waiting](Self::await_news) until something changes: `group` is one of `RTNLGRP_…`.
    pub(crate) fn following(group: u32) -> Result<Self, NetlinkError> {
        let mut socket = Self::route()?;
        // Without an address of its own it is taken for the kernel, which is not told what it has done itself.
        socket.raw.bind_auto()?;
        socket.raw.add_membership(group)?;
        Ok(socket)
    }

    /// Waits for news of the group that is followed; `false` if there are none by the `deadline`.
    pub(crate) fn await_news(&mut self, deadline: Instant) -> Result<bool, NetlinkError> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        sockopt::set_socket_timeout(&self.raw, Timeout::Recv, Some(left)).map_err(io::Error::from)?;
        match self.receive(0) {
            Ok(_) => Ok(true),
            Err(error) => match error.raw_os_error() {
                Some(libc::EAGAIN) => Ok(false),
                // Perhaps: there was more than the kernel kept for us, or a signal.
                Some(libc::ENOBUFS | libc::EINTR) => Ok(true),
                _ => Err(error.into()),
            },
        }
    }

    /// Lets one batch be as large as a firewall of a large cluster is.
    pub(crate) fn allow_large_batches(&self, octets: usize) -> Result<(), NetlinkError> {
        sockopt::set_socket_send_buffer_size_force(&self.raw, octets)
            .or_else(|_| sockopt::set_socket_send_buffer_size(&self.raw, octets))
            .map_err(|errno| NetlinkError::Socket(errno.into()))
    }

    /// Sends the whole `batch` at once and returns the answers other than acknowledgements, or the first refusal.
    /// The kernel works on all requests even if an early one fails, unless the protocol is transactional.
    pub(crate) fn execute(&mut self, batch: Batch) -> Result<Vec<Message>, NetlinkError> {
        let last = batch.len();
        self.execute_until(batch, last)
    }

    /// As [`Self::execute`] for batches that end with a message which the kernel does not acknowledge: `last` is
    /// the sequence number of the last one that it does.
    pub(crate) fn execute_until(
        &mut self,
        mut batch: Batch,
        last: u32,
    ) -> Result<Vec<Message>, NetlinkError> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        batch.acknowledge(last);
        self.raw.send(batch.bytes(), 0)?;
        let mut answers = Vec::new();
        loop {
            for message in self.receive(0)? {
                if i32::from(message.kind) != libc::NLMSG_ERROR {
                    answers.push(message);
                } else if let Some(refusal) = refusal_of(&message, &batch) {
                    self.drain();
                    return Err(refusal);
                } else if message.sequence == last {
                    return Ok(answers);
                }
            }
        }
    }

    /// Throws away what is left of the answers; the kernel had queued all of them before the sending returned.
    fn drain(&mut self) {
        while self.receive(libc::MSG_DONTWAIT).is_ok() {}
    }

    /// Asks for all objects of one kind and returns what `read` makes of them: `kind` is the request's type,
    /// `fixed` its fixed part.
    pub(crate) fn dump<T>(
        &mut self,
        purpose: &str,
        kind: u16,
        fixed: &[u8],
        read: impl Fn(&Message) -> Option<T>,
    ) -> Result<Vec<T>, NetlinkError> {
        for _ in 0..DUMP_ATTEMPTS {
            let mut batch = Batch::default();
            batch.push(purpose, (kind, libc::NLM_F_DUMP as u16), fixed, |_| {});
            self.raw.send(batch.bytes(), 0)?;
            if let Some(objects) = self.receive_dump(&batch, &read)? {
                return Ok(objects);
            }
        }
        Err(NetlinkError::Restless)
    }

    /// `None` if the tables changed meanwhile.
    fn receive_dump<T>(
        &mut self,
        batch: &Batch,
        read: impl Fn(&Message) -> Option<T>,
    ) -> Result<Option<Vec<T>>, NetlinkError> {
        let mut objects = Vec::new();
        let mut consistent = true;
        loop {
            for message in self.receive(0)? {
                consistent &= message.flags & libc::NLM_F_DUMP_INTR as u16 == 0;
                match i32::from(message.kind) {
                    libc::NLMSG_DONE => return Ok(consistent.then_some(objects)),
                    libc::NLMSG_ERROR => {
                        if let Some(refusal) = refusal_of(&message, batch) {
                            return Err(refusal);
                        }
                    }
                    _ => objects.extend(read(&message)),
                }
            }
        }
    }

    fn receive(&mut self, flags: libc::c_int) -> io::Result<Vec<Message>> {
        self.buffer.clear();
        self.raw.recv(&mut self.buffer, flags)?;
        let mut rest = &self.buffer[..];
        Ok(std::iter::from_fn(|| Message::take(&mut rest)).collect())
    }
}

/// The refusal in an `NLMSG_ERROR`, which is an acknowledgement if its number is zero.
fn refusal_of(message: &Message, batch: &Batch) -> Option<NetlinkError> {
    let errno = message.payload.get(..4).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes)?;
    if errno == 0 {
        return None;
    }
    // Behind the number stands the header of the request, then the explanation.
    let explained = attributes(message.payload.get(20..).unwrap_or_default());
    let explanation = find(explained, EXPLANATION)
        .map(|text| String::from_utf8_lossy(text).trim_end_matches('\0').to_owned())
        .filter(|text| !text.is_empty());
    Some(NetlinkError::Refused {
        purpose: batch.purpose(message.sequence),
        source: io::Error::from_raw_os_error(-errno),
        explanation,
    })
}
