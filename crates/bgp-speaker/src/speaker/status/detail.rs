//! The finer parts of a peer's status: what it is still owed, and how restarts are handled.

use muslin_bgp_packet::{Family, FamilySet};
use serde::{Deserialize, Serialize};

use crate::rib::ExportState;
use crate::session::{PeerRestart, Session};

/// How far a peer has been brought up to date.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExportStatus {
    /// Segments of the journal of changes that it has not been sent; zero when it is up to date.
    pub journal_behind: u64,
    /// Whether it is sent the table instead, because it has just come, asked for it, or was too slow.
    pub replaying: bool,
}

/// Graceful restart with a peer (RFC 4724, RFC 8538).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RestartStatus {
    /// How long we ask the peer to keep our routes; `None` if we do not.
    pub offered_seconds: Option<u64>,
    /// What the peer said of itself; `None` unless the session has it.
    pub peer: Option<PeerRestartStatus>,
    /// Families of which routes of a lost session are kept, marked stale.
    pub retained: Vec<String>,
}

/// What a peer said of its restarts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerRestartStatus {
    /// How long its routes are to be kept.
    pub restart_seconds: u64,
    /// Whether it had just restarted when it opened this session (R bit).
    pub restarted: bool,
    /// Whether it keeps routes over a NOTIFICATION as well (N bit).
    pub over_notification: bool,
    /// Families whose routes survive its restart.
    pub families: Vec<String>,
    /// Those of them in which it forwarded packets all the while (F bit).
    pub forwarding_kept: Vec<String>,
}

impl From<ExportState> for ExportStatus {
    fn from(state: ExportState) -> Self {
        Self { journal_behind: state.behind, replaying: state.replaying }
    }
}

impl From<&PeerRestart> for PeerRestartStatus {
    fn from(restart: &PeerRestart) -> Self {
        Self {
            restart_seconds: restart.time.as_secs(),
            restarted: restart.restarting,
            over_notification: restart.over_notification,
            families: names(restart.families),
            forwarding_kept: names(restart.kept),
        }
    }
}

/// Graceful restart as a session has it; `stale` are the families that are kept.
pub(super) fn restart_status(session: &Session, stale: FamilySet) -> RestartStatus {
    let negotiated = session.negotiated().and_then(|negotiated| negotiated.graceful_restart.as_ref());
    RestartStatus {
        offered_seconds: session.settings().graceful_restart.map(|time| time.as_secs()),
        peer: negotiated.map(PeerRestartStatus::from),
        retained: names(stale),
    }
}

fn names(families: FamilySet) -> Vec<String> {
    families.iter().map(|family: Family| family.to_string()).collect()
}
