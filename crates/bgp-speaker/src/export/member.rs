//! A peer's place in its group.

use muslin_bgp_packet::FamilySet;

use super::table::Place;

/// A member: a cursor, and what it is still owed.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// The next segment of the journal that it reads.
    pub(crate) cursor: u64,
    /// It reads the table instead, because the journal does not have what it lacks.
    pub(crate) replay: Option<Replay>,
    /// Families whose End-of-RIB is owed (RFC 4724 §2).
    pub(crate) end_of_rib: FamilySet,
    /// The Loc-RIB's state when it joined: End-of-RIB comes after all of this.
    pub(crate) joined: u64,
    /// Families that it asked to be sent again.
    pub(crate) asked: FamilySet,
    /// Whether a refresh is marked by `BoRR` and `EoRR` (RFC 7313).
    pub(crate) enhanced_refresh: bool,
    /// Whether it was drained and waits to be woken.
    pub(crate) idle: bool,
    /// Whether withdrawals that it needs are gone.
    pub(crate) overrun: bool,
}

/// A walk over the group's table for one member.
#[derive(Clone, Debug)]
pub(crate) struct Replay {
    /// Families of which everything is sent.
    pub(crate) resend: FamilySet,
    /// Of the others, what changed in this segment or later; withdrawals too.
    pub(crate) since: u64,
    /// The segment from which the journal is read afterwards.
    pub(crate) resume: u64,
    /// Families whose refresh the end of the walk ends.
    pub(crate) refresh: FamilySet,
    /// What is looked at next.
    pub(crate) position: Position,
}

/// A place in a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    /// Among the routes that are sent.
    Routes(Place),
    /// Among those that were withdrawn and that some member may still have.
    Withdrawn(Place),
}

impl Member {
    /// A member that is sent everything from the table and then follows the journal.
    pub(crate) fn new(families: FamilySet, head: u64, joined: u64, enhanced_refresh: bool) -> Self {
        Self {
            cursor: head,
            replay: Some(Replay::new(families, head, head)),
            end_of_rib: families,
            joined,
            asked: FamilySet::EMPTY,
            enhanced_refresh,
            idle: false,
            overrun: false,
        }
    }

    /// The oldest segment whose withdrawals it may still need.
    pub(crate) fn needs(&self) -> u64 {
        self.replay.as_ref().map_or(self.cursor, |replay| replay.since)
    }

    /// The next segment of the journal that it will read.
    pub(crate) fn reads(&self) -> u64 {
        self.replay.as_ref().map_or(self.cursor, |replay| replay.resume)
    }
}

impl Replay {
    pub(crate) fn new(resend: FamilySet, since: u64, resume: u64) -> Self {
        Self { resend, since, resume, refresh: FamilySet::EMPTY, position: Position::Routes((0, 0)) }
    }
}
