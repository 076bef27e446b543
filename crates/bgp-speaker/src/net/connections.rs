//! The open connections of a speaker, and who of them got octets that have to be written.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use tokio::net::TcpStream;

use super::connection::{Flush, Line};
use crate::session::ConnId;

/// An open connection: what is to be written, and its socket for options that change.
pub(super) struct Connection {
    pub(super) line: Arc<Line>,
    pub(super) stream: Arc<TcpStream>,
    pub(super) remote: SocketAddr,
    /// Whether it wakes nobody for a KEEPALIVE.
    pub(super) naps: bool,
}

/// All of them.
#[derive(Default)]
pub(super) struct Connections {
    open: HashMap<ConnId, Connection, RandomState>,
    /// Who got octets since the last write.
    unwritten: Vec<ConnId>,
    /// Whether something was left to pumps since they last ran.
    pumping: bool,
}

impl Connections {
    pub(super) fn insert(&mut self, conn: ConnId, connection: Connection) {
        self.open.insert(conn, connection);
    }

    pub(super) fn get(&self, conn: ConnId) -> Option<&Connection> {
        self.open.get(&conn)
    }

    pub(super) fn get_mut(&mut self, conn: ConnId) -> Option<&mut Connection> {
        self.open.get_mut(&conn)
    }

    /// Closes a connection after what it still has to send; says whether it was open.
    pub(super) fn close(&mut self, conn: ConnId) -> bool {
        let connection = self.open.remove(&conn);
        if let Some(connection) = &connection {
            connection.line.close();
        }
        connection.is_some()
    }

    /// Appends octets, which leave with the next [`write`](Self::write).
    pub(super) fn push(&mut self, conn: ConnId, octets: Bytes) {
        if let Some(connection) = self.open.get(&conn) {
            connection.line.push(octets);
            // What one connection gets comes in one go, and leaves with one write.
            if self.unwritten.last() != Some(&conn) {
                self.unwritten.push(conn);
            }
        }
    }

    /// Writes what connections got; `report` is told of those from which octets have left that are worth a report.
    pub(super) fn write(&mut self, mut report: impl FnMut(ConnId, usize)) {
        for conn in self.unwritten.drain(..) {
            let Some(Connection { line, stream, .. }) = self.open.get(&conn) else { continue };
            self.pumping |= line.flush(stream) == Flush::Pumping;
            if let Some(octets) = line.reportable() {
                report(conn, octets);
            }
        }
    }

    /// Whether something was left to pumps since this was asked.
    pub(super) fn take_pumping(&mut self) -> bool {
        std::mem::take(&mut self.pumping)
    }
}
