//! Network namespaces as values: hosts, links, addresses and processes for tests and labs.
//!
//! A [`Namespace`] is an anonymous network namespace that a file descriptor keeps alive: no name under
//! `/run/netns`, no `ip` program, nothing left behind when the process ends, however it ends. Work is done in it
//! by [`Namespace::run`] (a thread that entered it) and [`Namespace::spawn`] (a child that starts in it).
//!
//! Namespaces need root. [`become_root_in_user_namespace`] gives it to everyone where user namespaces are allowed,
//! and a process tree that dies as one.
//!
//! This crate must never touch the network namespace that the process started in.
//!
//! ```no_run
//! use muslin_netns::{Namespace, connect};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (left, right) = (Namespace::new("left")?, Namespace::new("right")?);
//! connect(&left, "eth0", &right, "eth0")?;
//! left.add_address("eth0", "192.0.2.1/30".parse()?)?;
//! right.add_address("eth0", "192.0.2.2/30".parse()?)?;
//! let listener = right.run(|| std::net::TcpListener::bind("192.0.2.2:7000"))??;
//! left.run(|| std::net::TcpStream::connect("192.0.2.2:7000"))??;
//! # drop(listener);
//! # Ok(())
//! # }
//! ```

mod error;
mod isolation;
mod link;
mod namespace;
mod route;

pub use error::NetnsError;
pub use isolation::{Entered, Inside, become_root_in_user_namespace};
pub use link::{Link, LinkState, connect};
pub use namespace::Namespace;
pub use route::{NextHop, Route, RouteKind};
