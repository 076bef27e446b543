//! The decision process (RFC 4271 §9.1.2.2, RFC 4456 §9) as one elimination over the candidates.
//!
//! MED is compared only among paths of one neighbouring AS, so "better" is not transitive and no pairwise
//! comparison decides. What is sound is a [`Class`]: local preference, AS_PATH length and origin, all compared
//! before MED. A path of a lower class than the best can neither win nor shield another one from losing.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::destination::PathHandle;

/// What is compared before MED, packed so that greater is better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Class(u64);

impl Class {
    const LOCAL: u32 = 51;
    const CURRENT: u32 = 50;
    const LOCAL_PREF: u32 = 18;
    const PATH_LENGTH: u32 = 2;

    /// The class of a learned path. `origin` is 0 for IGP, 1 for EGP, 2 for incomplete.
    pub(crate) fn learned(local_pref: u32, path_length: usize, origin: u8) -> Self {
        let shortness = u16::MAX - u16::try_from(path_length).unwrap_or(u16::MAX);
        Self(
            1 << Self::CURRENT
                | u64::from(local_pref) << Self::LOCAL_PREF
                | u64::from(shortness) << Self::PATH_LENGTH
                | u64::from(2 - origin.min(2)),
        )
    }

    /// The same for a path that is long-lived stale, which is below all others (RFC 9494 §4.3).
    pub(crate) fn long_lived_stale(self) -> Self {
        #[cfg(feature = "planted-bugs")]
        if crate::planted::is_planted(crate::planted::Bug::LongLivedStalePreferred) {
            return self;
        }
        Self(self.0 & !(1 << Self::CURRENT))
    }

    /// The same for a path of our own, which is above all learned ones.
    pub(crate) fn originated(self) -> Self {
        Self(self.0 | 1 << Self::LOCAL)
    }

    /// The step at which a path of this class loses against one of `winner`; `None` if the two are equal.
    fn lost_at(self, winner: Self) -> Option<Step> {
        let differs = self.0 ^ winner.0;
        match differs {
            0 => None,
            _ if differs >> Self::LOCAL != 0 => Some(Step::Originated),
            _ if differs >> Self::CURRENT != 0 => Some(Step::Current),
            _ if differs >> Self::LOCAL_PREF != 0 => Some(Step::LocalPref),
            _ if differs >> Self::PATH_LENGTH != 0 => Some(Step::AsPathLength),
            _ => Some(Step::Origin),
        }
    }
}

/// The steps of the decision, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Step {
    /// Our own route wins over learned ones.
    Originated,
    /// Not long-lived stale (RFC 9494 §4.3).
    Current,
    /// Higher LOCAL_PREF.
    LocalPref,
    /// Shorter AS_PATH, a set counting 1.
    AsPathLength,
    /// Lower ORIGIN.
    Origin,
    /// Lower MED from the same neighbouring AS.
    Med,
    /// Learned from an external peer rather than from an internal one.
    External,
    /// Closer next hop.
    NextHopMetric,
    /// Of a peer that answers rather than of one that fell silent.
    Answering,
    /// Lower BGP identifier, or ORIGINATOR_ID where there is one.
    RouterId,
    /// Shorter CLUSTER_LIST.
    ClusterList,
    /// Lower address of the peer.
    PeerAddress,
    /// Lower path identifier of the same peer.
    PathId,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Originated => "originated here",
            Self::Current => "not long-lived stale",
            Self::LocalPref => "higher local preference",
            Self::AsPathLength => "shorter AS path",
            Self::Origin => "lower origin",
            Self::Med => "lower MED of the same neighbouring AS",
            Self::External => "external over internal",
            Self::NextHopMetric => "closer next hop",
            Self::Answering => "the other peer fell silent",
            Self::RouterId => "lower router or originator identifier",
            Self::ClusterList => "shorter cluster list",
            Self::PeerAddress => "lower peer address",
            Self::PathId => "lower path identifier",
        })
    }
}

/// An eligible path, with everything that is compared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) path: PathHandle,
    pub(crate) class: Class,
    /// The AS that MED belongs to; zero for a path that began in our own AS.
    pub(crate) neighbour: u32,
    pub(crate) med: u32,
    pub(crate) external: bool,
    pub(crate) metric: u32,
    /// Whether it is stale, of a peer that fell silent.
    pub(crate) silent: bool,
    pub(crate) router_id: u32,
    pub(crate) cluster_length: u16,
    pub(crate) address: IpAddr,
    pub(crate) path_id: u32,
    /// Where it lost; `None` for the best.
    pub(crate) lost: Option<Step>,
}

impl Candidate {
    fn tie_break(&self) -> (u32, u16, IpAddr, u32) {
        (self.router_id, self.cluster_length, self.address, self.path_id)
    }

    fn lost_tie(&self, best: &Self) -> Step {
        if self.router_id != best.router_id {
            Step::RouterId
        } else if self.cluster_length != best.cluster_length {
            Step::ClusterList
        } else if self.address != best.address {
            Step::PeerAddress
        } else {
            Step::PathId
        }
    }
}

/// Runs the decision. Afterwards the candidates stand in an order in which the best is the first, and the
/// first `n` — the number returned — are those that equal it up to the next hop's metric: the ECMP set,
/// whose members may have different neighbouring ASes. All others carry the step at which they lost.
pub(crate) fn elect(candidates: &mut [Candidate]) -> usize {
    let Some(top) = candidates.iter().map(|candidate| candidate.class).max() else { return 0 };
    for candidate in candidates.iter_mut() {
        candidate.lost = candidate.class.lost_at(top);
    }
    let mut alive = alive_first(candidates, candidates.len());
    lose_by_med(&mut candidates[..alive]);
    alive = alive_first(candidates, alive);
    if candidates[..alive].iter().any(|candidate| candidate.external) {
        lose(&mut candidates[..alive], Step::External, |candidate| candidate.external);
        alive = alive_first(candidates, alive);
    }
    if let Some(closest) = candidates[..alive].iter().map(|candidate| candidate.metric).min() {
        lose(&mut candidates[..alive], Step::NextHopMetric, |candidate| candidate.metric == closest);
        alive = alive_first(candidates, alive);
    }
    // RFC 4724 §4.2 wants no difference made while a peer restarts. One that fell silent is retained by
    // RFC 8538 and more likely dead: packets go to its equals as long as there are any.
    if candidates[..alive].iter().any(|candidate| !candidate.silent) {
        lose(&mut candidates[..alive], Step::Answering, |candidate| !candidate.silent);
        alive = alive_first(candidates, alive);
    }
    candidates[..alive].sort_unstable_by_key(Candidate::tie_break);
    if let Some((best, rest)) = candidates[..alive].split_first_mut() {
        for candidate in rest {
            candidate.lost = Some(candidate.lost_tie(best));
        }
    }
    alive
}

/// Eliminates whoever does not pass.
fn lose(candidates: &mut [Candidate], step: Step, passes: impl Fn(&Candidate) -> bool) {
    for candidate in candidates.iter_mut().filter(|candidate| !passes(candidate)) {
        candidate.lost = Some(step);
    }
}

/// Eliminates paths for which there is one with a lower MED from the same neighbouring AS.
fn lose_by_med(candidates: &mut [Candidate]) {
    let Some(first) = candidates.first().map(|candidate| candidate.med) else { return };
    if candidates.iter().all(|candidate| candidate.med == first) {
        return;
    }
    candidates.sort_unstable_by_key(|candidate| (candidate.neighbour, candidate.med));
    let mut lowest: Option<(u32, u32)> = None;
    for candidate in candidates {
        match lowest {
            Some((neighbour, med)) if neighbour == candidate.neighbour => {
                if candidate.med > med {
                    candidate.lost = Some(Step::Med);
                }
            }
            _ => lowest = Some((candidate.neighbour, candidate.med)),
        }
    }
}

/// Moves those still in the race to the front of the first `count` and returns how many they are.
fn alive_first(candidates: &mut [Candidate], count: usize) -> usize {
    let mut alive = 0;
    for index in 0..count {
        if candidates[index].lost.is_none() {
            candidates.swap(alive, index);
            alive += 1;
        }
    }
    alive
}
