//! The speaker under tokio: sockets, clock and channels around the sans-I/O [`Speaker`](crate::Speaker).
//!
//! Everything runs on one thread of its own with a current-thread runtime:
//!
//! ```text
//!   SpeakerHandle ──requests (16)──▶ ┌────────┐ ──events (broadcast, 1024)──▶ subscribers
//!                                    │ driver │ ──fib (1 batch)─────────────▶ FibStream
//!   accept tasks, dial tasks ──┐     │        │
//!   connection tasks: reads  ──┴64──▶│ Speaker│──▶ outbox per connection ──▶ writev
//!                                    └────────┘                             └─▶ what a full socket leaves: connection task
//! ```
//!
//! What happens when something is full: *requests*: the caller waits. *Incoming* (64 chunks of up to
//! 64 KiB): a connection stops reading, and TCP slows the peer down. *Outbox*: never more than the window
//! of the speaker ([`WINDOW`](crate::speaker)) and a few control messages; routes stay in the RIB until there
//! is room. *fib*: changes wait in the RIB, coalesced by destination. *events*: a slow subscriber loses the
//! oldest and is told how many.
//!
//! No timer stands between a received route and the sent one.

mod bmp;
mod connection;
mod connections;
mod dial;
mod driver;
mod handle;
mod incoming;
mod latency;
mod listener;
mod log;
mod nap;
mod recorder;
mod socket;
#[cfg(test)]
mod tests;

pub use muslin_sockopt::has_tcp_ao;

pub use self::bmp::{CollectorState, CollectorStatus};
pub use self::handle::{
    ConfigureError, FibStream, FibUpdate, Shutdown, SpawnError, SpeakerGone, SpeakerHandle, spawn,
    spawn_recorded, spawn_started,
};
pub use self::latency::{FibCause, Histogram, HistogramReading, Latencies};
pub use self::recorder::RecordConfig;
