//! What a record is made of.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use muslin_bgp_packet::{Family, FamilySet};

use super::codec::{Reader, put_address, put_end, put_error, put_number, put_octets, put_option};
use crate::config::PeerKey;
use crate::rib::Resolution;
use crate::session::{ConnId, Stop};
use crate::speaker::{Command, Input, Start};

/// One entry.
#[derive(Debug)]
pub(super) enum Entry {
    /// A speaker is born, or a checkpoint begins.
    Begin(Begin),
    /// [`Speaker::configure`](crate::Speaker::configure), as JSON.
    Configure(Vec<u8>),
    /// [`Speaker::handle_input`](crate::Speaker::handle_input).
    Input(Input),
    /// [`Speaker::handle_timeout`](crate::Speaker::handle_timeout).
    Timeout,
    /// [`Speaker::advance`](crate::Speaker::advance).
    Advance,
    /// [`Speaker::fib_changes`](crate::Speaker::fib_changes) for that many.
    Fib(u64),
    /// [`Speaker::stop`](crate::Speaker::stop).
    Stop(Stop),
    /// What the resolver says from now on.
    Answer(Question, Answer),
    /// What came out since the last of these: how many outputs, and the digest of all so far.
    Outputs { count: u64, digest: u64 },
    /// The digest of the tables at this place.
    Tables(u64),
    /// A checkpoint: this connection exists and belongs to this peer.
    Connection { conn: ConnId, peer: PeerKey, remote: SocketAddr, local: SocketAddr },
    /// A checkpoint ends; the speaker has dialed that often.
    CheckpointEnd { dialed: u64 },
}

/// How a record begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Begin {
    /// Seconds since 1970.
    pub(super) wall: u64,
    /// Version of the program.
    pub(super) version: Arc<str>,
    pub(super) start: Start,
    /// The configuration, as JSON.
    pub(super) config: Vec<u8>,
    /// Whether the speaker was born here or is put together again.
    pub(super) origin: Origin,
}

/// What a record begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A speaker's first breath: everything in the record happens again exactly.
    Birth,
    /// Sessions and routes as they were: the tables come out the same, the octets on the wire do not.
    Checkpoint,
}

/// What a resolver is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Question {
    Resolve(IpAddr, Option<u32>),
    IsLocal(IpAddr),
    AddressesOf(u32),
}

/// What it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Way(Option<Resolution>),
    Local(bool),
    Addresses(Vec<IpAddr>),
}

impl Entry {
    /// Appends the payload; returns the kind.
    pub(super) fn write(&self, out: &mut Vec<u8>) -> u8 {
        match self {
            Self::Begin(begin) => {
                put_number(begin.wall, out);
                put_octets(begin.version.as_bytes(), out);
                out.push(match begin.start {
                    Start::Fresh => 0,
                    Start::Restarted { forwarding_kept } => 4 | bits(forwarding_kept),
                });
                put_octets(&begin.config, out);
                out.push(u8::from(begin.origin == Origin::Checkpoint));
                1
            }
            Self::Configure(config) => {
                put_octets(config, out);
                2
            }
            Self::Input(input) => write_input(input, out),
            Self::Timeout => 11,
            Self::Advance => 12,
            Self::Fib(max) => {
                put_number(*max, out);
                13
            }
            Self::Answer(question, answer) => {
                write_answer(question, answer, out);
                14
            }
            Self::Outputs { count, digest } => {
                put_number(*count, out);
                out.extend_from_slice(&digest.to_be_bytes());
                15
            }
            Self::Stop(stop) => {
                write_stop(stop, out);
                16
            }
            Self::Tables(digest) => {
                out.extend_from_slice(&digest.to_be_bytes());
                17
            }
            Self::Connection { conn, peer, remote, local } => {
                put_number(conn.number(), out);
                put_octets(peer.0.as_bytes(), out);
                put_end(*remote, out);
                put_end(*local, out);
                18
            }
            Self::CheckpointEnd { dialed } => {
                put_number(*dialed, out);
                19
            }
        }
    }

    /// Reads a payload of that kind.
    pub(super) fn read(kind: u8, from: &mut Reader<'_>) -> Option<Self> {
        Some(match kind {
            1 => Self::Begin(Begin {
                wall: from.number()?,
                version: from.text()?,
                start: match from.octet()? {
                    0 => Start::Fresh,
                    octet @ 4..=7 => Start::Restarted { forwarding_kept: families(octet & 3) },
                    _ => return None,
                },
                config: from.counted()?.to_vec(),
                origin: match from.octet()? {
                    0 => Origin::Birth,
                    1 => Origin::Checkpoint,
                    _ => return None,
                },
            }),
            2 => Self::Configure(from.counted()?.to_vec()),
            3..=10 | 20 => Self::Input(read_input(kind, from)?),
            11 => Self::Timeout,
            12 => Self::Advance,
            13 => Self::Fib(from.number()?),
            14 => {
                let (question, answer) = read_answer(from)?;
                Self::Answer(question, answer)
            }
            15 => Self::Outputs { count: from.number()?, digest: digest(from)? },
            16 => Self::Stop(read_stop(from)?),
            17 => Self::Tables(digest(from)?),
            18 => Self::Connection {
                conn: conn(from)?,
                peer: PeerKey(from.text()?),
                remote: from.end()?,
                local: from.end()?,
            },
            19 => Self::CheckpointEnd { dialed: from.number()? },
            _ => return None,
        })
    }
}

fn digest(from: &mut Reader<'_>) -> Option<u64> {
    Some(u64::from_be_bytes(from.octets(8)?.try_into().ok()?))
}

fn conn(from: &mut Reader<'_>) -> Option<ConnId> {
    from.number().map(ConnId::of_number)
}

fn bits(families: FamilySet) -> u8 {
    Family::ALL.iter().zip([1, 2]).filter(|(family, _)| families.contains(**family)).map(|(_, bit)| bit).sum()
}

fn families(bits: u8) -> FamilySet {
    Family::ALL.into_iter().zip([1, 2]).filter(|(_, bit)| bits & bit != 0).map(|(family, _)| family).collect()
}

fn write_input(input: &Input, out: &mut Vec<u8>) -> u8 {
    let (conn, kind) = match input {
        Input::ConnectionOpened { conn, .. } => (conn, 3),
        Input::ConnectFailed { conn, .. } => (conn, 4),
        Input::Received { conn, .. } => (conn, 5),
        Input::Waiting { conn } => (conn, 6),
        Input::Written { conn, .. } => (conn, 7),
        Input::Closed { conn, .. } => (conn, 8),
        Input::Silent { conn, .. } => (conn, 20),
        Input::NextHopsChanged => return 9,
        Input::Command(command) => {
            write_command(command, out);
            return 10;
        }
    };
    put_number(conn.number(), out);
    match input {
        Input::ConnectionOpened { remote, local, .. } => {
            put_end(*remote, out);
            put_end(*local, out);
        }
        Input::ConnectFailed { error, .. } => put_error(*error, out),
        Input::Received { octets, .. } => put_octets(octets, out),
        Input::Written { octets, .. } => put_number(*octets as u64, out),
        Input::Silent { time, .. } => put_number(u64::try_from(time.as_millis()).unwrap_or(u64::MAX), out),
        Input::Closed { error, .. } => put_option(*error, out, put_error),
        Input::Waiting { .. } | Input::NextHopsChanged | Input::Command(_) => {}
    }
    kind
}

fn read_input(kind: u8, from: &mut Reader<'_>) -> Option<Input> {
    Some(match kind {
        3 => Input::ConnectionOpened { conn: conn(from)?, remote: from.end()?, local: from.end()? },
        4 => Input::ConnectFailed { conn: conn(from)?, error: from.error()? },
        5 => Input::Received { conn: conn(from)?, octets: BytesMut::from(from.counted()?) },
        6 => Input::Waiting { conn: conn(from)? },
        7 => Input::Written { conn: conn(from)?, octets: from.narrow()? },
        8 => Input::Closed { conn: conn(from)?, error: from.option(Reader::error)? },
        9 => Input::NextHopsChanged,
        10 => Input::Command(read_command(from)?),
        20 => Input::Silent { conn: conn(from)?, time: Duration::from_millis(from.number()?) },
        _ => return None,
    })
}

fn write_command(command: &Command, out: &mut Vec<u8>) {
    let (kind, peer, text): (u8, _, Option<&Arc<str>>) = match command {
        Command::Reset { peer, text } => (0, peer, Some(text)),
        Command::Refresh { peer } => (1, peer, None),
        Command::Resend { peer } => (2, peer, None),
        Command::Shutdown { peer, text } => (3, peer, Some(text)),
        Command::Start { peer } => (4, peer, None),
    };
    out.push(kind);
    put_octets(peer.0.as_bytes(), out);
    if let Some(text) = text {
        put_octets(text.as_bytes(), out);
    }
}

fn read_command(from: &mut Reader<'_>) -> Option<Command> {
    let kind = from.octet()?;
    let peer = PeerKey(from.text()?);
    Some(match kind {
        0 => Command::Reset { peer, text: from.text()? },
        1 => Command::Refresh { peer },
        2 => Command::Resend { peer },
        3 => Command::Shutdown { peer, text: from.text()? },
        4 => Command::Start { peer },
        _ => return None,
    })
}

fn write_stop(stop: &Stop, out: &mut Vec<u8>) {
    let (kind, text) = match stop {
        Stop::Shutdown(text) => (0, Some(text)),
        Stop::Removed => (1, None),
        Stop::Reset(text) => (2, Some(text)),
        Stop::ConfigurationChanged => (3, None),
        Stop::Restart => (4, None),
        Stop::LinkChanged => (5, None),
        Stop::AddressChanged => (6, None),
    };
    out.push(kind);
    if let Some(text) = text {
        put_octets(text.as_bytes(), out);
    }
}

fn read_stop(from: &mut Reader<'_>) -> Option<Stop> {
    Some(match from.octet()? {
        0 => Stop::Shutdown(from.text()?),
        1 => Stop::Removed,
        2 => Stop::Reset(from.text()?),
        3 => Stop::ConfigurationChanged,
        4 => Stop::Restart,
        5 => Stop::LinkChanged,
        6 => Stop::AddressChanged,
        _ => return None,
    })
}

fn write_answer(question: &Question, answer: &Answer, out: &mut Vec<u8>) {
    match question {
        Question::Resolve(address, interface) => {
            out.push(0);
            put_address(*address, out);
            put_option(*interface, out, |interface, out| put_number(interface.into(), out));
        }
        Question::IsLocal(address) => {
            out.push(1);
            put_address(*address, out);
        }
        Question::AddressesOf(interface) => {
            out.push(2);
            put_number((*interface).into(), out);
        }
    }
    match answer {
        Answer::Way(way) => put_option(*way, out, |way, out| {
            put_address(way.gateway, out);
            put_number(way.interface.into(), out);
            put_number(way.metric.into(), out);
            out.push(way.direct.into());
        }),
        Answer::Local(local) => out.push((*local).into()),
        Answer::Addresses(addresses) => {
            put_number(addresses.len() as u64, out);
            for address in addresses {
                put_address(*address, out);
            }
        }
    }
}

fn read_answer(from: &mut Reader<'_>) -> Option<(Question, Answer)> {
    Some(match from.octet()? {
        0 => {
            let question = Question::Resolve(from.address()?, from.option(Reader::narrow)?);
            let way = from.option(|from| {
                Some(Resolution {
                    gateway: from.address()?,
                    interface: from.narrow()?,
                    metric: from.narrow()?,
                    direct: truth(from)?,
                })
            })?;
            (question, Answer::Way(way))
        }
        1 => (Question::IsLocal(from.address()?), Answer::Local(truth(from)?)),
        2 => {
            let question = Question::AddressesOf(from.narrow()?);
            let count: usize = from.narrow()?;
            // Each takes five octets at least, so a count without them ends early.
            let addresses: Option<Vec<_>> = (0..count).map(|_| from.address()).collect();
            (question, Answer::Addresses(addresses?))
        }
        _ => return None,
    })
}

fn truth(from: &mut Reader<'_>) -> Option<bool> {
    match from.octet()? {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}
