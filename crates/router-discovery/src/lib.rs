//! Finds the router at the other end of a link by its IPv6 router advertisements, and lets itself be found: so
//! two BGP speakers that share a cable need no addresses (unnumbered sessions).
//!
//! Three layers: [`wire`] reads and writes the two messages of RFC 4861 §4.1 and §4.2, [`Link`] is the machine of
//! one interface without I/O, [`Discovery`] runs machines over raw ICMPv6 sockets under tokio.
//!
//! What we send is never an offer to route: the router lifetime is zero, so that no host takes us as its default
//! router. What we hear means "a speaker may be here", and nothing about prefixes or default routes, which are the
//! kernel's affair.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use muslin_router_discovery::wire::{Advertisement, Message};
//! use muslin_router_discovery::{Input, Link, Output, Received};
//!
//! let now = Instant::now();
//! let mut link = Link::new(None, 1);
//! link.handle_input(now, Input::Up);
//! // We make ourselves known, and ask who is there.
//! assert!(matches!(link.poll_output(), Some(Output::Send { .. })));
//!
//! let mut octets = Vec::new();
//! Message::Advertisement(Advertisement::default()).encode(&mut octets);
//! let source = "fe80::1".parse()?;
//! link.handle_input(now, Input::Received(Received { source, hop_limit: 255, octets: &octets }));
//! assert_eq!(link.neighbour(), Some(source));
//! # Ok::<(), std::net::AddrParseError>(())
//! ```

mod link;
mod net;
pub mod wire;

pub use link::{Input, Link, Output, Received, Refused};
pub use net::{Discovery, Found, Interface};
