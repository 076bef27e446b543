//! A BGP speaker to embed: sans-I/O sessions and RIBs, export by peer group, and a tokio shell.
//!
//! The crate knows nothing of Kubernetes and nothing of netlink. A program hands it a
//! [`SpeakerConfig`](config::SpeakerConfig), a [`NextHopResolver`](rib::NextHopResolver) that says where
//! addresses lead, and takes the kernel's routes out of it.
//!
//! [`Speaker`] is the whole protocol as a value: no socket, no clock, no thread. [`net`] runs one under tokio;
//! `examples/embed.rs` is a whole program. Without any I/O it looks like this:
//!
//! ```
//! use std::net::{IpAddr, Ipv4Addr};
//! use std::time::Instant;
//!
//! use muslin_bgp_packet::Asn;
//! use muslin_bgp_speaker::Speaker;
//! use muslin_bgp_speaker::config::{PeerConfig, RemoteAs, SessionConfig, SpeakerConfig};
//! use muslin_bgp_speaker::rib::{NextHopResolver, Resolution};
//! use muslin_bgp_speaker::speaker::Output;
//!
//! struct NothingIsReachable;
//!
//! impl NextHopResolver for NothingIsReachable {
//!     fn resolve(&self, _next_hop: IpAddr, _interface: Option<u32>) -> Option<Resolution> {
//!         None
//!     }
//!     fn is_local(&self, _address: IpAddr) -> bool {
//!         false
//!     }
//! }
//!
//! let session = SessionConfig::external(RemoteAs::Is(Asn(65002)));
//! let mut config = SpeakerConfig::new(Asn(65001), Ipv4Addr::new(192, 0, 2, 1));
//! config.peers.push(PeerConfig::new(IpAddr::from([192, 0, 2, 2]), session));
//!
//! let mut speaker = Speaker::new(Instant::now(), config, Box::new(NothingIsReachable))?;
//! let first = speaker.poll_output();
//! assert!(matches!(first, Some(Output::Connect { remote, .. }) if remote.port() == 179));
//! # Ok::<(), muslin_bgp_speaker::config::ConfigError>(())
//! ```

pub mod bmp;
pub mod config;
pub mod export;
pub mod foresight;
pub mod net;
#[cfg(feature = "planted-bugs")]
pub mod planted;
pub mod policy;
pub mod probe;
pub mod record;
pub mod rib;
pub mod session;
pub mod speaker;

pub use muslin_bgp_packet::{Family, FamilySet};

pub use self::speaker::{
    Answer, Command, ExportStatus, FamilyStatus, NegotiatedStatus, PeerStatus, Query, RestartStatus, Speaker,
    SpeakerEvent, SpeakerStatus, Start, TableEvent, TableWatch,
};
