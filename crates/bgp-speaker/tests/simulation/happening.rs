//! What is going to happen in a simulated network, and when.

use std::io::ErrorKind;
use std::net::IpAddr;
use std::time::Instant;

use muslin_bgp_speaker::session::ConnId;

/// Hosts and connections by their numbers; `life` tells a host's starts apart.
#[derive(Clone, Copy)]
pub(crate) enum Happening {
    /// An attempt reaches the other host.
    Attempt {
        from: usize,
        life: u32,
        conn: ConnId,
        to: IpAddr,
    },
    /// The answer to an attempt.
    Opened {
        connection: usize,
        life: u32,
        conn: ConnId,
    },
    Failed {
        host: usize,
        life: u32,
        conn: ConnId,
        error: ErrorKind,
    },
    /// The next of what is under way to that end arrives.
    Arrives {
        connection: usize,
        end: usize,
    },
    /// Octets that this end sent were taken.
    Written {
        connection: usize,
        end: usize,
        octets: usize,
    },
    /// That end learns that the other one knows of no connection.
    Reset {
        connection: usize,
        end: usize,
    },
}

/// Something with its time, in the order of times and then of their making.
pub(crate) struct Event {
    pub(crate) at: Instant,
    pub(crate) sequence: u64,
    pub(crate) what: Happening,
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Event {}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Event {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}
