//! A policy tried out on a route that need not exist.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use ipnet::IpNet;
use muslin_bgp_packet::PathAttributes;

use super::{Learned, Memo, Subject, apply, decide, next_hop, priority};
use crate::config::{Cause, NextHopChange, Outcome, PeerKey, Policy, RouteSource, Verdict};

/// A route to try a policy on.
#[derive(Clone, Debug)]
pub struct Trial {
    /// Destination.
    pub prefix: IpNet,
    /// Where it comes from.
    pub source: RouteSource,
    /// The label that we originate it under.
    pub label: Option<Arc<str>>,
    /// The peer that it was learned from, with its address; `None` for what we originate.
    pub peer: Option<(PeerKey, IpAddr)>,
    /// The next hop that it came with; one that was not learned has none.
    pub next_hop: Option<IpAddr>,
    /// Its attributes.
    pub attributes: PathAttributes,
}

/// What a policy makes of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// Whether it passes.
    pub verdict: Verdict,
    /// Where the rules are written that applied, in their order; the last one decided, unless `decided` is false.
    pub causes: Vec<Cause>,
    /// Whether a rule decided, and not the policy's last word.
    pub decided: bool,
    /// The attributes, changed if it passes.
    pub attributes: PathAttributes,
    /// The change of its next hop.
    pub next_hop: Option<NextHopChange>,
    /// The metric of its route in the kernel.
    pub priority: Option<NonZeroU32>,
}

impl Policy {
    /// Tries the policy on a route, by the very code that judges routes. What sessions and the import guard do
    /// to a route besides is not part of it.
    pub fn try_on(&self, route: &Trial) -> Tried {
        let learned = match (&route.peer, route.next_hop) {
            (Some((peer, address)), next_hop) => {
                Some(Learned { peer, address: *address, next_hop: next_hop.unwrap_or(*address) })
            }
            (None, _) => None,
        };
        let memo = Memo::default();
        let read = || route.attributes.clone();
        let subject = Subject {
            prefix: route.prefix,
            source: route.source,
            label: route.label.as_deref(),
            learned,
            memo: &memo,
            read: &read,
        };
        let (verdict, trail) = decide(self, &subject);
        let decides = |rule: &crate::config::Rule| rule.outcome != Outcome::Continue;
        let mut tried = Tried {
            verdict,
            causes: trail.rules(self).map(|rule| rule.cause.clone()).collect(),
            decided: trail.rules(self).any(decides),
            attributes: route.attributes.clone(),
            next_hop: None,
            priority: None,
        };
        if verdict == Verdict::Accept {
            apply(trail.actions(self), &mut tried.attributes);
            tried.next_hop = next_hop(trail.actions(self));
            tried.priority = priority(trail.actions(self));
        }
        tried
    }
}
