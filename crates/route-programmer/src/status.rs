//! What the programmer tells of itself.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::route::NextHop;
use crate::wire::refusal::KernelRefusal;

/// The state of the programmer at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The kernel holds exactly what is desired: nothing pending, blocked or refused.
    pub agreement: bool,
    /// [`mark_synced`](crate::Programmer::mark_synced) was called: leftovers are swept.
    pub synced: bool,
    /// Routes that shall be there.
    pub desired: usize,
    /// Routes of ours that are there.
    pub installed: usize,
    /// Routes of an earlier process that nobody has asked for yet; swept once synced.
    pub unclaimed: usize,
    /// Routes whose turn has not come yet.
    pub pending: usize,
    /// Next-hop objects of ours in the kernel, groups included.
    pub next_hop_objects: usize,
    /// Groups among them.
    pub next_hop_groups: usize,
    /// Whether next-hop objects are in use.
    pub uses_next_hop_objects: bool,
    /// What was found on start: the proof that forwarding state was kept (RFC 4724 §3, F bit).
    pub adopted: Adopted,
    /// Prefixes of ours for which another program has a route as well; the first
    /// [`Status::SAMPLES`] of [`clash_count`](Self::clash_count).
    pub clashes: Vec<Clash>,
    /// How many there are.
    pub clash_count: usize,
    /// What the kernel did not accept; the first [`Status::SAMPLES`] of
    /// [`refusal_count`](Self::refusal_count).
    pub refusals: Vec<Refusal>,
    /// How many there are.
    pub refusal_count: usize,
    /// Counts since start.
    pub counters: Counters,
}

impl Status {
    /// How many clashes and refusals are told one by one.
    pub const SAMPLES: usize = 32;
}

/// What an earlier process left and this one took over on start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Adopted {
    /// Routes of both families.
    pub routes: usize,
    /// IPv4 routes among them.
    pub ipv4_routes: usize,
    /// IPv6 routes among them.
    pub ipv6_routes: usize,
    /// Next-hop objects.
    pub next_hops: usize,
}

/// Another program has a route for a prefix of ours. Theirs is never touched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Clash {
    /// The prefix.
    pub prefix: IpNet,
    /// Protocol number of the other route.
    pub protocol: u8,
    /// Metric of the other route.
    pub metric: u32,
    /// What comes of it.
    pub effect: ClashEffect,
}

impl Clash {
    /// Whether ours is not installed for it.
    pub fn blocks(&self) -> bool {
        self.effect == ClashEffect::OursBlocked
    }
}

/// Who wins a [`Clash`]; the worst for us first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ClashEffect {
    /// Ours is not installed: theirs has our metric, or is the kernel's own route of a link.
    OursBlocked,
    /// Ours is installed but not used: theirs has the lower metric.
    TheirsPreferred,
    /// Ours is used: theirs has the higher metric.
    OursPreferred,
}

/// Something that the kernel refused. It is tried again when the link or its addresses change and at
/// every audit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// What was refused.
    pub subject: Refused,
    /// Why.
    pub refusal: KernelRefusal,
    /// Desired routes that are not installed for it.
    pub routes: usize,
}

/// The subject of a [`Refusal`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Refused {
    /// One route.
    Route(IpNet),
    /// A next hop, and with it all routes that have no other.
    NextHop(NextHop),
    /// A group of this many next hops.
    Group(usize),
}

/// Counts since start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counters {
    /// Messages that the kernel accepted.
    pub accepted: u64,
    /// Messages that it refused.
    pub refused: u64,
    /// Routes of ours that someone else deleted or changed, as an event told.
    pub disturbed: u64,
    /// Routes that a full read found different from what was believed.
    pub drifted: u64,
    /// Full reads of the kernel's state.
    pub resyncs: u64,
    /// Times that events were lost.
    pub overruns: u64,
    /// Foreign routes seen over ours, and gone again, count once each.
    pub clashes: u64,
}

/// Where a route of ours stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteReport {
    /// The prefix.
    pub prefix: IpNet,
    /// Metric in the kernel, or the one it shall have.
    pub metric: u32,
    /// Next hops that are desired, or, of an unclaimed route, those it has; empty for a blackhole.
    pub next_hops: Vec<NextHop>,
    /// Where it stands.
    pub state: RouteState,
}

/// See [`RouteReport`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RouteState {
    /// In the kernel as desired.
    Installed,
    /// Its turn has not come yet.
    Pending,
    /// Another program's route is in the way.
    Blocked(Clash),
    /// The kernel did not accept it.
    Refused(KernelRefusal),
    /// Left by an earlier process and not asked for yet.
    Unclaimed,
}

/// Something worth a log line or a counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProgrammerEvent {
    /// Another program has a route for one of our prefixes.
    Clash(Clash),
    /// Routes of ours were deleted or changed by someone else; they are being put back.
    Disturbed(usize),
    /// The kernel refused something.
    Refused(Refused, KernelRefusal),
    /// Events were lost; everything is read again.
    Overrun,
    /// Everything was read again, and this many routes were not as believed.
    Resynced {
        /// Routes that were not as believed.
        drifted: usize,
    },
    /// Leftovers of an earlier process were removed.
    Swept(usize),
}
