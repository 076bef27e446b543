//! Quiet connections, which wake nobody for a KEEPALIVE.
//!
//! A thousand idle peers send a message each every few seconds, and waking up costs more than reading it. The kernel is
//! told that a socket is readable only when it has more than a KEEPALIVE; every other message is longer, so all that
//! matters wakes us as before. A KEEPALIVE is read when a timer of its peer is due, at the latest before our own leaves,
//! and the hold timer runs from when it came.

use std::time::Duration;

use bytes::BytesMut;
use muslin_bgp_packet::frame::KEEPALIVE_LENGTH;
use muslin_sockopt as sockopt;

use super::connections::Connection;

/// What came of a connection whose timers are due.
pub(super) enum Heard {
    /// These octets, which woke nobody.
    Octets(BytesMut),
    /// Octets that wait for the driver.
    Waiting,
    /// Nothing for so long.
    Silence(Duration),
    /// Whatever came has been handed in.
    News,
}

impl Connection {
    /// Looks whether something came of which nobody was told.
    pub(super) fn hear(&self) -> Heard {
        let read = if self.naps { self.line.read_quietly(&self.stream).ok() } else { None };
        match read.filter(|octets| !octets.is_empty()) {
            Some(octets) => Heard::Octets(octets),
            None if self.line.has_unread() => Heard::Waiting,
            None if self.naps => sockopt::silent_for(&*self.stream).map_or(Heard::News, Heard::Silence),
            None => Heard::News,
        }
    }

    /// Stops waking anybody for a KEEPALIVE. It has to be between messages: the end of one may be shorter.
    pub(super) fn nap(&mut self) {
        if !self.naps && !self.line.has_unread() {
            self.naps = sockopt::set_low_water_mark(&*self.stream, KEEPALIVE_LENGTH + 1).is_ok();
        }
    }

    /// Wakes us for every octet again, also for those that are there.
    pub(super) fn rouse(&mut self) {
        if self.naps {
            self.naps = sockopt::set_low_water_mark(&*self.stream, 1).is_err();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncWriteExt, Interest};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::timeout;

    use super::*;

    const A_KEEPALIVE: [u8; 19] = [0xff; 19];

    /// A connection that naps, and its peer.
    async fn napping() -> (Connection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, remote) = listener.accept().await.unwrap();
        let mut connection =
            Connection { line: Arc::default(), stream: Arc::new(stream), remote, naps: false };
        connection.nap();
        assert!(connection.naps);
        // The runtime takes a new connection to be readable until it is tried.
        assert!(connection.stream.try_read(&mut [0]).is_err());
        (connection, peer)
    }

    /// Whether the runtime was woken for octets; on the loopback they are there when they have been written.
    async fn is_woken(connection: &Connection) -> bool {
        timeout(Duration::ZERO, connection.stream.ready(Interest::READABLE)).await.is_ok()
    }

    #[tokio::test]
    async fn a_keepalive_wakes_nobody_and_is_there_when_it_is_asked_for() {
        let (connection, mut peer) = napping().await;
        peer.write_all(&A_KEEPALIVE).await.unwrap();
        assert!(!is_woken(&connection).await);
        assert!(matches!(connection.hear(), Heard::Octets(octets) if octets == A_KEEPALIVE[..]));
        connection.line.took_in(A_KEEPALIVE.len());
        assert!(matches!(connection.hear(), Heard::Silence(_)));
    }

    #[tokio::test]
    async fn more_than_a_keepalive_wakes_us_and_so_does_an_end() {
        let (connection, mut peer) = napping().await;
        peer.write_all(&A_KEEPALIVE).await.unwrap();
        peer.write_all(&[0xff]).await.unwrap();
        assert!(is_woken(&connection).await);
        let (connection, peer) = napping().await;
        drop(peer);
        assert!(is_woken(&connection).await);
    }

    #[tokio::test]
    async fn who_is_roused_hears_of_what_was_too_little_before() {
        let (mut connection, mut peer) = napping().await;
        peer.write_all(&[0xff; 4]).await.unwrap();
        assert!(!is_woken(&connection).await);
        connection.rouse();
        assert!(is_woken(&connection).await);
    }

    #[tokio::test]
    async fn later_octets_do_not_overtake_those_that_wait() {
        let (connection, mut peer) = napping().await;
        peer.write_all(&A_KEEPALIVE).await.unwrap();
        assert!(matches!(connection.hear(), Heard::Octets(_)));
        peer.write_all(&A_KEEPALIVE).await.unwrap();
        assert!(matches!(connection.hear(), Heard::Waiting));
    }
}
