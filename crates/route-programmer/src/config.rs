//! How a programmer is set up.

use std::time::Duration;

use crate::wire::constants::RT_TABLE_MAIN;

/// Settings of a [`Programmer`](crate::Programmer), fixed for its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgrammerConfig {
    /// Routing protocol number that marks our routes and next-hop objects. What carries it is ours and
    /// is removed when nobody asks for it, so no other program on the host may use the same one.
    pub protocol: u8,
    /// Routing table.
    pub table: u32,
    /// Metric of routes that do not name their own.
    pub metric: u32,
    /// Whether next hops are written as objects of their own.
    pub next_hop_objects: NextHopObjects,
    /// Makes groups of next hops resilient: when one is lost, only its own flows move.
    pub resilience: Option<Resilience>,
    /// How often everything is read back and compared, events or not.
    pub audit_interval: Duration,
    /// Receive buffer for the kernel's events, in bytes. Events that do not fit cost a full re-read.
    pub event_buffer: usize,
}

impl ProgrammerConfig {
    /// 77: free in the kernel's `rtnetlink.h` and in iproute2's `rt_protos` (BIRD has 12, FRR's BGP 186).
    pub const DEFAULT_PROTOCOL: u8 = 77;
    /// 77 as well: behind what an administrator sets by hand in IPv4 (0), before the kernel's own
    /// connected routes in IPv6 (256), and a metric that nobody else uses.
    pub const DEFAULT_METRIC: u32 = 77;
}

impl Default for ProgrammerConfig {
    fn default() -> Self {
        Self {
            protocol: Self::DEFAULT_PROTOCOL,
            table: RT_TABLE_MAIN,
            metric: Self::DEFAULT_METRIC,
            next_hop_objects: NextHopObjects::WherePossible,
            resilience: None,
            audit_interval: Duration::from_secs(30),
            event_buffer: 16 << 20,
        }
    }
}

/// Use of the kernel's next-hop objects (Linux 5.3 and later).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextHopObjects {
    /// Used; when the kernel has none, next hops are written into each route.
    WherePossible,
    /// Next hops are written into each route.
    Never,
}

/// Resilient groups (Linux 5.13 and later): a table of buckets holds flows on their next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resilience {
    /// Size of the table of each group.
    pub buckets: u16,
    /// A bucket without traffic for this long may move to rebalance.
    pub idle: Duration,
}

impl Default for Resilience {
    fn default() -> Self {
        Self { buckets: 128, idle: Duration::from_mins(2) }
    }
}
