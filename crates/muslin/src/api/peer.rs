//! `POST /v1/peers/PEER`: something is done to one session.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use muslin_bgp_speaker::{Command, PeerStatus};
use serde::{Deserialize, Serialize};

use super::handlers::{Answered, Refused, gone, peer_of};
use crate::daemon::Daemon;

/// Longest text for peers (RFC 9003 §2), in octets.
const MAX_TEXT: usize = 255;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum PeerAction {
    /// End the session with Cease/4, and start anew.
    Reset,
    /// Ask for the peer's routes again (RFC 2918).
    Refresh,
    /// Send ours again.
    Resend,
    /// End the session with Cease/2, and keep it down.
    Shutdown,
    /// Take a shutdown back.
    Start,
}

/// The body of the request.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PeerRequest {
    /// What is to be done.
    pub(crate) action: PeerAction,
    /// For the peer's operator, where something is said to them.
    #[serde(default)]
    pub(crate) text: String,
}

/// Does it, and answers how the peer stands then.
pub(super) async fn act(
    State(daemon): State<Arc<Daemon>>,
    Path(name): Path<String>,
    Json(PeerRequest { action, text }): Json<PeerRequest>,
) -> Answered<PeerStatus> {
    text_fits(&text)?;
    let status = peer_of(&daemon, &name).await?;
    if let Some(problem) = in_vain(action, &status) {
        return Err((StatusCode::CONFLICT, format!("{}: {problem}", status.key)));
    }
    let (peer, text) = (status.key, text.into());
    let command = match action {
        PeerAction::Reset => Command::Reset { peer, text },
        PeerAction::Refresh => Command::Refresh { peer },
        PeerAction::Resend => Command::Resend { peer },
        PeerAction::Shutdown => Command::Shutdown { peer, text },
        PeerAction::Start => Command::Start { peer },
    };
    if let Some(speaker) = daemon.speaker.get() {
        speaker.command(command).await.map_err(gone)?;
    }
    peer_of(&daemon, &name).await.map(Json)
}

/// A text that peers may be told.
pub(super) fn text_fits(text: &str) -> Result<(), Refused> {
    match text.len() {
        found if found > MAX_TEXT => {
            let message = format!("the text has {found} octets, RFC 9003 allows {MAX_TEXT}; shorten it");
            Err((StatusCode::BAD_REQUEST, message))
        }
        _ => Ok(()),
    }
}

/// Why an action would do nothing to a peer in this state.
fn in_vain(action: PeerAction, peer: &PeerStatus) -> Option<&'static str> {
    let refreshes = |peer: &PeerStatus| {
        let capabilities = peer.negotiated.as_ref().map(|negotiated| &negotiated.capabilities.in_effect);
        capabilities.into_iter().flatten().any(|words| words.contains("route refresh"))
    };
    match action {
        PeerAction::Reset if peer.shut_down => Some("it is shut down; there is no session to reset"),
        PeerAction::Refresh | PeerAction::Resend if !peer.established => {
            Some("no session is established; look at `muslin peers` for why")
        }
        PeerAction::Refresh if !refreshes(peer) => {
            Some("it did not offer route refresh; `muslin peer reset` makes it send everything again")
        }
        _ => None,
    }
}
