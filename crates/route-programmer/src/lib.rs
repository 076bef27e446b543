//! Desired routes into the Linux kernel, and the kernel's own view of links, addresses and foreign routes.
//!
//! A caller says which routes there shall be; a [`Programmer`] makes the kernel agree and keeps it so: over
//! next-hop objects that routes share, in batches, with whatever others do to them put right by events and
//! proven by audits. What it must never do is change or remove a route that is not ours, and let one of our
//! own routes be a reason for another: the [`KernelView`], in which next hops are looked up, has none of them.
//!
//! # What is ours
//! Routes and next-hop objects that carry [`ProgrammerConfig::protocol`], and nothing else. On start they are
//! adopted as they are; those that nobody asks for are removed after [`Programmer::mark_synced`]. Another
//! program's route for a prefix of ours is a [`Clash`]: where its key (prefix and metric) is ours too, or
//! where it is the kernel's own route of a link, ours is left out; otherwise both are there and the metric
//! decides.
//!
//! # Inside
//! Three layers. The wire (`wire`) encodes and decodes rtnetlink over plain bytes. The core (`reconcile`)
//! compares desired and actual and gives operations; it has no socket, clock or thread, and is tested against
//! a model of the kernel. The driver (`programmer`) owns three sockets and runs both in one task: no locks,
//! one writer, since the kernel's routing lock makes a second one slower.
//!
//! # Example
//! What a batch of changes looks like; see [`Programmer`] for where it goes.
//! ```
//! use muslin_route_programmer::{DesiredRoute, NextHop, RouteChange};
//!
//! let (eth0, eth1) = (2, 3);
//! let changes = vec![
//!     // ECMP over two uplinks, one of them by an IPv6 next hop (RFC 8950).
//!     RouteChange::install(
//!         "10.244.2.0/24".parse()?,
//!         DesiredRoute::over([
//!             NextHop::via([10, 0, 0, 1], eth0),
//!             NextHop::via("fe80::1".parse::<std::net::Ipv6Addr>()?, eth1),
//!         ]),
//!     ),
//!     // Addresses of our own block that no pod has.
//!     RouteChange::install("10.244.1.0/24".parse()?, DesiredRoute::blackhole()),
//!     RouteChange::withdraw("10.244.3.0/24".parse()?),
//! ];
//! assert_eq!(changes.len(), 3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod config;
mod dump;
mod lookup;
mod mirror;
mod monitor;
mod path;
mod programmer;
mod reconcile;
mod route;
mod socket;
mod status;
mod view;
mod wire;
mod writer;

pub use config::{NextHopObjects, ProgrammerConfig, Resilience};
pub use lookup::{Decision, LookupError, Packet, link_of, look_up};
pub use programmer::{Programmer, StartError, Stopped};
pub use route::{DesiredRoute, NextHop, RouteChange, RouteKind};
pub use status::{
    Adopted, Clash, ClashEffect, Counters, ProgrammerEvent, Refusal, Refused, RouteReport, RouteState, Status,
};
pub use view::{
    Address, DefaultGateway, ForeignHop, ForeignKind, ForeignRoute, KernelView, Link, Resolved, Router,
};
pub use wire::refusal::KernelRefusal;
