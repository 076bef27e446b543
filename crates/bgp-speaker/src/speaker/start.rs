//! How a speaker comes to life.

use muslin_bgp_packet::FamilySet;

use crate::session::OwnRestart;

/// Whether an earlier speaker of this host has just ended (RFC 4724 §4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// None has: nothing of ours is in use anywhere.
    #[default]
    Fresh,
    /// One has, and its peers may still use its routes. They are told that we restart (R bit), learned routes
    /// are neither sent nor programmed until the peers have sent theirs, and what originates here is sent at
    /// once.
    Restarted {
        /// Families whose routes are proven to be in the kernel as they were (F bit).
        forwarding_kept: FamilySet,
    },
}

impl Start {
    /// A restart that left all routes in the kernel.
    pub const ROUTES_KEPT: Self = Self::Restarted { forwarding_kept: FamilySet::ALL };

    pub(super) fn is_restart(self) -> bool {
        matches!(self, Self::Restarted { .. })
    }

    /// What OPENs say of it, while we wait for routes and afterwards.
    pub(super) fn in_open(self, waits: bool) -> OwnRestart {
        match self {
            Self::Fresh => OwnRestart::default(),
            Self::Restarted { forwarding_kept } => OwnRestart { restarting: waits, forwarding_kept },
        }
    }
}
