//! Full reads of the kernel's state.

use std::io;

use rustix::io::Errno;

use crate::socket::RouteSocket;
use crate::wire::constants::{NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR};
use crate::wire::message::{Message, MessageBuffer, messages, u32_at};
use crate::wire::refusal::parse_error;
use crate::wire::request::{Dump, encode_dump};

/// Datagrams (32 KiB each) between chances for other tasks.
const STRETCH: usize = 16;

/// How a dump ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Complete,
    /// The state changed meanwhile (`NLM_F_DUMP_INTR`): something may be missing or told twice.
    Interrupted,
    /// The kernel has no such thing.
    Unsupported,
}

/// The socket for dumps; apart from the others, so that answers never mix.
#[derive(Debug)]
pub(crate) struct Reader {
    socket: RouteSocket,
    sequence: u32,
    /// The state has changed since the dump under way began.
    interrupted: bool,
}

impl Reader {
    pub(crate) fn open() -> io::Result<Self> {
        let socket = RouteSocket::open()?;
        socket.check_strictly();
        Ok(Self { socket, sequence: 0, interrupted: false })
    }

    /// Reads everything of one kind.
    pub(crate) async fn dump(&mut self, dump: Dump, mut take: impl FnMut(&Message<'_>)) -> io::Result<End> {
        self.begin(dump)?;
        loop {
            if let Some(end) = self.go_on(STRETCH, &mut take)? {
                return Ok(end);
            }
            tokio::task::yield_now().await;
        }
    }

    /// Begins to read everything of one kind.
    pub(crate) fn begin(&mut self, dump: Dump) -> io::Result<()> {
        // What an earlier dump that failed has left behind.
        while self.socket.receive()?.is_some() {}
        self.sequence = self.sequence.wrapping_add(1);
        self.interrupted = false;
        let mut request = MessageBuffer::default();
        encode_dump(&mut request, dump, self.sequence);
        self.socket.send(request.bytes())
    }

    /// Reads so many datagrams more of what was begun; says how it ended if it did.
    pub(crate) fn go_on(
        &mut self,
        datagrams: usize,
        mut take: impl FnMut(&Message<'_>),
    ) -> io::Result<Option<End>> {
        for _ in 0..datagrams {
            // The kernel writes the next part of a dump while the one before is being received, so there
            // is nothing to wait for.
            let Some(datagram) = self.socket.receive()? else {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a netlink dump stopped midway"));
            };
            for message in messages(datagram).filter(|message| message.sequence == self.sequence) {
                self.interrupted |= message.flags & NLM_F_DUMP_INTR != 0;
                let errno = match message.kind {
                    NLMSG_DONE => {
                        let errno = u32_at(message.body, 0).unwrap_or_default().cast_signed();
                        errno.min(0).saturating_neg()
                    }
                    NLMSG_ERROR => parse_error(&message).err().map_or(0, |refusal| refusal.errno),
                    _ => {
                        take(&message);
                        continue;
                    }
                };
                return ended(errno, self.interrupted).map(Some);
            }
        }
        Ok(None)
    }
}

fn ended(errno: i32, interrupted: bool) -> io::Result<End> {
    match errno {
        0 if interrupted => Ok(End::Interrupted),
        0 => Ok(End::Complete),
        _ if errno == Errno::OPNOTSUPP.raw_os_error() => Ok(End::Unsupported),
        _ => Err(io::Error::from_raw_os_error(errno)),
    }
}
