//! BMP collectors (RFC 7854).

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Cause;

/// A collector that is told of sessions and routes. We connect to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BmpCollector {
    /// Where it listens.
    pub address: SocketAddr,
    /// Which tables it is told.
    pub tables: BmpTables,
    /// How often it is told numbers; `None` is never.
    pub statistics: Option<Duration>,
    /// The object and field that asked for it.
    pub cause: Cause,
}

/// Tables that a collector is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BmpTables {
    /// Adj-RIB-In before policy.
    pub before_policy: bool,
    /// Adj-RIB-In after policy.
    pub after_policy: bool,
    /// Loc-RIB (RFC 9069).
    pub loc_rib: bool,
}

impl BmpTables {
    /// All of them.
    pub const ALL: Self = Self { before_policy: true, after_policy: true, loc_rib: true };
}

impl BmpCollector {
    /// A collector that is told everything, and numbers every minute.
    pub fn new(address: SocketAddr) -> Self {
        let statistics = Some(Duration::from_mins(1));
        Self { address, tables: BmpTables::ALL, statistics, cause: "configuration".into() }
    }
}
