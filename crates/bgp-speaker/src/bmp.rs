//! The BGP Monitoring Protocol (RFC 7854, RFC 9069): collectors see sessions, received routes before and after
//! policy, and the Loc-RIB.
//!
//! ```text
//!   Speaker ◀─ pull ─ Exporter ──octets──▶ net::bmp ──TCP──▶ collector
//! ```
//!
//! [`Exporter`] is sans-I/O: it reads a [`Speaker`](crate::Speaker) whenever the connection has room, first the
//! whole table, then what changes, each route in its newest state. A collector that falls too far behind is
//! [told so](crate::rib::Lagged) and gets a fresh dump on a new connection; the speaker never waits for it.

mod exporter;
mod wire;

pub use self::exporter::{Exporter, Progress};
