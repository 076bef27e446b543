//! The flight recorder: everything that goes into a [`Speaker`](crate::Speaker), so that what happened once can be
//! made to happen again.
//!
//! ```text
//!   surroundings ──▶ Recorded { Speaker, Tape } ──entries──▶ files (net::recorder, a bounded ring)
//!                                                                │
//!   muslin replay, tests ◀── Replay { Speaker } ◀────────────────┘
//! ```
//!
//! A record is a header and entries (`format`): inputs, timeouts and slices of work with their times, answers of
//! the resolver, configurations without secrets, and a digest of the outputs, by which [`replay`] finds where
//! another build does something else. A record begins with a speaker's birth or, when older files were dropped,
//! with a checkpoint: the sessions and their routes as they were then.

mod checkpoint;
mod codec;
mod configuration;
mod digest;
mod entry;
mod format;
mod recorded;
mod replay;
mod resolver;

pub use self::format::Corrupt;
pub use self::recorded::{Recorded, Tape};
pub use self::replay::{Divergence, Replay, ReplayError, replay};
