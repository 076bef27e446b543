//! What connections, listeners and dials tell the driver.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::net::TcpStream;

use super::connection::CHUNK;
use crate::session::ConnId;

/// What the tasks of a speaker report.
pub(super) enum Incoming {
    /// `device` is that of the listener.
    Accepted {
        stream: TcpStream,
        remote: SocketAddr,
        device: Option<Arc<str>>,
    },
    Dialed {
        conn: ConnId,
        stream: TcpStream,
    },
    DialFailed {
        conn: ConnId,
        error: ErrorKind,
    },
    Received {
        conn: ConnId,
        octets: BytesMut,
    },
    Written {
        conn: ConnId,
        octets: usize,
    },
    Closed {
        conn: ConnId,
        error: Option<ErrorKind>,
    },
    RetryListen,
}

impl Incoming {
    /// Whether there is likely more where it came from.
    pub(super) fn fills_a_chunk(&self) -> bool {
        matches!(self, Self::Received { octets, .. } if octets.len() >= CHUNK)
    }
}
