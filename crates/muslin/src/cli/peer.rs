//! Commands to one session.

use clap::{Args, Subcommand};

use super::QueryArgs;

/// `muslin peer`
#[derive(Debug, Subcommand)]
pub(crate) enum PeerCommand {
    /// End the session, tell the peer why (Cease 6/4), and start anew
    Reset(PeerTextArgs),
    /// Ask the peer to send its routes again; the session stays up
    Refresh(PeerArgs),
    /// Send our routes to the peer again; the session stays up
    Resend(PeerArgs),
    /// End the session, tell the peer why (Cease 6/2), and keep it down until `start` or the daemon's end
    Shutdown(PeerTextArgs),
    /// Take a `shutdown` back
    Start(PeerArgs),
}

/// Which session.
#[derive(Args, Clone, Debug)]
pub(crate) struct PeerArgs {
    /// The peer's name or address
    #[arg(value_name = "PEER")]
    pub(crate) peer: String,
    /// Socket and output.
    #[command(flatten)]
    pub(crate) query: QueryArgs,
}

/// Which session, and what its operator is told.
#[derive(Args, Clone, Debug)]
pub(crate) struct PeerTextArgs {
    /// The peer.
    #[command(flatten)]
    pub(crate) of: PeerArgs,
    /// What the peer's operator reads, at most 255 octets (RFC 9003)
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) text: String,
}
