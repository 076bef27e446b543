//! How far a member of a group has been brought up to date.

use muslin_bgp_packet::FamilySet;

use super::group::Group;
use crate::rib::PeerIndex;

/// What a peer was sent and what it is still owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportState {
    /// Routes in its Adj-RIB-Out, IPv4 and IPv6.
    pub advertised: [u32; 2],
    /// Segments of the group's journal that it has not read.
    pub behind: u64,
    /// Whether it reads the table, because it has just come, asked for a refresh or fell off the journal.
    pub replaying: bool,
    /// Families whose End-of-RIB it is owed.
    pub end_of_rib_owed: FamilySet,
}

impl Group {
    /// The state of a member.
    pub(crate) fn state_of(&self, peer: PeerIndex) -> Option<ExportState> {
        let member = self.members.get(&peer)?;
        Some(ExportState {
            advertised: self.counts.sent_to(peer),
            behind: self.journal.head().saturating_sub(member.reads()),
            replaying: member.replay.is_some(),
            end_of_rib_owed: member.end_of_rib,
        })
    }
}
