//! `muslin peer ACTION PEER`: something is done to one session.

use std::process::ExitCode;

use muslin_bgp_speaker::PeerStatus;

use super::output::print;
use crate::api::{PeerAction, PeerRequest};
use crate::cli::{PeerArgs, PeerCommand};
use crate::client;

/// Does it, and prints how the peer stands then.
pub(crate) async fn run(command: &PeerCommand) -> anyhow::Result<ExitCode> {
    let (action, PeerArgs { peer, query }, text) = match command {
        PeerCommand::Reset(args) => (PeerAction::Reset, &args.of, &*args.text),
        PeerCommand::Refresh(args) => (PeerAction::Refresh, args, ""),
        PeerCommand::Resend(args) => (PeerAction::Resend, args, ""),
        PeerCommand::Shutdown(args) => (PeerAction::Shutdown, &args.of, &*args.text),
        PeerCommand::Start(args) => (PeerAction::Start, args, ""),
    };
    let path = client::path(&["v1", "peers", peer]);
    let request = PeerRequest { action, text: text.to_owned() };
    let status: PeerStatus = client::post(&query.socket, &path, &request).await?;
    print(query.output, &status, |status| format!("{}: {}", status.key, done(action)))?;
    Ok(ExitCode::SUCCESS)
}

fn done(action: PeerAction) -> &'static str {
    match action {
        PeerAction::Reset => "the session was reset",
        PeerAction::Refresh => "asked to send its routes again",
        PeerAction::Resend => "our routes are being sent again",
        PeerAction::Shutdown => "shut down; `muslin peer start` takes it back",
        PeerAction::Start => "may come up again",
    }
}
