//! What is done with arbitrary octets. Each function panics when a promise is broken.

// By path, because the replay of the seeds includes this file from another folder.
#[path = "codec.rs"]
mod codec;
#[path = "session.rs"]
mod session;

pub use codec::{attributes, frame, notification, open, route_refresh, update};
pub use session::session;

/// A target.
pub type Target = fn(&[u8]);

/// All targets by name.
pub const ALL: [(&str, Target); 7] = [
    ("attributes", attributes),
    ("frame", frame),
    ("notification", notification),
    ("open", open),
    ("route_refresh", route_refresh),
    ("session", session),
    ("update", update),
];
