//! Load for a BGP speaker: thousands of sessions in one thread, tables that are encoded beforehand, and sinks that know
//! what is right.
//!
//! Feeders write from shared buffers; sinks read with a decoder that knows no more than it must, and compare the path
//! of every prefix with the one that should have been chosen. Nothing here shares code with the speaker under test.

mod feed;
mod prefixes;
mod random;
mod replay;
mod sink;
mod swarm;

pub use self::feed::{Feed, Place, announcement, best_of, internet, node, path_mark, reflected, withdrawal};
pub use self::prefixes::{Prefix, Prefixes};
pub use self::replay::replay;
pub use self::sink::{Counts, Expected, Mark, NONE, Relation, Sink};
pub use self::swarm::{Peer, SessionId, Swarm};
