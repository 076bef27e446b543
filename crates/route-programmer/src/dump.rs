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
}

impl Reader {
    pub(crate) fn open() -> io::Result<Self> {
        let socket = RouteSocket::open()?;
        socket.check_strictly();
        Ok(Self { socket, sequence: 0 })
    }

    /// Reads everything of one kind.
    pub(crate) async fn dump(&mut self, dump: Dump, mut take: impl FnMut(&Message<'_>)) -> io::Result<End> {
        // What an earlier dump that failed has left behind.
        while self.socket.receive()?.is_some() {}
        self.sequence = self.sequence.wrapping_add(1);
        let mut request = MessageBuffer::default();
        encode_dump(&mut request, dump, self.sequence);
        self.socket.send(request.bytes())?;
        let mut end = End::Complete;
        let mut datagrams = 0;
        loop {
            // The kernel writes the next part of a dump while the one before is being received, so there
            // is nothing to wait for.
            let Some(datagram) = self.socket.receive()? else {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a netlink dump stopped midway"));
            };
            for message in messages(datagram).filter(|message| message.sequence == self.sequence) {
                if message.flags & NLM_F_DUMP_INTR != 0 {
                    end = End::Interrupted;
                }
                match message.kind {
                    NLMSG_DONE => {
                        let errno = u32_at(message.body, 0).unwrap_or_default().cast_signed();
                        return match errno {
                            0.. => Ok(end),
                            _ => refused(errno.saturating_neg()),
                        };
                    }
                    NLMSG_ERROR => {
                        return match parse_error(&message) {
                            Ok(()) => Ok(end),
                            Err(refusal) => refused(refusal.errno),
                        };
                    }
                    _ => take(&message),
                }
            }
            datagrams += 1;
            if datagrams % STRETCH == 0 {
                tokio::task::yield_now().await;
            }
        }
    }
}

fn refused(errno: i32) -> io::Result<End> {
    if errno == Errno::OPNOTSUPP.raw_os_error() {
        return Ok(End::Unsupported);
    }
    Err(io::Error::from_raw_os_error(errno))
}
