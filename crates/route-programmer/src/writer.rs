//! The one writer: operations out in batches, outcomes back.
//!
//! The kernel works through a batch while it is being sent, and all its answers wait when `sendmsg`
//! returns. It tells each message that it refuses by its sequence number, and acknowledges the last one.

use std::io;

use crate::config::Resilience;
use crate::reconcile::{Operation, Outcome};
use crate::socket::RouteSocket;
use crate::wire::constants::{NLM_F_ACK, NLMSG_ERROR, RTM_NEWNEXTHOP};
use crate::wire::message::{MessageBuffer, messages};
use crate::wire::nexthop::NextHopMessage;
use crate::wire::refusal::parse_error;
use crate::wire::route::Owner;

/// Messages in a batch: past 256 nothing is won (the kernel's routing lock is held for all of them).
pub(crate) const BATCH: usize = 256;
/// Bytes in one system call, well below the default send buffer.
const BATCH_BYTES: usize = 60 << 10;
/// Answers of one batch that is refused message by message, with room to spare.
const ANSWER_BUFFER: usize = 1 << 20;

#[derive(Debug)]
pub(crate) struct Writer {
    socket: RouteSocket,
    owner: Owner,
    resilience: Option<Resilience>,
    buffer: MessageBuffer,
    sequence: u32,
}

impl Writer {
    pub(crate) fn open(owner: Owner, resilience: Option<Resilience>) -> io::Result<Self> {
        let socket = RouteSocket::open()?;
        socket.set_receive_buffer(ANSWER_BUFFER);
        Ok(Self { socket, owner, resilience, buffer: MessageBuffer::default(), sequence: 0 })
    }

    pub(crate) fn port(&self) -> u32 {
        self.socket.port()
    }

    /// Resilient groups are refused by the kernel: plain ones from now on.
    pub(crate) fn set_resilience(&mut self, resilience: Option<Resilience>) {
        self.resilience = resilience;
    }

    /// Has the kernel do all operations, in order; one outcome for each.
    pub(crate) fn execute(&mut self, operations: &[Operation]) -> io::Result<Vec<Outcome>> {
        let mut outcomes = Vec::with_capacity(operations.len());
        while outcomes.len() < operations.len() {
            let sent = self.send_some(&operations[outcomes.len()..])?;
            let start = outcomes.len();
            let mut answers = vec![None; sent];
            if self.receive_answers(&mut answers)? {
                // Acknowledged to the end: what was not refused is done.
                outcomes.extend(answers.into_iter().map(|answer| answer.unwrap_or(Outcome::Done(None))));
            } else {
                tracing::debug!(sent, "answers of a batch were lost; its messages are sent one by one");
                for (offset, answer) in answers.into_iter().enumerate() {
                    let operation = &operations[start + offset];
                    outcomes.push(match answer {
                        Some(answer) => answer,
                        // Made twice it would be there twice. A full read finds it if it was made.
                        None if operation.creates() => Outcome::Done(None),
                        None => self.execute_singly(operation)?,
                    });
                }
            }
        }
        Ok(outcomes)
    }

    fn execute_singly(&mut self, operation: &Operation) -> io::Result<Outcome> {
        self.send_some(std::slice::from_ref(operation))?;
        let mut answer = [None];
        if self.receive_answers(&mut answer)? {
            let [answer] = answer;
            return Ok(answer.unwrap_or(Outcome::Done(None)));
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "the kernel did not answer a netlink request"))
    }

    /// Sends as many operations as fit; the last one is to be acknowledged.
    fn send_some(&mut self, operations: &[Operation]) -> io::Result<usize> {
        self.buffer.clear();
        let mut sent = 0;
        let mut last = 0;
        for operation in operations {
            last = self.buffer.bytes().len();
            self.sequence = self.sequence.wrapping_add(1);
            operation.encode(&mut self.buffer, self.owner, self.resilience, self.sequence);
            sent += 1;
            if self.buffer.bytes().len() >= BATCH_BYTES {
                break;
            }
        }
        self.buffer.add_flags(last, NLM_F_ACK);
        self.socket.send(self.buffer.bytes())?;
        Ok(sent)
    }

    /// Sorts the waiting answers by sequence number; false when the last message has none, which means
    /// that some were lost.
    fn receive_answers(&mut self, answers: &mut [Option<Outcome>]) -> io::Result<bool> {
        let last = self.sequence;
        let first = last.wrapping_sub(answers.len() as u32).wrapping_add(1);
        let mut complete = false;
        loop {
            let datagram = match self.socket.receive() {
                Ok(Some(datagram)) => datagram,
                Ok(None) => return Ok(complete),
                // What did not fit is lost, and what is left can still be read.
                Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NOBUFS.raw_os_error()) => {
                    continue;
                }
                Err(error) => return Err(error),
            };
            for message in messages(datagram) {
                let index = message.sequence.wrapping_sub(first) as usize;
                let Some(answer) = answers.get_mut(index) else { continue };
                match message.kind {
                    NLMSG_ERROR => {
                        complete |= message.sequence == last;
                        if let Err(refusal) = parse_error(&message) {
                            *answer = Some(Outcome::Refused(refusal));
                        }
                    }
                    RTM_NEWNEXTHOP => {
                        let id = NextHopMessage::parse(message.body).map(|object| object.id);
                        *answer = Some(Outcome::Done(id));
                    }
                    _ => {}
                }
            }
        }
    }
}
